"""What observers are told, on a real server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore import Bucket, Buckets, ObjectStore, Retry
from faststream_objstore.exceptions import (
    FeatureNotEnabledError,
    InvalidOptionError,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers import ChangeEvent, Observer, OperationEvent
from faststream_objstore.observers.store import OPERATIONS, ObservedStore
from faststream_objstore.params import FromObject, OpenObject
from faststream_objstore.store.reader import ObjectReader
from faststream_objstore.testing import NatsServer
from tests.changes.support import soon
from tests.observers.support import Recorder


@contextlib.asynccontextmanager
async def observed(
    server: NatsServer, bucket: Bucket, *observers: Observer, **options: Any
) -> AsyncIterator[ObjectStore]:
    broker = NatsBroker(server.url, **{"logger": None, **options})
    buckets = Buckets(broker, bucket, observers=observers)
    try:
        await soon(broker.start())
        yield await soon(buckets.open(bucket))
    finally:
        await soon(broker.stop())


async def test_each_operation_is_told_once_with_its_bytes_and_its_end(
    nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    seen = Recorder()
    file = tmp_path / "in"
    file.write_bytes(b"12345")
    async with observed(nats_server, Bucket(bucket_name), seen) as store:
        await store.put("a", b"x" * 1000, chunk_size=300)
        await store.put_file("b", file)
        await store.get("a")
        with (tmp_path / "out").open("wb") as out:
            await store.get("b", out)
        await store.get_range("a", 10, 30)
        await store.get_file("b", tmp_path / "again")
        async with store.open("a") as reader:
            await reader.read(600)
        await store.exists("nothing")
        await store.copy("a", "c")
        await store.rename("c", "d")
        await store.list()
        async for _ in store.iter():
            pass
        await store.delete("d")
        with pytest.raises(ObjectNotFoundError):
            await store.get("d")
        with contextlib.suppress(Exception):
            await store.put("a", b"", mode="create")
        await store.status()

    assert seen.told() == [
        ("put", "success", 1000),
        ("put_file", "success", 5),
        ("get", "success", 1000),
        ("get", "success", 5),
        ("get_range", "success", 20),
        ("get_file", "success", 5),
        ("open", "success", 600),
        ("get_info", "not_found", 0),
        ("copy", "success", 1000),
        ("rename", "success", 0),
        ("list", "success", 0),
        ("iter", "success", 0),
        ("delete", "success", 0),
        ("get", "not_found", 0),
        ("put", "conflict", 0),
        ("status", "success", 0),
    ]
    assert {one.bucket for one in seen.operations} == {bucket_name}
    assert all(0 < one.seconds < 60 for one in seen.operations)
    assert seen.operations[0].info is not None
    assert seen.operations[0].info.chunks == 4
    assert {operation for operation, _, _ in seen.told()} <= set(OPERATIONS)


async def test_objects_that_are_read_together_are_told_as_if_each_was_read_alone(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    async with observed(nats_server, Bucket(bucket_name), seen) as store:
        for number in range(4):
            await store.put(str(number), b"x" * number)
        await store.put("large", b"x" * 1000, chunk_size=300)
        names = ["1", "large", "2", "0", "3"]
        infos = {info.name: info for info in await store.list()}
        for targets in (names, [infos[name] for name in names]):
            seen.operations.clear()
            assert [len(data) async for data in store.get_many(targets)] == [1, 1000, 2, 0, 3]
            together = {one.info.name: one for one in seen.operations if one.info}
            assert len(seen.operations) == 5

            seen.operations.clear()
            for target in targets:
                await store.get(target)
            for alone in seen.operations:
                assert alone.info is not None
                other = together[alone.info.name]
                assert other.seconds > 0
                assert replace(other, seconds=0) == replace(alone, seconds=0)

        seen.operations.clear()
        with pytest.raises(ObjectNotFoundError):
            _ = [data async for data in store.get_many(["1", "2", "nothing"])]
    assert sorted(seen.told()) == [
        ("get", "not_found", 0),
        ("get", "success", 1),
        ("get", "success", 2),
    ]


async def test_transaction_is_told_once_with_the_content_that_it_stored(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    async with observed(nats_server, Bucket(bucket_name, transactions=True), seen) as store:
        async with store.transaction() as tx:
            await tx.put("a", b"12345")
            await tx.put("b", b"replaced at once")
            await tx.put("b", b"123")
        assert await store.get("b") == b"123"
        with pytest.raises(RuntimeError, match="the block fails"):
            async with store.transaction() as tx:
                await tx.put("c", b"lost")
                raise RuntimeError("the block fails")
        with pytest.raises(RevisionMismatchError):
            async with store.transaction() as tx:
                await tx.put("a", b"1", mode=1)

    assert seen.told() == [
        ("transaction", "success", 8),
        ("get", "success", 3),
        ("transaction", "error", 0),
        ("transaction", "conflict", 0),
    ]


async def test_transaction_that_a_bucket_does_not_have_is_told_as_an_error(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    async with observed(nats_server, Bucket(bucket_name), seen) as store:
        with pytest.raises(FeatureNotEnabledError):
            async with store.transaction():
                pass

    assert seen.told() == [("transaction", "error", 0)]


async def test_marker_that_a_publisher_writes_is_told(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    async with observed(nats_server, Bucket(bucket_name), seen) as store:
        await store.retire("result", lambda _: {"reason": "no source"})

    assert seen.told() == [("retire", "success", 0)]


async def test_cancelled_put_and_a_put_whose_source_fails_are_told(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"a"
        begun.set()
        await asyncio.Event().wait()

    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise OSError("disk")

    async with observed(nats_server, Bucket(bucket_name), seen) as store:
        task = asyncio.create_task(store.put("a", endless()))
        await soon(begun.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match="disk"):
            await store.put("a", failing())

    assert seen.told() == [("put", "cancelled", 0), ("put", "error", 0)]
    assert isinstance(seen.operations[1].error, OSError)


async def test_what_handlers_are_injected_is_told_too(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="reader")
    async def read(
        whole: Annotated[bytes, FromObject()], stream: Annotated[ObjectReader, OpenObject()]
    ) -> None:
        assert await stream.read() == whole

    async with observed(nats_server, bucket, seen) as store:
        await store.put("a", b"12345")
        await seen.wait_for_changes(1)

    told = sorted(seen.told())
    assert told == [("get", "success", 5), ("open", "success", 5), ("put", "success", 5)]


async def test_each_change_is_told_with_what_became_of_it(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put("{user}/*.png", durable="thumbnailer", retry=Retry(2, delays=(0.01,)))
    async def thumbnail(info: ObjectInfo) -> None:
        if "bad" in info.name:
            raise ValueError(info.name)

    async with observed(nats_server, bucket, seen) as store:
        await store.put("ann/good.png", b"")
        await seen.wait_for_changes(1)
        await store.put("ann/bad.png", b"")
        await seen.wait_for_changes(3)
        await store.put("ann/text.txt", b"")
        await seen.wait_for_changes(4)

    assert [(one.durable, one.handler, one.outcome, one.attempts) for one in seen.changes] == [
        ("thumbnailer", "Thumbnail", "handled", 1),
        ("thumbnailer", "Thumbnail", "retried", 1),
        ("thumbnailer", "Thumbnail", "dead_lettered", 2),
        ("thumbnailer", "Thumbnail", "skipped", 1),
    ]
    assert {one.bucket for one in seen.changes} == {bucket_name}
    assert all(0 <= one.lag < 60 for one in seen.changes)
    first = seen.changes[0].info
    assert first is not None
    assert first.name == "ann/good.png"


async def test_lag_is_from_the_put_to_the_handler_not_to_its_end(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)
    ran: list[float] = []

    @bucket.on_put(durable="slow")
    async def slow(info: ObjectInfo) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.5)
        ran.append(asyncio.get_running_loop().time() - began)

    async with observed(nats_server, bucket, seen) as store:
        before = asyncio.get_running_loop().time()
        await store.put("a", b"")
        await seen.wait_for_changes(1)
        elapsed = asyncio.get_running_loop().time() - before

    assert seen.changes[0].lag <= elapsed - ran[0] + 0.05


class Broken:
    """An observer of which nothing works."""

    def operation(self, event: OperationEvent) -> None:
        raise RuntimeError("operation")

    def change(self, event: ChangeEvent) -> None:
        raise RuntimeError("change")

    def scope(self, bucket: str, operation: str) -> Any:
        raise RuntimeError("scope")

    def __repr__(self) -> str:
        return "Broken()"


async def test_observer_that_raises_harms_nothing_and_is_logged_once(
    nats_server: NatsServer, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="one")
    async def handle(info: ObjectInfo) -> None: ...

    logger = logging.getLogger("test_observer")
    with caplog.at_level(logging.ERROR, "test_observer"):
        async with observed(nats_server, bucket, Broken(), seen, logger=logger) as store:
            await store.put("a", b"1")
            assert await store.get("a") == b"1"
            changes = await seen.wait_for_changes(1)

    assert [one.outcome for one in changes] == ["handled"]
    assert seen.told() == [("put", "success", 1), ("get", "success", 1)]
    told = [one.getMessage() for one in caplog.records if "Broken()" in one.getMessage()]
    assert len(told) == 1
    assert "RuntimeError: scope" in told[0]


@pytest.mark.parametrize("wrong", ["prometheus", Recorder, None])
def test_what_is_no_observer_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"operation\(event\) and change\(event\)"):
        Buckets(NatsBroker(), observers=[wrong])


async def test_store_without_observers_is_the_plain_one() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, Bucket("photos"))
    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
    assert type(store) is ObjectStore


async def test_observers_are_told_in_test_mode() -> None:
    seen = Recorder()
    broker = NatsBroker()
    photos = Bucket("photos")
    buckets = Buckets(broker, photos, observers=[seen])

    @photos.on_put(durable="one")
    async def handle(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        store = await buckets.open(photos)
        assert isinstance(store, ObservedStore)
        await store.put("a", b"123")

    assert seen.told() == [("put", "success", 3)]
    assert [(one.durable, one.outcome) for one in seen.changes] == [("one", "handled")]


async def test_failed_handler_is_logged_with_the_whole_name_and_structured_extras(
    nats_server: NatsServer, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="thumbnailer", retry=Retry(2, delays=(0.01,)))
    async def thumbnail(info: ObjectInfo) -> None:
        raise ValueError("no picture")

    name = "ann/2026/holiday/cat-on-the-roof.png"
    logger = logging.getLogger("test_observer")
    with caplog.at_level(logging.INFO, "test_observer"):
        async with observed(nats_server, bucket, seen, logger=logger) as store:
            info = await store.put(name, b"1")
            await seen.wait_for_changes(2)

    failures = [one for one in caplog.records if "no picture" in one.getMessage()]
    # FastStream's own of each attempt, and ours of what is next.
    told = [vars(one) for one in failures if vars(one).get("object")]
    assert len(told) >= 2
    for one in told:
        assert one["bucket"] == bucket_name
        assert one["durable"] == "thumbnailer"
        assert one["handler"] == "Thumbnail"
        assert one["object"] == name
        assert one["revision"] == str(info.revision)
        assert one["subject"] == f"$O.{bucket_name}.M:thumbnailer {name}"
