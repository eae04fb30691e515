"""How much data a server may have in flight to a client."""

import asyncio
import math
import weakref
from collections import deque
from collections.abc import Callable

__all__ = ("Budget", "Share")

# How often a waiting reader checks whether its turn has come through something that nobody
# reports: a new connection, or a reader that is stuck.
_LOOK_SECONDS = 0.25
# A reader that has received nothing for this long does not block its share from others.
_STUCK_SECONDS = 30.0


class Budget:
    """Bytes that the readers of one connection may have requested and not yet received.

    A server disconnects a client that receives messages more slowly than they arrive, once
    `max_pending` bytes of them are waiting (64 MiB by default), which ends everything else on
    that connection. Requests are granted in the order in which they are made.

    Args:
        size: The budget in bytes.
        connection: Counts connections: what was requested on an earlier one never arrives.
    """

    def __init__(self, size: int, connection: Callable[[], int] = lambda: 0) -> None:
        self.size: int = size
        """The bytes; it may grow."""
        self._connection = connection
        self._taken = 0
        self._moved = -math.inf
        self._shares: weakref.WeakSet[Share] = weakref.WeakSet()
        self._waiting: deque[tuple[asyncio.Future[None], Share, int]] = deque()
        self.epoch: int = connection()
        """The connection to which all of the budget belongs."""

    def share(self) -> "Share":
        """One reader's account."""
        share = Share(self)
        self._shares.add(share)
        return share

    def renew(self) -> None:
        """Release what was lost with an earlier connection."""
        if (epoch := self._connection()) != self.epoch:
            self.epoch = epoch
            self._taken = 0
            self._grant()

    def _take(self, share: "Share", size: int) -> bool:
        self.renew()
        taken = self._taken
        if self._waiting or (taken > 0 and taken + size > self.size):
            return False
        self._taken = taken + size
        share.add(size)
        return True

    async def _acquire(self, share: "Share", size: int, seconds: float) -> bool:
        if self._take(share, size):
            return True
        loop = asyncio.get_running_loop()
        began = loop.time()
        granted: asyncio.Future[None] = loop.create_future()
        entry = (granted, share, size)
        self._waiting.append(entry)
        try:
            while not granted.done():
                # Others may just be slow, so it continues anyway.
                left = max(began, self._moved) + seconds - loop.time()
                if left <= 0:
                    return False
                await asyncio.wait((granted,), timeout=min(left, _LOOK_SECONDS))
                self.renew()
                self._give_up_stuck(loop.time())
        except asyncio.CancelledError:
            if granted.done():
                share.release(size)
            raise
        finally:
            if not granted.done():
                self._waiting.remove(entry)
                self._grant()
        return True

    def _give_up_stuck(self, now: float) -> None:
        for share in tuple(self._shares):
            if share.size and share.heard < now - _STUCK_SECONDS:
                share.release(share.size)

    def release(self, size: int) -> None:
        """Record that this many bytes have arrived, or never will."""
        self._taken -= size
        if self._waiting:
            self._moved = asyncio.get_running_loop().time()
            self._grant()

    def _fits(self, size: int) -> bool:
        # A request for more than the whole budget gets all of it, alone.
        return self._taken <= 0 or self._taken + size <= self.size

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][2]):
            granted, share, size = self._waiting.popleft()
            self._taken += size
            share.add(size)
            granted.set_result(None)


class Share:
    """What one reader has requested; it ends with the connection.

    Attributes:
        size: The bytes.
        heard: When the last of them came, by the loop's clock.
    """

    __slots__ = ("__weakref__", "_budget", "_epoch", "heard", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._epoch = budget.epoch
        self.size: int = 0
        self.heard: float = math.inf

    def take(self, size: int) -> bool:
        """Take that many bytes if they are available and nobody is waiting."""
        return self._budget._take(self, size)  # noqa: SLF001 - one thing with its parts

    async def acquire(self, size: int, seconds: float) -> bool:
        """Take that many bytes as soon as they are available.

        Returns:
            Whether that happened before this many seconds passed without any data for anyone.
        """
        return await self._budget._acquire(self, size, seconds)  # noqa: SLF001

    def add(self, size: int) -> None:
        """Record that this many bytes were granted."""
        if self._epoch != self._budget.epoch:
            self._epoch, self.size = self._budget.epoch, 0
        self.size += size
        self.heard = asyncio.get_running_loop().time()

    def release(self, size: int) -> None:
        """Record that this many bytes have arrived, or never will."""
        budget = self._budget
        budget.renew()
        if self._epoch != budget.epoch:
            self.size = 0
            return
        size = min(size, self.size)
        if size > 0:
            self.size -= size
            budget.release(size)
