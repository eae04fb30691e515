"""Forged references, bodies that are gone, and what is deleted when."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import nats.errors
import pytest
from faststream import AckPolicy, BaseMiddleware
from faststream.exceptions import NackMessage, RejectMessage
from faststream.nats import JStream, NatsMessage, PullSub
from nats.js.api import ConsumerConfig
from nats.js.errors import NoStreamResponseError, ObjectNotFoundError

from faststream_objstore.bucket import Bucket
from faststream_objstore.errors import (
    BucketNotDeclaredError,
    ClaimNotFoundError,
    InvalidClaimError,
    InvalidObjectNameError,
    InvalidOptionError,
)
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.changes.support import Seen, soon
from tests.middlewares.conftest import Errors, World, deleted, only, reference_to, settled

LONG = "hello world"
NAME = f"claims/{'0' * 32}"


async def ignore(body: Any) -> None:
    """A handler."""


async def refused(world: World, header: str) -> list[str]:
    """Send a message with a header, and one after it; what handlers got of both."""
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10))
    seen = Seen[str]()

    @broker.subscriber(world.subject)
    async def handle(body: str) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        await store.put("other/secret", b"secret")
        await forge(world, broker, header)
        await broker.publish("after", world.subject)
        await seen.wait_until_last("after")
    assert errors.seen == [InvalidClaimError, None]
    return seen.all


async def forge(world: World, broker: Any, header: str, subject: str = "") -> None:
    """Send an empty message with a header, as anybody could."""
    subject = subject or world.subject
    if world.in_memory:
        with pytest.raises((InvalidClaimError, ClaimNotFoundError)):
            await broker.publish(None, subject, headers={"Objstore-Ref": header})
    else:
        async with world.client() as client:
            await client.publish(subject, b"", headers={"Objstore-Ref": header})
            await settled(client)


GOOD = {"bucket": "BUCKET", "name": NAME, "size": 6, "digest": f"SHA-256={'A' * 43}="}


@pytest.mark.parametrize(
    "fields",
    [
        {"bucket": "other"},
        {"bucket": None},
        {"name": "other/secret"},
        {"name": "claims/secret"},
        {"name": f"claims/../{'0' * 32}"},
        {"name": f"other/{'0' * 32}"},
        {"name": f"xclaims/{'0' * 32}"},
        {"name": f"claims/{'0' * 32}\n"},
        {"name": f"claims/{'0' * 33}"},
        {"name": f"claims/{'G' * 32}"},
        {"name": "claims/"},
        {"name": ["claims/"]},
        {"size": -1},
        {"size": True},
        {"size": "6"},
        {"digest": None},
        {"digest": "SHA-256="},
        {"digest": f"MD5={'A' * 43}="},
        {"revision": 1},
    ],
    ids=str,
)
async def test_reference_that_is_not_of_this_bucket_and_prefix_is_refused(
    in_memory: World, fields: dict[str, Any]
) -> None:
    header = json.dumps({**GOOD, "bucket": in_memory.claims.name, **fields})
    assert await refused(in_memory, header) == ["after"]


@pytest.mark.parametrize(
    "header",
    ["", "{", "[]", "null", "claims/x", "[" * 5000, "{}", '{"bucket": "b"}', '"' + "x" * 9000],
    ids=lambda header: header[:20],
)
async def test_header_that_is_no_reference_is_refused(in_memory: World, header: str) -> None:
    assert await refused(in_memory, header) == ["after"]


async def test_forged_reference_is_refused_on_the_server_too(on_server: World) -> None:
    header = json.dumps({**GOOD, "bucket": on_server.claims.name, "name": "other/secret"})
    assert await refused(on_server, header) == ["after"]


async def test_reference_beside_a_body_is_refused(in_memory: World) -> None:
    broker = in_memory.broker(in_memory.check())
    broker.subscriber(in_memory.subject)(ignore)

    async with in_memory.running(broker) as store:
        info = await store.put(NAME, b"secret")
        headers = {"Objstore-Ref": reference_to(info)}
        with pytest.raises(InvalidClaimError, match="comes with a body of its own"):
            await broker.publish(b"mine", in_memory.subject, headers=headers)


async def test_reference_of_the_right_form_is_accepted(world: World) -> None:
    broker = world.broker(world.check())
    seen = Seen[bytes]()

    @broker.subscriber(world.subject)
    async def handle(body: bytes) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        info = await store.put(NAME, b"secret")
        headers = {"Objstore-Ref": reference_to(info)}
        await broker.publish(None, world.subject, headers=headers)
        assert await seen.wait_for(1) == [b"secret"]


@pytest.mark.parametrize("changes", [{"size": 7}, {"digest": f"SHA-256={'A' * 43}="}], ids=str)
async def test_body_that_is_not_the_one_sent_is_refused(
    world: World, changes: dict[str, Any]
) -> None:
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10))
    seen = Seen[str]()

    @broker.subscriber(world.subject)
    async def handle(body: str) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        info = await store.put(NAME, b"secret")
        await forge(world, broker, reference_to(info, **changes))
        await broker.publish("after", world.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert errors.seen == [InvalidClaimError, None]


async def test_link_to_another_bucket_is_not_followed(world: World) -> None:
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10))
    private = Bucket(f"private-{world.claims.name}")
    world.objstore.add(private)
    world.streams.add(f"OBJ_{private.name}")
    seen = Seen[str]()

    @broker.subscriber(world.subject)
    async def handle(body: str) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        secret = await (await world.objstore.object_store(private)).put("secret", b"secret")
        await store.add_link(NAME, secret)
        header = reference_to(secret, bucket=world.claims.name, name=NAME)
        await forge(world, broker, header)
        await broker.publish("after", world.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert errors.seen == [InvalidClaimError, None]


async def test_gone_body_is_an_error_that_names_it(in_memory: World) -> None:
    broker = in_memory.broker(in_memory.check(threshold=10))
    broker.subscriber(in_memory.subject)(ignore)

    async with in_memory.running(broker) as store:
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)
        with pytest.raises(
            ClaimNotFoundError, match=r"6 bytes in 'claims/0{32}', is gone"
        ) as e:
            await broker.publish(
                None, in_memory.subject, headers={"Objstore-Ref": reference_to(info)}
            )
    assert (e.value.bucket, e.value.name) == (in_memory.claims.name, NAME)
    assert isinstance(e.value, ObjectNotFoundError)


async def test_body_whose_ttl_ran_out_is_gone(on_server: World) -> None:
    bucket = Bucket(on_server.claims.name, ttl=timedelta(seconds=1))
    on_server.objstore.release(on_server.claims)
    on_server.claims = bucket
    on_server.objstore.add(bucket)
    broker = on_server.broker(on_server.check(threshold=10))
    subscriber = broker.subscriber(on_server.subject, stream=JStream(on_server.stream))

    async with on_server.running(broker) as store:
        await broker.publish(LONG, on_server.subject, stream=on_server.stream, timeout=10)

        async def expired() -> None:
            # The server tells nobody; each look is a round trip.
            while await store.list():
                pass

        await soon(expired())
        with pytest.raises(ClaimNotFoundError):
            await soon(subscriber.get_one(timeout=10))


async def test_policy_rejects_a_message_whose_body_is_gone(on_server: World) -> None:
    errors = Errors()
    broker = on_server.broker(errors, on_server.check(threshold=10))
    seen = Seen[str]()

    @broker.subscriber(
        on_server.subject,
        stream=JStream(on_server.stream),
        durable="d",
        pull_sub=PullSub(),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
    )
    async def handle(body: str) -> None:
        await seen.add(body)

    async with on_server.running(broker) as store, on_server.client() as client:
        terminated = await client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
        await settled(client)
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)
        await forge(on_server, broker, reference_to(info))
        advisory = json.loads((await terminated.next_msg(timeout=20)).data)
        await broker.publish("after", on_server.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert (advisory["stream"], advisory["stream_seq"]) == (on_server.stream, 1)
    assert errors.seen == [ClaimNotFoundError, None]


async def test_policy_has_a_message_delivered_again_whose_body_is_not_there_yet(
    on_server: World,
) -> None:
    errors = Errors()
    broker = on_server.broker(errors, on_server.check(threshold=10))
    seen = Seen[bytes]()

    class PutIt(BaseMiddleware[Any, Any]):
        async def after_processed(
            self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None
        ) -> bool | None:
            if exc_type is not None:
                # Another service, or an operator, has brought it back.
                await (await on_server.objstore.object_store(on_server.claims)).put(
                    NAME, b"secret"
                )
            return False

    broker.insert_middleware(PutIt)

    @broker.subscriber(
        on_server.subject,
        stream=JStream(on_server.stream),
        durable="d",
        pull_sub=PullSub(),
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def handle(body: bytes) -> None:
        await seen.add(body)

    async with on_server.running(broker) as store:
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)
        await forge(on_server, broker, reference_to(info))
        assert await seen.wait_for(1) == [b"secret"]
    assert errors.seen == [ClaimNotFoundError, None]


async def test_one_gone_body_fails_its_batch(on_server: World) -> None:
    errors = Errors()
    broker = on_server.broker(errors, on_server.check(threshold=10))
    failed = Seen[type[BaseException]]()

    class Watch(BaseMiddleware[Any, Any]):
        async def after_processed(
            self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None
        ) -> bool | None:
            if exc_type is not None:
                await failed.add(exc_type)
            return False

    broker.insert_middleware(Watch)
    subscriber = broker.subscriber(
        on_server.subject,
        stream=JStream(on_server.stream),
        durable="d",
        pull_sub=PullSub(batch_size=3, timeout=20.0, batch=True),
    )
    subscriber(ignore)

    async with on_server.running(broker) as store:
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)
        for text in (LONG, None, LONG):
            headers = {"Objstore-Ref": reference_to(info)} if text is None else None
            await broker.publish(
                text, on_server.subject, headers=headers, stream=on_server.stream, timeout=10
            )
        assert await failed.wait_for(1) == [ClaimNotFoundError]


async def test_response_whose_body_is_gone_fails_the_request(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))

    async with on_server.running(broker) as store, on_server.client() as client:
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)

        async def answer(message: Any) -> None:
            await client.publish(
                message.reply, b"", headers={"Objstore-Ref": reference_to(info)}
            )

        await client.subscribe(on_server.subject, cb=answer)
        await settled(client)
        with pytest.raises(ClaimNotFoundError):
            await broker.request("ask", on_server.subject, timeout=20)


# What is deleted when.


def queue(
    world: World, broker: Any, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A work queue's subscriber."""
    subscriber: Callable[[Callable[..., Any]], Callable[..., Any]] = broker.subscriber(
        world.subject,
        stream=JStream(world.stream),
        durable="d",
        pull_sub=PullSub(**{"batch_size": 1, "timeout": 5.0, **options.pop("pull", {})}),
        **options,
    )
    return subscriber


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
        store = await world.objstore.object_store(world.claims)
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
        store = await world.objstore.object_store(world.claims)
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
        store = await world.objstore.object_store(world.claims)
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
        await (await world.objstore.object_store(world.claims)).seal()

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


