"""Results of sources that are changed all the time, while the replicas are killed.

`RESULTS=300,3000,10` runs it with 300 sources, 3,000 operations and ten seeds.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import ObjectAlreadyExists, ObjectNotFoundError
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import running
from tests.production.result_replica import DURABLE, made_of
from tests.production.support import ROOT, Replica, left_over

pytestmark = pytest.mark.once

# What a larger run turns up.
SOURCES, OPERATIONS, SEEDS = map(int, os.environ.get("RESULTS", "40,500,1").split(","))
REPLICAS = 3
WRITERS = 4
LIFE_SECONDS = (0.05, 1.0)
HANDLER_SECONDS = 0.03
PAUSE_SECONDS = 0.06
"""Between a writer's operations: kills are to happen among them, whatever the machine."""
LIMIT_SECONDS = 120.0


async def replica(settings: str) -> Replica:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.production.result_replica", settings,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    one = Replica(process)
    try:
        await one.ready()
    except BaseException:
        await one.kill()
        raise
    return one


class Chaos:
    """Keeps a replica running, and kills it with SIGKILL after each random while."""

    def __init__(self, settings: str) -> None:
        self._settings = settings
        self.calm = asyncio.Event()
        self.up = asyncio.Event()
        self.kills = 0

    async def run(self, random_: random.Random) -> None:
        while True:
            one = await replica(self._settings)
            self.up.set()
            try:
                await asyncio.wait_for(self.calm.wait(), random_.uniform(*LIFE_SECONDS))
                # The last ones handle what is left.
                await asyncio.Event().wait()
            except asyncio.TimeoutError:
                self.kills += 1
            finally:
                await one.kill()


async def change_sources(
    store: ObjectStore, random_: random.Random, done: Counter[str]
) -> None:
    """Put, overwrite, delete and rename them at random."""
    for number in range(OPERATIONS // WRITERS):
        operation = random_.choices(["put", "delete", "rename"], [6, 2, 2])[0]
        # Renamed sources need names that are free.
        name = f"{random_.randrange(SOURCES if operation == 'put' else SOURCES * 2):03}.src"
        try:
            if operation == "put":
                await store.put(name, random_.randbytes(40) + b"%d" % number)
            elif operation == "delete":
                await store.delete(name)
            else:
                await store.rename(name, f"{random_.randrange(SOURCES * 2):03}.src")
            done[operation] += 1
        except (ObjectNotFoundError, ObjectAlreadyExists):
            done["in vain"] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def nothing_left(client: Client, bucket: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_SECONDS
    while left := await left_over(client, bucket, DURABLE):
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.1)


async def orphans(store: ObjectStore) -> int:
    """Versions whose chunks no object refers to."""
    backend = await store._source()
    subjects = await backend.subjects(f"$O.{store.bucket}.C.>")
    live = {f"$O.{store.bucket}.C.{info.nuid}" for info in await store.list()}
    assert live <= set(subjects)
    return len(set(subjects) - live - {wire.anchor_subject(store.bucket)})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_there_is_one_result_for_each_live_source_and_it_is_of_its_newest_revision(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    seed: int,
    record_property: Callable[[str, object], None],
) -> None:
    declared = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")
    settings = json.dumps(
        {
            "url": nats_server.url,
            "sources": declared[0].name,
            "results": declared[1].name,
            "seconds": HANDLER_SECONDS,
        }
    )
    chaos = Chaos(settings)
    done: Counter[str] = Counter()
    async with running(nats_server.url, *declared) as buckets:
        sources, results = [await buckets.open(bucket) for bucket in declared]
        keepers = [
            asyncio.create_task(chaos.run(random.Random(f"{seed} {number}")))
            for number in range(REPLICAS)
        ]
        try:
            # A durable begins with what comes after it was made.
            await asyncio.wait_for(chaos.up.wait(), LIMIT_SECONDS)
            await asyncio.gather(
                *(
                    change_sources(sources, random.Random(f"{seed} w{number}"), done)
                    for number in range(WRITERS)
                )
            )
            chaos.calm.set()
            await nothing_left(nats_client, sources.bucket)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

        live = {info.name: info for info in await sources.list()}
        made = {info.name: info for info in await results.list()}
        assert sorted(made) == sorted(name.replace(".src", ".out") for name in live)
        for name, source in live.items():
            result = made[name.replace(".src", ".out")]
            assert result.source is not None
            assert (result.source.name, result.source.revision) == (name, source.revision)
            assert await results.get(result) == made_of(await sources.get(source))
        assert await orphans(sources) == 0
        # What a killed process was sending is nobody's; nothing else is left.
        left = await orphans(results)
        assert left <= chaos.kills * 4
        await results.sweep(timedelta(0))
        assert await orphans(results) == 0

    assert chaos.kills > 0
    record_property("operations", dict(done))
    record_property("live", len(live))
    record_property("kills", chaos.kills)
    record_property("left by killed replicas", left)
