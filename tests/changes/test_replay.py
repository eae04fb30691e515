"""What begins with the existing objects misses none of them, whatever happens meanwhile."""

import asyncio
import json

import pytest
from nats.aio.client import Client

from faststream_objstore import Bucket, ObjectInfo, wire
from faststream_objstore.testing import NatsServer

from .support import Names, consumers_of, fill, running, soon, store_of

pytestmark = pytest.mark.anyio

NAMES = [str(number) for number in range(20)]


class HeldUp(Names):
    """A handler that does not finish its first change before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()

    async def take(self, info: ObjectInfo) -> None:
        await super().take(info)
        await self.release.wait()


@pytest.fixture
async def filled(nats_server: NatsServer, bucket_name: str) -> str:
    """A bucket with objects that are called by their numbers."""
    await fill(nats_server.url, Bucket(bucket_name), NAMES)
    return bucket_name


@pytest.fixture
def bucket(filled: str) -> Bucket:
    return Bucket(filled)


@pytest.mark.parametrize("requested", [1, 3])
async def test_what_a_killed_replica_had_requested_reaches_another(
    nats_server: NatsServer, nats_client: Client, filled: str, bucket: Bucket, requested: int
) -> None:
    calls = HeldUp()
    bucket.on_put(durable="worker", replay=True)(calls.take)

    async with running(nats_server.url, bucket):
        await calls.wait_for(1)
        for number in range(requested):
            # Nobody listens to the inbox of a process that is gone.
            await nats_client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.OBJ_{filled}.worker",
                json.dumps({"batch": 5, "expires": 30_000_000_000}).encode(),
                reply=f"_INBOX.gone.{number}",
            )
        await nats_client.flush()
        calls.release.set()
        await calls.wait_until_last(NAMES[-1])

    assert calls.all == NAMES


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_replay_does_not_wait_for_what_was_overwritten_before_its_turn(
    nats_server: NatsServer, bucket: Bucket, durable: str | None
) -> None:
    calls = HeldUp()
    bucket.on_put(durable=durable, replay=True)(calls.take)

    async with running(nats_server.url, bucket) as buckets:
        await calls.wait_for(1)
        store = await store_of(buckets, bucket)
        for name in NAMES[1:-1]:
            await store.put(name, b"new")
        calls.release.set()
        await calls.wait_until_last(NAMES[-2])

    # The server waits for five seconds at each of them if it has to look for them one by one.
    # Each once, in the order in which their newest versions were stored.
    assert calls.all == [NAMES[0], NAMES[-1], *NAMES[1:-1]]


async def store_without_rollup(client: Client, bucket: str, info: ObjectInfo) -> None:
    """Update metadata as nats.js does, which leaves the old message in the stream."""
    subject = wire.metadata_subject(bucket, info.name)
    message = await client.jetstream().get_last_msg(f"OBJ_{bucket}", subject)
    assert message.data is not None
    await client.jetstream().publish(subject, message.data)


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_replay_leaves_out_what_another_client_has_kept_of_older_revisions(
    nats_server: NatsServer,
    nats_client: Client,
    filled: str,
    bucket: Bucket,
    durable: str | None,
) -> None:
    names, revisions = Names(), []

    @bucket.on_put(durable=durable, replay=True)
    async def handle(info: ObjectInfo) -> None:
        revisions.append(info.revision)
        await names.take(info)

    async with running(nats_server.url, Bucket(filled)) as buckets:
        store = await buckets.open(filled)
        infos = [await store.get_info(name) for name in NAMES[:2]]
    for info in infos:
        await store_without_rollup(nats_client, filled, info)
        await store_without_rollup(nats_client, filled, info)

    async with running(nats_server.url, bucket) as buckets:
        await names.wait_for(len(NAMES))
        await (await store_of(buckets, bucket)).put("later", b"")
        await names.wait_until_last("later")

    assert names.all == [*NAMES[2:], *NAMES[:2], "later"]
    # 1 to 20 are the first ones, 21 to 24 the updates, and 25 the anchor.
    assert revisions == [*range(3, 21), 22, 24, 26]


async def test_second_replica_leaves_them_out_as_well(
    nats_server: NatsServer, nats_client: Client, filled: str, bucket: Bucket
) -> None:
    first, second = HeldUp(), Names()
    other = Bucket(filled)
    bucket.on_put(durable="worker", replay=True)(first.take)
    other.on_put(durable="worker", replay=True)(second.take)

    async with running(nats_server.url, Bucket(filled)) as buckets:
        info = await (await buckets.open(filled)).get_info(NAMES[4])
    await store_without_rollup(nats_client, filled, info)

    async with running(nats_server.url, bucket):
        await first.wait_for(1)
        async with running(nats_server.url, other):
            await second.wait_for(len(NAMES) - 1)
        first.release.set()
        await soon(at_end(nats_client, filled))

    assert first.all == [NAMES[0]]
    assert second.all == [*NAMES[1:4], *NAMES[5:], NAMES[4]]


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_deletion_while_the_consumer_was_gone_is_no_part_of_what_it_had_begun_with(
    nats_server: NatsServer,
    nats_client: Client,
    filled: str,
    bucket: Bucket,
    durable: str | None,
) -> None:
    puts, deletions = Names(), Names()

    @bucket.on_change(durable=durable, replay=True)
    async def handle(info: ObjectInfo) -> None:
        await (deletions if info.deleted else puts).take(info)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await puts.wait_for(len(NAMES))
        [consumer] = await consumers_of(nats_client, filled)
        await nats_client.jetstream().delete_consumer(f"OBJ_{filled}", consumer)
        await store.delete(NAMES[0])
        await store.put("later", b"")
        await puts.wait_until_last("later")

    assert deletions.all == [NAMES[0]]


async def at_end(client: Client, bucket: str) -> None:
    while True:
        info = await client.jetstream().consumer_info(f"OBJ_{bucket}", "worker")
        if not info.num_ack_pending and not info.num_pending:
            return
        await asyncio.sleep(0.05)
