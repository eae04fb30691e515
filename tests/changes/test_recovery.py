"""What change subscribers survive: restarts, lost consumers, recreated buckets, crashes."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import LIMIT, Names, Seen, consumers_of, running, soon, store_of


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_deleted_consumer_resumes_after_the_last_change(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, durable: str | None
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable=durable)(calls.take)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("before", b"")
        await calls.wait_for(1)
        [consumer] = await consumers_of(nats_client, bucket_name)
        await nats_client.jetstream().delete_consumer(f"OBJ_{bucket_name}", consumer)
        await store.put("while it is gone", b"")
        await calls.wait_for(2)
        await store.put("after", b"")
        await calls.wait_until_last("after")

    assert calls.all == ["before", "while it is gone", "after"]


async def test_change_in_work_is_not_lost_with_its_consumer(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls: Seen[str] = Seen()
    deleted = asyncio.Event()

    @bucket.on_put(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        await calls.add(info.name)
        if len(calls.all) == 1:
            await soon(deleted.wait())
            raise OSError("its negative acknowledgement goes nowhere")

    async with running(nats_server.url, bucket) as buckets:
        await (await store_of(buckets, bucket)).put("a", b"")
        await calls.wait_for(1)
        await nats_client.jetstream().delete_consumer(f"OBJ_{bucket_name}", "worker")
        deleted.set()
        assert await calls.wait_for(2) == ["a", "a"]


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_recreated_bucket_starts_from_its_first_change(
    nats_server: NatsServer, bucket_name: str, durable: str | None
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable=durable)(calls.take)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("old", b"")
        await calls.wait_for(1)
        await buckets.delete_bucket(bucket_name)
        await buckets.create(bucket_name)
        for number in range(3):
            await store.put(str(number), b"")
        await calls.wait_for(4)

    assert calls.all == ["old", "0", "1", "2"]


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_change_of_a_recreated_bucket_is_not_taken_for_the_one_in_work(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, durable: str | None
) -> None:
    bucket = Bucket(bucket_name)
    calls: Seen[tuple[str, int]] = Seen()
    release = asyncio.Event()

    @bucket.on_put(durable=durable, max_workers=2)
    async def handle(info: ObjectInfo) -> None:
        await calls.add((info.name, info.revision))
        if info.name == "old":
            await soon(release.wait())

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("old", b"")
        await calls.wait_for(1)
        await buckets.delete_bucket(bucket_name)
        await buckets.create(bucket_name)
        await soon(followed(nats_client, bucket_name))
        await store.put("new", b"")
        await soon(delivered(nats_client, bucket_name))
        release.set()
        await calls.wait_for(2)
        await store.put("last", b"")
        await calls.wait_for(3)

    # Sequences of the new stream begin with 1, too, which is the anchor's.
    assert calls.all == [("old", 2), ("new", 2), ("last", 3)]


async def followed(client: Client, bucket: str) -> None:
    """Wait until a stream has a consumer."""
    while not await client.jetstream().consumers_info(f"OBJ_{bucket}"):
        await asyncio.sleep(0.05)


async def delivered(client: Client, bucket: str) -> None:
    """Wait until the server has sent a change to a consumer."""
    while True:
        infos = await client.jetstream().consumers_info(f"OBJ_{bucket}")
        if any(info.delivered and info.delivered.consumer_seq for info in infos):
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_subscriber_survives_a_server_restart(
    bucket_name: str, durable: str | None
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable=durable)(calls.take)

    async with (
        NatsServer() as server,
        running(server.url, bucket, reconnect_time_wait=0.05) as buckets,
    ):
        store = await store_of(buckets, bucket)
        await store.put("before", b"")
        await calls.wait_for(1)
        await server.stop()
        await server.start()
        async with running(server.url, Bucket(bucket_name)) as other:
            await (await other.open(bucket_name)).put("after", b"")
        await calls.wait_until_last("after")

    assert calls.all == ["before", "after"]


async def test_subscriber_stops_while_the_server_is_away(bucket_name: str) -> None:
    bucket = Bucket(bucket_name)
    subscriber = bucket.on_put()
    subscriber(Names().take)
    async with (
        NatsServer() as server,
        running(server.url, bucket, reconnect_time_wait=0.05),
    ):
        await server.stop()
        await soon(subscriber.stop())
        left = [
            task for task in asyncio.all_tasks() if task.get_name().startswith(bucket_name)
        ]
        # nats-py refuses to close a connection that is reconnecting.
        await server.start()
        assert await soon(is_back(bucket))
    assert left == []


async def is_back(bucket: Bucket) -> bool:
    assert bucket.attachment is not None
    assert bucket.attachment.broker is not None
    return await bucket.attachment.broker.ping(LIMIT)


async def test_stopped_broker_leaves_no_task_and_no_consumer(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    # The test's own client keeps a task once it has asked for anything.
    await nats_client.jetstream().account_info()
    before = asyncio.all_tasks()
    bucket = Bucket(bucket_name)
    for _ in range(3):
        bucket.on_put()(Names().take)
    async with running(nats_server.url, bucket):
        assert len(await consumers_of(nats_client, bucket_name)) == 3

    assert await consumers_of(nats_client, bucket_name) == []
    assert asyncio.all_tasks() - before == set()


REPLICA = """
import asyncio, sys
from faststream import FastStream
from faststream.nats import NatsBroker
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo

