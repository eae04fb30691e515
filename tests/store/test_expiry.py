"""Objects with a `ttl` of their own: they expire, as a whole, and not before."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Server
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    FeatureNotEnabledError,
    IncompleteObjectError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore, expiry
from faststream_objstore.store.declare import bind_bucket
from tests.store.conftest import CreateBucket
from tests.store.support import Audit, Bench, eventually, layout, raw_metadata, soon, spied
from tests.store.test_kept import Clocked

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _outliving(audit: Audit) -> None:
    # Chunks outlive their metadata on purpose.
    audit.orphans = True


@pytest.fixture
async def backend(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    return await create_bucket(bucket_name, object_ttl=SECOND, transactions=True)


@pytest.fixture
async def plain(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    """A bucket without `object_ttl`."""
    return await create_bucket(f"{bucket_name}-plain", transactions=True)


async def until_expired(store: ObjectStore, name: str) -> ObjectInfo:
    """The change by which watchers learn that an object has expired."""

    async def wait() -> ObjectInfo:
        async with store.watch() as watcher:
            async for info in watcher:
                if info.name == name and info.expired:
                    return info
        raise AssertionError

    return await soon(wait())


async def stored(info: ObjectInfo, store: ObjectStore) -> ObjectInfo:
    """With the times of the server."""
    return await store.get_info(info.name)


# --- putting, and what becomes of it


async def test_an_object_expires_after_its_ttl_and_not_before(store: ObjectStore) -> None:
    put = await store.put("name", b"content", ttl=SECOND, metadata={"k": "v"})
    info = await store.get_info("name")
    assert put.mtime is not None
    assert info.mtime is not None
    assert put.expires == put.mtime + SECOND
    assert info.expires == info.mtime + SECOND
    assert (info.expired, info.metadata) == (False, {"k": "v"})
    assert await store.get("name") == b"content"

    gone = await until_expired(store, "name")

    assert gone.mtime is not None
    assert gone.mtime >= info.expires
    assert (gone.deleted, gone.size, gone.nuid, gone.revision) == (True, 0, "", 3)
    assert not await store.exists("name")
    assert await store.list() == []
    for call in (store.get, store.get_info):
        with pytest.raises(ObjectNotFoundError, match="has expired"):
            await call("name")


async def test_the_marker_is_seen_by_those_who_ask_for_deleted_objects(
    store: ObjectStore,
) -> None:
    await store.put("name", b"content", ttl=1)
    gone = await until_expired(store, "name")

    assert await store.get_info("name", show_deleted=True) == gone
    assert await store.list(include_deleted=True) == [gone]
    assert [one async for one in store.iter(include_deleted=True)] == [gone]
    assert await store.list() == [one async for one in store.iter()] == []
    data = await store.get("name", show_deleted=True)
    assert (bytes(data), data.info) == (b"", gone)
    assert (await store.status()).count == 0


async def test_the_name_of_an_expired_object_is_free(store: ObjectStore) -> None:
    for name in ("create", "over", "revision", "link", "moved"):
        await store.put(name, b"old", ttl=1)
    gone = [await until_expired(store, one) for one in ("create", "over", "link", "moved")]
    marker = await until_expired(store, "revision")
    assert all(one.expired for one in gone)

    await store.put("create", b"new", mode="create")
    assert (await store.put("over", b"new")).expires is None
    await store.put("revision", b"new", mode=marker)
    await store.add_link("link", "over")
    await store.rename("over", "moved")

    assert [one.name for one in await store.list()] == ["create", "link", "moved", "revision"]


async def test_deleting_an_expired_object_changes_nothing(store: ObjectStore) -> None:
    await store.put("name", b"old", ttl=1)
    gone = await until_expired(store, "name")

    assert await store.delete("name") is False
    assert await store.get_info("name", show_deleted=True) == gone


async def test_a_put_without_a_ttl_stays(store: ObjectStore) -> None:
    await store.put("name", b"old", ttl=1)
    await store.put("name", b"new")
    await store.put("zero", b"0", ttl=0)
    await store.put("other", b"old", ttl=1)
    await until_expired(store, "other")

    assert await store.get("name") == b"new"
    assert await store.get("zero") == b"0"


async def test_a_deleted_object_does_not_expire_and_its_marker_goes(
    store: ObjectStore,
) -> None:
    seen: list[tuple[str, bool]] = []
    await store.put("deleted", b"1", ttl=1)
    await store.delete("deleted")
    await store.put("expires", b"2", ttl=2)
    async with store.watch() as watcher:
        async for info in watcher:
            seen.append((info.name, info.expired))
            if info.expired:
                break

    # Not a second time, as something that has expired.
    assert seen == [("deleted", False), ("expires", False), ("expires", True)]
    with pytest.raises(ObjectNotFoundError):
        await store.get_info("deleted", show_deleted=True)


async def test_put_file_has_a_ttl_too(store: ObjectStore, tmp_path: Any) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")

    info = await store.put_file("name", path, ttl=HOUR)

    assert info.mtime is not None
    assert info.expires == info.mtime + HOUR


async def test_an_empty_object_expires(store: ObjectStore) -> None:
    await store.put("name", b"", ttl=1)
    assert (await until_expired(store, "name")).expired


# --- refused


@pytest.mark.parametrize("ttl", [SECOND, 5, HOUR])
async def test_a_ttl_in_a_bucket_without_object_ttl_is_refused_before_anything_is_sent(
    plain: Backend, ttl: Any
) -> None:
    store = ObjectStore.on(plain)
    await store.put("kept", b"1")
    before = (await plain.state()).last_sequence
    with pytest.raises(FeatureNotEnabledError) as caught:
        await store.put("name", b"content", ttl=ttl)
    with pytest.raises(FeatureNotEnabledError):
        await store.update_meta("kept", ttl=ttl)
    async with store.transaction() as tx:
        with pytest.raises(FeatureNotEnabledError):
            await tx.put("name", b"content", ttl=ttl)
    said = str(caught.value)
    for part in (plain.bucket, "'name'", "object_ttl=True", "update=True", "nats-server 2.11"):
        assert part in said
    assert (await plain.state()).last_sequence == before


async def test_a_ttl_below_the_bucket_s_least_is_refused_before_anything_is_sent(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, object_ttl=True)
    store = ObjectStore.on(backend)

    with pytest.raises(InvalidOptionError, match=r"0:00:59.* less than .* 0:01:00"):
        await store.put("name", b"content", ttl=59)

    assert (await backend.state()).last_sequence == 0
    assert (await store.put("name", b"content", ttl=MINUTE)).expires is not None


@pytest.mark.parametrize(
    "ttl", [-1, "1h", True, float("nan"), float("inf"), timedelta(days=40_000), b""]
)
async def test_a_ttl_that_is_none_is_refused(store: ObjectStore, ttl: Any) -> None:
    with pytest.raises(InvalidOptionError, match="ttl must be a timedelta or seconds"):
        await store.put("name", b"content", ttl=ttl)


async def test_a_put_that_takes_nearly_an_hour_is_refused(
    store: ObjectStore, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if half a second were the hour, less what a reader needs.
    monkeypatch.setattr(expiry, "LONGEST_PUT_SECONDS", 0.2)
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, late.set)

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await late.wait()
        yield b"last"

    async def in_transaction() -> None:
        async with store.transaction() as tx:
            await tx.put("name", slow(), chunk_size=5, ttl=MINUTE)

    for work in (store.put("name", slow(), chunk_size=5, ttl=MINUTE), in_transaction()):
        late.clear()
        asyncio.get_running_loop().call_later(0.3, late.set)
        with pytest.raises(IncompleteObjectError, match="with a ttl must be stored within"):
            await soon(work)
    assert not await store.exists("name")
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == {}
    await store.put("name", b"quick", ttl=MINUTE)


async def test_objects_of_a_sealed_bucket_expire_too(store: ObjectStore) -> None:
    await store.put("soon", b"1", ttl=1)
    await store.put("stays", b"2")
    await store.seal()

    async def expired() -> bool:
        return not await store.exists("soon")

    await eventually(expired)
    assert [one.name for one in await store.list()] == ["stays"]


# --- what keeps the time


async def test_a_renamed_object_expires_when_it_would_have(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    for options in ({}, {"transactions": True}):
        bucket = f"{bucket_name}-{len(options)}"
        store = ObjectStore.on(await create_bucket(bucket, object_ttl=1, **options))
        info = await stored(await store.put("old", b"content", ttl=2), store)
        renamed = await store.rename("old", "new")

        assert renamed.expires == info.expires
        assert (await store.get_info("new")).expires == info.expires
        gone = await until_expired(store, "new")
        assert gone.mtime is not None
        assert info.expires is not None
        assert gone.mtime >= info.expires


async def test_updated_metadata_expires_when_it_would_have(store: ObjectStore) -> None:
    info = await stored(await store.put("name", b"content", ttl=2), store)

    first = await store.update_meta("name", ObjectMeta(description="new"))
    second = await store.update_meta("name", ObjectMeta(description="newer"))

    assert first.expires == second.expires == info.expires
    gone = await until_expired(store, "name")
    assert info.expires is not None
    assert gone.mtime is not None
    assert gone.mtime >= info.expires


async def test_an_object_is_hidden_at_its_end_though_the_server_keeps_it_longer(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, object_ttl=2)
    store = ObjectStore.on(backend)
    info = await stored(await store.put("name", b"content", ttl=2), store)
    assert info.expires is not None
    # The server gives what is written now two more seconds.
    updated: ObjectInfo | None = None

    async def hidden() -> datetime:
        nonlocal updated
        while True:
            try:
                updated = await store.update_meta("name", ObjectMeta(description="new"))
            except ObjectNotFoundError:
                state = await backend.state()
                return datetime.fromtimestamp(state.time_ns / 1e9, timezone.utc)

    assert await soon(hidden()) >= info.expires
    assert updated is not None
    message = await backend.last_message(wire.metadata_subject(bucket_name, "name"))
    assert message is not None
    assert message.data != b""
    assert await store.list(include_deleted=True) == []
    assert not await store.exists("name")
    with pytest.raises(ObjectNotFoundError, match="has expired"):
        await store.get("name")
    with pytest.raises(RevisionMismatchError):
        await store.put("name", b"new", mode=updated)
    await store.put("name", b"new", mode="create")
    assert await store.get("name") == b"new"


async def test_an_expired_version_is_not_read_though_its_chunks_are_there(
    store: ObjectStore, backend: Backend
) -> None:
    await store.put("name", b"content", ttl=1)
    info = await store.get_info("name")
    await until_expired(store, "name")
    assert await backend.subjects(wire.chunk_subject(backend.bucket, info.nuid))

    with pytest.raises(ObjectChangedError):
        await store.get(info)
    with pytest.raises(ObjectChangedError):
        await store.get_range(info, 0, 2)
    with pytest.raises(ObjectChangedError):
        async with store.open(info):
            pass


async def test_a_copy_expires_with_its_original(
    store: ObjectStore, plain: Backend, create_bucket: CreateBucket, bucket_name: str
) -> None:
    slow = await create_bucket(f"{bucket_name}-slow", object_ttl=HOUR)
    info = await stored(await store.put("name", b"content", ttl=MINUTE), store)

    here = await store.copy("name", "copy")
    # Less than that bucket would give a put.
    there = await store.copy("name", "copy", bucket=slow.bucket)
    elsewhere = await store.copy("name", "copy", bucket=plain.bucket)
    async with store.transaction() as tx:
        await tx.copy("name", "in transaction")

    assert here.expires == there.expires == info.expires
    assert tx.committed["in transaction"].expires == info.expires
    # It could not expire there.
    assert elsewhere.expires is None


@pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
async def test_a_put_says_by_the_server_s_clock_when_its_object_expires(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3_600_000_000_000)
    put = await store.put("name", b"content", ttl=HOUR)
    async with store.transaction() as tx:
        await tx.put("together", b"content", ttl=HOUR)

    for info in (put, tx.committed["together"]):
        kept = await store.get_info(info.name)
        assert info.expires is not None
        assert kept.expires is not None
        # A tenth of the error of this machine's clock.
        assert abs(info.expires - kept.expires) < HOUR / 10


@pytest.mark.parametrize("error", [-2 * HOUR, -MINUTE, HOUR], ids=str)
async def test_the_copy_of_an_info_whose_times_are_wrong_expires_with_its_original(
    store: ObjectStore, error: timedelta
) -> None:
    info = await stored(await store.put("name", b"content", ttl=HOUR), store)
    assert info.expires is not None
    wrong = replace(info, expires=info.expires + error)

    copied = await store.copy(wrong, "copy")
    async with store.transaction() as tx:
        await tx.copy(wrong, "in transaction")

    assert copied.expires == info.expires
    assert (await store.get_info("copy")).expires == info.expires
    assert (await store.get_info("in transaction")).expires == info.expires


async def test_the_copy_of_a_version_that_is_kept_expires_with_that_version(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    kept = await create_bucket(bucket_name, object_ttl=SECOND, keep_replaced=HOUR)
    store = ObjectStore.on(kept)
    old = await stored(await store.put("name", b"old", ttl=HOUR), store)
    await store.put("name", b"new", ttl=MINUTE)

    copied = await store.copy(old, "copy")

    assert await store.get("copy") == b"old"
    assert copied.expires == old.expires


async def test_a_link_to_an_expired_object_leads_nowhere(store: ObjectStore) -> None:
    await store.put("target", b"content", ttl=1)
    await store.add_link("link", "target")
    assert await store.get("link") == b"content"
    await until_expired(store, "target")

    with pytest.raises(ObjectNotFoundError, match="'target' has expired"):
        await store.get("link")


# --- another ttl


async def test_another_ttl_stores_the_content_again(
    store: ObjectStore, backend: Backend
) -> None:
    old = await store.put("name", b"content", ttl=HOUR, metadata={"k": "v"}, chunk_size=2)

    new = await store.update_meta("name", ttl=1)

    assert new.mtime is not None
    assert new.expires == new.mtime + SECOND
    assert (new.metadata, new.digest, new.chunks) == ({"k": "v"}, old.digest, old.chunks)
    assert new.nuid != old.nuid
    assert set(await backend.subjects(f"$O.{backend.bucket}.C.>")) == {
        wire.chunk_subject(backend.bucket, new.nuid)
    }
    assert await store.get("name") == b"content"
    assert (await until_expired(store, "name")).expired


async def test_an_object_is_kept_for_ever_after_all(store: ObjectStore) -> None:
    await store.put("name", b"content", ttl=1)
    kept = await store.update_meta("name", ObjectMeta(description="new"), ttl=0)
    await store.put("other", b"1", ttl=1)
    await until_expired(store, "other")

    assert (kept.expires, kept.description) == (None, "new")
    assert await store.get("name") == b"content"


async def test_a_permanent_object_gets_a_ttl_and_so_does_a_link(store: ObjectStore) -> None:
    await store.put("name", b"content")
    await store.add_link("link", "name")

    linked = await store.update_meta("link", ttl=1)

    assert linked.link is not None
    assert await store.get("link") == b"content"
    assert (await until_expired(store, "link")).expired
    assert await store.get("name") == b"content"


async def test_another_ttl_keeps_what_other_clients_have_written(
    store: ObjectStore, backend: Backend
) -> None:
    info = await store.put("name", b"content")
    subject = wire.metadata_subject(backend.bucket, "name")
    body = (await raw_metadata(backend))[subject] | {"theirs": [1]}
    await backend.publish_metadata(
        subject, wire.metadata_json(info, body), expected_sequence=info.revision
    )

    await store.update_meta("name", ttl=HOUR)

    assert (await raw_metadata(backend))[subject]["theirs"] == [1]


async def test_another_ttl_of_a_version_that_is_replaced_meanwhile(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    info = await store.put("name", b"old")

    async def replace() -> None:
        await ObjectStore.on(backend).put("name", b"new")

    spy.before["publish_metadata"] = replace
    with pytest.raises(RevisionMismatchError):
        await soon(store.update_meta("name", mode=info, ttl=HOUR))
    spy.before["publish_metadata"] = replace
    new = await soon(store.update_meta("name", ttl=HOUR))

    assert new.expires is not None
    assert await store.get("name") == b"new"


@pytest.mark.parametrize(
    "given, said",
    [
        ({}, "new metadata, a ttl, or both"),
        ({"meta": ObjectMeta(name="other"), "ttl": 5}, "rename it first"),
    ],
)
async def test_an_update_that_says_nothing_or_too_much_is_refused(
    store: ObjectStore, given: dict[str, Any], said: str
) -> None:
    await store.put("name", b"content")
    with pytest.raises(InvalidOptionError, match=said):
        await store.update_meta("name", **given)


# --- transactions


async def test_a_put_in_a_transaction_lives_from_its_end(store: ObjectStore) -> None:
    async with store.transaction() as tx:
        await tx.put("name", b"content", ttl=1)
        await tx.rename("name", "moved")
        await tx.put("stays", b"2")

    info = tx.committed["moved"]
    assert info.mtime is not None
    assert info.expires == info.mtime + SECOND
    assert tx.committed["stays"].expires is None
    assert (await until_expired(store, "moved")).expired
    assert [one.name for one in await store.list()] == ["stays"]


async def test_a_transaction_gives_an_object_another_ttl(
    store: ObjectStore, backend: Backend
) -> None:
    await store.put("permanent", b"1", description="old", ttl=MINUTE)
    await store.put("expiring", b"2", description="old")
    await store.add_link("link", "expiring")

    async with store.transaction() as tx:
        kept = await tx.update_meta("permanent", ttl=0)
        await tx.update_meta("expiring", ObjectMeta(description="new"), ttl=HOUR)
        await tx.update_meta("link", ttl=HOUR)
        await tx.put("put here", b"3")
        await tx.update_meta("put here", ttl=HOUR)

    assert (kept.revision, kept.expires) == (0, None)
    lives = {}
    for info in await store.list():
        lives[info.name] = info.expires and info.mtime and info.expires - info.mtime
    assert lives == {"permanent": None, "expiring": HOUR, "link": HOUR, "put here": HOUR}
    assert [await store.get(name) for name in ("permanent", "link", "put here")] == [
        b"1",
        b"2",
        b"3",
    ]
    assert (await store.get_info("permanent")).description == "old"
    assert (await store.get_info("expiring")).description == "new"
    assert await soon(layout(backend)) == {
        "permanent": 1,
        "expiring": 1,
        "link": "link",
        "put here": 1,
    }


async def test_another_ttl_in_a_transaction_is_not_for_what_replaces_the_object(
    store: ObjectStore, backend: Backend
) -> None:
    await store.put("name", b"old")

    async def block() -> None:
        async with store.transaction() as tx:
            await tx.put("other", b"other")
            await tx.update_meta("name", ttl=HOUR)
            await store.put("name", b"newer")

    with pytest.raises(RevisionMismatchError):
        await soon(block())
    assert await store.get("name") == b"newer"
    assert await soon(layout(backend)) == {"name": 1}


async def test_another_ttl_in_a_transaction_is_refused_where_it_cannot_be_kept(
    store: ObjectStore,
) -> None:
    before = await store.put("name", b"old")

    async with store.transaction() as tx:
        for meta, ttl, problem in (
            (None, None, "new metadata, a ttl, or both"),
            (ObjectMeta(name="new"), HOUR, "cannot be given together"),
            (None, 0.5, "less than the bucket allows"),
        ):
            with pytest.raises(InvalidOptionError, match=problem):
                await tx.update_meta("name", meta, ttl=ttl)
        await tx.rename("name", "moved")
        with pytest.raises(InvalidOptionError, match="before the transaction renames it"):
            await tx.update_meta("moved", ttl=HOUR)

    assert tx.committed["moved"].digest == before.digest
    assert tx.committed["moved"].expires is None


async def test_a_transaction_keeps_the_end_of_what_it_changes(store: ObjectStore) -> None:
    info = await stored(await store.put("name", b"content", ttl=HOUR), store)

    async with store.transaction() as tx:
        await tx.update_meta("name", ObjectMeta(description="new"))
        await tx.rename("name", "moved")

    assert tx.committed["moved"].expires == info.expires


async def test_a_copy_of_what_the_transaction_has_put_expires_too(
    store: ObjectStore,
) -> None:
    async with store.transaction() as tx:
        await tx.put("name", b"content", ttl=HOUR)
        await tx.copy("name", "copy")

    copy = tx.committed["copy"]
    assert copy.mtime is not None
    assert copy.expires == copy.mtime + HOUR


# --- chunks


async def test_chunks_live_an_hour_longer_than_metadata(clocked: Clocked) -> None:
    backend = await clocked.backend(object_ttl=MINUTE)
    store = ObjectStore.on(backend)
    info = await store.put("name", b"content", ttl=MINUTE)
    subject = wire.chunk_subject(backend.bucket, info.nuid)

    clocked.pass_by(MINUTE)
    assert not await store.exists("name")
    clocked.pass_by(HOUR - SECOND)
    chunk = await backend.last_message(subject)
    assert chunk is not None
    assert chunk.data == b"content"
    clocked.pass_by(SECOND)
    # What is left is the marker of the chunks, which goes too.
    marker = await backend.last_message(subject)
    assert marker is not None
    assert marker.data == b""
    clocked.pass_by(MINUTE)
    assert await backend.subjects(f"$O.{backend.bucket}.>") == {}


@pytest.fixture
def clocked(bucket_name: str) -> Clocked:
    return Clocked(bucket_name)


async def test_sweep_removes_what_is_left_of_expired_objects(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, object_ttl=3)
    store = ObjectStore.on(backend)
    await store.put("name", b"content", ttl=3)
    gone = await until_expired(store, "name")

    assert await store.sweep(timedelta(0)) == len(b"content")
    assert await store.get_info("name", show_deleted=True) == gone
    assert await store.sweep(timedelta(0), markers_older_than=timedelta(0)) == 0

    assert await backend.subjects(f"$O.{bucket_name}.>") == {}


# --- declaring


async def bound(server: Server, bucket: str, object_ttl: Any, **options: Any) -> Backend:
    config = ObjectStoreConfig(bucket=bucket, object_ttl=object_ttl)
    return await bind_bucket(server, config, **options)


async def test_a_bucket_says_what_its_objects_can_have(
    bench: Bench, store: ObjectStore, plain: Backend
) -> None:
    assert (await store.status()).object_ttl == SECOND
    assert (await ObjectStore.on(plain).status()).object_ttl is None


async def test_object_ttl_is_enabled_by_update_and_never_disabled(
    bench: Bench, plain: Backend
) -> None:
    bucket, server = plain.bucket, bench.server
    store = ObjectStore.on(plain)

    with pytest.raises(
        BucketConfigMismatchError, match=r"object_ttl is off, declared 0:01:00.*update=True"
    ):
        await bound(server, bucket, True)
    assert (await bound(server, bucket, False)).least_ttl == 0
    assert (await bound(server, bucket, None)).least_ttl == 0
    assert (await bound(server, bucket, True, update=True)).least_ttl == 60 * 10**9
    # A store that was there before learns of it.
    assert (await store.put("name", b"1", ttl=MINUTE)).expires is not None
    assert (await bound(server, bucket, 5, update=True)).least_ttl == 5 * 10**9
    with pytest.raises(BucketConfigMismatchError, match=r"declared off.*create it again"):
        await bound(server, bucket, False)
    with pytest.raises(BucketConfigMismatchError, match=r"declared off.*create it again"):
        await bound(server, bucket, False, update=True)
    assert (await store.status()).object_ttl == timedelta(seconds=5)


async def test_all_files_of_a_folder_can_be_put_with_a_ttl(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"a")
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    await soon(store.put_dir(tmp_path, "in/", ttl=HOUR))

    for info in await soon(store.list()):
        assert info.mtime is not None
        assert info.expires == info.mtime + HOUR
    with pytest.raises(InvalidOptionError, match="ttl must be"):
        await soon(store.put_dir(tmp_path, "bad/", ttl=-1))
    # Once, and not for each file.
    with pytest.raises(InvalidOptionError, match=r"'bad/...': a ttl of 0:00:00.5"):
        await soon(store.put_dir(tmp_path, "bad/", ttl=0.5))
    assert {one.name for one in await soon(store.list())} == {"in/small", "in/large"}
