"""The events that observers receive, and the protocols of observers."""

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

`not_found` is an `ObjectNotFoundError`; `conflict` means that another writer was faster;
`error` is any other error.
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
            `get_file` are reported as such, `exists` as `get_info`.
        outcome: How it ended.
        seconds: How long it took; for `open`, until the reader was closed, and for
            `transaction`, until its block ended. Its steps are not reported one by one.
        bytes: How many bytes of content were stored or read, or freed by a sweep.
        info: The version that was written or read, if there is one.
        error: The exception that it raised, if any.
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
        outcome: How it ended: `handled`; `retried`, so it is redelivered; `superseded`, its
            handler failed, but a newer version has replaced the object; `dead_lettered`, it
            was given up; `passed_over`, it was not an object's metadata; `skipped`, the
            subscriber does not want it.
        attempts: How often it has been delivered, including this time.
        lag: Seconds from the put to the handler, by this machine's clock.
        info: The version of the object; `None` if it was not an object's metadata.
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
    """Receives every operation and every change.

    Both methods are called on the event loop, so they must be fast and must not block. An
    observer that raises does no harm, and is logged once.

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
        """Called when an operation has finished.

        Args:
            event: The operation.
        """

    def change(self, event: ChangeEvent) -> None:
        """Called when the delivery of a change has ended.

        Args:
            event: The delivery.
        """


@runtime_checkable
class ScopedObserver(Observer, Protocol):
    """An observer that is also active while an operation runs, like a tracing span."""

    def scope(self, bucket: str, operation: str) -> AbstractContextManager[object]:
        """Make a context in which an operation runs; `operation` is called before it exits.

        It is not used for `open`, `iter` and `transaction`, whose duration depends on their
        callers, nor for the `get` of objects that are read together.

        Args:
            bucket: The bucket's name.
            operation: The method.

        Returns:
            The context manager.
        """


@runtime_checkable
class StandingObserver(Observer, Protocol):
    """An observer that also shows the state of buckets and durables, when it is collected."""

    def follow(self, standings: Standings) -> None:
        """Called on the event loop whenever the broker starts.

        Args:
            standings: `await standings.read(timeout=...)` returns the current state.
        """
