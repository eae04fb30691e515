"""Services in processes of their own: idle, shared, ended in good order."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.testing import NatsServer
from tests.changes.support import consumers_of, running
from tests.production.support import Journal, Replica, Settings, left_over, settled, started

pytestmark = pytest.mark.once

# What a larger run turns up.
SUBSCRIBERS = 20
IDLE_SECONDS = 4.0
# A busy loop takes all of a core; tracing and a shared machine take some of this.
MAX_IDLE_SHARE = 0.06
"""Of a core. It is there to find loops that spin, which take all of one."""
OBJECTS = 200
ACK_WAIT_SECONDS = 1.0


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def settings(nats_server: NatsServer, bucket_name: str, journal: Journal) -> Settings:
    return Settings(url=nats_server.url, bucket=bucket_name, journal=str(journal.path))


async def idle_share(*replicas: Replica) -> float:
    """Part of a core that the busiest process takes while it is left alone."""
    before = [await replica.cpu_seconds() for replica in replicas]
    # The time itself is what is measured.
    await asyncio.sleep(IDLE_SECONDS)
    used = [
        await replica.cpu_seconds() - one
        for replica, one in zip(replicas, before, strict=True)
    ]
    return max(used) / IDLE_SECONDS


async def test_idle_subscribers_cost_next_to_nothing(
    nats_client: Client,
    settings: Settings,
    journal: Journal,
    record_property: Callable[[str, object], None],
) -> None:
    bucket, stream = settings.bucket, f"OBJ_{settings.bucket}"
    shares: dict[str, float] = {}
    js = nats_client.jetstream()
    settings = replace(settings, subscribers=SUBSCRIBERS)
    async with (
        started(settings) as [shared],
        started(replace(settings, durable=None)) as [broadcast],
    ):
        shares["idle"] = await idle_share(shared, broadcast)

        for consumer in await consumers_of(nats_client, bucket):
            await js.delete_consumer(stream, consumer)
        shares["consumers deleted"] = await idle_share(shared, broadcast)
        async with running(settings.url, Bucket(bucket)) as buckets:
            await (await buckets.open(bucket)).put("a", b"")
        await journal.wait_until(lambda one: len(one.entries()) == 2 * SUBSCRIBERS)

        await js.delete_stream(stream)
        shares["bucket deleted"] = await idle_share(shared, broadcast)
        assert stream not in [info.config.name for info in await js.streams_info()]

    shares = {state: round(share, 4) for state, share in shares.items()}
    print(shares)
    record_property("figures", shares)
    assert {state: share for state, share in shares.items() if share > MAX_IDLE_SHARE} == {}


async def test_long_job_runs_once_though_another_replica_is_free(
    nats_client: Client, settings: Settings, journal: Journal
) -> None:
    settings = replace(settings, ack_wait=ACK_WAIT_SECONDS, seconds=3 * ACK_WAIT_SECONDS)
    async with (
        started(settings, 2),
        running(settings.url, Bucket(settings.bucket)) as buckets,
    ):
        await (await buckets.open(settings.bucket)).put("long", b"")
        await journal.wait_until(lambda one: one.entries())
        await journal.wait_until(lambda one: len(one.entries("begun")) == len(one.entries()))
        await settled(nats_client, settings.bucket, "worker-0")

    assert [entry.name for entry in journal.entries("begun")] == ["long"]


async def test_each_replica_of_a_broadcast_sees_the_present_state_and_every_change(
    settings: Settings, journal: Journal
) -> None:
    settings = replace(settings, durable=None, replay=True)
    async with running(settings.url, Bucket(settings.bucket)) as buckets:
        store = await buckets.open(settings.bucket)
        present = {(await store.put(str(number), b"")).name for number in range(OBJECTS)}
        gone = {str(number) for number in range(0, OBJECTS, 10)}
        for name in gone:
            await store.delete(name)
        present -= gone
        async with started(settings, 2) as replicas:
            await journal.wait_until(lambda one: len(one.entries()) >= 2 * len(present))
            for number in range(OBJECTS):
                await store.put(f"new {number}", b"")
            await store.delete("1")
            await journal.wait_until(lambda one: sum(e.deleted for e in one.entries()) == 2)
            await journal.wait_until(
                lambda one: len(one.entries()) >= 2 * (len(present) + OBJECTS + 1)
            )

    for replica in replicas:
        seen = [entry for entry in journal.entries() if entry.pid == replica.pid]
        assert {entry.name for entry in seen[: len(present)]} == present
        later = [(entry.name, entry.deleted) for entry in seen[len(present) :]]
        assert set(later) == {(f"new {n}", False) for n in range(OBJECTS)} | {("1", True)}
        assert len(later) == OBJECTS + 1


async def test_terminated_replica_finishes_what_it_has_begun(
    nats_client: Client, settings: Settings, journal: Journal
) -> None:
    settings = replace(settings, seconds=1.0, ack_wait=600)
    async with (
        started(settings) as [replica],
        running(settings.url, Bucket(settings.bucket)) as buckets,
    ):
        await (await buckets.open(settings.bucket)).put("a", b"")
        await journal.wait_until(lambda one: one.entries("begun"))
        assert await replica.terminate() == 0

    assert [entry.name for entry in journal.entries()] == ["a"]
    assert await left_over(nats_client, settings.bucket, "worker-0") == 0


async def test_terminated_replica_gives_back_what_it_cannot_finish(
    settings: Settings, journal: Journal
) -> None:
    # Nobody waits for the 600 s after which a dead replica's changes come back.
    hanging = replace(settings, seconds=1000.0, ack_wait=600, graceful=0.2)
    async with (
        started(hanging) as [replica],
        running(settings.url, Bucket(settings.bucket)) as buckets,
    ):
        await (await buckets.open(settings.bucket)).put("a", b"")
        await journal.wait_until(lambda one: one.entries("begun"))
        async with started(replace(settings, ack_wait=600)) as [other]:
            assert await replica.terminate() == 0
            await journal.wait_until(lambda one: one.entries(), seconds=20)

    [done] = journal.entries()
    assert (done.name, done.pid) == ("a", other.pid)
