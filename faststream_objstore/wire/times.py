"""The times in the answers of the JetStream API."""

from datetime import datetime
from functools import lru_cache

__all__ = ("parse_time",)

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - both sides of the subtraction are UTC


def parse_time(text: str) -> int:
    """The nanoseconds since the epoch of an RFC 3339 time, exactly.

    `datetime` only holds microseconds, and Python 3.10 only parses three or six digits.
    """
    result, rest = _seconds_of(text[:19]) * 1_000_000_000, text[19:]
    if rest[:1] == "." and rest[-1:] == "Z" and len(rest) <= 11:
        # As servers write it.
        digits = rest[1:-1]
        if digits.isdecimal():
            return result + int(digits.ljust(9, "0"))
    zone = rest.lstrip(".0123456789")
    fraction = rest[1 : len(rest) - len(zone)]
    if fraction:
        result += int(fraction[:9].ljust(9, "0"))
    if zone[:1] in {"+", "-"}:
        hours, _, minutes = zone[1:].partition(":")
        offset = (int(hours) * 60 + int(minutes)) * 60 * 1_000_000_000
        result += offset if zone[0] == "-" else -offset
    return result


@lru_cache(maxsize=1024)
def _seconds_of(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86_400 + since.seconds
