"""Byte ranges (RFC 9110, section 14): parsing of `Range`, and multipart bodies."""

import re
import secrets
from collections.abc import Sequence

__all__ = ("MultipartRanges", "parse_ranges")

_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
# More than any legitimate client needs; such a request is answered with the whole object.
_MOST_RANGES = 50
# No object is that long, and Python refuses to convert numbers with thousands of digits.
_BEYOND = 10**20


def parse_ranges(value: str, size: int) -> list[tuple[int, int]] | None:
    """The first byte, and the byte after the last, of each requested range.

    Ranges that overlap or touch are merged; the others keep their order.

    Args:
        value: The `Range` header.
        size: The total number of bytes.

    Returns:
        The ranges; empty if none of them exists (416). `None` if the header is to be
        ignored because of another unit or a syntax error.
    """
    unit, is_there, listed = value.partition("=")
    if not is_there or unit.strip().lower() != "bytes":
        return None
    asked = [one for one in (part.strip(" \t") for part in listed.split(",")) if one]
    if not asked or len(asked) > _MOST_RANGES:
        return None
    found: list[tuple[int, int]] = []
    for one in asked:
        match = _RANGE.fullmatch(one)
        if match is None or one == "-":
            return None
        first, last = match.groups()
        if first:
            start = _number(first)
            stop = _number(last) + 1 if last else size
            if last and stop <= start:
                return None
        else:
            start, stop = max(0, size - _number(last)), size
        if start < min(stop, size):
            found.append((start, min(stop, size)))
    return _merged(found)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 20 else _BEYOND


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges without overlaps; merged ones take the place of the first of them."""
    merged: list[tuple[int, int]] = []
    for start, stop in ranges:
        touched = [one for one in merged if start <= one[1] and one[0] <= stop]
        whole = (
            min([start, *(one[0] for one in touched)]),
            max([stop, *(one[1] for one in touched)]),
        )
        if not touched:
            merged.append(whole)
            continue
        merged[merged.index(touched[0])] = whole
        for one in touched[1:]:
            merged.remove(one)
    return merged


class MultipartRanges:
    """A `multipart/byteranges` body around the parts.

    Args:
        content_type: The type of the whole.
        size: The total number of bytes.
    """

    behind = b"\r\n"
    """What follows a part."""

    def __init__(self, content_type: str, size: int) -> None:
        self._boundary = secrets.token_hex(16)
        self._type = content_type
        self._size = size
        self.content_type: str = f"multipart/byteranges; boundary={self._boundary}"
        self.tail: bytes = f"--{self._boundary}--\r\n".encode()

    def head(self, start: int, stop: int) -> bytes:
        """What precedes a part."""
        return (
            f"--{self._boundary}\r\nContent-Type: {self._type}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{self._size}\r\n\r\n"
        ).encode("latin-1")

    def length(self, ranges: Sequence[tuple[int, int]]) -> int:
        """The size of the whole body in bytes."""
        parts = sum(
            len(self.head(*one)) + one[1] - one[0] + len(self.behind) for one in ranges
        )
        return parts + len(self.tail)
