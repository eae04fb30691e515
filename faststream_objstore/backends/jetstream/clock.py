"""The server's clock, as far as its answers tell; this machine's may be an hour off."""

import sys
import time

__all__ = ("ServerClock",)

# How far two clocks drift apart, at most: a thousandth. And how far one of them is adjusted,
# or differs from another replica's.
_DRIFT = 1000
_SET_NS = 1_000_000_000
# How long an answer tells the time well enough for what is stored.
_FRESH_NS = 60_000_000_000


class ServerClock:
    """The server's clock between the answers that tell its time."""

    def __init__(self) -> None:
        # When it was last read, by this machine's monotonic clock and by its other one, and
        # what it said.
        self._asked_ns = self._asked_at_ns = self._told_ns = 0

    def told(self, asked_ns: int, time_ns: int) -> None:
        """Note an answer.

        Args:
            asked_ns: When the request was sent, by this machine's monotonic clock. If the
                server had answered before then, its clock would show a later time now.
            time_ns: The server's time, in nanoseconds since the epoch.
        """
        self._asked_ns, self._told_ns = asked_ns, time_ns
        self._asked_at_ns = time.time_ns() - (time.monotonic_ns() - asked_ns)

    def latest(self) -> int:
        """The latest that it can be now, in nanoseconds since the epoch."""
        if not self._told_ns:
            return sys.maxsize
        # The monotonic clock may stand still while the machine is suspended.
        elapsed = max(time.monotonic_ns() - self._asked_ns, time.time_ns() - self._asked_at_ns)
        return self._told_ns + elapsed + elapsed // _DRIFT + _SET_NS

    @property
    def is_fresh(self) -> bool:
        """Whether it was read lately, and this machine has not been suspended since."""
        elapsed = time.monotonic_ns() - self._asked_ns
        return bool(self._told_ns) and elapsed < _FRESH_NS and self._agrees(elapsed)

    def now(self) -> int:
        """The time in nanoseconds since the epoch; if unknown, this machine's."""
        elapsed = time.monotonic_ns() - self._asked_ns
        if self._told_ns and self._agrees(elapsed):
            return self._told_ns + elapsed
        return time.time_ns()

    def _agrees(self, elapsed: int) -> bool:
        # See `latest`; and the other clock may be set.
        return abs(time.time_ns() - self._asked_at_ns - elapsed) < _SET_NS
