"""The claim check beside codecs, other middlewares, metrics and tracing."""

import json
import zlib
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.nats import JStream, NatsMessage, NatsPublishCommand, PullSub
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from faststream.nats.prometheus import NatsPrometheusMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from tests.changes.support import Seen
from tests.middlewares.conftest import World, only
from tests.settled import settled

LONG = "hello world"


class Zipped:
    """A codec whose empty body is not empty, and which counts what it does."""

    def __init__(self) -> None:
        self.encoded: list[Any] = []

    async def encode(self, msg: Any, serializer: Any = None) -> tuple[bytes, str | None]:
        self.encoded.append(msg)
        return zlib.compress(json.dumps(msg).encode()), "application/zip+json"

    async def decode(self, msg: Any) -> Any:
        assert msg.content_type == "application/zip+json"
        return json.loads(zlib.decompress(msg.body))


async def test_codec_encodes_each_body_once(world: World) -> None:
    codec = Zipped()
    broker = world.broker(world.check(threshold=20), codec=codec)
    seen = Seen[tuple[Any, bytes]]()

    @broker.subscriber(world.subject)
    async def handle(body: str, message: NatsMessage) -> None:
        await seen.add((body, message.body))

    async with world.running(broker) as store:
        # It is the encoded size that counts: 100 equal letters are few bytes.
        await broker.publish("a" * 100, world.subject)
        await seen.wait_for(1)
        assert await store.list() == []
        await broker.publish("0123456789abcdef", world.subject)
        received = await seen.wait_for(2)
        kept = await only(store)
        assert await store.get(kept) == zlib.compress(b'"0123456789abcdef"')

    assert received == [
        ("a" * 100, zlib.compress(b'"' + b"a" * 100 + b'"')),
        ("0123456789abcdef", zlib.compress(b'"0123456789abcdef"')),
    ]
    assert kept.headers is not None
    assert kept.headers["Content-Type"] == ["application/zip+json"]
    # `TestNatsBroker` also encodes what the handler returns, which is nothing.
    encoded = [body for body in codec.encoded if body is not None]
    assert encoded == ["a" * 100, "0123456789abcdef"]


async def test_codec_does_not_get_hold_of_the_empty_body(on_server: World) -> None:
    broker = on_server.broker(on_server.check(threshold=20), codec=Zipped())

    async with on_server.running(broker), on_server.client() as client:
        subscription = await client.subscribe(on_server.subject)
        await settled(client)
        await broker.publish("0123456789abcdef", on_server.subject)
        message = await subscription.next_msg(timeout=10)
    assert message.data == b""
    assert (message.headers or {})["content-type"] == "application/zip+json"


async def test_codec_serves_requests_and_replies(world: World) -> None:
    broker = world.broker(world.check(threshold=20), codec=Zipped())

    @broker.subscriber(world.subject)
    async def answer(body: str) -> str:
        return body[::-1]

    async with world.running(broker):
        reply = await broker.request("0123456789abcdef", world.subject, timeout=20)
        # The body as it travelled: the decoder of a reply is FastStream's own.
        assert zlib.decompress(reply.body) == b'"fedcba9876543210"'


