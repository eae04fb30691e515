"""How much a server may have under way to a client."""

import asyncio
from collections import deque

__all__ = ("Budget",)


class Budget:
    """Bytes that all readers of one connection may have asked for and not yet received.

    A server drops a client that takes its messages more slowly than they come in, once
    `max_pending` of them wait (64 MiB if not configured), and everything else on that
    connection with it. First come, first served.

    Args:
        size: The bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def take(self, size: int) -> bool:
        """Take so many, if they are there and nobody waits."""
        if self._waiting or not self._fits(size):
            return False
        self._taken += size
        return True

    async def acquire(self, size: int) -> None:
        """Take so many, as soon as they are there."""
        if self.take(size):
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (granted, size)
        self._waiting.append(entry)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._taken -= size
            else:
                self._waiting.remove(entry)
            self._grant()
            raise

    def release(self, size: int) -> None:
        """Give so many back."""
        self._taken -= size
        if self._waiting:
            self._grant()

    def _fits(self, size: int) -> bool:
        # More than there is gets everything, alone.
        return self._taken == 0 or self._taken + size <= self._size

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            granted, size = self._waiting.popleft()
            if not granted.done():
                self._taken += size
                granted.set_result(None)
