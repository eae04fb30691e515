"""Messages that expire when their time has come, whether anybody looks or not."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ..base import StoredMessage
from .stream import Stream

__all__ = ("Timing",)

# A timer may fire a little early, by the clock that messages are stamped with.
_LEAST_SECONDS = 0.001


class Timing:
    """Lets the messages of one stream expire, and announces the markers that they leave.

    Args:
        stream: The stream.
        announce: Called with each marker, one after another.
    """

    def __init__(
        self, stream: Stream, announce: Callable[[StoredMessage], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._announce = announce
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._marked: deque[StoredMessage] = deque()
        self._task: asyncio.Task[None] | None = None
        stream.changed = self._arm

    def expire(self) -> None:
        """Drop what has expired; its markers are announced in the background."""
        self._stream.expire()
        marked = self._stream.take_marked()
        if not marked:
            return
        self._marked.extend(marked)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # The next call within a loop does it.
            return
        self._arm()
        if self._task is None or self._task.get_loop() is not loop or self._task.done():
            self._task = loop.create_task(self._tell())

    async def expire_now(self) -> None:
        """Drop what has expired; return when its markers are announced.

        Raises:
            Exception: What a subscriber raises.
        """
        self._stream.expire()
        self._marked.extend(self._stream.take_marked())
        self._arm()
        while self._marked:
            await self._announce(self._marked.popleft())

    def stop(self) -> None:
        """Let nothing expire any more; the stream is gone."""
        if self._timer is not None:
            self._timer.cancel()

    async def _tell(self) -> None:
        while self._marked:
            marker = self._marked.popleft()
            try:
                await self._announce(marker)
            except Exception as error:  # noqa: BLE001 - whatever a subscriber raises
                # There is no caller to raise it to.
                asyncio.get_running_loop().call_exception_handler(
                    {
                        "message": (
                            f"Bucket '{self._stream.bucket}': a subscriber failed on an "
                            "object that has expired"
                        ),
                        "exception": error,
                    }
                )

    def _arm(self) -> None:
        due_ns = self._stream.next_expiry
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._timer is not None and self._loop is loop:
            if due_ns is not None and self._due_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer = None
        if due_ns is None:
            return
        seconds = (due_ns - self._stream.now()) / 1e9
        self._loop, self._due_ns = loop, due_ns
        self._timer = loop.call_later(max(_LEAST_SECONDS, seconds), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.expire()
        self._arm()
