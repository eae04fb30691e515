"""Spans and metrics, as OpenTelemetry's exporters get them."""

import asyncio
from typing import Any

import pytest
from faststream.nats import NatsBroker
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from faststream_objstore import Bucket, Buckets
from faststream_objstore.exceptions import ObjectNotFoundError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers.opentelemetry import OpenTelemetryObserver
from faststream_objstore.testing import NatsServer
from tests.changes.support import soon
from tests.observers.support import Recorder


class Telemetry:
    """Spans and metrics of one test, kept in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.observer = OpenTelemetryObserver(self.provider, self.meters)

    def named(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def points(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        data: Any = self.reader.get_metrics_data()
        return {
            metric.name: [(dict(point.attributes), point) for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_put_and_reads_are_spans_and_the_handlers_span_is_traced_to_the_put(
    nats_server: NatsServer, bucket_name: str, telemetry: Telemetry
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="one")
    async def handle(info: ObjectInfo) -> None: ...

    broker = NatsBroker(
        nats_server.url,
        logger=None,
        middlewares=[NatsTelemetryMiddleware(tracer_provider=telemetry.provider)],
    )
    buckets = Buckets(broker, bucket, observers=[telemetry.observer, seen])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        with telemetry.tracer.start_as_current_span("upload") as around:
            await store.put("cat.png", b"x" * 1000, chunk_size=300)
            await store.get("cat.png")
            async with store.open("cat.png") as reader:
                await reader.read()
            with pytest.raises(ObjectNotFoundError):
                await store.get_info("dog.png")
        await seen.wait_for_changes(1)
    finally:
        await soon(broker.stop())

    [put] = telemetry.named("objstore put")
    [get] = telemetry.named("objstore get")
    [opened] = telemetry.named("objstore open")
    [info] = telemetry.named("objstore get_info")
    for span in (put, get, opened, info):
        assert span.parent is not None
        assert span.parent.span_id == around.get_span_context().span_id
    for span in (put, get, opened):
        said = attributes(span)
        assert said["objstore.bucket"] == bucket_name
        assert said["objstore.object"] == "cat.png"
        assert said["objstore.bytes"] == 1000
        assert said["objstore.chunks"] == 4
        assert said["objstore.outcome"] == "success"
    assert attributes(info)["objstore.outcome"] == "not_found"
    assert info.status.status_code is StatusCode.UNSET

    # FastStream makes the handler's span a child of the one that the change was made in.
    [handled] = telemetry.named(f"$O.{bucket_name}.M:one process")
    assert handled.parent is not None
    assert put.context is not None
    assert handled.parent.span_id == put.context.span_id


async def test_each_object_that_is_read_together_with_others_is_a_span(
    nats_server: NatsServer, bucket_name: str, telemetry: Telemetry
) -> None:
    broker = NatsBroker(nats_server.url, logger=None)
    bucket = Bucket(bucket_name)
    buckets = Buckets(broker, bucket, observers=[telemetry.observer])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        for number in range(3):
            await store.put(str(number), b"x" * number)
        with telemetry.tracer.start_as_current_span("download") as around:
            got = [data async for data in store.get_many(["2", "0", "1"])]
    finally:
        await soon(broker.stop())

    assert got == [b"xx", b"", b"x"]
    spans = telemetry.named("objstore get")
    assert {attributes(span)["objstore.object"] for span in spans} == {"0", "1", "2"}
    for span in spans:
        said = attributes(span)
        assert span.parent is not None
        assert span.parent.span_id == around.get_span_context().span_id
        assert said["objstore.bucket"] == bucket_name
        assert said["objstore.bytes"] == int(said["objstore.object"])
        assert said["objstore.outcome"] == "success"
    [(_, point)] = [
        one
        for one in telemetry.points()["objstore.operation.duration"]
        if one[0]["objstore.operation"] == "get"
    ]
    assert point.count == 3
    # They last as long as the reading did.
    lasted = sum((span.end_time or 0) - (span.start_time or 0) for span in spans)
    assert lasted == pytest.approx(point.sum * 1e9, abs=10)


async def test_failed_put_is_a_span_with_the_error(
    nats_server: NatsServer, bucket_name: str, telemetry: Telemetry
) -> None:
    bucket = Bucket(bucket_name, max_bytes=10_000)
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket, observers=[telemetry.observer])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        with pytest.raises(Exception, match="full"):
            await store.put("a", b"x" * 100_000)
    finally:
        await soon(broker.stop())

    [put] = telemetry.named("objstore put")
    assert put.status.status_code is StatusCode.ERROR
    assert [one.name for one in put.events] == ["exception"]


async def test_operations_and_changes_are_measured(
    nats_server: NatsServer, bucket_name: str, telemetry: Telemetry
) -> None:
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="one")
    async def handle(info: ObjectInfo) -> None: ...

    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket, observers=[telemetry.observer, seen])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        await store.put("a", b"12345")
        await store.put("b", b"12")
        await seen.wait_for_changes(2)
        # As an exporter does, in a thread of its own.
        gauges = await soon(asyncio.to_thread(telemetry.points))
    finally:
        await soon(broker.stop())

    points = gauges
    [(labels, stored)] = points["objstore.bucket.objects"]
    assert (labels, stored.value) == ({"objstore.bucket": bucket_name}, 2)
    [(labels, pending)] = points["objstore.durable.pending"]
    durable = {"objstore.bucket": bucket_name, "objstore.durable": "one"}
    assert (labels, pending.value) == (durable, 0)
    of = {"objstore.bucket": bucket_name, "objstore.operation": "put"}
    [(labels, moved)] = points["objstore.operation.bytes"]
    assert (labels, moved.value) == (of, 7)
    [(labels, seconds)] = points["objstore.operation.duration"]
    assert (labels, seconds.count) == (of | {"objstore.outcome": "success"}, 2)
    of = {
        "objstore.bucket": bucket_name,
        "objstore.durable": "one",
        "objstore.handler": "Handle",
    }
    [(labels, changes)] = points["objstore.changes"]
    assert (labels, changes.value) == (of | {"objstore.outcome": "handled"}, 2)
    [(labels, lag)] = points["objstore.change.lag"]
    assert (labels, lag.count) == (of, 2)
