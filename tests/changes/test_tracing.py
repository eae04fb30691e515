"""What metrics, traces and correlation ids show of change subscribers."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from faststream import Context
from faststream.nats import NatsBroker, NatsMessage, TestNatsBroker
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from faststream.nats.prometheus import NatsPrometheusMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind
from prometheus_client import CollectorRegistry

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params import FromBucket
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, Seen, soon

OBJECTS = 50


class Traces:
    """Spans and metrics of one test, kept in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.metrics = InMemoryMetricReader()
        self.middleware = NatsTelemetryMiddleware(
            tracer_provider=self.provider,
            meter_provider=MeterProvider(metric_readers=[self.metrics]),
        )

    def handled(self, bucket: str) -> list[ReadableSpan]:
        """The spans of handlers that have run."""
        return [
            span
            for span in self.exporter.get_finished_spans()
            if span.name == f"$O.{bucket}.M process"
        ]


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture(params=["memory", "jetstream"])
def on_server(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "jetstream")


@contextlib.asynccontextmanager
async def entered(broker: NatsBroker, on_server: bool) -> AsyncIterator[None]:
    if not on_server:
        async with TestNatsBroker(broker):
            yield
        return
    try:
        await soon(broker.start())
        yield
    finally:
        await soon(broker.stop())


async def test_handlers_span_is_a_child_of_the_span_around_the_put(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None, middlewares=[traces.middleware])
    buckets = Buckets(broker, bucket)
    calls = Names()
    bucket.on_put()(calls.take)

    async with entered(broker, on_server):
        store = await buckets.open(bucket)
        with traces.tracer.start_as_current_span("upload") as around:
            put = await store.put("a", b"")
        await calls.wait_for(1)

    assert put.headers is not None
    assert set(put.headers) == {"traceparent"}
    [span] = traces.handled(bucket_name)
    assert span.kind is SpanKind.CONSUMER
    assert parent(span).span_id == around.get_span_context().span_id
    assert parent(span).trace_id == around.get_span_context().trace_id


