"""Changes that wait in the process behind quick handlers, and what becomes of them."""

import asyncio
import contextvars
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from faststream.exceptions import StopConsume
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore.bucket import Bucket
from faststream_objstore.changes import loop as change_loop
from faststream_objstore.changes.retry import Retry
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, Seen, fill, running, soon, store_of
from tests.settled import settled

# So many quick calls that further changes are fetched in advance.
QUICK = 100
OBJECTS = 150
NAMES = [str(number) for number in range(OBJECTS)]
# Nothing here waits until it has passed.
ACK_WAIT = 600


@pytest.fixture
async def filled(nats_server: NatsServer, bucket_name: str) -> str:
    """A bucket with objects that are called by their numbers."""
    await fill(nats_server.url, Bucket(bucket_name), NAMES)
    return bucket_name


@pytest.fixture
async def given_back(nats_client: Client, filled: str) -> AsyncIterator[Seen[int]]:
    """The revisions that the durable `worker` has given back without an attempt."""
    revisions: Seen[int] = Seen()

    async def receive(message: Msg) -> None:
        if message.data == b"-NAK":
            await revisions.add(int(message.subject.split(".")[5]))

    subscription = await nats_client.subscribe(f"$JS.ACK.OBJ_{filled}.worker.>", cb=receive)
    await settled(nats_client)
    yield revisions
    await subscription.unsubscribe()


class Blocking:
    """A handler that is quick, but for the object in the middle."""

    def __init__(self) -> None:
        self.names = Names()
        self.blocked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def take(self, info: ObjectInfo) -> None:
        await self.names.take(info)
        if info.name == str(QUICK):
            self.blocked.set()
            await self.go_on.wait()


async def test_quick_handlers_get_changes_by_the_dozen(
    nats_server: NatsServer, nats_client: Client, filled: str
) -> None:
    bucket = Bucket(filled)
    names = Names()
    bucket.on_put(durable="worker", replay=True)(names.take)
    requests: Seen[dict[str, Any]] = Seen()

    async def receive(message: Msg) -> None:
        await requests.add(json.loads(message.data))

    await nats_client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.OBJ_{filled}.worker", cb=receive)
    await settled(nats_client)
    async with running(nats_server.url, bucket):
        await names.wait_for(OBJECTS)

    assert names.all == NAMES
    await settled(nats_client)
    # Some twenty until they are known to be quick; without, there is one for each.
    assert len(requests.all) < OBJECTS / 2


async def test_long_jobs_are_shared_evenly(nats_server: NatsServer, bucket_name: str) -> None:
    first, second = Bucket(bucket_name), Bucket(bucket_name)
    begun = [Names(), Names()]

    def job(names: Names) -> Callable[[ObjectInfo], Awaitable[None]]:
        async def work(info: ObjectInfo) -> None:
            await names.take(info)
            # The duration of the job is what is tested.
            await asyncio.sleep(0.1)

        return work

    for bucket, names in zip((first, second), begun, strict=True):
        bucket.on_put(durable="worker", ack_wait=ACK_WAIT)(job(names))

    async with running(nats_server.url, first) as buckets, running(nats_server.url, second):
        store = await store_of(buckets, first)
        for number in range(20):
            await store.put(str(number), b"")
        for wanted in range(1, 8):
            for names in begun:
                await names.wait_for(wanted)
            # Neither is far ahead while the other one still gets its share.
            assert abs(len(begun[0].all) - len(begun[1].all)) <= 3
        while len(begun[0].all) + len(begun[1].all) < 20:
            await soon(asyncio.sleep(0.05))

    assert sorted(begun[0].all + begun[1].all, key=int) == [str(n) for n in range(20)]


