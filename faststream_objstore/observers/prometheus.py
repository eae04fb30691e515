"""Metrics for Prometheus: `pip install 'faststream[prometheus]'`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from faststream_objstore.observers.events import ChangeEvent, OperationEvent
from faststream_objstore.observers.labels import NO_DURABLE, BoundedLabels

try:
    from prometheus_client import Counter, Histogram
except ImportError as _error:
    _message = (
        "faststream_objstore.observers.prometheus needs prometheus_client: "
        "pip install 'faststream[prometheus]'."
    )
    raise ImportError(_message) from _error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ("PrometheusObserver",)

_Metric = TypeVar("_Metric", Counter, Histogram)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)


class PrometheusObserver:
    """Counts operations and changes in a registry of Prometheus.

    It stands beside FastStream's own `NatsPrometheusMiddleware`, in the same registry:

    ```python
    registry = CollectorRegistry()
    broker = NatsBroker(middlewares=[NatsPrometheusMiddleware(registry=registry)])
    buckets = Buckets(broker, photos, observers=[PrometheusObserver(registry)])
    app = AsgiFastStream(broker, asgi_routes=[("/metrics", make_asgi_app(registry))])
    ```

    No label has an object's name.

    Args:
        registry: Where the metrics are registered. Observers on one registry share them.
        app_name: The label `app_name`, as FastStream's middleware has it; the prefix if it is
            not given.
        metrics_prefix: What the names of the metrics begin with.
        duration_buckets: The buckets, in seconds, of the durations of operations.
        lag_buckets: The buckets, in seconds, of the lags of changes.
        max_buckets: How many Object Store buckets have a label of their own; the rest, where
            a service makes more at run time, shares the label `(other)`.
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
    ) -> None:
        self._app = metrics_prefix if app_name is None else app_name
        self._buckets = BoundedLabels(max_buckets)

        def metric(
            kind: Callable[..., _Metric], name: str, *args: Any, **more: Any
        ) -> _Metric:
            full = f"{metrics_prefix}_objstore_{name}"
            # As FastStream's middleware does: two of one service share what they count.
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
