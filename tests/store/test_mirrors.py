"""Buckets that follow others: everything is read there, nothing is written."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketReadOnlyError,
    InvalidBucketNameError,
    InvalidOptionError,
    OriginRecreatedError,
    StoreTimeoutError,
)
from faststream_objstore.models import Mirror, ObjectInfo, ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket, mismatch
from tests.store.support import (
    KIB,
    Bench,
    eventually,
    everything,
    pattern_bytes,
    soon,
    write_raw,
)

Follow = Callable[..., Awaitable[ObjectStore]]

WRITES: dict[str, Callable[[ObjectStore, Path], Awaitable[Any]]] = {
    "put": lambda store, _: store.put("cat.png", b"new"),
    "put if new": lambda store, _: store.put("cat.png", b"new", mode="create"),
    "put_file": lambda store, folder: store.put_file("file", folder / "file"),
    "put_dir": lambda store, folder: store.put_dir(folder),
    "delete": lambda store, _: store.delete("cat.png"),
    "delete what is not there": lambda store, _: store.delete("dog.png"),
    "delete_all": lambda store, _: store.delete_all(pattern="**"),
    "delete_all of nothing": lambda store, _: store.delete_all(prefix="nothing/"),
    "copy_all": lambda store, _: store.copy_all(to="copy/"),
    "copy_all of nothing": lambda store, _: store.copy_all(prefix="nothing/", to="a/"),
    "put_dir of nothing": lambda store, folder: store.put_dir(folder / "empty"),
    "sync of nothing": lambda store, folder: store.sync(folder / "empty", "nothing/"),
    "update_meta": lambda store, _: store.update_meta("cat.png", ObjectMeta(description="x")),
    "rename": lambda store, _: store.rename("cat.png", "tom.png"),
    "copy": lambda store, _: store.copy("cat.png", "tom.png"),
    "add_link": lambda store, _: store.add_link("link", "cat.png"),
    "add_bucket_link": lambda store, _: store.add_bucket_link("link", "other"),
    "transaction": lambda store, _: store.transaction().__aenter__(),
    "retire": lambda store, _: store.retire("cat.png", lambda _: {}),
    "restore": lambda store, folder: store.restore(folder / "dump.tar"),
    "sync": lambda store, folder: store.sync(folder, ""),
    "seal": lambda store, _: store.seal(),
}


@pytest.fixture
async def follow(bench: Bench) -> AsyncIterator[Follow]:
    """Make a bucket that follows others; it is deleted before they are."""
    made: list[str] = []

    async def create(
        bucket: str, *origins: Backend | ObjectStore, **options: Any
    ) -> ObjectStore:
        mirrors = [Mirror(one.bucket) for one in origins]
        if not options.pop("as_sources", len(mirrors) > 1):
            options["mirror"] = mirrors[0]
        else:
            options["sources"] = mirrors
        backend = await soon(
            bind_bucket(bench.server, ObjectStoreConfig(bucket=bucket, **options))
        )
        made.append(bucket)
        return ObjectStore.on(backend)

    yield create
    for bucket in made:
        assert await soon(bench.consumers(bucket)) == [], "a consumer is left behind"
        await soon(bench.server.delete(bucket))


@pytest.fixture
async def mirror(follow: Follow, backend: Backend) -> ObjectStore:
    """A bucket that follows that of the fixture `store`."""
    return await follow(f"{backend.bucket}-eu", backend)


async def caught_up(store: ObjectStore) -> None:
    """Wait until everything that is stored at the origins has arrived."""

    async def is_level() -> bool:
        return (await store.status(count=False)).lag == 0

    await eventually(is_level)


async def test_every_way_of_reading_works_on_a_mirror(
    store: ObjectStore, mirror: ObjectStore, tmp_path: Path
) -> None:
    body = pattern_bytes(300 * KIB)
    await soon(store.put("ann/cat.png", body, description="a cat"))
    await soon(store.put("ann/small", b"little"))
    await soon(store.put("bob/gone", b"gone"))
    await soon(store.delete("bob/gone"))
    await caught_up(mirror)

    assert await soon(mirror.get("ann/cat.png")) == body
    assert await soon(mirror.get("ann/small")) == b"little"
    info = await soon(mirror.get_info("ann/cat.png"))
    assert (info.bucket, info.name, info.size) == (mirror.bucket, "ann/cat.png", 307_200)
    assert info.description == "a cat"
    assert await soon(mirror.get(info)) == body
    assert (
        await soon(mirror.get_range("ann/cat.png", 200_000, 200_010)) == body[200_000:200_010]
    )
    async with mirror.open("ann/cat.png") as reader:
        assert await soon(reader.read()) == body
    await soon(mirror.get_file("ann/cat.png", tmp_path / "cat.png"))
    assert (tmp_path / "cat.png").read_bytes() == body
    assert [one.name for one in await soon(mirror.list())] == ["ann/cat.png", "ann/small"]
    assert {one.bucket for one in await soon(mirror.list())} == {mirror.bucket}
    page = await soon(mirror.list(delimiter="/"))
    assert page.folders == ["ann/"]
    assert [one.name for one in await everything(mirror.iter(prefix="ann/s"))] == ["ann/small"]
    assert await soon(mirror.exists("ann/small"))
    assert not await soon(mirror.exists("bob/gone"))
    assert (await soon(mirror.get_info("bob/gone", show_deleted=True))).deleted
    await soon(mirror.get_dir("", tmp_path / "all"))
    assert (tmp_path / "all/ann/small").read_bytes() == b"little"


async def test_a_watch_of_a_mirror_sees_what_is_there_and_each_change(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    await soon(store.put("before", b"1"))
    await caught_up(mirror)
    seen: list[tuple[str, str, bool]] = []
    async with mirror.watch() as watcher:
        for change in (
            None,
            lambda: store.put("after", b"2"),
            lambda: store.delete("before"),
        ):
            if change is not None:
                await soon(change())
            one = await soon(watcher.__anext__())
            seen.append((one.bucket, one.name, one.deleted))

    assert seen == [
        (mirror.bucket, "before", False),
        (mirror.bucket, "after", False),
        (mirror.bucket, "before", True),
    ]


async def test_a_change_that_a_watch_has_seen_can_be_read(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    target = pattern_bytes(5 * KIB)
    await soon(store.put("target", target))
    async with mirror.watch(updates_only=True) as watcher:
        await soon(store.put("object", b"content"))
        await soon(store.add_link("link", "target"))
        changed = await soon(watcher.__anext__())
        while changed.name != "object":
            changed = await soon(watcher.__anext__())
        link = await soon(watcher.__anext__())

    assert await soon(mirror.get(changed)) == b"content"
    assert await soon(mirror.get(link)) == target


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("many", [False, True], ids=["mirror", "sources"])
async def test_no_write_to_a_bucket_that_follows_others_is_sent(
    store: ObjectStore,
    other_backend: Backend,
    backend: Backend,
    follow: Follow,
    tmp_path: Path,
    write: str,
    many: bool,
) -> None:
    (tmp_path / "file").write_bytes(b"file")
    (tmp_path / "empty").mkdir()
    await soon(store.put("cat.png", b"cat"))
    await soon(store.dump(tmp_path / "dump.tar"))
    origins = (backend, other_backend) if many else (backend,)
    mirror = await follow(f"{backend.bucket}-eu", *origins)
    await caught_up(mirror)
    before = await soon((await mirror._source()).state())

    with pytest.raises(BucketReadOnlyError) as caught:
        await soon(WRITES[write](mirror, tmp_path))

    says = f"Bucket '{mirror.bucket}' can only be read, because it follows the bucket "
    if many:
        assert str(caught.value) == (
            f"{says}'{backend.bucket}' and bucket '{other_backend.bucket}'; write to the one "
            "that the object is in, and the change arrives here."
        )
    else:
        assert str(caught.value) == (
            f"{says}'{backend.bucket}'; write there, and the change arrives here."
        )
    after = await soon((await mirror._source()).state())
    assert after.last_sequence == before.last_sequence
    assert after.config == before.config
    assert await soon(mirror.get("cat.png")) == b"cat"


async def test_the_origin_of_a_mirror_can_be_opened_and_written_to(
    mirror: ObjectStore, store: ObjectStore
) -> None:
    (origin,) = await soon(mirror.origins())
    assert origin.bucket == store.bucket
    await soon(origin.put("cat.png", b"cat"))
    await caught_up(mirror)

    assert await soon(mirror.get("cat.png")) == b"cat"
    assert await soon(store.origins()) == []


async def test_an_object_of_a_mirror_can_be_copied_into_another_bucket(
    store: ObjectStore, mirror: ObjectStore, other_store: ObjectStore
) -> None:
    await soon(store.put("cat.png", b"cat"))
    await caught_up(mirror)
    await soon(mirror.copy("cat.png", "tom.png", other_store.bucket))

    assert await soon(other_store.get("tom.png")) == b"cat"


async def test_links_that_name_the_origin_lead_to_what_is_in_the_mirror(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    await soon(store.put("cat.png", b"cat"))
    await soon(store.add_link("link", "cat.png"))
    await caught_up(mirror)
    # What the mirror has is what counts, also when the origin has moved on.
    link = await soon(mirror.get_info("link"))
    listed = {one.name: one for one in await soon(mirror.list())}

    assert link.link is not None
    assert (link.link.bucket, link.link.name) == (mirror.bucket, "cat.png")
    assert listed["link"].link == link.link
    assert (await soon(mirror.resolve("link"))).bucket == mirror.bucket
    found = await soon(mirror.get("link"))
    assert (found, found.info.bucket) == (b"cat", mirror.bucket)


async def test_links_in_a_mirror_of_a_mirror_lead_to_what_is_in_it(
    store: ObjectStore, backend: Backend, follow: Follow
) -> None:
    first = await follow(f"{backend.bucket}-eu", backend)
    second = await follow(f"{backend.bucket}-fr", first)
    await soon(store.put("cat.png", b"cat"))
    await soon(store.add_link("link", "cat.png"))

    async def arrived() -> bool:
        return await second.exists("link")

    await eventually(arrived)
    listed = {one.name: one for one in await soon(second.list())}
    found = await soon(second.get("link"))

    assert (found, found.info.bucket) == (b"cat", second.bucket)
    assert listed["link"].link is not None
    assert listed["link"].link.bucket == second.bucket


async def test_a_link_of_nats_js_into_another_bucket_leads_there_from_a_mirror_too(
    store: ObjectStore, backend: Backend, mirror: ObjectStore, other_store: ObjectStore
) -> None:
    other = other_store.bucket
    await soon(store.put("cat.png", b"here"))
    await soon(other_store.put("cat.png", b"there"))
    # It says that it was written to the bucket that it leads to.
    link = {"bucket": other, "name": "cat.png"}
    await write_raw(
        backend, "link", {"name": "link", "bucket": other, "options": {"link": link}}
    )
    await caught_up(mirror)

    assert await soon(store.get("link")) == b"there"
    assert await soon(mirror.get("link")) == b"there"
    # Leave no metadata that names another bucket.
    await soon(store.put("link", b"no link"))


async def test_an_aggregate_has_the_objects_of_all_its_sources(
    store: ObjectStore, other_store: ObjectStore, follow: Follow
) -> None:
    await soon(store.put("ann/cat.png", b"cat"))
    backends = [await one._source() for one in (store, other_store)]
    every = await follow(f"{store.bucket}-all", *backends)
    await soon(other_store.put("bob/dog.png", b"dog"))
    await caught_up(every)

    assert [one.name for one in await soon(every.list())] == ["ann/cat.png", "bob/dog.png"]
    assert await soon(every.get("ann/cat.png")) == b"cat"
    assert await soon(every.get("bob/dog.png")) == b"dog"
    assert [one.bucket for one in await soon(every.origins())] == [
        store.bucket,
        other_store.bucket,
    ]


async def test_of_one_name_in_two_sources_the_version_that_arrives_last_counts(
    store: ObjectStore, other_store: ObjectStore, follow: Follow
) -> None:
    backends = [await one._source() for one in (store, other_store)]
    every = await follow(f"{store.bucket}-all", *backends)
    await soon(store.put("name", b"of the first"))
    await caught_up(every)
    await soon(other_store.put("name", b"of the second"))
    await caught_up(every)
    assert await soon(every.get("name")) == b"of the second"
    await soon(store.put("name", b"of the first again"))
    await caught_up(every)
    assert await soon(every.get("name")) == b"of the first again"
    await soon(other_store.delete("name"))
    await caught_up(every)

    assert not await soon(every.exists("name"))


async def test_a_bucket_that_follows_another_is_recognized_without_its_declaration(
    bench: Bench, mirror: ObjectStore, backend: Backend
) -> None:
    opened = ObjectStore.on(await soon(bench.server.open(mirror.bucket)))
    with pytest.raises(BucketReadOnlyError):
        await soon(opened.put("name", b""))

    assert (await soon(opened.status())).origins == (Mirror(backend.bucket),)
    bound = await soon(
        bind_bucket(bench.server, ObjectStoreConfig(bucket=mirror.bucket), declare=True)
    )
    assert bound.origins == (Mirror(backend.bucket),)


async def test_buckets_that_follow_others_are_listed(
    bench: Bench, mirror: ObjectStore, store: ObjectStore
) -> None:
    assert {mirror.bucket, store.bucket} <= set(await soon(bench.server.buckets()))


async def test_the_status_of_a_bucket_that_follows_none_has_no_lag(store: ObjectStore) -> None:
    status = await soon(store.status())

    assert (status.origins, status.lag) == ((), None)


async def test_the_lag_is_unknown_while_there_is_no_origin(
    bench: Bench, bucket_name: str
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, mirror=Mirror(f"{bucket_name}-origin"))
    backend = await soon(bind_bucket(bench.server, config))
    bench.made.add(bucket_name)
    mirror = ObjectStore.on(backend)
    status = await soon(mirror.status())
    assert (status.lag, status.count) == (None, 0)
    # It is followed from when it is made.
    origin_config = ObjectStoreConfig(bucket=f"{bucket_name}-origin")
    origin = ObjectStore.on(await soon(bind_bucket(bench.server, origin_config)))
    await soon(origin.put("name", b"content"))
    await caught_up(mirror)

    assert await soon(mirror.get("name")) == b"content"
    bench.audit.orphans = True
    await soon(bench.server.delete(f"{bucket_name}-origin"))


async def test_the_lag_of_a_mirror_is_nothing_once_what_was_removed_is_all_that_is_missing(
    store: ObjectStore, backend: Backend, mirror: ObjectStore
) -> None:
    await soon(store.put("name", b"content"))
    upload = backend.upload(f"$O.{backend.bucket}.C.failed")
    await upload.write(b"chunk")
    await upload.abort()
    await caught_up(mirror)

    assert await soon(mirror.get("name")) == b"content"


async def test_a_mirror_whose_origin_was_made_anew_says_so(
    bench: Bench, store: ObjectStore, mirror: ObjectStore
) -> None:
    for number in range(5):
        await soon(store.put(f"old-{number}", b"old"))
    await caught_up(mirror)
    await soon(bench.server.delete(store.bucket))
    await soon(bind_bucket(bench.server, ObjectStoreConfig(bucket=store.bucket)))

    with pytest.raises(OriginRecreatedError, match=f"'{store.bucket}' was deleted and made"):
        await soon(mirror.status())
    with pytest.raises(OriginRecreatedError, match=f"Delete '{mirror.bucket}', and declare"):
        await soon(mirror.sweep())
    # Also when it has more messages than the old one had.
    for number in range(10):
        await soon(store.put(f"new-{number}", b"new"))
    with pytest.raises(OriginRecreatedError):
        await soon(mirror.status())


async def test_nothing_is_copied_into_a_bucket_that_follows_another(
    other_store: ObjectStore, mirror: ObjectStore
) -> None:
    with pytest.raises(BucketReadOnlyError, match=f"'{mirror.bucket}' can only be read"):
        await soon(other_store.copy_all(prefix="nothing/", bucket=mirror.bucket))


async def test_a_dump_of_a_mirror_says_if_it_may_not_have_all(
    bench: Bench, store: ObjectStore, mirror: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    await soon(store.put("a", b"1"))
    await caught_up(mirror)

    assert (await soon(mirror.dump(io.BytesIO()))).done == ["a"]
    assert caplog.messages == []

    await soon(bench.server.delete(store.bucket))
    assert (await soon(mirror.dump(io.BytesIO()))).done == ["a"]
    (said,) = caplog.messages
    assert said == (
        f"Bucket '{mirror.bucket}', which follows the bucket '{store.bucket}', is dumped as "
        "it is, and it is not known how far it is behind: what has not arrived is not in the "
        "dump. Dump the origin instead, or wait until status().lag is 0."
    )
    caplog.clear()

    # What is left of the old bucket can be saved, whatever the new one has.
    await soon(bind_bucket(bench.server, ObjectStoreConfig(bucket=store.bucket)))
    with pytest.raises(OriginRecreatedError):
        await soon(mirror.status())
    assert (await soon(mirror.dump(io.BytesIO()))).done == ["a"]
    (said,) = caplog.messages
    assert f"the bucket '{store.bucket}' was deleted and made anew" in said


async def test_a_sweep_of_a_mirror_removes_what_its_origin_no_longer_has(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    await soon(store.put("replaced", b"12345"))
    await soon(store.put("deleted", b"123"))
    await soon(store.put("kept", b"kept"))
    await caught_up(mirror)
    await soon(store.put("replaced", b"new"))
    await soon(store.delete("deleted"))
    await caught_up(mirror)
    there = await mirror._source()
    everywhere = wire.all_chunks_subject(mirror.bucket)
    assert len(await soon(there.subjects(everywhere))) == 4

    # However young they are: the origin knows.
    assert await soon(mirror.sweep(timedelta(days=1))) == 8

    assert len(await soon(there.subjects(everywhere))) == 2
    assert await soon(mirror.get("replaced")) == b"new"
    assert await soon(mirror.get("kept")) == b"kept"
    assert (await soon(mirror.get_info("deleted", show_deleted=True))).deleted
    # It goes on following.
    await soon(store.put("later", b"later"))
    await caught_up(mirror)
    assert await soon(mirror.get("later")) == b"later"
    assert await soon(mirror.sweep()) == 0


async def test_a_sweep_of_a_mirror_removes_the_markers_that_its_origin_has_swept(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    await soon(store.put("deleted", b"123"))
    await soon(store.delete("deleted"))
    await caught_up(mirror)
    await soon(store.sweep(markers_older_than=timedelta(0)))
    assert await soon(store.list(include_deleted=True)) == []
    await soon(mirror.sweep())

    assert await soon(mirror.list(include_deleted=True)) == []


async def test_a_sweep_of_an_aggregate_keeps_what_any_of_its_sources_has(
    store: ObjectStore, other_store: ObjectStore, follow: Follow
) -> None:
    backends = [await one._source() for one in (store, other_store)]
    every = await follow(f"{store.bucket}-all", *backends)
    await soon(store.put("a", b"a"))
    await soon(other_store.put("b", b"bb"))
    await soon(other_store.put("c", b"ccc"))
    await caught_up(every)
    await soon(other_store.delete("c"))
    await caught_up(every)

    assert await soon(every.sweep()) == 3
    assert await soon(every.get("a")) == b"a"
    assert await soon(every.get("b")) == b"bb"


async def test_a_reader_of_a_replaced_version_of_a_mirror_finishes(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    old = pattern_bytes(300 * KIB)
    await soon(store.put("name", old))
    await caught_up(mirror)
    seen = await soon(mirror.get_info("name"))
    await soon(store.put("name", b"new"))
    await caught_up(mirror)

    # Its chunks are there until the mirror is swept.
    assert await soon(mirror.get(seen)) == old
    assert await soon(mirror.get("name")) == b"new"


@pytest.mark.parametrize(
    "options, wrong",
    [
        ({"mirror": "photos"}, r'mirror must be a Mirror\("..."\), got \'photos\''),
        ({"sources": "photos"}, "sources must be a list"),
        ({"sources": ["photos"]}, r"sources must be a list of Mirror\(...\), got 'photos'"),
        ({"sources": [Mirror("a"), Mirror("a")]}, "names the bucket 'a' twice"),
        ({"mirror": Mirror("a"), "sources": [Mirror("b")]}, "cannot be combined"),
        ({"mirror": Mirror("here")}, "cannot follow itself"),
        ({"mirror": Mirror("a"), "transactions": True}, "declare them for the origin"),
        ({"mirror": Mirror("a"), "keep_replaced": 5}, "declare them for the origin"),
    ],
)
def test_what_cannot_be_followed_is_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"Bucket 'here': .*{wrong}"):
        ObjectStoreConfig(bucket="here", **options)


def test_a_mirror_is_of_a_bucket_in_a_domain() -> None:
    with pytest.raises(InvalidBucketNameError):
        Mirror("not a bucket")
    for domain in ("", "a.b", "*", 5):
        with pytest.raises(InvalidOptionError, match="domain must be the name"):
            Mirror("photos", domain=domain)  # type: ignore[arg-type]
    assert Mirror("photos", domain="hub") == Mirror("photos", domain="hub")


async def test_a_bucket_that_follows_another_than_is_declared_is_a_mismatch(
    bench: Bench, mirror: ObjectStore, backend: Backend
) -> None:
    declared = ObjectStoreConfig(bucket=mirror.bucket, mirror=Mirror("other"))
    with pytest.raises(BucketConfigMismatchError, match=r"sources is .*declared .*'other'"):
        await soon(bind_bucket(bench.server, declared))
    right = replace(declared, mirror=Mirror(backend.bucket))
    state = await soon((await bench.server.open(mirror.bucket)).state())

    await soon(bind_bucket(bench.server, right))
    assert mismatch(right, state.config, declare=True) is None
    assert mismatch(declared, state.config, declare=True) is not None


async def test_a_bucket_with_objects_does_not_become_one_that_follows_another(
    bench: Bench, store: ObjectStore
) -> None:
    declared = ObjectStoreConfig(bucket=store.bucket, mirror=Mirror("other"))
    for update in (False, True):
        with pytest.raises(BucketConfigMismatchError, match="delete the bucket and create"):
            await soon(bind_bucket(bench.server, declared, update=update))


async def test_a_bucket_that_follows_another_has_no_limit_of_its_size(
    bench: Bench, bucket_name: str
) -> None:
    declared = ObjectStoreConfig(bucket=bucket_name, mirror=Mirror("other"), max_bytes=1000)
    with pytest.raises(InvalidOptionError, match="cannot have max_bytes: when it is full"):
        await soon(bind_bucket(bench.server, declared))

    assert bucket_name not in await soon(bench.server.buckets())


async def test_an_aggregate_gets_another_source_with_update(
    bench: Bench, store: ObjectStore, other_store: ObjectStore, follow: Follow
) -> None:
    backend, other = await store._source(), await other_store._source()
    every = await follow(f"{store.bucket}-all", backend, as_sources=True)
    await soon(store.put("a", b"a"))
    await soon(other_store.put("b", b"b"))
    await caught_up(every)
    both = ObjectStoreConfig(
        bucket=every.bucket, sources=[Mirror(backend.bucket), Mirror(other.bucket)]
    )
    every = ObjectStore.on(await soon(bind_bucket(bench.server, both, update=True)))
    await caught_up(every)

    assert [one.name for one in await soon(every.list())] == ["a", "b"]


async def test_readers_of_the_origin_are_unharmed_by_a_bucket_that_follows_it(
    store: ObjectStore, mirror: ObjectStore
) -> None:
    await soon(store.put("name", b"content"))
    await caught_up(mirror)

    async def read() -> tuple[bytes, ObjectInfo]:
        return await store.get("name"), await store.get_info("name")

    found = await soon(asyncio.gather(*[read() for _ in range(100)]))
    assert {content for content, _ in found} == {b"content"}


async def test_a_sweep_waits_for_what_the_origin_has_stored() -> None:
    server = MemoryServer()
    photos = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket="photos")))
    declared = ObjectStoreConfig(bucket="eu", mirror=Mirror("photos"))
    backend = await bind_bucket(server, declared)
    mirror = ObjectStore.on(backend)
    await photos.put("name", b"old content")
    # Nothing arrives for a while.
    (following,) = server._followings["eu"]
    following.end()
    await photos.put("name", b"new")

    sweeping = asyncio.ensure_future(mirror.sweep())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not sweeping.done()
    assert await mirror.get("name") == b"old content"
    following.begin(server.find("photos"))
    assert await soon(sweeping) == 11
    assert await mirror.get("name") == b"new"

    following.end()
    await photos.put("name", b"newer")
    backend.timeout = 0.1
    with pytest.raises(StoreTimeoutError, match="'eu' is not swept: it is 2 messages behind"):
        await soon(mirror.sweep())
    assert await mirror.get("name") == b"new"
