"""When the bodies of messages are deleted, and when they are kept."""

import asyncio
import json
import logging
from typing import Any

import nats.errors
import pytest
from faststream import AckPolicy, BaseMiddleware
from faststream.exceptions import NackMessage, RejectMessage
from faststream.nats import JStream, NatsMessage
from nats.js.errors import NoStreamResponseError

from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.changes.support import Seen, soon
from tests.middlewares.conftest import (
    Errors,
    World,
    deleted,
    only,
    queue,
)
from tests.settled import settled

LONG = "hello world"


async def send(world: World, broker: Any, text: str = LONG) -> None:
    await broker.publish(text, world.subject, stream=world.stream, timeout=10)


async def test_body_is_kept_for_the_ttl_without_delete_after(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[str]()
    broker.subscriber(f"{world.subject}.done")(seen.add)

    @queue(world, broker)
    @broker.publisher(f"{world.subject}.done")
    async def handle(body: str) -> str:
        return "done"

    async with world.running(broker) as store:
        await send(world, broker)
        await seen.wait_for(1)
        assert (await only(store)).size == 11


async def test_body_is_deleted_after_the_policys_acknowledgement(world: World) -> None:
    broker = world.broker(world.check(threshold=10, delete_after="ack"))
    there: list[ObjectInfo] = []

    @queue(world, broker)
    async def handle(body: str, message: NatsMessage) -> None:
        store = await world.buckets.open(world.claims)
        there.append(await only(store))
        assert not message.raw_message.is_acked

    async with world.running(broker) as store:
        await send(world, broker)
        names = await soon(deleted(store))
        assert await store.list() == []
    assert names == [there[0].name]


async def test_body_is_deleted_after_a_handlers_own_acknowledgement(world: World) -> None:
    broker = world.broker(world.check(threshold=10, delete_after="ack"))
    there: list[int] = []

    @queue(world, broker, ack_policy=AckPolicy.MANUAL)
    async def handle(body: str, message: NatsMessage) -> None:
        store = await world.buckets.open(world.claims)
        there.append(len(await store.list()))
        await message.ack()
        there.append(len(await store.list()))

    async with world.running(broker) as store:
        await send(world, broker)
        await soon(deleted(store))
    assert there == [1, 0]


async def test_body_outlives_a_failure_and_goes_with_the_later_acknowledgement(
    on_server: World,
) -> None:
    broker = on_server.broker(on_server.check(threshold=10, delete_after="ack"))
    bodies: list[str] = []

    @queue(on_server, broker)
    async def handle(body: str) -> None:
        bodies.append(body)
        if len(bodies) == 1:
            raise NackMessage

    async with on_server.running(broker) as store:
        await send(on_server, broker)
        await soon(deleted(store))
    assert bodies == [LONG, LONG]


async def test_body_of_a_rejected_message_is_kept(world: World) -> None:
    broker = world.broker(world.check(threshold=10, delete_after="ack"))

    @queue(world, broker)
    async def handle(body: str) -> None:
        if body != "hello world, good":
            raise RejectMessage

    async with world.running(broker) as store:
        await send(world, broker, "hello world, bad")
        await send(world, broker, "hello world, good")
        await soon(deleted(store))
        assert (await only(store)).size == len("hello world, bad")


async def test_bodies_of_a_batch_are_deleted(world: World) -> None:
    broker = world.broker(world.check(threshold=10, delete_after="ack"))
    seen = Seen[list[str]]()
    queue(world, broker, pull={"batch_size": 3, "timeout": 20.0, "batch": True})(seen.add)

    async with world.running(broker) as store:
        for text in (f"{LONG} 1", "short", f"{LONG} 2"):
            await send(world, broker, text)
        await soon(deleted(store, 2))
        assert await store.list() == []
    assert [body for batch in seen.all for body in batch] == [
        f"{LONG} 1",
        "short",
        f"{LONG} 2",
    ]


async def test_get_one_leaves_the_deletion_to_its_callers_acknowledgement(
    on_server: World,
) -> None:
    broker = on_server.broker(on_server.check(threshold=10, delete_after="ack"))
    subscriber = broker.subscriber(on_server.subject, stream=JStream(on_server.stream))

    async with on_server.running(broker) as store:
        await send(on_server, broker)
        message = await soon(subscriber.get_one(timeout=10))
        assert message is not None
        assert len(await store.list()) == 1
        await message.ack_sync()
        assert await store.list() == []
        assert await message.decode() == LONG


async def test_without_acknowledgements_a_handled_body_is_deleted(world: World) -> None:
    broker = world.broker(world.check(threshold=10, delete_after="ack"))
    there: list[int] = []

    @broker.subscriber(world.subject)
    async def handle(body: str) -> None:
        store = await world.buckets.open(world.claims)
        there.append(len(await store.list()))

    async with world.running(broker) as store:
        await broker.publish(LONG, world.subject)
        await soon(deleted(store))
        assert await store.list() == []
    assert there == [1]


async def test_reply_is_deleted_once_the_requester_has_it(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10, delete_after="ack"))

    @broker.subscriber(on_server.subject)
    async def answer(body: str) -> str:
        return body * 20

    async with on_server.running(broker) as store:
        reply = await broker.request("a", on_server.subject, timeout=20)
        assert reply.body == b"a" * 20
        assert await store.list() == []


