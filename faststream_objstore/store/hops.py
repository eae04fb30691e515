"""Blocking work on small files, done in a thread for a group of them at a time.

Handing one small file to a thread and waiting for it costs more than reading or writing it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ("Hops",)

T = TypeVar("T")

# If the disk answers at once, several threads only compete for the interpreter and for the
# folder's lock: on ext4, four take twice the CPU time of one. A slow disk, such as one in the
# network, is waited for in more of them.
_SLOW_SECONDS = 0.1
_THREADS = 4


class Hops:
    """Calls functions in a thread, one at a time; in a few threads if the disk is slow.

    Attributes:
        threads: In how many threads at present.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)
        self.threads: int = 1

    async def run(self, act: Callable[[], T]) -> T:
        """Call `act` in a thread.

        If the caller is cancelled while the function runs, it is run to its end; if it has not
        begun, it is not run.

        Returns:
            What it returns; what it raises is raised.
        """
        async with self._free:
            began = time.monotonic()
            result = await asyncio.to_thread(act)
            if self.threads < _THREADS and time.monotonic() - began > _SLOW_SECONDS:
                self.threads += 1
                self._free.release()
            return result