url, name, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
bucket = Bucket(name)
broker = NatsBroker(url, logger=None)
buckets = Buckets(broker, bucket)
app = FastStream(broker, logger=None)

@bucket.on_put(durable="worker", max_workers=2, ack_wait=1)
async def handle(info: ObjectInfo) -> None:
    await asyncio.sleep(pause)
    print(info.name, flush=True)

@app.after_startup
async def ready() -> None:
    print("ready", flush=True)

asyncio.run(app.run())
"""


class Replica:
    """A service in a process of its own, and the names that it has handled."""

    def __init__(self, process: asyncio.subprocess.Process, names: Names) -> None:
        self.process = process
        self.handled: list[str] = []
        self._names = names
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> None:
        assert self.process.stdout is not None
        assert await soon(self.process.stdout.readline()) == b"ready\n"
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.handled.append(line.decode().strip())
            await self._names.add(self.handled[-1])

    async def end(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
        await soon(self.process.wait())
        if self._reading is not None:
            await soon(self._reading)


@contextlib.asynccontextmanager
async def replicas(
    url: str, bucket: str, names: Names, *, pause: float = 0.0
) -> AsyncIterator[list[Replica]]:
    root = str(Path(__file__).parents[2])
    started: list[Replica] = []
    try:
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", REPLICA, url, bucket, str(pause),
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": root},
            )  # fmt: skip
            started.append(Replica(process, names))
        for replica in started:
            await replica.read()
        yield started
    finally:
        for replica in started:
            await replica.end(signal.SIGTERM)


async def test_two_processes_share_a_durable(
    nats_server: NatsServer, bucket_name: str
) -> None:
    names = Names()
    expected = sorted(f"{number:03}" for number in range(200))
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        store = await buckets.open(bucket_name)
        async with replicas(nats_server.url, bucket_name, names, pause=0.005) as both:
            for name in expected:
                await store.put(name, b"")
            await names.wait_for(200)
        assert sorted(names.all) == expected
        assert all(replica.handled for replica in both)

        # Up to date: a restart replays nothing.
        again = Names()
        async with replicas(nats_server.url, bucket_name, again):
            await store.put("new", b"")
            await again.wait_until_last("new")
        assert again.all == ["new"]


async def test_killed_process_loses_nothing(nats_server: NatsServer, bucket_name: str) -> None:
    names = Names()
    expected = {f"{number:03}" for number in range(200)}
    async with (
        running(nats_server.url, Bucket(bucket_name)) as buckets,
        replicas(nats_server.url, bucket_name, names, pause=0.01) as (victim, _),
    ):
        store = await buckets.open(bucket_name)
        for name in sorted(expected):
            await store.put(name, b"")
        while len(victim.handled) < 5:
            await names.wait_for(len(names.all) + 1)
        await victim.end(signal.SIGKILL)
        deadline = asyncio.get_running_loop().time() + LIMIT
        while set(names.all) != expected:
            assert asyncio.get_running_loop().time() < deadline
            await names.wait_for(len(names.all) + 1)

    # What the victim held was begun, and perhaps finished, before it died.
    assert len(names.all) - len(expected) <= 2