async def test_trace_goes_on_from_handler_to_handler(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    first, second = Bucket(bucket_name), Bucket(f"{bucket_name}-results")
    broker = NatsBroker(nats_server.url, logger=None, middlewares=[traces.middleware])
    buckets = Buckets(broker, first, second)
    calls = Names()

    @first.on_put()
    async def forward(
        info: ObjectInfo, target: Annotated[ObjectStore, FromBucket(second)]
    ) -> None:
        await target.put(info.name, b"")

    second.on_put()(calls.take)

    async with entered(broker, on_server):
        await (await buckets.open(first)).put("a", b"")
        await calls.wait_for(1)

    [one] = traces.handled(first.name)
    [two] = traces.handled(second.name)
    assert parent(two).span_id == context(one).span_id


async def test_deletion_is_traced_to_the_delete_not_to_the_put(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None, middlewares=[traces.middleware])
    buckets = Buckets(broker, bucket)
    calls = Names()
    bucket.on_delete()(calls.take)

    async with entered(broker, on_server):
        store = await buckets.open(bucket)
        with traces.tracer.start_as_current_span("put") as put:
            await store.put("a", b"")
            await store.put("b", b"")
        with traces.tracer.start_as_current_span("delete") as delete:
            await store.delete("a")
        await calls.wait_for(1)
        await store.delete("b")
        await calls.wait_for(2)

    one, two = traces.handled(bucket_name)
    assert parent(one).span_id == delete.get_span_context().span_id
    traced = {one.get_span_context().trace_id for one in (put, delete)}
    assert context(two).trace_id not in traced


async def test_nothing_is_added_where_nobody_traces(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, Bucket(bucket_name))
    async with entered(broker, on_server):
        store = await buckets.open(bucket_name)
        with traces.tracer.start_as_current_span("no middleware on the broker"):
            assert (await store.put("a", b"")).headers is None

    broker = NatsBroker(nats_server.url, logger=None, middlewares=[traces.middleware])
    buckets = Buckets(broker, Bucket(bucket_name))
    async with entered(broker, on_server):
        store = await buckets.open(bucket_name)
        assert (await store.put("no span", b"")).headers is None


async def test_trace_that_the_caller_gives_is_not_mixed_with_the_current_one(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    broker = NatsBroker(nats_server.url, logger=None, middlewares=[traces.middleware])
    buckets = Buckets(broker, Bucket(bucket_name))
    async with entered(broker, on_server):
        store = await buckets.open(bucket_name)
        with traces.tracer.start_as_current_span("upload"):
            put = await store.put("a", b"", headers={"tracestate": "a=b"})
    assert put.headers == {"tracestate": ["a=b"]}


async def test_correlation_id_flows_from_message_to_put_to_handler_to_publisher(
    nats_server: NatsServer, bucket_name: str, on_server: bool
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None)
    Buckets(broker, bucket)
    ids: Seen[tuple[str, str]] = Seen()

    @broker.subscriber(f"in.{bucket_name}")
    async def receive(name: str, store: Annotated[ObjectStore, FromBucket(bucket)]) -> None:
        await store.put(name, b"")

    @broker.publisher(f"returned.{bucket_name}")
    @bucket.on_put()
    async def handle(
        info: ObjectInfo, correlation_id: Annotated[str, Context("message.correlation_id")]
    ) -> str:
        await ids.add(("handled", correlation_id))
        return info.name

    @bucket.on_delete()
    async def deleted(info: ObjectInfo, message: NatsMessage) -> None:
        await ids.add(("deleted", message.correlation_id))

    @broker.subscriber(f"returned.{bucket_name}")
    async def end(
        name: str,
        message: NatsMessage,
        store: Annotated[ObjectStore, FromBucket(bucket)],
    ) -> None:
        await ids.add(("returned", message.correlation_id))
        await store.delete(name)

    async with entered(broker, on_server):
        await broker.publish("a", f"in.{bucket_name}", correlation_id="order 66")
        await ids.wait_for(3)

    assert sorted(ids.all) == [
        (what, "order 66") for what in ("deleted", "handled", "returned")
    ]


async def test_correlation_id_of_a_put_is_not_that_of_a_later_delete(
    nats_server: NatsServer, bucket_name: str, on_server: bool
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket)
    ids: Seen[str] = Seen()

    @broker.subscriber(f"in.{bucket_name}")
    async def receive(name: str, store: Annotated[ObjectStore, FromBucket(bucket)]) -> None:
        await store.put(name, b"")

    @bucket.on_change()
    async def handle(info: ObjectInfo, message: NatsMessage) -> None:
        await ids.add(message.correlation_id)

    async with entered(broker, on_server):
        await broker.publish("a", f"in.{bucket_name}", correlation_id="order 66")
        await ids.wait_for(1)
        await (await buckets.open(bucket)).delete("a")
        put, delete = await ids.wait_for(2)

    assert put == "order 66"
    assert delete != put


async def test_fifty_objects_are_one_label_in_metrics_and_one_name_of_spans(
    nats_server: NatsServer, bucket_name: str, traces: Traces, on_server: bool
) -> None:
    registry = CollectorRegistry()
    bucket = Bucket(bucket_name)
    broker = NatsBroker(
        nats_server.url,
        logger=None,
        middlewares=[traces.middleware, NatsPrometheusMiddleware(registry=registry)],
    )
    buckets = Buckets(broker, bucket)
    calls = Names()
    bucket.on_put()(calls.take)

    async with entered(broker, on_server):
        store = await buckets.open(bucket)
        for number in range(OBJECTS):
            await store.put(f"object-{number}", b"")
        await calls.wait_for(OBJECTS)

    label = f"$O.{bucket_name}.M"
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    assert {one.labels["handler"] for one in samples if "handler" in one.labels} == {label}
    received = [
        one.value for one in samples if one.name == "faststream_received_messages_total"
    ]
    assert received == [OBJECTS]
    assert "object-" not in str(samples)

    assert {span.name for span in traces.exporter.get_finished_spans()} == {
        f"{label} create",
        f"{label} process",
    }
    assert len(traces.handled(bucket_name)) == OBJECTS
    data: Any = traces.metrics.get_metrics_data()
    points = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    assert points
    assert {tuple(point.attributes.values()) for point in points} == {("nats", label)}


def test_opentelemetry_is_not_imported_for_those_who_do_not_trace() -> None:
    program = (
        "import sys, asyncio\n"
        "from faststream.nats import NatsBroker, TestNatsBroker\n"
        "from faststream_objstore import Bucket, Buckets\n"
        "broker = NatsBroker()\n"
        "buckets = Buckets(broker, Bucket('photos'))\n"
        "async def main():\n"
        "    async with TestNatsBroker(broker):\n"
        "        await (await buckets.open('photos')).put('a', b'')\n"
        "asyncio.run(main())\n"
        "print('opentelemetry.trace' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "False\n"


def parent(span: ReadableSpan) -> SpanContext:
    assert span.parent is not None
    return span.parent


def context(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found
