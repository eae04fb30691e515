"""What a review has found: nacks by hand, lost connections, FastAPI, handles that outlive."""

import asyncio
import logging
from typing import Annotated

import pytest
from faststream.nats import NatsBroker, NatsMessage, TestNatsBroker

from faststream_objstore import (
    Bucket,
    Buckets,
    FromBucket,
    NotConnectedError,
    ObjectInfo,
    ObjectStore,
)
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running, soon


async def test_change_given_back_by_hand_comes_again_from_a_new_consumer(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls: Seen[int] = Seen()

    @bucket.on_put(durable="worker")
    async def work(info: ObjectInfo, message: NatsMessage) -> None:
        await calls.add(info.revision)
        if len(calls.all) == 1:
            await message.nack(delay=600)

    async with running(nats_server.url, bucket) as buckets:
        store = await buckets.open(bucket_name)
        info = await store.put("a", b"1")
        assert await calls.wait_for(1) == [info.revision]
        broker = buckets.broker
        assert broker is not None
        await broker.connection.jetstream().delete_consumer(f"OBJ_{bucket_name}", "worker")
        assert await calls.wait_for(2) == [info.revision, info.revision]


async def test_subscriber_says_that_nats_py_has_given_up(
    bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    bucket = Bucket(bucket_name)
    given_up = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "no more changes: nats-py has given up" in record.getMessage():
                given_up.set()

    logger = logging.getLogger(bucket_name)
    logger.addHandler(Listener())

    @bucket.on_put(durable="worker")
    async def work(info: ObjectInfo) -> None:
        raise AssertionError

    async with NatsServer() as server:
        broker = NatsBroker(
            server.url, logger=logger, max_reconnect_attempts=1, reconnect_time_wait=0
        )
        Buckets(broker, bucket)
        await broker.start()
        await server.kill()
        await soon(given_up.wait())
        with pytest.raises(Exception, match="closed"):
            await broker.stop()


@pytest.mark.filterwarnings("ignore:The integration has been moved:DeprecationWarning")
async def test_changes_reach_handlers_on_the_broker_of_a_fastapi_router(
    nats_server: NatsServer, bucket_name: str
) -> None:
    from faststream.nats.fastapi import NatsRouter

    router = NatsRouter(nats_server.url)
    bucket = Bucket(bucket_name)
    calls: Seen[tuple[str, bytes]] = Seen()
    called: Seen[None] = Seen()

    @bucket.on_put("typed")
    async def typed(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket(bucket_name)]
    ) -> None:
        await calls.add((info.name, bytes(await store.get(info))))

    @bucket.on_put("bare")
    async def bare() -> None:
        await called.add(None)

    buckets = Buckets(router.broker, bucket)
    await router.broker.start()
    try:
        store = await buckets.open(bucket_name)
        await store.put("typed", b"1")
        await store.put("bare", b"2")
        assert await calls.wait_for(1) == [("typed", b"1")]
        assert await called.wait_for(1) == [None]
    finally:
        await router.broker.stop()


async def test_handle_that_outlives_its_test_does_not_reach_a_server(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, Bucket(bucket_name))
    async with TestNatsBroker(broker):
        store = await buckets.open(bucket_name)
        await store.put("a", b"test data")

    with pytest.raises(NotConnectedError):
        await store.put("a", b"test data")

    await broker.start()
    try:
        assert await store.list() == []
    finally:
        await broker.stop()
