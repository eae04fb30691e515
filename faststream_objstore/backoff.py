"""Retrying after a failure, with growing pauses and without repeating log lines."""

import asyncio
import logging
from collections.abc import Callable

__all__ = ("Backoff", "Log")

Log = Callable[[int, str], None]
"""Called with a `logging` level and a message."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class Backoff:
    """The pauses between the attempts of one endless loop, and what it logs.

    Args:
        log: Receives the messages.
        lost: Logged, before the reason, when an attempt fails.
        back: Logged when the loop has recovered.
    """

    def __init__(self, log: Log, *, lost: str, back: str) -> None:
        self._log = log
        self._lost = lost
        self._back = back
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._began = 0.0

    def begin(self) -> None:
        """Note that an attempt begins; after a long one, pauses start short again."""
        self._began = asyncio.get_running_loop().time()

    def succeeded(self) -> None:
        """Note a success, which is logged after a failure."""
        if self._trouble is not None:
            self._trouble = None
            self._log(logging.INFO, self._back)

    def failed(self, trouble: str) -> None:
        """Note a failure, which is logged unless the last one was for the same reason."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._log(logging.WARNING, f"{self._lost}, trying again: {trouble}")

    async def pause(self) -> None:
        """Wait before the next attempt, longer each time."""
        if asyncio.get_running_loop().time() - self._began > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(pause)
