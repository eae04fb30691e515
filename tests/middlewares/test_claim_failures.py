"""Forged references, and bodies that are gone."""

import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from faststream import AckPolicy, BaseMiddleware
from faststream.nats import JStream, PullSub
from nats.js.api import ConsumerConfig
from nats.js.errors import ObjectNotFoundError

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import (
    ClaimNotFoundError,
    InvalidClaimError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.changes.support import Seen, soon
from tests.middlewares.conftest import Errors, World, queue, reference_to
from tests.settled import settled

LONG = "hello world"
NAME = f"claims/{'0' * 32}"


async def ignore(body: Any) -> None:
    """A handler."""


async def refused(world: World, header: str) -> list[str]:
    """Send a message with a header, and one after it; what handlers got of both."""
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10))
    seen = world.heard_by(broker)

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
        {"name": f"secret/{'0' * 32}"},
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
        {"digest": f"SHA-256={'A' * 43}=\n"},
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
    ["", "{", "[]", "null", "claims/x", "[" * 5000, "{}", '{"bucket": "b"}'],
    ids=lambda header: header[:20],
)
async def test_header_that_is_no_reference_is_refused(in_memory: World, header: str) -> None:
    assert await refused(in_memory, header) == ["after"]


async def test_reference_longer_than_any_is_refused(in_memory: World) -> None:
    header = json.dumps({**GOOD, "bucket": in_memory.claims.name}) + " " * 9000
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
    seen = world.heard_by(broker)

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
    world.buckets.attach(broker, private)
    world.streams.add(f"OBJ_{private.name}")
    seen = world.heard_by(broker)

    async with world.running(broker) as store:
        secret = await (await world.buckets.open(private)).put("secret", b"secret")
        await store.add_link(NAME, secret)
        header = reference_to(secret, bucket=world.claims.name, name=NAME)
        await forge(world, broker, header)
        await broker.publish("after", world.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert errors.seen == [InvalidClaimError, None]


async def test_link_that_pretends_to_be_the_body_is_not_followed(on_server: World) -> None:
    errors = Errors()
    broker = on_server.broker(errors, on_server.check(threshold=10))
    private = Bucket(f"private-{on_server.claims.name}")
    on_server.buckets.attach(broker, private)
    on_server.streams.add(f"OBJ_{private.name}")
    seen = on_server.heard_by(broker)

    async with on_server.running(broker) as store, on_server.client() as client:
        stores = on_server.buckets
        secret = await (await stores.open(private)).put("secret", b"secret")
        # No client writes such a link: it has the size and digest of its target.
        link = {
            "name": NAME,
            "bucket": on_server.claims.name,
            "nuid": "",
            "size": secret.size,
            "chunks": 1,
            "digest": secret.digest,
            "options": {"link": {"bucket": private.name, "name": "secret"}},
        }
        subject = f"$O.{on_server.claims.name}.M.{urlsafe_b64encode(NAME.encode()).decode()}"
        await client.jetstream().publish(subject, json.dumps(link).encode(), timeout=10)
        assert await store.get(NAME) == b"secret"
        header = reference_to(secret, bucket=on_server.claims.name, name=NAME)
        await forge(on_server, broker, header)
        await broker.publish("after", on_server.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert errors.seen == [InvalidClaimError, None]


async def test_body_deleted_while_it_is_fetched_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = Errors()
    broker = world.broker(errors, world.check(threshold=10))
    seen = Seen[str]()
    look = ObjectStore.get_info

    async def look_and_delete(store: ObjectStore, name: str) -> ObjectInfo:
        info = await look(store, name)
        await store.delete(name)
        return info

    @broker.subscriber(world.subject)
    async def handle(body: str) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        info = await store.put(NAME, b"secret")
        monkeypatch.setattr(ObjectStore, "get_info", look_and_delete)
        await forge(world, broker, reference_to(info))
        await broker.publish("after", world.subject)
        assert await seen.wait_until_last("after") == ["after"]
    assert errors.seen == [ClaimNotFoundError, None]


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
    on_server.claims = bucket
    on_server.buckets = Buckets(bucket)
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
                await (await on_server.buckets.open(on_server.claims)).put(NAME, b"secret")
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