# Options.


def test_bucket_that_keeps_bodies_for_ever_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="'claims' keeps the bodies of messages for ever"):
        ClaimCheckMiddleware(Bucket("claims"))


def test_bucket_whose_bodies_go_is_not_warned_about() -> None:
    ClaimCheckMiddleware(Bucket("claims", ttl=60))
    ClaimCheckMiddleware(Bucket("claims"), delete_after="ack")
    # Somebody else made it, and knows its ttl.
    ClaimCheckMiddleware(Bucket("claims", declare=False))


@pytest.mark.parametrize(
    "options, error",
    [
        ({"threshold": -1}, InvalidOptionError),
        ({"threshold": True}, InvalidOptionError),
        ({"threshold": 1.5}, InvalidOptionError),
        ({"delete_after": "nack"}, InvalidOptionError),
        ({"prefix": None}, InvalidObjectNameError),
        ({"prefix": "\ud800"}, InvalidObjectNameError),
        ({"bucket": "claims"}, InvalidOptionError),
    ],
    ids=str,
)
def test_option_that_cannot_work_is_refused(
    options: dict[str, Any], error: type[Exception]
) -> None:
    given: dict[str, Any] = {"bucket": Bucket("claims", ttl=60), **options}
    with pytest.raises(error):
        ClaimCheckMiddleware(**given)


