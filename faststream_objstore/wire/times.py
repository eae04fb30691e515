"""The times in the answers of the JetStream API."""

from datetime import datetime
from functools import lru_cache

__all__ = ("parse_time",)

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - both sides of the subtraction are UTC
# Of a fraction with so many digits, the last one counts so many.
_NANOSECONDS: tuple[int, ...] = tuple(10 ** (9 - digits) for digits in range(10))


def parse_time(text: str) -> int:
    """The nanoseconds since the epoch of an RFC 3339 time, exactly.

    `datetime` only holds microseconds, and Python 3.10 only parses three or six digits.
    """
    result, digits = _nanoseconds_of(text[:19]), text[20:-1]
    # As servers write it.
    if text[-1:] == "Z" and text[19:20] == "." and len(digits) <= 9 and digits.isdecimal():
        return result + int(digits) * _NANOSECONDS[len(digits)]
    rest = text[19:]
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
def _nanoseconds_of(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000
