"""A backlog of changes arrives over the lane, and is not lost with it."""

import asyncio
import contextvars
import json
from typing import Any

import pytest
from faststream.nats import NatsBroker, NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import Bucket, Buckets, ObjectInfo
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.lane import LaneConnection, Lanes, keeper
from faststream_objstore.changes import loop as change_loop
from faststream_objstore.changes import prefetch, puller
from faststream_objstore.testing import NatsServer
from tests.settled import settled

from .support import Names, Seen, fill, running, soon, store_of

pytestmark = pytest.mark.anyio

OBJECTS = 400
NAMES = [str(number) for number in range(OBJECTS)]
# Nothing here waits until it has passed.
ACK_WAIT = 600


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane for far fewer changes than usual, however slow the machine makes the handlers."""
    monkeypatch.setattr(prefetch, "_WORTH_SECONDS", 60)
    monkeypatch.setattr(prefetch, "_MOST", 32)
    monkeypatch.setattr(keeper, "_MANY_MESSAGES", 20)
    monkeypatch.setattr(puller, "_LANE_BATCH", 8)


@pytest.fixture
async def filled(nats_server: NatsServer, bucket_name: str) -> str:
    """A bucket with objects that are called by their numbers."""
    await fill(nats_server.url, Bucket(bucket_name, lane=False), NAMES)
    return bucket_name


@pytest.fixture
async def batches(nats_client: Client, filled: str) -> dict[str, list[int]]:
    """The sizes of the pull requests of the durable `worker`, by the inbox of the answers."""
    batches: dict[str, list[int]] = {}

    async def receive(message: Msg) -> None:
        if message.data != b"{":
            inbox = message.reply.rpartition(".")[0]
            batches.setdefault(inbox, []).append(json.loads(message.data)["batch"])

    await nats_client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.OBJ_{filled}.worker", cb=receive)
    await settled(nats_client)
    return batches


def lane_of(buckets: Buckets) -> LaneConnection | None:
    broker: Any = buckets.broker
    return Lanes.of(Connection.of(broker.config.connection_state.connection)).current


async def test_backlog_of_quick_handlers_arrives_in_order_over_a_second_connection(
    nats_server: NatsServer, nats_client: Client, filled: str, batches: dict[str, list[int]]
) -> None:
    bucket = Bucket(filled)
    names, headers = Names(), set()

    @bucket.on_put(durable="worker", replay=True)
    async def handle(info: ObjectInfo, message: NatsMessage) -> None:
        headers.add((message.raw_message.headers or {}).get("Nats-Rollup"))
        await names.take(info)

    async with running(nats_server.url, bucket) as buckets:
        await names.wait_for(OBJECTS)
        assert lane_of(buckets) is not None
        # What comes later does not need it, and is there at once all the same.
        await (await store_of(buckets, bucket)).put("later", b"")
        await names.wait_for(OBJECTS + 1)
        await settled(nats_client)

    assert names.all == [*NAMES, "later"]
    assert headers == {"sub"}
    [ordinary, lane] = batches.values()
    assert ordinary[0] == ordinary[-1] == 1
    assert min(lane) >= 1
    assert sum(lane) > sum(ordinary)
    consumer = await nats_client.jetstream().consumer_info(f"OBJ_{filled}", "worker")
    assert (consumer.num_pending, consumer.num_ack_pending) == (0, 0)


async def test_lane_is_not_used_without_permission(
    nats_server: NatsServer, nats_client: Client, filled: str, batches: dict[str, list[int]]
) -> None:
    bucket = Bucket(filled, lane=False)
    names = Names()
    bucket.on_put(durable="worker", replay=True)(names.take)
    async with running(nats_server.url, bucket):
        await names.wait_for(OBJECTS)
        await settled(nats_client)
    assert names.all == NAMES
    assert len(batches) == 1


async def test_changes_that_were_on_a_lost_lane_are_delivered_again(
    nats_server: NatsServer, nats_client: Client, filled: str
) -> None:
    bucket = Bucket(filled)
    names = Names()
    lost: list[object] = []

    @bucket.on_put(durable="worker", replay=True, ack_wait=1)
    async def handle(info: ObjectInfo) -> None:
        await names.take(info)
        lane = lane_of(buckets)
        # Twice: a new one is opened for what is left.
        if lane is not None and lane not in lost and len(lost) < 2 and lane.lane.listening:
            lost.append(lane)
            lane.lane._protocol.abort()  # as when its socket breaks

    async with running(nats_server.url, bucket) as buckets:
        while set(names.all) != set(NAMES):
            await names.wait_for(len(names.all) + 1)
        await soon(none_is_pending(nats_client, filled))

    assert lost
    # The first delivery of each is in order, but for those that were on their way.
    assert names.all[:10] == NAMES[:10]


async def none_is_pending(client: Client, bucket: str) -> None:
    while True:
        info = await client.jetstream().consumer_info(f"OBJ_{bucket}", "worker")
        if not info.num_ack_pending and not info.num_pending:
            return
        await asyncio.sleep(0.05)


async def test_stop_gives_back_at_once_what_has_arrived_over_the_lane(
    nats_server: NatsServer, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is the stop that gives back, not patience that ends.
    monkeypatch.setattr(change_loop, "_PATIENCE_SECONDS", ACK_WAIT)
    ending, other = Bucket(filled), Bucket(filled)
    names, others = Names(), Names()
    blocked: Seen[int] = Seen()

    @ending.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)
    async def handle(info: ObjectInfo) -> None:
        lane = lane_of(buckets)
        if lane is not None and lane.lane.listening and int(info.name) > OBJECTS // 4:
            await blocked.add(int(info.name))
            await asyncio.Event().wait()
        await names.take(info)

    other.on_put(durable="worker", replay=True, ack_wait=ACK_WAIT)(others.take)
    async with running(nats_server.url, ending, graceful_timeout=0.1) as buckets:
        await blocked.wait_for(1)
    async with running(nats_server.url, other):
        await others.wait_for(OBJECTS - len(names.all))

    assert names.all == NAMES[: blocked.all[0]]
    assert sorted(others.all, key=int) == NAMES[blocked.all[0] :]


async def test_handlers_do_not_see_the_context_in_which_the_lane_was_opened(
    nats_server: NatsServer, filled: str
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    bucket = Bucket(filled)
    broker = NatsBroker(nats_server.url, logger=None)
    Buckets(broker, bucket)
    found: Seen[str] = Seen()

    # So many workers that some begin when a message arrives, and not when another one is done.
    @bucket.on_put(durable="worker", replay=True, max_workers=16)
    async def handle(info: ObjectInfo) -> None:
        await asyncio.sleep(0)
        await found.add(variable.get())

    async def open_lane() -> None:
        variable.set("that of a large put")
        connection = Connection.of(broker.config.connection_state.connection)
        assert await Lanes.of(connection).open(messages=1_000) is not None

    await soon(broker.connect())
    try:
        await asyncio.create_task(open_lane())
        await soon(broker.start())
        await found.wait_for(OBJECTS)
    finally:
        await soon(broker.stop())

    assert set(found.all) == {"unset"}
