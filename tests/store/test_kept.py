"""keep_replaced: replaced versions stay for a while, and then they go."""

import json
from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import ObjectChangedError, ObjectNotFoundError
from faststream_objstore.models import ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import Audit, Bench, body_of, eventually, soon, spied

HOUR = timedelta(hours=1)
NOW = timedelta(0)
OLD, NEW = b"old content", b"new content"


@pytest.fixture
async def backend(create_bucket: CreateBucket, bucket_name: str, audit: Audit) -> Backend:
    audit.orphans = True
    return await create_bucket(bucket_name, keep_replaced=HOUR)


async def nuids(backend: Backend) -> set[str]:
    """The versions whose chunks are there."""
    found = await backend.subjects(f"$O.{backend.bucket}.C.>")
    return {subject.rpartition(".")[2] for subject in found}


class Clocked:
    """A bucket in memory whose server's clock the test sets."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.now = 1_800_000_000_000_000_000
        self.server = MemoryServer(clock=lambda: self.now)

    async def backend(self, **options: Any) -> Backend:
        config = ObjectStoreConfig(bucket=self.bucket, **options)
        return await self.server.create(self.bucket, wire.stream_config(config))

    def pass_by(self, time: timedelta) -> None:
        self.now += time // timedelta(microseconds=1) * 1000


@pytest.fixture
def clocked(bucket_name: str) -> Clocked:
    return Clocked(bucket_name)


async def test_a_reader_that_is_under_way_finishes_while_the_object_is_replaced(
    store: ObjectStore,
) -> None:
    await soon(store.put("name", OLD, chunk_size=2))
    async with store.open("name") as reader:
        begun = await soon(reader.read(2))
        await soon(store.put("name", NEW, chunk_size=2))

        assert begun + await soon(reader.read()) == OLD
    assert await soon(store.get("name")) == NEW


async def test_a_reader_that_is_under_way_finishes_while_the_object_is_deleted(
    store: ObjectStore,
) -> None:
    await soon(store.put("name", OLD, chunk_size=2))
    async with store.open("name") as reader:
        begun = await soon(reader.read(2))
        await soon(store.delete("name"))

        assert begun + await soon(reader.read()) == OLD
    assert not await soon(store.exists("name"))


async def test_a_replaced_version_is_read_by_its_info(store: ObjectStore) -> None:
    versions = [await soon(store.put("name", f"{n}".encode() * 9)) for n in range(5)]
    await soon(store.delete("name"))

    for number, info in enumerate(versions):
        assert await soon(store.get(info)) == f"{number}".encode() * 9
        assert await soon(store.get_range(info, 1, 3)) == f"{number}".encode() * 2
    await soon(store.copy(versions[1], "back"))
    assert await soon(store.get("back")) == b"111111111"


async def test_without_it_nothing_is_kept_and_nothing_is_asked_or_noted(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name)
    store, spy = spied(backend)
    old = await soon(store.put("name", OLD))
    spy.calls.clear()
    new = await soon(store.put("name", NEW))

    assert spy.calls == ["last_message", "publish_metadata", "purge", "announce"]
    assert "replaced" not in json.loads(await body_of(backend, "name"))
    assert await nuids(backend) == {new.nuid}
    with pytest.raises(ObjectChangedError):
        await soon(store.get(old))


async def test_with_it_a_put_asks_no_more_than_without(backend: Backend) -> None:
    store, spy = spied(backend)
    await soon(store.put("name", OLD))
    spy.calls.clear()
    await soon(store.put("name", NEW))

    assert spy.calls == ["last_message", "publish_metadata", "announce"]


async def test_every_handle_obeys_the_bucket(
    backend: Backend, bench: Bench, bucket_name: str
) -> None:
    old = await soon(ObjectStore.on(backend).put("name", OLD))
    other = ObjectStore.on(await bench.server.open(bucket_name))
    await soon(other.put("name", NEW))

    assert await soon(other.get(old)) == OLD
    assert (await soon(other.status(count=False))).keep_replaced == HOUR
    assert (await soon(other.status(count=False))).metadata == {}


async def test_sweep_keeps_what_is_young_and_removes_what_is_due(clocked: Clocked) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    first = await store.put("name", b"first")
    clocked.pass_by(timedelta(minutes=10))
    second = await store.put("name", b"second")
    clocked.pass_by(timedelta(minutes=40))
    third = await store.put("name", b"third")

    # The first was replaced 59 minutes ago, and then 60.
    clocked.pass_by(timedelta(minutes=19))
    assert await store.sweep(NOW) == 0
    clocked.pass_by(timedelta(minutes=1))
    assert await store.sweep(timedelta(days=365)) == len(b"first")
    assert await nuids(backend) == {second.nuid, third.nuid}
    with pytest.raises(ObjectChangedError):
        await store.get(first)
    assert await store.get(second) == b"second"

    clocked.pass_by(timedelta(minutes=40))
    assert await store.sweep(timedelta(days=365)) == len(b"second")
    assert await nuids(backend) == {third.nuid}
    assert await store.get("name") == b"third"


async def test_the_next_writer_removes_what_is_due(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a crash: nobody else has it in mind.
    monkeypatch.setattr("time.time_ns", lambda: clocked.now)
    backend = await clocked.backend(keep_replaced=HOUR)
    first = await ObjectStore.on(backend).put("name", b"first")
    second = await ObjectStore.on(backend).put("name", b"second")
    clocked.pass_by(timedelta(minutes=61))
    store = ObjectStore.on(await clocked.server.open(clocked.bucket))
    third = await store.put("name", b"third")

    assert await nuids(backend) == {second.nuid, third.nuid}
    clocked.pass_by(timedelta(minutes=61))
    await store.delete("name")
    assert await nuids(backend) == {third.nuid}
    assert first.nuid


async def test_a_writers_clock_that_is_fast_removes_nothing_early(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    old = await store.put("name", OLD)
    await store.put("name", NEW)
    monkeypatch.setattr("time.time_ns", lambda: clocked.now + 2 * 3_600_000_000_000)
    await store.put("name", b"newest")

    assert await store.get(old) == OLD


async def test_the_writer_removes_it_when_its_time_is_over(
    create_bucket: CreateBucket, bucket_name: str, audit: Audit
) -> None:
    audit.orphans = True
    backend = await create_bucket(bucket_name, keep_replaced=0.2)
    store = ObjectStore.on(backend)
    await soon(store.put("name", OLD))
    await soon(store.put("gone", OLD))
    new = await soon(store.put("name", NEW))
    await soon(store.delete("gone"))

    async def only_the_newest() -> bool:
        return await nuids(backend) == {new.nuid}

    await eventually(only_the_newest)
    assert await soon(store.get("name")) == NEW


async def test_at_most_64_versions_are_kept(store: ObjectStore, backend: Backend) -> None:
    versions = [await soon(store.put("name", b"%d" % n)) for n in range(67)]

    # 66 were replaced, and the first two had to go.
    assert await nuids(backend) == {info.nuid for info in versions[2:]}
    assert await soon(store.get(versions[2])) == b"2"
    with pytest.raises(ObjectChangedError):
        await soon(store.get(versions[1]))
    await soon(store.delete("name"))
    assert await nuids(backend) == {info.nuid for info in versions[3:]}


async def test_a_marker_outlives_what_it_notes(clocked: Clocked) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    info = await store.put("name", OLD)
    await store.delete("name")

    clocked.pass_by(timedelta(minutes=59))
    assert await store.sweep(NOW, markers_older_than=NOW) == 0
    assert await store.get(info) == OLD
    assert (await store.get_info("name", show_deleted=True)).deleted
    clocked.pass_by(timedelta(minutes=1))
    assert await store.sweep(NOW, markers_older_than=NOW) == len(OLD)
    with pytest.raises(ObjectNotFoundError):
        await store.get_info("name", show_deleted=True)
    assert await nuids(backend) == set()


@pytest.mark.parametrize(
    "change", ["update", "rename", "deleted then link", "rename onto", "retire"]
)
async def test_notes_survive_changes_of_metadata(clocked: Clocked, change: str) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    old = await store.put("name", OLD)
    clocked.pass_by(timedelta(minutes=10))
    if change == "deleted then link":
        await store.put("target", NEW)
        await store.delete("name")
        clocked.pass_by(timedelta(minutes=10))
        await store.add_link("name", "target")
    elif change == "retire":
        await store.put("other", NEW)
        await store.delete("name")
        clocked.pass_by(timedelta(minutes=10))
        await store.retire("name", lambda _: {"why": "test"})
    elif change == "rename onto":
        await store.delete("name")
        await store.put("other", NEW)
        clocked.pass_by(timedelta(minutes=10))
        await store.rename("other", "name")
    else:
        await store.put("name", NEW)
        clocked.pass_by(timedelta(minutes=10))
        if change == "update":
            await store.update_meta("name", ObjectMeta(description="d"))
        else:
            await store.rename("name", "other")

    # It was replaced 10 minutes ago, and the change of metadata has not renewed that.
    clocked.pass_by(timedelta(minutes=49))
    assert await store.sweep(NOW) == 0
    assert await store.get(old) == OLD
    clocked.pass_by(timedelta(minutes=1))
    assert await store.sweep(timedelta(days=365)) == len(OLD)
    assert len(await nuids(backend)) == 1


async def test_a_moved_object_is_never_taken_for_a_replaced_one(clocked: Clocked) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    await store.put("name", OLD)
    await store.rename("name", "moved")
    await store.put("name", NEW)
    clocked.pass_by(timedelta(hours=2))

    assert await store.sweep(NOW) == 0
    assert await store.get("moved") == OLD
    assert await store.get("name") == NEW


async def test_switched_off_again_the_next_change_and_sweep_remove_what_was_kept(
    clocked: Clocked,
) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    await store.put("swept", OLD)
    swept = await store.put("swept", NEW)
    await store.put("put", OLD)
    await store.put("put", NEW)
    config = (await backend.state()).config
    await clocked.server.update(clocked.bucket, {**config, "metadata": {}})

    last = await store.put("put", b"last")
    assert len(await nuids(backend)) == 3
    assert await store.sweep(timedelta(days=365)) == len(OLD)
    assert await nuids(backend) == {swept.nuid, last.nuid}


async def test_notes_that_do_not_fit_are_left_to_sweep(clocked: Clocked) -> None:
    backend = await clocked.backend(keep_replaced=HOUR)
    store = ObjectStore.on(backend)
    old = await store.put("name", OLD)
    # Just as much metadata as one message holds, with nothing to note.
    full = backend.max_payload - 128 - 300
    await store.put("name", NEW, metadata={"k": "x" * full})
    await store.put("name", NEW, metadata={"k": "x" * full})

    assert await store.delete("name") is True
    assert not await store.exists("name")
    assert await store.get(old) == OLD
    clocked.pass_by(timedelta(hours=2))
    assert await store.sweep(HOUR) == len(OLD) + 2 * len(NEW)


async def test_foreign_notes_harm_nothing(store: ObjectStore, backend: Backend) -> None:
    info = await soon(store.put("name", OLD))
    raw = json.loads(await body_of(backend, "name"))
    for notes in (
        [{"nuid": ">"}, {"nuid": 5}, 7],
        "x",
        {"nuid": info.nuid},
        [{"nuid": info.nuid, "at": 1}],
        [{"nuid": "N", "at": -1}],
    ):
        await soon(
            backend.publish_metadata(
                wire.metadata_subject(backend.bucket, "name"),
                json.dumps(raw | {"replaced": notes}).encode(),
                expected_sequence=(await store.get_info("name")).revision,
            )
        )
        assert await soon(store.get("name")) == OLD
        assert await soon(store.sweep(NOW)) == 0
    await soon(store.put("name", NEW))
    assert await soon(store.get("name")) == NEW
