"""How many bytes may be in flight at a time: more on a link with a long round trip."""

import math

__all__ = ("LEAST_BYTES", "MOST_BYTES", "Losses", "window_of")

LEAST_BYTES = 8 * 1024 * 1024
"""Keeps a link of 800 MB/s with a round trip of 10 ms busy; more would gain nothing there."""
MOST_BYTES = 32 * 1024 * 1024
"""Keeps a link of 800 MB/s with a round trip of 40 ms busy."""

_BYTES_A_SECOND = LEAST_BYTES / 0.010

# Connections that are lost within this time of each other are lost in a row.
_IN_A_ROW_SECONDS = 60.0
# After so long without a loss, a window grows again.
_FORGET_SECONDS = 3600.0
_MOST_HALVINGS = 5


def window_of(seconds: float) -> int:
    """The window of a link, in bytes.

    Args:
        seconds: The time between a request and its answer.
    """
    return int(min(MOST_BYTES, max(LEAST_BYTES, _BYTES_A_SECOND * seconds)))


class Losses:
    """What the losses of a connection say about its window.

    A server closes connections to which it has more to send than its `max_pending`. It says
    nothing, so reads would begin again with the same window, and lose the connection again.
    """

    def __init__(self) -> None:
        self.halvings: int = 0
        """How often a window is to be halved."""
        self._last = -math.inf

    def lost(self, now: float) -> None:
        """Take note that the connection was lost."""
        if now - self._last < _IN_A_ROW_SECONDS:
            self.halvings = min(self.halvings + 1, _MOST_HALVINGS)
        self._last = now

    def kept(self, now: float) -> None:
        """Take note that it was not."""
        if self.halvings and now - self._last > _FORGET_SECONDS:
            self.halvings -= 1
            self._last = now