async def test_content_type_that_the_caller_gives_stays(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[tuple[bytes, str | None]]()

    @broker.subscriber(world.subject)
    async def handle(body: bytes, message: NatsMessage) -> None:
        await seen.add((body, message.content_type))

    async with world.running(broker) as store:
        for body in (b"short", b"hello world"):
            await broker.publish(body, world.subject, headers={"content-type": "image/png"})
        assert await seen.wait_for(2) == [
            (b"short", "image/png"),
            (b"hello world", "image/png"),
        ]
        assert (await only(store)).headers is not None
        headers = (await only(store)).headers or {}
        assert headers["Content-Type"] == ["image/png"]


async def test_decoder_and_parser_of_a_handler_see_the_body(world: World) -> None:
    broker = world.broker(world.check(threshold=10))
    seen = Seen[str]()
    parsed: list[bytes] = []

    async def parser(raw: Any, original: Any) -> Any:
        parsed.append(raw.data)
        return await original(raw)

    async def decoder(message: NatsMessage) -> str:
        return message.body.decode().upper()

    @broker.subscriber(world.subject, parser=parser, decoder=decoder)
    async def handle(body: str) -> None:
        await seen.add(body)

    async with world.running(broker):
        await broker.publish(LONG, world.subject)
        assert await seen.wait_for(1) == ["HELLO WORLD"]
    assert parsed == [b"hello world"]


class Sign(BaseMiddleware[NatsPublishCommand, Any]):
    """Changes the body on its way out, and says what it saw."""

    async def publish_scope(self, call_next: Any, cmd: NatsPublishCommand) -> Any:
        cmd.headers = {**cmd.headers, "saw": type(cmd.body).__name__}
        if isinstance(cmd.body, dict):
            cmd.body = {**cmd.body, "signed": True}
        return await call_next(cmd)


@pytest.mark.parametrize("text", ["short", "long enough to be put into a bucket"])
async def test_middleware_before_it_changes_bodies_of_any_size(
    world: World, text: str
) -> None:
    broker = world.broker(Sign, world.check(threshold=40))
    seen = Seen[dict[str, Any]]()
    broker.subscriber(world.subject)(seen.add)

    async with world.running(broker) as store:
        await broker.publish({"text": text}, world.subject)
        assert await seen.wait_for(1) == [{"text": text, "signed": True}]
        assert len(await store.list()) == (text != "short")


async def test_middleware_after_it_still_sees_small_values(world: World) -> None:
    broker = world.broker(world.check(threshold=40), Sign)
    seen = Seen[dict[str, Any]]()
    broker.subscriber(world.subject)(seen.add)

    async with world.running(broker):
        await broker.publish({"text": "short"}, world.subject)
        assert await seen.wait_for(1) == [{"text": "short", "signed": True}]


async def test_callers_headers_and_command_are_left_alone(world: World) -> None:
    commands: list[NatsPublishCommand] = []

    class Keep(BaseMiddleware[NatsPublishCommand, Any]):
        async def publish_scope(self, call_next: Any, cmd: NatsPublishCommand) -> Any:
            result = await call_next(cmd)
            commands.append(cmd)
            return result

    broker = world.broker(Keep, world.check(threshold=10))
    broker.subscriber(world.subject)(_ignore)
    headers = {"tenant": "7"}

    async with world.running(broker):
        await broker.publish({"text": LONG}, world.subject, headers=headers)
    assert headers == {"tenant": "7"}
    assert (commands[0].body, commands[0].headers) == ({"text": LONG}, {"tenant": "7"})


@pytest.mark.parametrize("order", ["before", "after"])
async def test_prometheus_counts_one_message_of_its_real_size(
    world: World, order: str
) -> None:
    registry = CollectorRegistry()
    metrics = NatsPrometheusMiddleware(registry=registry, app_name="app")
    check = world.check(threshold=10)
    pair = (metrics, check) if order == "before" else (check, metrics)
    broker = world.broker(*pair)
    seen = Seen[str]()

    @broker.subscriber(world.subject)
    @broker.publisher(f"{world.subject}.done")
    async def handle(body: str) -> str:
        return "done"

    broker.subscriber(f"{world.subject}.done")(seen.add)

    async with world.running(broker):
        await broker.publish("x" * 1000, world.subject)
        await seen.wait_for(1)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(
            f"faststream_{name}", {"app_name": "app", "broker": "nats", **labels}
        )

    assert value(
        "published_messages_total", destination=world.subject, status="success"
    ) == pytest.approx(1)
    assert value("received_messages_total", handler=world.subject) == pytest.approx(1)
    assert value("received_messages_size_bytes_sum", handler=world.subject) == pytest.approx(
        1000
    )


@pytest.mark.parametrize("order", ["before", "after"])
async def test_opentelemetry_traces_one_message_of_its_real_size(
    world: World, order: str
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracing = NatsTelemetryMiddleware(tracer_provider=provider)
    check = world.check(threshold=10)
    pair = (tracing, check) if order == "before" else (check, tracing)
    broker = world.broker(*pair)
    seen = world.heard_by(broker)

    async with world.running(broker):
        await broker.publish("x" * 1000, world.subject, correlation_id="order-1")
        assert await seen.wait_for(1) == ["x" * 1000]

    found = {span.name: span for span in spans.get_finished_spans()}
    process = found[f"{world.subject} process"]
    assert process.attributes is not None
    assert process.attributes["messaging.message.payload_size_bytes"] == 1000
    assert process.attributes["messaging.message.conversation_id"] == "order-1"
    assert set(found) == {f"{world.subject} {act}" for act in ("create", "publish", "process")}
    # One trace from the publish to the handler: its headers travelled with the reference.
    assert len({span.context.trace_id for span in found.values() if span.context}) == 1


@pytest.mark.parametrize("order", ["before", "after"])
async def test_batches_go_with_metrics_and_tracing(on_server: World, order: str) -> None:
    registry = CollectorRegistry()
    others = (
        NatsPrometheusMiddleware(registry=registry, app_name="app"),
        NatsTelemetryMiddleware(tracer_provider=TracerProvider()),
    )
    check = on_server.check(threshold=10)
    broker = on_server.broker(*((*others, check) if order == "before" else (check, *others)))
    seen = Seen[list[str]]()
    broker.subscriber(
        on_server.subject,
        stream=JStream(on_server.stream),
        durable="d",
        pull_sub=PullSub(batch_size=2, timeout=20.0, batch=True),
    )(seen.add)

    async with on_server.running(broker):
        for text in (f"{LONG} 1", f"{LONG} 2"):
            await broker.publish(text, on_server.subject, stream=on_server.stream, timeout=10)
        assert await seen.wait_for(1) == [["hello world 1", "hello world 2"]]
    count = registry.get_sample_value(
        "faststream_received_messages_total",
        {"app_name": "app", "broker": "nats", "handler": on_server.subject},
    )
    assert count == pytest.approx(2)


async def _ignore(body: Any) -> None:
    pass
