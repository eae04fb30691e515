"""Waiting for answers: with a deadline, and only as long as they can still arrive."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg

__all__ = ("REPEAT_SECONDS", "Answer", "LateReplies", "Waiting", "retrieve", "wait_for")

_T = TypeVar("_T")

REPEAT_SECONDS = 1.0
"""The first pause before a request that nobody has answered is sent again."""

# How soon a lost connection is noticed while waiting for an answer.
_LOOK_SECONDS = 0.25
# If the timer is so late, the event loop was blocked: answers that have arrived meanwhile have
# not been read yet.
_LATE_SECONDS = 0.5


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_result(None)


async def wait_for(future: "asyncio.Future[_T]", seconds: float) -> _T | None:
    """Wait for a future's result; `None` after `seconds`.

    In Python 3.10 and 3.11, `asyncio.wait_for` loses a cancellation that arrives together with
    the result; this function does not.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _expire, future)
    try:
        return await future
    finally:
        timer.cancel()


def retrieve(task: "asyncio.Future[Any]") -> None:
    """Take note of a failure that is reported in another way."""
    if not task.cancelled():
        task.exception()


class LateReplies:
    """The replies to a published message that arrive after the first one; see `deposed`.

    Attributes:
        acknowledgement: The one that says that the message is stored.
        ends: What ends the wait for them.
    """

    def __init__(self) -> None:
        self.acknowledgement: Msg | None = None
        self.ends: list[Callable[[], object]] = []

    def hear(self, message: Msg) -> None:
        """Take a reply."""
        if b'"seq"' in message.data and b'"error"' not in message.data:
            self.acknowledgement = message

    def close(self) -> None:
        """Drop what still arrives."""
        for end in self.ends:
            end()


class Answer(Protocol):
    """The awaitable that `Waiting.answer` returns."""

    def __call__(
        self, future: "asyncio.Future[_T]", deadline: float, generation: int
    ) -> Coroutine[Any, Any, _T | None]:
        """The future's result; see `Waiting.answer`."""


class Waiting:
    """The requests that wait for an answer over one client; they share one timer.

    Args:
        client: The client that receives the answers.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        # Until when, and for an answer of which connection.
        self._waiting: dict[asyncio.Future[Any], tuple[float, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf

    async def answer(
        self, future: "asyncio.Future[_T]", deadline: float, generation: int
    ) -> _T | None:
        """The future's result; `None` at the deadline, or once it can no longer arrive.

        Args:
            future: Resolved by the answer.
            deadline: By the loop's clock.
            generation: The connection on which the request was sent.
        """
        self.add(future, deadline, generation)
        try:
            return await future
        finally:
            self.remove(future)

    def add(self, future: "asyncio.Future[Any]", deadline: float, generation: int) -> None:
        """Resolve a future with `None` as `answer` does, until `remove`."""
        self._waiting[future] = (deadline, generation)
        if deadline < self._looks_at:
            self._look_by(deadline)

    def remove(self, future: "asyncio.Future[Any]") -> None:
        """Forget a future."""
        self._waiting.pop(future, None)

    def _look_by(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._looks_at = min(deadline, loop.time() + _LOOK_SECONDS)
        self._timer = loop.call_at(self._looks_at, self.look)

    def __len__(self) -> int:
        """The number of waiting requests."""
        return len(self._waiting)

    def look(self) -> None:
        """Wake the requests whose answers can no longer arrive."""
        now = asyncio.get_running_loop().time()
        is_late = now - self._looks_at > _LATE_SECONDS
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._looks_at = None, math.inf
        reconnects, closed = self._client.stats["reconnects"], self._client.is_closed
        soonest = None
        for future, (deadline, generation) in self._waiting.items():
            if reconnects > generation or closed or (deadline <= now and not is_late):
                _expire(future)
            elif soonest is None or deadline < soonest:
                soonest = deadline
        if soonest is not None:
            self._look_by(now + _LOOK_SECONDS if is_late else soonest)
