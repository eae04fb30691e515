"""The metrics of Prometheus, as its own parser reads them."""

import asyncio
import subprocess
import sys
from typing import Annotated

import httpx
import pytest
from faststream.nats import NatsBroker
from faststream.nats.prometheus import NatsPrometheusMiddleware
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from faststream_objstore import Bucket, Buckets, LiveObject, Retry
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers import ChangeEvent, OperationEvent
from faststream_objstore.observers.prometheus import PrometheusObserver, make_metrics_asgi
from faststream_objstore.testing import NatsServer
from tests.changes.support import soon
from tests.observers.support import Recorder


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """What a scrape gives: name and label values, without the application's, to value."""
    return parsed(generate_latest(registry).decode())


def parsed(text: str) -> dict[tuple[str, ...], float]:
    """What a scrape's text says."""
    return {
        (one.name, *(value for key, value in one.labels.items() if key != "app_name")): (
            one.value
        )
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_operations_and_changes_are_counted(
    nats_server: NatsServer, bucket_name: str
) -> None:
    registry = CollectorRegistry()
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put("*", durable="thumbnailer", retry=Retry(2, delays=(0.01,)))
    async def thumbnail(info: ObjectInfo) -> None:
        if info.name == "bad":
            raise ValueError

    broker = NatsBroker(
        nats_server.url,
        logger=None,
        middlewares=[NatsPrometheusMiddleware(registry=registry)],
    )
    buckets = Buckets(broker, bucket, observers=[PrometheusObserver(registry), seen])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        await store.put("good", b"12345")
        await store.put("bad", b"123")
        await store.get("good")
        await store.exists("nothing")
        await seen.wait_for_changes(3)
    finally:
        await soon(broker.stop())

    found = samples(registry)
    total = "faststream_objstore_operations_total"
    assert found[total, bucket_name, "put", "success"] == 2
    assert found[total, bucket_name, "get", "success"] == 1
    assert found[total, bucket_name, "get_info", "not_found"] == 1
    assert found["faststream_objstore_operation_bytes_total", bucket_name, "put"] == 8
    assert found["faststream_objstore_operation_bytes_total", bucket_name, "get"] == 5
    count = "faststream_objstore_operation_duration_seconds_count"
    assert found[count, bucket_name, "put"] == 2

    def value(name: str, *labels: str) -> float:
        key = (f"faststream_objstore_{name}", *labels)
        return found[key]

    of = (bucket_name, "thumbnailer", "Thumbnail")
    assert value("changes_total", *of, "handled") == 1
    assert value("changes_total", *of, "retried") == 1
    assert value("changes_total", *of, "dead_lettered") == 1
    assert value("change_lag_seconds_count", *of) == 3
    assert not [key for key in found if "good" in key or "bad" in key]


def test_buckets_made_at_run_time_do_not_make_labels_without_end() -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry, max_buckets=2)
    for number in range(50):
        observer.operation(
            OperationEvent(
                bucket=f"tenant-{number}", operation="put", outcome="success", seconds=0.1
            )
        )
    found = samples(registry)
    name = "faststream_objstore_operations_total"
    assert {key: value for key, value in found.items() if key[0] == name} == {
        (name, "tenant-0", "put", "success"): 1,
        (name, "tenant-1", "put", "success"): 1,
        (name, "(other)", "put", "success"): 48,
    }


def test_two_observers_on_one_registry_count_together() -> None:
    registry = CollectorRegistry()
    event = ChangeEvent(
        bucket="photos", durable=None, handler="H", outcome="handled", attempts=1, lag=0.2
    )
    PrometheusObserver(registry).change(event)
    PrometheusObserver(registry).change(event)
    found = samples(registry)
    assert found["faststream_objstore_changes_total", "photos", "", "H", "handled"] == 2


@pytest.mark.parametrize(
    "module, missing, extra",
    [
        ("prometheus", "prometheus_client", "faststream[prometheus]"),
        ("opentelemetry", "opentelemetry", "faststream[otel]"),
    ],
)
def test_missing_library_is_an_error_that_names_the_extra(
    module: str, missing: str, extra: str
) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"import faststream_objstore.observers.{module}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"pip install '{extra}'" in done.stderr


