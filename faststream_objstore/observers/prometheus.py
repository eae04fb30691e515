"""Metrics for Prometheus: `pip install 'faststream[prometheus]'`."""

from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from faststream_objstore.observers.events import ChangeEvent, OperationEvent
from faststream_objstore.observers.gauges import Gauges
from faststream_objstore.observers.labels import NO_DURABLE, BoundedLabels
from faststream_objstore.standing import Standings

try:
    from prometheus_client import Counter, Histogram, make_asgi_app
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as _error:
    _message = (
        "faststream_objstore.observers.prometheus needs prometheus_client: "
        "pip install 'faststream[prometheus]'."
    )
    raise ImportError(_message) from _error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ("PrometheusObserver", "make_metrics_asgi")

_Metric = TypeVar("_Metric", Counter, Histogram)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)


# A registry collects the gauges once, regardless of the number of observers.
_observers: "WeakKeyDictionary[CollectorRegistry, dict[str, PrometheusObserver]]" = (
    WeakKeyDictionary()
)


class PrometheusObserver:
    """Counts operations and changes in a Prometheus registry.

    It complements FastStream's own `NatsPrometheusMiddleware`, in the same registry:

    ```python
    registry = CollectorRegistry()
    broker = NatsBroker(middlewares=[NatsPrometheusMiddleware(registry=registry)])
    observer = PrometheusObserver(registry)
    buckets = Buckets(broker, photos, observers=[observer])
    app = AsgiFastStream(broker, asgi_routes=[("/metrics", make_metrics_asgi(observer))])
    ```

    Gauges of buckets and durables are read only when the registry is collected.
    `make_metrics_asgi` reads them for each scrape. So does prometheus_client's own server,
    which runs in a thread; its `make_asgi_app` runs on the event loop, and shows the values
    that were read for the previous scrape.

    No label contains the name of an object, except the names that code passes to a
    `LiveObject`.

    Args:
        registry: The registry of the metrics. Observers of the same registry share them.
        app_name: The label `app_name`, as in FastStream's middleware; by default the prefix.
        metrics_prefix: The beginning of the metrics' names.
        duration_buckets: The buckets, in seconds, of the durations of operations.
        lag_buckets: The buckets, in seconds, of the lags of changes.
        max_buckets: How many Object Store buckets have their own label; all others, if a
            service creates more at run time, share the label `(other)`.
        timeout: Seconds that NATS may take to report the state of buckets and durables.
    """

    def __init__(
        self,
        registry: "CollectorRegistry",
        *,
        app_name: str | None = None,
        metrics_prefix: str = "faststream",
        duration_buckets: Sequence[float] = _SECONDS,
        lag_buckets: Sequence[float] = _LAG_SECONDS,
        max_buckets: int = 100,
        timeout: float = 5.0,
    ) -> None:
        self.registry: CollectorRegistry = registry
        self._timeout = timeout
        self._gauges: list[Gauges] = []
        self._prefix = f"{metrics_prefix}_objstore"
        self._app = metrics_prefix if app_name is None else app_name
        self._buckets = BoundedLabels(max_buckets)

        def metric(
            kind: Callable[..., _Metric], name: str, *args: Any, **more: Any
        ) -> _Metric:
            full = f"{metrics_prefix}_objstore_{name}"
            # As in FastStream's middleware: two observers of one service share their counts.
            known = registry._names_to_collectors.get(full)  # noqa: SLF001
            if known is not None:
                return cast("_Metric", known)
            return kind(full, *args, registry=registry, **more)

        operation = ("app_name", "bucket", "operation")
        change = ("app_name", "bucket", "durable", "handler")
        self._operations = metric(
            Counter,
            "operations_total",
            "Finished operations of ObjectStore by how they ended",
            (*operation, "outcome"),
        )
        self._seconds = metric(
            Histogram,
            "operation_duration_seconds",
            "How long operations of ObjectStore took",
            operation,
            buckets=duration_buckets,
        )
        self._bytes = metric(
            Counter,
            "operation_bytes_total",
            "Bytes of content that operations of ObjectStore stored or read",
            operation,
        )
        self._changes = metric(
            Counter,
            "changes_total",
            "Delivered changes of objects by what became of them",
            (*change, "outcome"),
        )
        self._lag = metric(
            Histogram,
            "change_lag_seconds",
            "Seconds from the put or delete of an object to the handler",
            change,
            buckets=lag_buckets,
        )
        self._first = _observers.setdefault(registry, {}).setdefault(metrics_prefix, self)
        if self._first is self:
            registry.register(_Collector(self._collect))

    def follow(self, standings: Standings) -> None:
        """Show the state of these buckets too."""
        gauges = self._first._gauges  # noqa: SLF001 - another instance of this class
        gauges[:] = [one for one in gauges if one.standings is not standings]
        gauges.append(Gauges(standings, timeout=self._timeout))

    async def refresh(self) -> None:
        """Read the gauges now, for the next collection."""
        for gauges in self._first._gauges:  # noqa: SLF001 - another instance of this class
            await gauges.refresh()

    def operation(self, event: OperationEvent) -> None:
        """Count an operation."""
        labels = (self._app, self._buckets.of(event.bucket), event.operation)
        self._operations.labels(*labels, event.outcome).inc()
        self._seconds.labels(*labels).observe(event.seconds)
        if event.bytes:
            self._bytes.labels(*labels).inc(event.bytes)

    def change(self, event: ChangeEvent) -> None:
        """Count a change."""
        durable = NO_DURABLE if event.durable is None else event.durable
        labels = (self._app, self._buckets.of(event.bucket), durable, event.handler)
        self._changes.labels(*labels, event.outcome).inc()
        if event.outcome != "skipped":
            self._lag.labels(*labels).observe(event.lag)

    def _collect(self) -> Iterator[Metric]:
        standings = [gauges.collect() for gauges in self._gauges]
        of_bucket, of_durable = ("bucket",), ("bucket", "durable")
        of_handler = (*of_durable, "handler")
        of_live = ("bucket", "live_object")

        def gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
            return GaugeMetricFamily(
                f"{self._prefix}_{name}", text, labels=("app_name", *labels)
            )

        def counter(name: str, text: str) -> CounterMetricFamily:
            return CounterMetricFamily(
                f"{self._prefix}_{name}", text, labels=("app_name", *of_live)
            )

        up = gauge("bucket_up", "Whether the bucket is there and answers", of_bucket)
        stored = gauge("bucket_bytes", "Bytes that the bucket's stream has stored", of_bucket)
        limit = gauge("bucket_max_bytes", "Bytes that it may store, if limited", of_bucket)
        objects = gauge("bucket_objects", "Objects, as of the last count", of_bucket)
        pending = gauge("durable_pending", "Changes that are not delivered yet", of_durable)
        in_work = gauge(
            "durable_in_work",
            "Changes that are being handled, or that wait for their next attempt",
            of_durable,
        )
        redelivered = gauge(
            "durable_redelivered", "Changes in work that were delivered before", of_durable
        )
        oldest = gauge(
            "durable_oldest_age_seconds",
            "Seconds since the oldest change that is not handled; 0 if all are",
            of_durable,
        )
        receiving = gauge(
            "subscriber_receiving",
            "Whether the subscriber of this process asks for changes",
            of_handler,
        )
        revision = gauge("live_object_revision", "The version of a LiveObject in use", of_live)
        loads = counter("live_object_loads", "Versions of a LiveObject that were loaded")
        failures = counter(
            "live_object_failures", "Versions of a LiveObject that could not be loaded"
        )
        durables: set[tuple[str, str]] = set()
        for standing in standings:
            for name in standing.problems:
                up.add_metric((self._app, self._buckets.of(name)), 0)
            for bucket in standing.buckets:
                labels = (self._app, self._buckets.of(bucket.bucket))
                up.add_metric(labels, 1)
                stored.add_metric(labels, bucket.bytes)
                if bucket.max_bytes is not None:
                    limit.add_metric(labels, bucket.max_bytes)
                if bucket.objects is not None:
                    objects.add_metric(labels, bucket.objects)
            for one in standing.subscribers:
                label = self._buckets.of(one.bucket)
                durable = NO_DURABLE if one.durable is None else one.durable
                receiving.add_metric(
                    (self._app, label, durable, one.handler), float(one.receiving is not False)
                )
                at = one.standing
                if at is not None and (one.bucket, durable) not in durables:
                    durables.add((one.bucket, durable))
                    names = (self._app, label, durable)
                    pending.add_metric(names, at.pending)
                    in_work.add_metric(names, at.in_work)
                    redelivered.add_metric(names, at.redelivered)
                    oldest.add_metric(names, at.oldest)
            for live in standing.live_objects:
                names = (self._app, self._buckets.of(live.bucket), live.object)
                revision.add_metric(names, live.revision)
                loads.add_metric(names, live.loads)
                failures.add_metric(names, live.failures)
        yield from (up, stored, limit, objects, pending, in_work, redelivered, oldest)
        yield from (receiving, revision, loads, failures)


class _Collector(Collector):
    """What a registry asks for gauges."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        """Return nothing: otherwise a registry would collect to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        return self._collect()


def make_metrics_asgi(
    observer: PrometheusObserver,
) -> Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]:
    """An ASGI app for Prometheus to scrape: all of the observer's registry, read now.

    Args:
        observer: Whose registry.
    """
    scraped = make_asgi_app(observer.registry)

    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        await observer.refresh()
        await scraped(scope, receive, send)

    return metrics
