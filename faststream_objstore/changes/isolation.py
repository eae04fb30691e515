"""A handler's context variables are its own, though one task runs many handlers."""

import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ("InOwnContext",)

_T = TypeVar("_T")


class InOwnContext(Generic[_T]):
    """Awaits a coroutine in a copy of the current context, as a task of its own would.

    Args:
        work: The coroutine.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        """Run each step of it in that context."""
        run = contextvars.copy_context().run
        step, given = self._work.send, None
        try:
            while True:
                awaited = run(step, given)
                step = self._work.send
                try:
                    given = yield awaited
                except BaseException as error:  # noqa: BLE001 - a cancellation, most likely
                    step, given = self._work.throw, error
        except StopIteration as done:
            result: _T = done.value
            return result
