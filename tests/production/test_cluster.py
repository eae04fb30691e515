"""A cluster of three servers that loses the leader of the bucket's stream."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.errors import ObjStoreError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.changes.support import Seen, running
from tests.production.cluster import SIZE, Cluster, cluster

# What a larger run turns up.
PUTS_BETWEEN_KILLS = 100
KILLS = 2
WRITERS = 4
SIZE_BYTES = 200_000
HANDLER_SECONDS = 0.02
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
                self.acknowledged[name] = await self._store.put(name, self._content)
            except ObjStoreError:
                self.refused += 1


async def reach(holds: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT
    while not holds():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost_with_the_leader(
    bucket_name: str, record_property: Callable[[str, object], None]
) -> None:
    bucket = Bucket(bucket_name, replicas=SIZE)
    handled: Seen[tuple[str, int]] = Seen()

    @bucket.on_put(durable="worker", max_workers=4, ack_wait=5)
    async def handle(info: ObjectInfo) -> None:
        # The duration of the work: the leader is killed while it is done.
        await asyncio.sleep(HANDLER_SECONDS)
        await handled.add((info.name, info.revision))

    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(cluster())
        client = await servers.connect()
        stack.push_async_callback(client.close)
        await ready(servers, client)
        objstore = await stack.enter_async_context(
            running(servers.urls, bucket, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
        )
        store = await objstore.object_store(bucket_name)
        writers = [Writer(number, store) for number in range(WRITERS)]

        def count() -> int:
            return sum(len(writer.acknowledged) for writer in writers)

        tasks = [asyncio.create_task(writer.run()) for writer in writers]
        putting: list[float] = []
        handling: list[float] = []
        try:
            for _ in range(KILLS):
                goal = count() + PUTS_BETWEEN_KILLS
                await reach(lambda goal=goal: count() >= goal)  # type: ignore[misc]
                assert len(handled.all) > 0
                victim = await servers.kill_leader(client, f"OBJ_{bucket_name}")
                began = asyncio.get_running_loop().time()
                put, done = count(), len(handled.all)
                # In hand, or already answered by the old leader.
                slack = 2 * WRITERS
                await reach(
                    lambda put=put, slack=slack: count() > put + slack  # type: ignore[misc]
                )
                putting.append(round(asyncio.get_running_loop().time() - began, 1))
                await reach(
                    lambda done=done, slack=slack: (  # type: ignore[misc]
                        len(handled.all) > done + slack
                    )
                )
                handling.append(round(asyncio.get_running_loop().time() - began, 1))
                await victim.start()
                await servers.settled(client, f"OBJ_{bucket_name}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        acknowledged = {
            (info.name, info.revision)
            for writer in writers
            for info in writer.acknowledged.values()
        }
        await reach(lambda: acknowledged <= set(handled.all))
        for writer in writers:
            for name, info in writer.acknowledged.items():
                assert (await store.get(name)).info.nuid == info.nuid

    figures = {
        "leaders killed": KILLS,
        "acknowledged": len(acknowledged),
        "refused": sum(writer.refused for writer in writers),
        "duplicates": len(handled.all) - len(set(handled.all)),
        "seconds until puts went on": putting,
        "seconds until handlers went on": handling,
    }
    print(figures)
    record_property("figures", figures)
    assert len(handling) == KILLS


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
