"""A cluster of three servers that loses the leader of the bucket's stream."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import ObjStoreError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running
from tests.production.cluster import SIZE, Cluster, cluster

pytestmark = pytest.mark.once

# What a larger run turns up.
PUTS_BETWEEN_KILLS = 100
WRITERS = 4
SIZE_BYTES, CHUNK_BYTES = 20_000, 8_000
HANDLER_SECONDS = 0.02
# Writers do not run away from as many handlers: what they leave has to be handled in the end.
PUT_SECONDS = HANDLER_SECONDS
LIMIT = 60.0


class Writer:
    """Puts objects one after the other, whatever happens to the servers."""

    def __init__(self, number: int, store: ObjectStore) -> None:
        self.number = number
        self.acknowledged: dict[str, ObjectInfo] = {}
        self.refused = 0
        self._store = store
        self._content = random.Random(number).randbytes(SIZE_BYTES)

    async def run(self) -> None:
        while True:
            name = f"{self.number}/{len(self.acknowledged) + self.refused}"
            try:
                self.acknowledged[name] = await self._store.put(
                    name, self._content, chunk_size=CHUNK_BYTES
                )
            except ObjStoreError:
                self.refused += 1
            await asyncio.sleep(PUT_SECONDS)


async def reach(holds: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT
    while not holds():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost_with_the_leader(
    bucket_name: str, record_property: Callable[[str, object], None]
) -> None:
    stream = f"OBJ_{bucket_name}"
    handled: Seen[tuple[str, int]] = Seen()

    async def handle(info: ObjectInfo) -> None:
        # The duration of the work: the leader is killed while it is done.
        await asyncio.sleep(HANDLER_SECONDS)
        await handled.add((info.name, info.revision))

    def declared() -> Bucket:
        bucket = Bucket(bucket_name, replicas=SIZE)
        bucket.on_put(durable="worker", max_workers=4, ack_wait=5)(handle)
        return bucket

    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(cluster())
        client = await servers.connect()
        stack.push_async_callback(client.close)
        await ready(servers, client)

        def service(
            bucket: Bucket, *first: NatsServer
        ) -> AbstractAsyncContextManager[Buckets]:
            others = [one for one in servers.servers.values() if one not in first]
            return running(
                [one.url for one in (*first, *others)], bucket,
                dont_randomize=True, reconnect_time_wait=0.1, max_reconnect_attempts=-1,
            )  # fmt: skip

        writing = await stack.enter_async_context(service(Bucket(bucket_name, replicas=SIZE)))
        # It begins now, before the first put.
        async with service(declared()):
            pass
        store = await writing.object_store(bucket_name)
        writers = [Writer(number, store) for number in range(WRITERS)]

        def count() -> int:
            return sum(len(writer.acknowledged) for writer in writers)

        async def lose(victim: NatsServer) -> tuple[float, float]:
            """Kill a server; seconds until puts, and handlers, go on."""
            goal, some = count() + PUTS_BETWEEN_KILLS, len(handled.all)
            await reach(lambda: count() >= goal and len(handled.all) > some)
            await victim.kill()
            began = asyncio.get_running_loop().time()
            # In hand, or answered before the server died.
            slack = 2 * WRITERS
            put, done = count() + slack, len(handled.all) + slack
            await reach(lambda: count() > put)
            putting = asyncio.get_running_loop().time() - began
            await reach(lambda: len(handled.all) > done)
            handling = asyncio.get_running_loop().time() - began
            await victim.start()
            await servers.settled(client, stream)
            return round(putting, 1), round(handling, 1)

        tasks = [asyncio.create_task(writer.run()) for writer in writers]
        try:
            # The connection of the handlers goes with the leader of the stream.
            victim = await servers.stream_leader(client, stream)
            async with service(declared(), victim):
                first = await lose(victim)
            # It stays, and nothing comes over it any more.
            victim = await servers.consumer_leader(client, stream, "worker")
            [away, *_] = [one for one in servers.servers.values() if one is not victim]
            async with service(declared(), away):
                second = await lose(victim)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        acknowledged = {
            (info.name, info.revision)
            for writer in writers
            for info in writer.acknowledged.values()
        }
        async with service(declared()):
            await reach(lambda: acknowledged <= set(handled.all))
        for writer in writers:
            for name, info in writer.acknowledged.items():
                assert (await store.get(name)).info.nuid == info.nuid

    figures = {
        "acknowledged": len(acknowledged),
        "refused": sum(writer.refused for writer in writers),
        "duplicates": len(handled.all) - len(set(handled.all)),
        "seconds until puts and handlers went on": (first, second),
    }
    print(figures)
    record_property("figures", figures)


async def ready(servers: Cluster, client: Client) -> None:
    """Wait until the cluster takes requests: its first election."""
    deadline = asyncio.get_running_loop().time() + LIMIT
    while True:
        try:
            await client.jetstream().account_info()
        except nats.errors.Error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
