"""What change subscribers see of a rename, on a server and in memory: no note of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running, soon, store_of
from tests.store.support import spied


async def consumed(client: Client, bucket: str, sequence: int) -> None:
    """Wait until the server has sent a message of the stream to its consumer."""
    jetstream = client.jetstream()
    while True:
        info = await jetstream.consumer_info(f"OBJ_{bucket}", "worker")
        if info.delivered is not None and (info.delivered.stream_seq or 0) >= sequence:
            return
        await asyncio.sleep(0.01)


@pytest.fixture(params=["memory", "jetstream"])
async def store_on(
    request: pytest.FixtureRequest, nats_server: NatsServer, nats_client: Client
) -> Any:
    """A store of a declared bucket; each write waits until the one before was sent to all."""

    @contextlib.asynccontextmanager
    async def opened(bucket: Bucket) -> AsyncIterator[ObjectStore]:
        if request.param == "memory":
            broker = NatsBroker(logger=None)
            buckets = Buckets(broker, bucket)
            async with TestNatsBroker(broker):
                yield await buckets.open(bucket.name)
            return
        async with running(nats_server.url, bucket) as buckets:
            store = await store_of(buckets, bucket)
            backend = await store._source()
            slow, spy = spied(backend)

            async def wait() -> None:
                spy.before["publish_metadata"] = wait
                async with backend.messages(f"$O.{bucket.name}.M.>") as stream:
                    for sequence in [one.sequence async for one in stream][-1:]:
                        await soon(consumed(nats_client, bucket.name, sequence))

            spy.before["publish_metadata"] = wait
            yield slow

    return opened


async def test_a_rename_is_a_put_of_the_new_name_and_a_delete_of_the_old(
    store_on: Any, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    changes: Seen[tuple[str, bool]] = Seen()

    @bucket.on_change(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        await changes.add((info.name, info.deleted))

    async with store_on(bucket) as store:
        await store.put("old", b"content")
        await store.rename("old", "new")
        await store.put("last", b"")
        await changes.wait_until_last(("last", False))

    assert changes.all == [("old", False), ("new", False), ("old", True), ("last", False)]


async def test_a_rename_that_was_broken_off_takes_no_change_away(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        backend = await (await buckets.open(bucket_name))._source()
        store, spy = spied(backend)
        await store.put("old", b"content")

        async def note() -> None:
            spy.before["publish_metadata"] = die

        async def die() -> None:
            raise ConnectionResetError

        spy.before["publish_metadata"] = note
        with pytest.raises(ConnectionResetError):
            await store.rename("old", "new")

    bucket = Bucket(bucket_name)
    changes: Seen[tuple[str, bool]] = Seen()

    # The note has taken the place of the put that nobody had seen yet.
    @bucket.on_put(durable="worker", replay=True)
    async def handle(info: ObjectInfo) -> None:
        await changes.add((info.name, info.deleted))

    async with running(nats_server.url, bucket):
        assert await changes.wait_for(1) == [("old", False)]
