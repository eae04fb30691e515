"""Waiting for a quiet machine; Linux."""

import asyncio
import time
from pathlib import Path

__all__ = ("wait_until_idle",)

_LOOK_SECONDS = 0.5
_IDLE = 0.9


def _ticks() -> tuple[int, int]:
    """What all cores have spent idle, and in all."""
    first = Path("/proc/stat").read_text("ascii").splitlines()[0]
    spent = [int(each) for each in first.split()[1:9]]
    return spent[3] + spent[4], sum(spent)


async def wait_until_idle(patience: float) -> bool:
    """Wait until the cores are idle for a moment, `patience` seconds at most.

    Returns:
        Whether they are.
    """
    deadline = time.monotonic() + patience
    while True:
        idle, total = _ticks()
        await asyncio.sleep(_LOOK_SECONDS)
        idle_then, total_then = _ticks()
        if idle_then - idle >= _IDLE * (total_then - total):
            return True
        if time.monotonic() >= deadline:
            return False