async def test_bucket_that_is_not_attached_is_a_clear_error(nats_server: Any) -> None:
    world = World(nats_server.url, in_memory=False)
    broker = world.plain(world.check())
    async with broker:
        with pytest.raises(
            BucketNotDeclaredError, match=r"pass it to ObjStore\(broker, \.\.\.\)"
        ):
            await broker.publish("short", world.subject)


@pytest.mark.parametrize("prefix", ["", "bodies-", "größe/"])
async def test_prefix_may_be_any(world: World, prefix: str) -> None:
    broker = world.broker(world.check(threshold=10, prefix=prefix))
    seen = Seen[str]()
    broker.subscriber(world.subject)(seen.add)

    async with world.running(broker) as store:
        await broker.publish(LONG, world.subject)
        assert await seen.wait_for(1) == [LONG]
        name = (await only(store)).name
    assert name.startswith(prefix)
    assert len(name) == len(prefix) + 32


async def test_consumers_that_have_tried_often_enough_stop(on_server: World) -> None:
    errors = Errors()
    broker = on_server.broker(errors, on_server.check(threshold=10))
    queue(
        on_server,
        broker,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        config=ConsumerConfig(max_deliver=3),
    )(ignore)

    async with on_server.running(broker) as store, on_server.client() as client:
        given_up = await client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>")
        await settled(client)
        info = await store.put(NAME, b"secret")
        await store.delete(NAME)
        await forge(on_server, broker, reference_to(info))
        advisory = json.loads((await given_up.next_msg(timeout=20)).data)
    assert advisory["deliveries"] == 3
    assert errors.seen == [ClaimNotFoundError] * 3
