"""What observers are told."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from faststream_objstore.models import ObjectInfo
from faststream_objstore.standing import Standings

__all__ = (
    "ChangeEvent",
    "ChangeResult",
    "Observer",
    "OperationEvent",
    "OperationResult",
    "ScopedObserver",
    "StandingObserver",
)

OperationResult: TypeAlias = Literal["success", "not_found", "conflict", "error", "cancelled"]
"""How an operation ended.

`not_found` is an `ObjectNotFoundError`; `conflict` is a version, or a name, that somebody else
was quicker with; `error` is every other error.
"""

ChangeResult: TypeAlias = Literal[
    "handled", "retried", "superseded", "passed_over", "dead_lettered", "skipped"
]
"""How the delivery of a change ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEvent:
    """An operation of an `ObjectStore` that has finished.

    Attributes:
        bucket: The bucket's name.
        operation: The method: `put`, `get`, `open`, `delete` and so on. `put_file` and
            `get_file` have names of their own, `exists` is a `get_info`.
        outcome: How it ended.
        seconds: How long it took; for `open`, until the reader was closed.
        bytes: Bytes of content that were stored or read, or that a sweep has freed.
        info: The version that was written or read, where the operation has one.
        error: What it raised.
    """

    bucket: str
    operation: str
    outcome: OperationResult
    seconds: float
    bytes: int = 0
    info: ObjectInfo | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """A change whose delivery to a subscriber has ended.

    Attributes:
        bucket: The bucket's name.
        durable: The subscriber's durable; `None` without one.
        handler: The handler's name.
        outcome: How it ended: `handled`; `retried`, which comes again; `superseded`, which
            failed for a newer version of its object; `dead_lettered`, which is given up;
            `passed_over`, which is no object's metadata; `skipped`, which the subscriber
            does not want.
        attempts: How often it has been delivered, this time included.
        lag: Seconds from the put to the handler, by this machine's clock.
        info: The version of the object; `None` if it is no object's metadata.
    """

    bucket: str
    durable: str | None
    handler: str
    outcome: ChangeResult
    attempts: int
    lag: float
    info: ObjectInfo | None = None


@runtime_checkable
class Observer(Protocol):
    """What is told of every operation and every change.

    Both methods run on the event loop, where they happen: they must be quick, and they must
    not block. One that raises harms nothing, and is logged once.

    ```python
    class Slow:
        def operation(self, event: OperationEvent) -> None:
            if event.seconds > 1:
                print(f"{event.operation} in {event.bucket}: {event.seconds:.1f} s")

        def change(self, event: ChangeEvent) -> None: ...


    buckets = Buckets(broker, photos, observers=[Slow()])
    ```
    """

    def operation(self, event: OperationEvent) -> None:
        """An operation has finished.

        Args:
            event: What happened.
        """

    def change(self, event: ChangeEvent) -> None:
        """The delivery of a change has ended.

        Args:
            event: What happened.
        """


@runtime_checkable
class ScopedObserver(Observer, Protocol):
    """An observer that is also there while an operation runs, as a trace's span is."""

    def scope(self, bucket: str, operation: str) -> AbstractContextManager[object]:
        """What an operation runs in; `operation` is called before it is left.

        Not for `open` and `iter`, which run as long as their callers like.

        Args:
            bucket: The bucket's name.
            operation: The method.
        """


@runtime_checkable
class StandingObserver(Observer, Protocol):
    """An observer that also shows where buckets and durables stand, when it is collected."""

    def follow(self, standings: Standings) -> None:
        """Called on the event loop when the broker starts, and again when it starts again.

        Args:
            standings: `await standings.read(timeout=...)` is where they stand.
        """
