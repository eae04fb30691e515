"""Large bodies arrive wherever FastStream takes a message, in memory and on the server."""

import asyncio
import hashlib
import json
import re
from base64 import urlsafe_b64encode
from typing import Annotated, Any

from faststream import Context
from faststream.nats import JStream, NatsMessage, NatsResponse, NatsRouter, PullSub
from faststream.nats import TestNatsBroker as FakeBroker
from nats.js.api import RetentionPolicy

from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, soon
from tests.middlewares.conftest import MIB, World, only
from tests.settled import settled


async def test_large_body_arrives_with_its_headers_and_is_kept_as_an_object(
    world: World,
) -> None:
    broker = world.broker(world.check())
    seen = Seen[tuple[Any, NatsMessage]]()

    @broker.subscriber(world.subject)
    async def handle(body: dict[str, str], message: NatsMessage) -> None:
        await seen.add((body, message))

    async with world.running(broker) as store:
        await broker.publish(
            {"text": "x" * MIB},
            world.subject,
            headers={"tenant": "7"},
            correlation_id="order-1",
        )
        ((body, message),) = await seen.wait_for(1)
        kept = await only(store)

    assert body == {"text": "x" * MIB}
    assert message.headers == {
        "content-type": "application/json",
        "correlation_id": "order-1",
        "tenant": "7",
    }
    assert (message.content_type, message.correlation_id) == ("application/json", "order-1")
    # {"text": and } around a quoted text, with or without a space.
    assert len(message.body) in {MIB + 11, MIB + 12}
    assert message.raw_message.data == message.body
    assert type(message.body) is bytes
    assert re.fullmatch(r"claims/[0-9a-f]{32}", kept.name)
    assert kept.size == len(message.body)
    assert kept.headers == {
        "Content-Type": ["application/json"],
        "correlation_id": ["order-1"],
    }


