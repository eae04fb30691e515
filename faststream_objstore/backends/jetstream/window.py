"""How many bytes may be in flight at a time: more on a link with a long round trip."""

__all__ = ("LEAST_BYTES", "MOST_BYTES", "window_of")

LEAST_BYTES = 8 * 1024 * 1024
"""Keeps a link of 800 MB/s with a round trip of 10 ms busy; more would gain nothing there."""
MOST_BYTES = 32 * 1024 * 1024
"""Keeps a link of 800 MB/s with a round trip of 40 ms busy."""

_BYTES_A_SECOND = LEAST_BYTES / 0.010


def window_of(seconds: float) -> int:
    """The window of a link, in bytes.

    Args:
        seconds: The time between a request and its answer.
    """
    return int(min(MOST_BYTES, max(LEAST_BYTES, _BYTES_A_SECOND * seconds)))
