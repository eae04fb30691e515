"""Notifying the observers of one `Buckets`, and surviving their errors."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.observers.events import (
    ChangeEvent,
    Observer,
    OperationEvent,
    ScopedObserver,
    StandingObserver,
)
from faststream_objstore.standing import Standings

__all__ = ("Observers",)


class Observers:
    """The observers of one `Buckets`.

    Args:
        observers: The observers, in the order in which they are notified.
        log: Called with a level and a message.

    Raises:
        InvalidOptionError: If one of them is not an `Observer`.
    """

    def __init__(self, observers: Iterable[Observer], log: Callable[[int, str], None]) -> None:
        self._all = tuple(observers)
        for one in self._all:
            if not isinstance(one, Observer) or isinstance(one, type):
                msg = (
                    "observers must be objects with the methods operation(event) and "
                    f"change(event), got {one!r}."
                )
                raise InvalidOptionError(msg)
        self._scoped = [one for one in self._all if isinstance(one, ScopedObserver)]
        self._log = log
        self._failed: set[int] = set()

    def __iter__(self) -> Iterator[Observer]:
        return iter(self._all)

    def follow(self, standings: Standings) -> None:
        """Let observers read the state of the buckets whenever they are collected."""
        for one in self._all:
            if isinstance(one, StandingObserver):
                try:
                    one.follow(standings)
                except Exception as error:  # noqa: BLE001 - whatever an observer raises
                    self._report(one, error)

    def operation(self, event: OperationEvent) -> None:
        """Notify the observers of an operation."""
        for one in self._all:
            try:
                one.operation(event)
            except Exception as error:  # noqa: BLE001 - whatever an observer raises
                self._report(one, error)

    def change(self, event: ChangeEvent) -> None:
        """Notify the observers of a change."""
        for one in self._all:
            try:
                one.change(event)
            except Exception as error:  # noqa: BLE001 - whatever an observer raises
                self._report(one, error)

    @contextlib.contextmanager
    def scope(self, bucket: str, operation: str) -> Iterator[None]:
        """Run an operation within the observers' scopes; their errors are only logged."""
        entered: list[tuple[ScopedObserver, contextlib.AbstractContextManager[object]]] = []
        for one in self._scoped:
            try:
                scope = one.scope(bucket, operation)
                scope.__enter__()
            except Exception as error:  # noqa: BLE001 - whatever an observer raises
                self._report(one, error)
            else:
                entered.append((one, scope))
        try:
            yield
        finally:
            for one, scope in reversed(entered):
                try:
                    scope.__exit__(None, None, None)
                except Exception as error:  # noqa: BLE001 - whatever an observer raises
                    self._report(one, error)

    def _report(self, observer: Observer, error: Exception) -> None:
        if id(observer) in self._failed:
            return
        self._failed.add(id(observer))
        self._log(
            logging.ERROR,
            f"The observer {observer!r} failed with {type(error).__name__}: {error}. "
            "Operations and changes are not affected; further failures of it are not logged.",
        )