async def test_deletion_that_fails_is_logged_and_the_message_acknowledged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10, delete_after="ack"))
    logged = asyncio.Event()

    class Watch(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            logged.set()
            return True

    @queue(world, broker)
    async def handle(body: str) -> None:
        await (await world.buckets.open(world.claims)).seal()

    watch = Watch()
    logging.getLogger("faststream_objstore").addFilter(watch)
    try:
        async with world.running(broker) as store:
            await send(world, broker)
            await soon(logged.wait())
            name = (await only(store)).name
    finally:
        logging.getLogger("faststream_objstore").removeFilter(watch)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"'{world.claims.name}': '{name}'" in record.message
    assert errors.seen == [None]


# A publish that fails.


async def test_publish_that_fails_deletes_the_body(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))

    async with on_server.running(broker) as store:
        with pytest.raises(NoStreamResponseError):
            await broker.publish(LONG, on_server.subject, stream="no-such", timeout=10)
        assert (await store.list(), await deleted(store)) == ([], [await _last(store)])
        with pytest.raises(nats.errors.NoRespondersError):
            await broker.request(LONG, on_server.subject, timeout=10)
        assert await store.list() == []


async def _last(store: ObjectStore) -> str:
    (info,) = await store.list(include_deleted=True)
    return info.name


async def test_middleware_that_fails_after_the_put_has_the_body_deleted(world: World) -> None:
    class Fail(BaseMiddleware[Any, Any]):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            raise LookupError("no")

    broker = world.broker(world.check(threshold=10), Fail)

    async with world.running(broker) as store:
        with pytest.raises(LookupError):
            await broker.publish(LONG, world.subject)
        assert await store.list() == []
        assert len(await store.list(include_deleted=True)) == 1


async def test_message_that_the_stream_has_already_leaves_no_body(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    broker.subscriber(on_server.subject, stream=JStream(on_server.stream))

    async with on_server.running(broker) as store:
        for duplicate in (None, True):
            ack = await broker.publish(
                LONG,
                on_server.subject,
                headers={"Nats-Msg-Id": "1"},
                stream=on_server.stream,
                timeout=10,
            )
            assert ack.duplicate == duplicate
        assert len(await store.list()) == 1
        assert len(await store.list(include_deleted=True)) == 2


async def test_body_is_kept_when_nobody_knows_whether_the_message_arrived(
    on_server: World,
) -> None:
    broker = on_server.broker(on_server.check(threshold=10))

    async with on_server.running(broker) as store, on_server.client() as client:
        silent = await client.subscribe(on_server.subject)
        await settled(client)
        with pytest.raises(nats.errors.TimeoutError):
            await broker.request(LONG, on_server.subject, timeout=0.05)
        message = await silent.next_msg(timeout=10)
        name = json.loads((message.headers or {})["Objstore-Ref"])["name"]
        assert await store.get(name) == LONG.encode()


async def test_handler_that_fails_within_the_test_keeps_the_body(in_memory: World) -> None:
    broker = in_memory.broker(in_memory.check(threshold=10))

    @broker.subscriber(in_memory.subject)
    async def handle(body: str) -> None:
        raise LookupError(body)

    async with in_memory.running(broker) as store:
        with pytest.raises(LookupError, match=LONG):
            await broker.publish(LONG, in_memory.subject)
        # As on a server, where the publish was done long ago.
        assert len(await store.list()) == 1


async def test_publish_cancelled_while_its_body_is_stored_leaves_nothing(
    in_memory: World,
) -> None:
    broker = in_memory.broker(in_memory.check(threshold=10))
    stored = asyncio.Event()

    @in_memory.claims.on_put()
    async def hold(info: ObjectInfo) -> None:
        stored.set()
        await asyncio.Event().wait()

    async with in_memory.running(broker) as store:
        publishing = asyncio.ensure_future(broker.publish(LONG, in_memory.subject))
        await soon(stored.wait())
        assert len(await store.list()) == 1
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert await store.list() == []
