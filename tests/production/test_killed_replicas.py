"""Replicas that share a durable and are killed at random, while objects are put."""

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.testing import NatsServer
from tests.changes.support import running
from tests.production.support import Journal, Settings, left_over, start

# What a larger run turns up.
OBJECTS = 2_000
WRITERS = 4
OVERWRITTEN_EVERY = 10
REPLICAS = 3
WORKERS = 4
HANDLER_SECONDS = 0.04
LIFE_SECONDS = (0.3, 2.0)
SEED = 4


class Chaos:
    """Keeps replicas running, and kills each after a random while."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calm = asyncio.Event()
        self.killed: set[int] = set()

    async def run(self, seed: int) -> None:
        random_ = random.Random(seed)
        while True:
            replica = await start(self.settings)
            try:
                await asyncio.wait_for(self.calm.wait(), random_.uniform(*LIFE_SECONDS))
                # The last one of its line handles what is left.
                await asyncio.Event().wait()
            except asyncio.TimeoutError:
                self.killed.add(replica.pid)
            finally:
                await replica.kill()


async def put_share(
    url: str, bucket: str, writer: int, newest: dict[str, int], journal: Journal
) -> None:
    """Put every fourth object, and some of them once more."""
    random_ = random.Random(SEED + writer)
    async with running(url, Bucket(bucket)) as objstore:
        store = await objstore.object_store(bucket)
        mine: list[str] = []
        for number in range(writer, OBJECTS, WRITERS):
            name = f"{writer}/{number:05}"
            newest[name] = (await store.put(name, name.encode())).revision
            mine.append(name)
            if number % OVERWRITTEN_EVERY < WRITERS:
                again = random_.choice(mine)
                newest[again] = (await store.put(again, b"newer")).revision
            # Not far ahead of the handlers, so that replicas die with work in hand.
            if len(mine) % 50 == 0:
                goal = int(len(newest) * 0.8)
                await journal.wait_until(
                    lambda one, goal=goal: len(one.entries()) >= goal  # type: ignore[misc]
                )


@pytest.mark.timeout(180)
async def test_nothing_is_lost_when_replicas_are_killed(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    tmp_path: Path,
    record_property: pytest.RecordProperty,
) -> None:
    url = nats_server.url
    journal = Journal(tmp_path / "journal")
    settings = Settings(
        url=url, bucket=bucket_name, journal=str(journal.path),
        workers=WORKERS, seconds=HANDLER_SECONDS, ack_wait=2,
    )  # fmt: skip
    newest: dict[str, int] = {}
    async with running(url, Bucket(bucket_name)):
        pass

    chaos = Chaos(settings)
    lives = [asyncio.create_task(chaos.run(SEED + number)) for number in range(REPLICAS)]
    try:
        await asyncio.gather(
            *(
                put_share(url, bucket_name, writer, newest, journal)
                for writer in range(WRITERS)
            )
        )
        chaos.calm.set()
        await journal.wait_until(lambda one: newest.items() <= one.versions())
        while await left_over(nats_client, bucket_name, "worker-0"):
            await asyncio.sleep(0.1)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

    handled: dict[tuple[str, int], list[int]] = defaultdict(list)
    for entry in journal.entries():
        handled[entry.name, entry.revision].append(entry.pid)
    cut_short = len(journal.entries("begun")) - len(journal.entries("done"))
    twice = {version: pids for version, pids in handled.items() if len(pids) > 1}
    figures = {
        "objects": len(newest),
        "versions handled": len(handled),
        "replicas killed": len(chaos.killed),
        "handlers cut short": cut_short,
        "duplicates": sum(len(pids) - 1 for pids in twice.values()),
    }
    print(figures)
    record_property("figures", figures)

    assert len(newest) == OBJECTS
    assert newest.items() <= handled.keys()
    assert len(chaos.killed) >= REPLICAS
    # A version is handled again only where the process that had handled it died before the
    # server had its acknowledgement.
    unexplained = {
        version: pids for version, pids in twice.items() if not set(pids[:-1]) <= chaos.killed
    }
    assert unexplained == {}
    assert max(Counter(map(len, handled.values()))) <= 3
