"""What FastStream knows of the origin of a change: the message in hand, the trace."""

import sys
from collections.abc import Callable, Collection

from faststream.nats import NatsBroker

from faststream_objstore.store.provenance import Origin

__all__ = ("origin_on",)

_CORRELATION_ID = "correlation_id"
_TRACE = ("traceparent", "tracestate")


def origin_on(broker_now: Callable[[], NatsBroker | None]) -> Origin:
    """Marks changes with the message that a broker's handler is at, and with the trace.

    Args:
        broker_now: Gives the broker, if there is one yet.
    """

    def current(given: Collection[str]) -> dict[str, str]:
        broker = broker_now()
        if broker is None:
            return {}
        headers: dict[str, str] = {}
        # Only what is local: it is there while a handler runs, and in what that starts.
        message = broker.context.get_local("message")
        correlation_id = getattr(message, "correlation_id", None)
        if isinstance(correlation_id, str):
            headers[_CORRELATION_ID] = correlation_id
        # Half of another trace is worse than none.
        if not given or not any(name in given for name in _TRACE):
            headers |= _trace_headers(broker)
        return headers

    return Origin(frozenset({_CORRELATION_ID, *_TRACE}), current)


def _trace_headers(broker: NatsBroker) -> dict[str, str]:
    # Never imported here: whoever traces has done it, and nobody else has to install it.
    telemetry = sys.modules.get("faststream.opentelemetry")
    if telemetry is None:
        return {}
    trace = sys.modules.get("opentelemetry.trace")
    # What FastStream's middleware reads, whatever propagators are configured globally.
    propagation = sys.modules.get("opentelemetry.trace.propagation.tracecontext")
    if trace is None or propagation is None:
        return {}
    if not any(isinstance(one, telemetry.TelemetryMiddleware) for one in broker.middlewares):
        return {}
    if not trace.get_current_span().is_recording():
        return {}
    headers: dict[str, str] = {}
    propagation.TraceContextTextMapPropagator().inject(headers)
    return headers
