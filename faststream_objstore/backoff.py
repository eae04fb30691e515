"""Trying again after a loss: told once, with a growing pause between tries."""

import asyncio
import logging
from collections.abc import Callable

__all__ = ("Backoff", "Log")

Log = Callable[[int, str], None]
"""Called with a level of `logging` and a text."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class Backoff:
    """The pauses of one loop that goes on for ever, and what is logged of its losses.

    Args:
        log: Where that goes.
        lost: What is logged, before the reason, when something is wrong.
        back: What is logged when all is well again.
    """

    def __init__(self, log: Log, *, lost: str, back: str) -> None:
        self._log = log
        self._lost = lost
        self._back = back
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._began = 0.0

    def begin(self) -> None:
        """A try begins; after one that lasts, the pauses are short again."""
        self._began = asyncio.get_running_loop().time()

    def succeeded(self) -> None:
        """All is well; logged if it was not."""
        if self._trouble is not None:
            self._trouble = None
            self._log(logging.INFO, self._back)

    def failed(self, trouble: str) -> None:
        """Something is wrong; logged unless the same was wrong before."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._log(logging.WARNING, f"{self._lost}, trying again: {trouble}")

    async def pause(self) -> None:
        """Wait before the next try, longer each time."""
        if asyncio.get_running_loop().time() - self._began > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(pause)
