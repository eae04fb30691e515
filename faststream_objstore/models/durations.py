"""Durations, which are given as a `timedelta` or in seconds."""

from datetime import timedelta

__all__ = ("as_timedelta",)


def as_timedelta(given: object) -> object:
    """A number of seconds as a `timedelta`; all else, and what none can hold, as it is."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        try:
            return timedelta(seconds=given)
        except (OverflowError, ValueError):
            # Infinity, "not a number", or too long: the caller refuses what is no `timedelta`.
            return given
    return given
