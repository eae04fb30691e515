"""Spans and metrics for OpenTelemetry: `pip install 'faststream[otel]'`."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from faststream_objstore.observers.events import ChangeEvent, OperationEvent
from faststream_objstore.observers.gauges import Gauges
from faststream_objstore.observers.labels import NO_DURABLE, BoundedLabels
from faststream_objstore.standing import (
    BucketStanding,
    DurableStanding,
    LiveStanding,
    Standing,
    Standings,
)

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ImportError as _error:
    _message = (
        "faststream_objstore.observers.opentelemetry needs OpenTelemetry: "
        "pip install 'faststream[otel]'."
    )
    raise ImportError(_message) from _error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ("OpenTelemetryObserver",)

_SCOPE = "faststream_objstore"
# They last as long as their callers decide, perhaps across several tasks, so their spans are
# created when they end; so are those of objects that were read together.
_UNSCOPED = frozenset({"open", "iter", "transaction"})
_in_scope: ContextVar[bool] = ContextVar("objstore_in_scope", default=False)

_T = TypeVar("_T")
_Value: TypeAlias = Callable[[_T], float | None]
_Callback: TypeAlias = "Callable[[CallbackOptions], Iterable[Observation]]"

_OF_BUCKETS: tuple[tuple[str, str, str, _Value[BucketStanding]], ...] = (
    ("objstore.bucket.size", "By", "Bytes stored", lambda one: one.bytes),
    ("objstore.bucket.limit", "By", "Bytes that may be stored", lambda one: one.max_bytes),
    ("objstore.bucket.objects", "{object}", "Objects", lambda one: one.objects),
)
_OF_DURABLES: tuple[tuple[str, str, str, _Value[DurableStanding]], ...] = (
    (
        "objstore.durable.pending",
        "{change}",
        "Changes that are not delivered yet",
        lambda one: one.pending,
    ),
    (
        "objstore.durable.in_work",
        "{change}",
        "Changes that are being handled, or that wait for their next attempt",
        lambda one: one.in_work,
    ),
    (
        "objstore.durable.redelivered",
        "{change}",
        "Changes in work that were delivered before",
        lambda one: one.redelivered,
    ),
    (
        "objstore.durable.oldest_age",
        "s",
        "Seconds since the oldest change that is not handled; 0 if all are",
        lambda one: one.oldest,
    ),
)
_OF_LIVE: tuple[tuple[str, str, str, _Value[LiveStanding]], ...] = (
    (
        "objstore.live_object.revision",
        "1",
        "The version of a LiveObject in use",
        lambda one: one.revision,
    ),
    (
        "objstore.live_object.loads",
        "{version}",
        "Versions of a LiveObject that were loaded",
        lambda one: one.loads,
    ),
    (
        "objstore.live_object.failures",
        "{version}",
        "Versions of a LiveObject that could not be loaded",
        lambda one: one.failures,
    ),
)


class OpenTelemetryObserver:
    """Makes each operation a span, and measures operations and changes.

    A put becomes the span `objstore put` within the current span, and likewise for every other
    operation; bytes and chunks are its attributes. If the broker has FastStream's
    `NatsTelemetryMiddleware`, a handler's span is traced to the put that fired it.

    ```python
    tracing = NatsTelemetryMiddleware(tracer_provider=provider)
    broker = NatsBroker(middlewares=[tracing])
    buckets = Buckets(broker, photos, observers=[OpenTelemetryObserver(provider)])
    ```

    Metrics do not have object names in their attributes; spans do, as `objstore.object`.

    Args:
        tracer_provider: The provider for spans; the global one if not given.
        meter_provider: The provider for metrics; the global one if not given.
        max_buckets: How many Object Store buckets have their own attribute value in metrics;
            all others share `(other)`.
        timeout: Seconds that NATS may take to report the state of buckets and durables.
    """

    def __init__(
        self,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
        *,
        max_buckets: int = 100,
        timeout: float = 5.0,
    ) -> None:
        self._gauges: list[Gauges] = []
        self._timeout = timeout
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._buckets = BoundedLabels(max_buckets)
        self._seconds = meter.create_histogram(
            "objstore.operation.duration",
            unit="s",
            description="How long operations of ObjectStore took",
        )
        self._bytes = meter.create_counter(
            "objstore.operation.bytes",
            unit="By",
            description="Bytes of content that operations of ObjectStore stored or read",
        )
        self._changes = meter.create_counter(
            "objstore.changes",
            unit="{change}",
            description="Delivered changes of objects by what became of them",
        )
        self._lag = meter.create_histogram(
            "objstore.change.lag",
            unit="s",
            description="Seconds from the put or delete of an object to the handler",
        )
        for name, unit, text, of_bucket in _OF_BUCKETS:
            meter.create_observable_gauge(
                name, [self._of_buckets(of_bucket)], unit=unit, description=text
            )
        for name, unit, text, of_durable in _OF_DURABLES:
            meter.create_observable_gauge(
                name, [self._of_durables(of_durable)], unit=unit, description=text
            )
        for name, unit, text, of_live in _OF_LIVE:
            meter.create_observable_gauge(
                name, [self._of_live(of_live)], unit=unit, description=text
            )

    def follow(self, standings: Standings) -> None:
        """Show the state of these buckets too."""
        self._gauges = [one for one in self._gauges if one.standings is not standings]
        self._gauges.append(Gauges(standings, timeout=self._timeout))

    def _collect(self) -> Iterator[Standing]:
        for gauges in self._gauges:
            yield gauges.collect()

    def _of_buckets(self, value: "_Value[BucketStanding]") -> "_Callback":
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for standing in self._collect():
                for one in standing.buckets:
                    if (number := value(one)) is not None:
                        labels = {"objstore.bucket": self._buckets.of(one.bucket)}
                        yield Observation(number, labels)

        return observe

    def _of_durables(self, value: "_Value[DurableStanding]") -> "_Callback":
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for standing in self._collect():
                for at in {
                    (one.bucket, one.durable): one.standing for one in standing.subscribers
                }.values():
                    if at is not None and (number := value(at)) is not None:
                        labels = {
                            "objstore.bucket": self._buckets.of(at.bucket),
                            "objstore.durable": at.durable,
                        }
                        yield Observation(number, labels)

        return observe

    def _of_live(self, value: "_Value[LiveStanding]") -> "_Callback":
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for standing in self._collect():
                for one in standing.live_objects:
                    if (number := value(one)) is not None:
                        labels = {
                            "objstore.bucket": self._buckets.of(one.bucket),
                            "objstore.live_object": one.object,
                        }
                        yield Observation(number, labels)

        return observe

    @contextmanager
    def scope(self, bucket: str, operation: str) -> Iterator[None]:
        """A span that is current while the operation runs."""
        with self._tracer.start_as_current_span(
            f"objstore {operation}",
            kind=SpanKind.CLIENT,
            attributes={"objstore.bucket": bucket, "objstore.operation": operation},
        ):
            token = _in_scope.set(True)
            try:
                yield
            finally:
                _in_scope.reset(token)

    def operation(self, event: OperationEvent) -> None:
        """Record on the span how the operation ended, and measure it."""
        span = trace.get_current_span()
        if event.operation in _UNSCOPED or not _in_scope.get():
            end = time.time_ns()
            span = self._tracer.start_span(
                f"objstore {event.operation}",
                kind=SpanKind.CLIENT,
                attributes={
                    "objstore.bucket": event.bucket,
                    "objstore.operation": event.operation,
                },
                start_time=end - int(event.seconds * 1e9),
            )
            _describe(span, event)
            span.end(end)
        else:
            _describe(span, event)
        labels = {
            "objstore.bucket": self._buckets.of(event.bucket),
            "objstore.operation": event.operation,
        }
        self._seconds.record(event.seconds, labels | {"objstore.outcome": event.outcome})
        if event.bytes:
            self._bytes.add(event.bytes, labels)

    def change(self, event: ChangeEvent) -> None:
        """Measure a change."""
        labels = {
            "objstore.bucket": self._buckets.of(event.bucket),
            "objstore.durable": NO_DURABLE if event.durable is None else event.durable,
            "objstore.handler": event.handler,
        }
        self._changes.add(1, labels | {"objstore.outcome": event.outcome})
        if event.outcome != "skipped":
            self._lag.record(event.lag, labels)


def _describe(span: Span, event: OperationEvent) -> None:
    span.set_attribute("objstore.outcome", event.outcome)
    span.set_attribute("objstore.bytes", event.bytes)
    if event.info is not None:
        span.set_attribute("objstore.object", event.info.name)
        span.set_attribute("objstore.chunks", event.info.chunks)
        span.set_attribute("objstore.revision", event.info.revision)
    if event.error is not None:
        span.record_exception(event.error)
        if event.outcome in {"error", "cancelled"}:
            span.set_status(Status(StatusCode.ERROR, str(event.error)))
