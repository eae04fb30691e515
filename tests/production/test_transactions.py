"""Writers and leaders that are killed at random, and an invariant between objects that holds.

`OBJSTORE_TRANSACTIONS=2000` makes it a longer run.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Deliver
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import ObjStoreError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.production.cluster import ELECTION_SECONDS, Cluster, cluster
from tests.production.support import ROOT, START_SECONDS
from tests.production.transactor import INDEX, listed, metadata_of
from tests.store.support import DELETED, layout

TRANSACTIONS = int(os.environ.get("OBJSTORE_TRANSACTIONS", "200"))
WRITERS = 4
LIFE_SECONDS = (1.5, 6.0)
# Of the transactions; so each run has some.
LEADER_KILLED_EVERY = 100 if TRANSACTIONS <= 500 else 400
SEED = 18

pytestmark = [pytest.mark.once, pytest.mark.timeout(3600 if TRANSACTIONS > 500 else 240)]


class Writers:
    """Keeps processes running, and kills each after a random while."""

    def __init__(self, urls: list[str], bucket: str) -> None:
        self.killed = 0
        self._urls = urls
        self._bucket = bucket
        self._seeds = iter(range(SEED, 10**9))

    async def run(self) -> None:
        random_ = random.Random(next(self._seeds))
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.production.transactor",
                self._bucket, str(next(self._seeds)), ",".join(self._urls),
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            try:
                assert process.stdout is not None
                ready = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
                # No line where it died of a server that was being killed.
                life = random_.uniform(*LIFE_SECONDS) if ready else 0.0
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(process.wait(), life)
            finally:
                if process.returncode is None:
                    process.kill()
                    self.killed += 1
                await process.wait()


class Follower:
    """Sees each change that is not replaced yet, and checks what is listed when up to date."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.count = 0
        self.checked = 0
        self.grown = asyncio.Condition()

    async def run(self) -> None:
        parts: dict[str, str] = {}
        revision = 0
        contents: dict[str, tuple[str, int]] = {}
        async with self._backend.messages(
            wire.all_metadata_subject(self._backend.bucket),
            deliver=Deliver.LAST_PER_SUBJECT,
            follow=True,
        ) as stream:
            async for message in stream:
                assert message.sequence > revision, "out of order"
                revision = message.sequence
                info, _ = wire.info_of(message, self._backend.bucket)
                if info.name != INDEX:
                    contents.pop(info.name, None)
                    if not info.deleted:
                        contents[info.name] = (info.nuid, info.size)
                    continue
                count, parts = listed(info)
                assert count >= self.count, "a transaction is lost"
                if not message.pending:
                    # Nothing has come since: what is listed is what there is.
                    assert contents.keys() == parts.keys(), f"after transaction {count}"
                    self.checked += 1
                async with self.grown:
                    self.count = count
                    self.grown.notify_all()

    async def until(self, count: int) -> None:
        async with self.grown:
            await self.grown.wait_for(lambda: self.count >= count)


@contextlib.contextmanager
def running(*tasks: "asyncio.Task[None]") -> Iterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def first_of(work: "asyncio.Task[None]", *others: "asyncio.Task[None]") -> None:
    """Wait for some work; what one of the others raises meanwhile is raised."""
    await asyncio.wait({work, *others}, return_when=asyncio.FIRST_COMPLETED)
    for one in (*others, work):
        if one.done():
            one.result()


async def kill_leaders(
    servers: Cluster, client: Client, bucket: str, follower: Follower
) -> None:
    done = LEADER_KILLED_EVERY
    while done < TRANSACTIONS:
        await follower.until(done)
        leader = await servers.stream_leader(client, wire.stream_name(bucket))
        await leader.kill()
        await leader.start()
        done += LEADER_KILLED_EVERY


async def test_an_index_lists_exactly_its_parts_although_writers_and_leaders_are_killed(
    bucket_name: str,
) -> None:
    async with cluster() as servers:
        client = await servers.connect()
        try:
            backend = await created(JetStreamServer(client, timeout=5.0), bucket_name)
            store = ObjectStore.on(backend)
            await store.put(INDEX, "{}", metadata=metadata_of(0, {}))
            follower, writers = Follower(backend), Writers(servers.urls, bucket_name)
            following = asyncio.ensure_future(follower.run())
            killing = asyncio.ensure_future(
                kill_leaders(servers, client, bucket_name, follower)
            )
            writing = [asyncio.ensure_future(writers.run()) for _ in range(WRITERS)]
            with running(following):
                with running(killing, *writing):
                    enough = asyncio.ensure_future(follower.until(TRANSACTIONS))
                    await first_of(enough, following, *writing)
                await asyncio.gather(killing, *writing, return_exceptions=True)
                await servers.settled(client, wire.stream_name(bucket_name))

            await check(store, backend)
            assert follower.count >= TRANSACTIONS
            # Where nothing came in between; that is so for most.
            assert follower.checked > TRANSACTIONS / 10
            print(
                f"{follower.count} transactions, {follower.checked} checked, "
                f"{writers.killed} writers killed"
            )
        finally:
            await client.close()


async def created(server: JetStreamServer, bucket: str) -> Backend:
    """The bucket, once the cluster has a leader that makes it."""
    config = ObjectStoreConfig(bucket=bucket, transactions=True, replicas=3)
    deadline = asyncio.get_running_loop().time() + ELECTION_SECONDS
    while True:
        try:
            return await server.create(bucket, wire.stream_config(config))
        except ObjStoreError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


async def check(store: ObjectStore, backend: Backend) -> None:
    """What is there is what is listed, whole, and nothing else is left after a sweep."""
    _, parts = listed(await store.get_info(INDEX))
    assert await store.get(INDEX) == json.dumps(parts).encode()
    for name, content in parts.items():
        assert await store.get(name) == content.encode()
    await store.sweep(timedelta(0))
    held = {name: one for name, one in (await layout(backend)).items() if one != DELETED}
    # Of 16 bytes in chunks of 7.
    assert {name: one for name, one in held.items() if name != INDEX} == dict.fromkeys(
        parts, 3
    )