async def test_gauges_are_read_for_each_scrape(
    nats_server: NatsServer, bucket_name: str
) -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    seen = Recorder()
    bucket = Bucket(bucket_name, max_bytes=1_000_000)
    go = asyncio.Event()

    @bucket.on_put(durable="worker")
    async def work(info: ObjectInfo) -> None:
        await go.wait()

    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket, observers=[observer, seen])

    @broker.subscriber(f"in.{bucket_name}")
    async def handle(
        body: str, rules: Annotated[bytes, LiveObject(bucket_name, "rules.json")]
    ) -> None: ...

    app = make_metrics_asgi(observer)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def scrape() -> dict[tuple[str, ...], float]:
            return parsed((await client.get("/metrics")).text)

        await soon(broker.connect())
        store = await buckets.open(bucket)
        await store.put("rules.json", b"{}")
        try:
            await soon(broker.start())
            await store.put("a", b"x" * 1000)
            await store.put("b", b"x" * 1000)
            before = await soon(scrape())
            go.set()
            await seen.wait_for_changes(2)
            after = await soon(scrape())
            # From another thread, as prometheus_client's own server and pushes do it.
            threaded = parsed((await asyncio.to_thread(generate_latest, registry)).decode())
            await buckets.delete_bucket(bucket)
            gone = await soon(scrape())
            await buckets.create(bucket_name)
        finally:
            await soon(broker.stop())

    def of(found: dict[tuple[str, ...], float], name: str, *labels: str) -> float:
        key = (f"faststream_objstore_{name}", bucket_name, *labels)
        return found[key]

    assert of(before, "bucket_up") == 1
    assert of(before, "bucket_objects") == 3
    assert 2000 < of(before, "bucket_bytes") < 10_000
    assert of(before, "bucket_max_bytes") == 1_000_000
    assert (
        of(before, "durable_pending", "worker") + of(before, "durable_in_work", "worker") == 2
    )
    assert of(before, "durable_oldest_age_seconds", "worker") > 0
    assert of(before, "subscriber_receiving", "worker", "Work") == 1
    assert of(before, "live_object_loads_total", "rules.json") == 1
    assert of(before, "live_object_failures_total", "rules.json") == 0
    assert of(before, "live_object_revision", "rules.json") > 0
    for found in (after, threaded):
        assert of(found, "durable_pending", "worker") == 0
        assert of(found, "durable_redelivered", "worker") == 0
        assert of(found, "durable_in_work", "worker") <= 1
    assert of(gone, "bucket_up") == 0
    assert ("faststream_objstore_bucket_bytes", bucket_name) not in gone


async def test_faststreams_own_metrics_tell_the_durables_of_a_bucket_apart(
    nats_server: NatsServer, bucket_name: str
) -> None:
    registry = CollectorRegistry()
    seen = Recorder()
    bucket = Bucket(bucket_name)

    @bucket.on_put(durable="thumbnailer")
    async def thumbnail(info: ObjectInfo) -> None: ...

    @bucket.on_put(durable="indexer")
    async def index(info: ObjectInfo) -> None: ...

    middleware = NatsPrometheusMiddleware(registry=registry)
    broker = NatsBroker(nats_server.url, logger=None, middlewares=[middleware])
    buckets = Buckets(broker, bucket, observers=[seen])
    try:
        await soon(broker.start())
        store = await buckets.open(bucket)
        await store.put("a", b"")
        await store.put("b", b"")
        await seen.wait_for_changes(4)
    finally:
        await soon(broker.stop())

    found = samples(registry)
    name = "faststream_received_messages_total"
    assert {key: value for key, value in found.items() if key[0] == name} == {
        (name, "nats", f"$O.{bucket_name}.M:thumbnailer"): 2,
        (name, "nats", f"$O.{bucket_name}.M:indexer"): 2,
    }