async def test_what_travels_is_an_empty_message_with_a_reference(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    body = b"hello world"

    async with on_server.running(broker) as store, on_server.client() as client:
        subscription = await client.subscribe(on_server.subject)
        await settled(client)
        await broker.publish(
            body,
            on_server.subject,
            headers={"tenant": "7"},
            correlation_id="order-1",
            reply_to="answers",
        )
        message = await subscription.next_msg(timeout=10)
        kept = await only(store)

    assert message.data == b""
    assert message.reply == "answers"
    reference = (message.headers or {}).pop("Objstore-Ref")
    assert message.headers == {"content-type": "", "correlation_id": "order-1", "tenant": "7"}
    digest = urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    assert json.loads(reference) == {
        "bucket": on_server.claims.name,
        "name": kept.name,
        "size": 11,
        "digest": f"SHA-256={digest}",
    }
    assert " " not in reference


async def test_consumer_without_the_middleware_sees_an_empty_body_and_the_header(
    on_server: World,
) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    other = on_server.plain()
    subscriber = other.subscriber(on_server.subject)

    async with on_server.running(broker, other):
        # The first call subscribes.
        assert await subscriber.get_one(timeout=0.01) is None
        await settled(other.connection)
        await broker.publish({"a": "hello world"}, on_server.subject)
        message = await soon(subscriber.get_one(timeout=10))

    assert message is not None
    assert message.body == b""
    assert message.content_type == "application/json"
    assert json.loads(message.headers["Objstore-Ref"])["bucket"] == on_server.claims.name


async def test_nothing_is_written_up_to_the_threshold(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[bytes]()

    @broker.subscriber(world.subject)
    async def handle(body: bytes) -> None:
        await seen.add(body)

    async with world.running(broker) as store:
        await broker.publish(b"", world.subject)
        await broker.publish(b"0123456789", world.subject)
        await seen.wait_for(2)
        assert await store.list() == []
        await broker.publish(b"0123456789+", world.subject)
        assert await seen.wait_for(3) == [b"", b"0123456789", b"0123456789+"]
        assert (await only(store)).size == 11


async def test_encoded_size_decides_not_the_size_of_the_value(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = world.heard_by(broker)

    async with world.running(broker) as store:
        # Four characters, and twelve bytes of UTF-8.
        await broker.publish("€€€€", world.subject)
        assert await seen.wait_for(1) == ["€€€€"]
        assert (await only(store)).size == 12


async def test_default_threshold_is_half_of_what_the_server_takes() -> None:
    async with NatsServer(config="max_payload: 64KB") as server:
        world = World(server.url, in_memory=False)
        check = world.check()
        broker = world.broker(check)
        async with world.running(broker) as store:
            assert check.threshold() == 32 * 1024
            await broker.publish(bytes(32 * 1024), world.subject)
            assert await store.list() == []
            await broker.publish(bytes(32 * 1024 + 1), world.subject)
            assert (await only(store)).size == 32 * 1024 + 1


async def test_default_threshold_in_memory_is_half_a_mebibyte(in_memory: World) -> None:
    check = in_memory.check()
    broker = in_memory.broker(check)
    broker.subscriber(in_memory.subject)(_ignore)
    async with in_memory.running(broker) as store:
        assert check.threshold() == 524_288
        await broker.publish(bytes(524_288), in_memory.subject)
        assert await store.list() == []
        await broker.publish(bytes(524_289), in_memory.subject)
        assert (await only(store)).size == 524_289


async def test_threshold_is_never_more_than_the_server_takes(world: World) -> None:
    broker = world.broker(world.check(threshold=100 * MIB))
    seen = Seen[int]()

    @broker.subscriber(world.subject)
    async def handle(body: bytes) -> None:
        await seen.add(len(body))

    async with world.running(broker):
        await broker.publish(bytes(2 * MIB), world.subject)
        assert await seen.wait_for(1) == [2_097_152]


async def test_two_workers_of_a_stream_get_50_mib_at_the_same_time(world: World) -> None:
    broker = world.broker(world.check())
    both = _Barrier()
    seen = Seen[tuple[int, str]]()

    @broker.subscriber(
        world.subject,
        stream=JStream(world.stream),
        durable="workers",
        pull_sub=PullSub(batch_size=2, timeout=5.0),
        max_workers=2,
    )
    async def handle(body: bytes) -> None:
        await soon(both.wait())
        await seen.add((len(body), hashlib.sha256(body).hexdigest()))

    first, second = b"0123456789abcdef" * (50 * MIB // 16), b"y" * (50 * MIB)
    async with world.running(broker) as store:
        await asyncio.gather(
            broker.publish(first, world.subject, stream=world.stream, timeout=10),
            broker.publish(second, world.subject, stream=world.stream, timeout=10),
        )
        assert sorted(await seen.wait_for(2)) == sorted(
            (52_428_800, hashlib.sha256(body).hexdigest()) for body in (first, second)
        )
        assert [info.size for info in await store.list()] == [52_428_800, 52_428_800]


async def test_requester_gets_a_reply_of_5_mib(world: World) -> None:
    broker = world.broker(world.check())

    @broker.subscriber(world.subject)
    async def answer(size: int) -> str:
        return "a" * size

    async with world.running(broker) as store:
        reply = await broker.request(5 * MIB, world.subject, timeout=20)
        assert await reply.decode() == "a" * 5_242_880
        assert reply.body == b"a" * 5_242_880
        assert reply.content_type == "text/plain"
        assert "Objstore-Ref" not in reply.headers
        if not world.in_memory:
            # `TestNatsBroker` hands over what the handler returned.
            assert (await only(store)).size == 5_242_880


async def test_request_and_reply_through_a_publisher_may_both_be_large(world: World) -> None:
    broker = world.broker(world.check())
    publisher = broker.publisher(world.subject)

    @broker.subscriber(world.subject)
    async def answer(body: dict[str, str]) -> dict[str, str]:
        return {"reply": body["request"].upper()}

    async with world.running(broker):
        reply = await publisher.request({"request": "a" * MIB}, timeout=20)
        assert await reply.decode() == {"reply": "A" * MIB}


async def test_request_over_a_stream_may_be_large(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))

    @broker.subscriber(on_server.subject, stream=JStream(on_server.stream))
    async def answer(body: str) -> str:
        return body[::-1]

    async with on_server.running(broker) as store:
        reply = await broker.request(
            "0123456789+", on_server.subject, stream=on_server.stream, timeout=20
        )
        assert await reply.decode() == "+9876543210"
        assert len(await store.list()) == 2


async def test_answer_to_a_reply_subject_may_be_large(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    answers = Seen[str]()

    @broker.subscriber(world.subject)
    async def answer(body: str) -> str:
        return body * 4

    @broker.subscriber(f"{world.subject}.answers")
    async def take(body: str) -> None:
        await answers.add(body)

    async with world.running(broker) as store:
        await broker.publish("abc", world.subject, reply_to=f"{world.subject}.answers")
        assert await answers.wait_for(1) == ["abcabcabcabc"]
        assert (await only(store)).size == 12


async def test_each_publisher_of_a_chain_sends_what_the_handler_returned(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    took = Seen[tuple[str, str, str]]()

    @broker.subscriber(f"{world.subject}.left")
    async def left(body: str, message: NatsMessage) -> None:
        await took.add(("left", body, message.headers["side"]))

    @broker.subscriber(f"{world.subject}.right")
    async def right(body: str, message: NatsMessage) -> None:
        await took.add(("right", body, message.headers["side"]))

    @broker.subscriber(world.subject)
    @broker.publisher(f"{world.subject}.left", headers={"side": "l"})
    @broker.publisher(f"{world.subject}.right", headers={"side": "r"})
    async def chain(body: str) -> str:
        return body + body

    async with world.running(broker) as store:
        await broker.publish("abcdef", world.subject)
        assert sorted(await took.wait_for(2)) == [
            ("left", "abcdefabcdef", "l"),
            ("right", "abcdefabcdef", "r"),
        ]
        assert [info.size for info in await store.list()] == [12, 12]


async def test_publisher_object_sends_large_bodies(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    publisher = broker.publisher(world.subject)
    seen = Seen[list[int]]()

    @broker.subscriber(world.subject)
    async def handle(body: list[int]) -> None:
        await seen.add(body)

    async with world.running(broker):
        await publisher.publish([1234567, 7654321])
        assert await seen.wait_for(1) == [[1234567, 7654321]]


async def test_publish_to_a_stream_gives_its_acknowledgement(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    broker.subscriber(on_server.subject, stream=JStream(on_server.stream))(_ignore)

    async with on_server.running(broker):
        ack = await broker.publish(
            b"0123456789+", on_server.subject, stream=on_server.stream, timeout=10
        )
    assert (ack.stream, ack.seq) == (on_server.stream, 1)


async def test_batch_has_ten_bodies_of_2_mib_in_order(world: World) -> None:
    broker = world.broker(world.check())
    seen = Seen[list[bytes]]()
    raw: list[bytes] = []

    @broker.subscriber(
        world.subject,
        stream=JStream(world.stream),
        durable="batches",
        pull_sub=PullSub(batch_size=10, timeout=20.0, batch=True),
    )
    async def handle(bodies: list[bytes], message: Annotated[Any, Context("message")]) -> None:
        raw.extend(one.data for one in message.raw_message)
        assert message.body == bodies
        await seen.add(bodies)

    sent = [bytes([number]) * (2 * MIB) for number in range(10)]
    async with world.running(broker):
        for body in sent:
            await broker.publish(body, world.subject, stream=world.stream, timeout=10)
        # In memory each message is a batch of its own.
        batches = await seen.wait_for(10 if world.in_memory else 1)

    assert [body for batch in batches for body in batch] == sent
    assert raw == sent


async def test_get_one_gives_the_body(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    core = broker.subscriber(on_server.subject)
    stream = broker.subscriber(f"{on_server.subject}.stream", stream=JStream(on_server.stream))
    batch = broker.subscriber(
        f"{on_server.subject}.batch",
        stream=JStream(on_server.stream),
        durable="b",
        pull_sub=PullSub(batch=True),
    )

    async with on_server.running(broker):
        # The first call subscribes.
        assert await core.get_one(timeout=0.01) is None
        await settled(broker.connection)
        await broker.publish("hello world", on_server.subject)
        from_core = await soon(core.get_one(timeout=10))
        await broker.publish("hello world", f"{on_server.subject}.stream")
        from_stream = await soon(stream.get_one(timeout=10))
        await broker.publish("hello world", f"{on_server.subject}.batch")
        from_batch = await soon(batch.get_one(timeout=10))

    assert from_core is not None
    assert await from_core.decode() == "hello world"
    assert from_stream is not None
    assert await from_stream.decode() == "hello world"
    assert from_batch is not None
    assert await from_batch.decode() == ["hello world"]


async def test_iteration_gives_the_bodies(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    subscriber = broker.subscriber(on_server.subject, stream=JStream(on_server.stream))
    bodies: list[Any] = []

    async with on_server.running(broker):
        for body in ("hello world, 1", "short", "hello world, 2"):
            await broker.publish(body, on_server.subject, stream=on_server.stream, timeout=10)

        async def take() -> None:
            async for message in subscriber:
                bodies.append(await message.decode())
                if len(bodies) == 3:
                    return

        await soon(take())
    assert bodies == ["hello world, 1", "short", "hello world, 2"]


async def test_filters_choose_by_the_body(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[tuple[str, str]]()
    subscriber = broker.subscriber(world.subject)

    async def is_for_ann(message: NatsMessage) -> bool:
        return message.body.startswith(b"ann")

    @subscriber(filter=is_for_ann)
    async def ann(body: str) -> None:
        await seen.add(("ann", body))

    @subscriber
    async def others(body: str) -> None:
        await seen.add(("others", body))

    async with world.running(broker):
        await broker.publish("bob, bob, bob", world.subject)
        await broker.publish("ann, ann, ann", world.subject)
        assert sorted(await seen.wait_for(2)) == [
            ("ann", "ann, ann, ann"),
            ("others", "bob, bob, bob"),
        ]


async def test_handler_that_answers_with_the_headers_it_got_sends_no_reference_on(
    world: World,
) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[tuple[str, dict[str, Any]]]()

    @broker.subscriber(world.subject)
    @broker.publisher(f"{world.subject}.next")
    async def handle(body: str, message: NatsMessage) -> NatsResponse:
        return NatsResponse("short", headers=message.headers)

    @broker.subscriber(f"{world.subject}.next")
    async def take(body: str, message: NatsMessage) -> None:
        await seen.add((body, message.headers))

    async with world.running(broker):
        await broker.publish("hello world", world.subject, headers={"tenant": "7"})
        ((body, headers),) = await seen.wait_for(1)
    assert body == "short"
    assert headers["tenant"] == "7"
    assert "Objstore-Ref" not in headers


async def test_router_may_have_the_middleware_alone(world: World) -> None:
    router = NatsRouter(middlewares=[world.check(threshold=10)])
    seen = Seen[str]()

    @router.subscriber(world.subject)
    @router.publisher(f"{world.subject}.next")
    async def handle(body: str) -> str:
        return body + body

    @router.subscriber(f"{world.subject}.next")
    async def take(body: str) -> None:
        await seen.add(body)

    broker = world.broker()
    broker.include_router(router)
    async with world.running(broker) as store:
        await broker.publish("hello!", world.subject)
        assert await seen.wait_for(1) == ["hello!hello!"]
        assert (await only(store)).size == 12


async def test_middleware_may_be_added_later(world: World) -> None:
    broker = world.broker()
    broker.add_middleware(world.check(threshold=10))
    seen = world.heard_by(broker)

    async with world.running(broker) as store:
        await broker.publish("hello world", world.subject)
        assert await seen.wait_for(1) == ["hello world"]
        assert (await only(store)).size == 11


async def test_messages_on_the_servers_subjects_are_left_alone(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[tuple[str, bool]]()

    @broker.subscriber(f"$X.{world.subject}")
    async def handle(body: str, message: NatsMessage) -> None:
        await seen.add((body, "Objstore-Ref" in message.headers))

    async with world.running(broker) as store:
        await broker.publish("hello world", f"$X.{world.subject}")
        await broker.publish("", f"$X.{world.subject}", headers={"Objstore-Ref": "mine"})
        assert await seen.wait_for(2) == [("hello world", False), ("", True)]
        assert await store.list() == []


async def test_handlers_of_the_bucket_itself_get_its_objects(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[ObjectInfo]()

    @world.claims.on_put("claims/*")
    async def handle(info: ObjectInfo) -> None:
        await seen.add(info)

    broker.subscriber(world.subject)(_ignore)
    async with world.running(broker) as store:
        await broker.publish("hello world", world.subject)
        assert await seen.wait_for(1) == [await only(store)]


async def test_mock_sees_the_decoded_body(in_memory: World) -> None:
    broker = in_memory.broker(in_memory.check())
    publisher = broker.publisher(f"{in_memory.subject}.next")

    @broker.subscriber(in_memory.subject)
    @publisher
    async def handle(body: dict[str, str]) -> list[str]:
        return [body["text"]]

    async with in_memory.running(broker) as store:
        await broker.publish({"text": "x" * MIB}, in_memory.subject)
        assert handle.mock is not None
        handle.mock.assert_called_once_with({"text": "x" * MIB})
        publisher.mock.assert_called_once_with(["x" * MIB])
        assert len(await store.list()) == 2


async def test_every_subscriber_of_a_subject_gets_the_body(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[tuple[int, str]]()

    @broker.subscriber(world.subject)
    async def first(body: str) -> None:
        await seen.add((1, body))

    @broker.subscriber(world.subject)
    async def second(body: str) -> None:
        await seen.add((2, body))

    async with world.running(broker):
        await broker.publish("hello world", world.subject)
        assert sorted(await seen.wait_for(2)) == [(1, "hello world"), (2, "hello world")]


async def test_brokers_entered_together_exchange_large_bodies(world: World) -> None:
    sender, receiver = world.broker(world.check(threshold=10)), world.plain()
    # The other service declares the bucket too, as it would in a process of its own.
    other = World(world.url, in_memory=world.in_memory)
    other.claims.config = world.claims.config
    receiver.add_middleware(other.check())
    other.buckets.attach(receiver)
    seen = world.heard_by(receiver)

    async with world.running(sender, receiver):
        await sender.publish("hello world", world.subject)
        assert await seen.wait_for(1) == ["hello world"]


async def test_restarted_broker_goes_on(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=10))
    seen = on_server.heard_by(broker)

    for body in ("hello world, 1", "hello world, 2"):
        await soon(broker.start())
        await broker.publish(body, on_server.subject)
        await seen.wait_until_last(body)
        await soon(broker.stop())
    assert seen.all == ["hello world, 1", "hello world, 2"]


async def test_reading_leaves_no_consumers_on_the_server(on_server: World) -> None:
    broker = on_server.broker(on_server.check())
    seen = Seen[int]()

    @broker.subscriber(on_server.subject)
    async def handle(body: bytes) -> None:
        await seen.add(len(body))

    async with on_server.running(broker), on_server.client() as client:
        for _ in range(3):
            await broker.publish(bytes(MIB), on_server.subject)
        await seen.wait_for(3)
        stream = await client.jetstream().stream_info(f"OBJ_{on_server.claims.name}")
        assert stream.state.consumer_count == 0


async def test_work_queue_keeps_only_the_small_message(on_server: World) -> None:
    broker = on_server.broker(on_server.check())
    stream = JStream(on_server.stream, retention=RetentionPolicy.WORK_QUEUE)
    broker.subscriber(on_server.subject, stream=stream)

    async with on_server.running(broker), on_server.client() as client:
        await broker.publish(
            bytes(5 * MIB), on_server.subject, stream=on_server.stream, timeout=10
        )
        state = (await client.jetstream().stream_info(on_server.stream)).state
    assert state.messages == 1
    assert state.bytes < 1000


async def test_same_middleware_serves_tests_one_after_another() -> None:
    world = World("nats://nowhere", in_memory=True)
    broker = world.broker(world.check(threshold=10))
    broker.subscriber(world.subject)(_ignore)
    for _ in range(2):
        async with FakeBroker(broker):
            store = await world.buckets.open(world.claims)
            await broker.publish("hello world", world.subject)
            assert len(await store.list()) == 1


async def _ignore(body: Any) -> None:
    pass


class _Barrier:
    """`asyncio.Barrier(2)`, which Python 3.10 does not have."""

    def __init__(self) -> None:
        self._waiting = 0
        self._met = asyncio.Event()

    async def wait(self) -> None:
        self._waiting += 1
        if self._waiting == 2:
            self._met.set()
        await self._met.wait()
