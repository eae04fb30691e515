"""Observers: they report what happens to buckets, to metrics, traces and other receivers.

`observers.prometheus` and `observers.opentelemetry` contain those that most services want.
"""

from faststream_objstore.observers.events import (
    ChangeEvent,
    ChangeResult,
    Observer,
    OperationEvent,
    OperationResult,
    ScopedObserver,
    StandingObserver,
)

__all__ = (
    "ChangeEvent",
    "ChangeResult",
    "Observer",
    "OperationEvent",
    "OperationResult",
    "ScopedObserver",
    "StandingObserver",
)