async def test_what_waits_behind_a_long_job_goes_to_a_free_replica(
    nats_server: NatsServer, filled: str
) -> None:
    busy, free = Bucket(filled), Bucket(filled)
    job, names = Blocking(), Names()
    busy.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(job.take)
    free.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(names.take)

    async with running(nats_server.url, busy):
        await soon(job.blocked.wait())
        async with running(nats_server.url, free):
            await names.wait_for(OBJECTS - QUICK - 1)
            job.go_on.set()

    assert job.names.all == NAMES[: QUICK + 1]
    assert sorted(names.all, key=int) == NAMES[QUICK + 1 :]


async def test_giving_back_is_no_attempt(
    nats_server: NatsServer, nats_client: Client, filled: str, given_back: Seen[int]
) -> None:
    bucket = Bucket(filled)
    job = Blocking()
    calls: Counter[str] = Counter()
    letters: Seen[dict[str, Any]] = Seen()

    @bucket.on_put(
        durable="worker",
        replay=True,
        ack_wait=ACK_WAIT,
        retry=Retry(attempts=3, delays=[0.05]),
        dead_letter=f"dead.{filled}",
    )
    async def handle(info: ObjectInfo) -> None:
        calls[info.name] += 1
        await job.take(info)
        if int(info.name) > QUICK:
            raise ValueError(info.name)

    async def receive(message: Msg) -> None:
        await letters.add(json.loads(message.data))

    await nats_client.subscribe(f"dead.{filled}", cb=receive)
    await settled(nats_client)
    async with running(nats_server.url, bucket):
        await soon(job.blocked.wait())
        await given_back.wait_for(1)
        # The time itself is tested: nothing is fetched again while the job goes on.
        await asyncio.sleep(2.0)
        assert set(Counter(given_back.all).values()) == {1}
        assert len(calls) == QUICK + 1
        job.go_on.set()
        await letters.wait_for(OBJECTS - QUICK - 1)

    assert {letter["attempts"] for letter in letters.all} == {3}
    assert {calls[name] for name in NAMES[QUICK + 1 :]} == {3}


async def test_stop_gives_back_at_once_what_has_not_begun(
    nats_server: NatsServer,
    filled: str,
    given_back: Seen[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It is the stop that gives back, not patience that ends.
    monkeypatch.setattr(change_loop, "_PATIENCE_SECONDS", ACK_WAIT)
    ending, other = Bucket(filled), Bucket(filled)
    job, names = Blocking(), Names()
    ending.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(job.take)
    other.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(names.take)

    async with running(nats_server.url, ending, graceful_timeout=0.1):
        await soon(job.blocked.wait())
    async with running(nats_server.url, other):
        await names.wait_for(OBJECTS - QUICK)

    assert job.names.all == NAMES[: QUICK + 1]
    assert sorted(names.all, key=int) == NAMES[QUICK:]
    # The job that was cut short, and at least one that waited behind it.
    assert len(given_back.all) > 1


async def test_nothing_begins_after_stop_consume(nats_server: NatsServer, filled: str) -> None:
    ending, other = Bucket(filled), Bucket(filled)
    calls, names = Names(), Names()

    @ending.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        if info.name == str(QUICK):
            raise StopConsume

    other.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(names.take)

    async with running(nats_server.url, ending):
        await calls.wait_until_last(str(QUICK))
    async with running(nats_server.url, other):
        await names.wait_for(OBJECTS - QUICK - 1)

    assert calls.all == NAMES[: QUICK + 1]
    assert sorted(names.all, key=int) == NAMES[QUICK + 1 :]


async def test_context_variables_of_one_call_are_not_those_of_the_next(
    nats_server: NatsServer, filled: str
) -> None:
    bucket = Bucket(filled)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    found: Seen[str] = Seen()

    @bucket.on_put(durable="worker", replay=True)
    async def handle(info: ObjectInfo) -> None:
        before = variable.get()
        variable.set(info.name)
        # It is its own from one step to the next, too.
        await asyncio.sleep(0)
        assert variable.get() == info.name
        await found.add(before)

    async with running(nats_server.url, bucket):
        await found.wait_for(OBJECTS)

    assert set(found.all) == {"unset"}
