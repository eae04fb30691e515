"""Observers: what happens to buckets, told to metrics, traces and whoever else asks.

`observers.prometheus` and `observers.opentelemetry` have the two that most services want.
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
