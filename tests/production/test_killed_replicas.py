"""Replicas that share a durable and are killed at random, while objects are put."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.testing import NatsServer
from tests.changes.support import running, soon
from tests.production.support import Journal, Settings, settled, start

pytestmark = pytest.mark.once

# What a larger run turns up.
OBJECTS = 2_000
WRITERS = 4
OVERWRITTEN_EVERY = 10
REPLICAS = 3
WORKERS = 4
HANDLER_SECONDS = 0.04
ACK_WAIT_SECONDS = 3.0
LIFE_SECONDS = (0.3, 2.0)
SEED = 4


class Chaos:
    """Keeps replicas running, and kills each after a random while."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.up = asyncio.Event()
        self.calm = asyncio.Event()
        self.killed: set[int] = set()

    async def run(self, seed: int) -> None:
        random_ = random.Random(seed)
        while True:
            replica = await start(self.settings)
            self.up.set()
            try:
                await asyncio.wait_for(self.calm.wait(), random_.uniform(*LIFE_SECONDS))
                # The last of them handle what is left.
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
    async with running(url, Bucket(bucket)) as buckets:
        store = await buckets.open(bucket)
        mine: list[str] = []
        for number in range(writer, OBJECTS, WRITERS):
            name = f"{writer}/{number:05}"
            newest[name] = (await store.put(name, name.encode())).revision
            mine.append(name)
            if len(mine) % OVERWRITTEN_EVERY == 0:
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
    record_property: Callable[[str, object], None],
) -> None:
    url = nats_server.url
    journal = Journal(tmp_path / "journal")
    settings = Settings(
        url=url, bucket=bucket_name, journal=str(journal.path),
        workers=WORKERS, seconds=HANDLER_SECONDS, ack_wait=ACK_WAIT_SECONDS,
    )  # fmt: skip
    newest: dict[str, int] = {}
    async with running(url, Bucket(bucket_name)):
        pass

    chaos = Chaos(settings)
    lives = [asyncio.create_task(chaos.run(SEED + number)) for number in range(REPLICAS)]
    try:
        # A durable begins when it is first made.
        await soon(chaos.up.wait())
        await asyncio.gather(
            *(
                put_share(url, bucket_name, writer, newest, journal)
                for writer in range(WRITERS)
            )
        )
        chaos.calm.set()
        await journal.wait_until(lambda one: newest.items() <= one.versions())
        await settled(nats_client, bucket_name, "worker-0")
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

    calls: dict[tuple[str, int], list[int]] = defaultdict(list)
    for entry in journal.entries("begun"):
        calls[entry.name, entry.revision].append(entry.pid)
    again = {version: pids for version, pids in calls.items() if len(pids) > 1}
    figures = {
        "objects": len(newest),
        "versions handled": len(journal.versions()),
        "replicas killed": len(chaos.killed),
        "called again": sum(len(pids) - 1 for pids in again.values()),
        "done twice": len(journal.entries()) - len(journal.versions()),
    }
    print(figures)
    record_property("figures", figures)

    assert len(newest) == OBJECTS
    assert newest.items() <= journal.versions()
    assert len(chaos.killed) >= REPLICAS
    # A handler is called again only where the process of the call before was killed.
    unexplained = {
        version: pids for version, pids in again.items() if not set(pids[:-1]) <= chaos.killed
    }
    assert unexplained == {}
