"""What an operator reads: which handler, which change, which attempt."""

import asyncio
import json
import logging
import time
from typing import Annotated

import pytest
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, LiveObject, ObjectInfo, ObjectStore, Retry
from faststream_objstore.testing import NatsServer
from tests.logs import heard

from .support import Names, soon, store_of

pytestmark = pytest.mark.anyio

LONG_NAME = "a folder/with a name that is longer than ten characters.txt"


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "the broker's" and text in record.getMessage()
    ]


async def test_line_of_a_retry_names_handler_durable_attempt_and_object(
    nats_server: NatsServer, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(durable="worker", retry=Retry(attempts=3, delays=(0.01,)))
    async def make_thumbnail(info: ObjectInfo) -> None:
        await calls.take(info)
        if len(calls.all) < 3:
            raise ValueError("no image")

    broker = NatsBroker(nats_server.url, logger=logging.getLogger("the broker's"))
    buckets = Buckets(broker, bucket)
    await soon(broker.start())
    try:
        await (await store_of(buckets, bucket)).put(LONG_NAME, b"")
        await calls.wait_for(3)
    finally:
        await soon(broker.stop())
    first, second = lines(caplog, "retrying in")
    for line, attempt in ((first, "attempt 1 of 3"), (second, "attempt 2 of 3")):
        assert "MakeThumbnail" in line or "make_thumbnail" in line
        assert repr(LONG_NAME) in line
        assert "durable 'worker'" in line
        assert attempt in line
        assert "ValueError: no image" in line


async def test_handler_that_blocks_the_event_loop_is_named_in_a_warning(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(durable="worker", ack_wait=0.3)
    async def block(info: ObjectInfo) -> None:
        # What is tested: nothing else runs in this thread meanwhile.
        time.sleep(1)  # noqa: ASYNC251
        await calls.take(info)

    broker = NatsBroker(nats_server.url, logger=logging.getLogger("the broker's"))
    buckets = Buckets(broker, bucket)
    await soon(broker.start())
    try:
        with heard("the broker's") as said:
            await (await store_of(buckets, bucket)).put("a", b"")
            await calls.wait_for(1)
            warning = await said.wait_for("event loop was blocked")
    finally:
        await soon(broker.stop())
    assert "block" in warning.lower()
    assert "ack_wait is 0.3 s" in warning
    assert "asyncio.to_thread" in warning


async def test_live_object_that_does_not_load_is_told_to_the_brokers_logger(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=logging.getLogger("the broker's"))
    buckets = Buckets(broker, bucket)

    @broker.subscriber(bucket_name)
    async def handle(
        body: str,
        limits: Annotated[
            dict[str, int] | None,
            LiveObject(bucket_name, "limits.json", load=json.loads, required=False),
        ],
    ) -> None: ...

    await soon(broker.start())
    try:
        with heard("the broker's") as said:
            await (await store_of(buckets, bucket)).put("limits.json", b"no JSON")
            assert "'limits.json'" in await said.wait_for("could not be loaded")
    finally:
        await soon(broker.stop())


async def test_listing_and_sweeping_are_told_to_the_brokers_logger(
    nats_server: NatsServer, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=logging.getLogger("the broker's"))
    buckets = Buckets(broker, bucket)
    await soon(broker.start())
    try:
        store = await store_of(buckets, bucket)
        # What is no metadata, under the name "a"; and under no name.
        await broker.publish(b"[]", f"$O.{bucket_name}.M.YQ==")
        await broker.publish(b"{}", f"$O.{bucket_name}.M.!!!")
        await until_stored(store, 2)
        assert await soon(store.list()) == []
        await soon(store.put("a", b""))
        await soon(store.sweep())
    finally:
        await soon(broker.stop())
    assert len(lines(caplog, "It is skipped")) == 2
    assert len(lines(caplog, "1 metadata messages are no object's")) == 1
    assert [one for one in caplog.records if one.name == "faststream_objstore"] == []


async def until_stored(store: ObjectStore, messages: int) -> None:
    backend = await store._source()

    async def wait() -> None:
        while len(await backend.subjects(f"$O.{store.bucket}.M.>")) < messages:
            await asyncio.sleep(0.01)

    await soon(wait())
