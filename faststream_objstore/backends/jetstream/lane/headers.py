"""The header block of a message, parsed as far as it is looked at."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

__all__ = ("STATUS_LINE", "Headers")

STATUS_LINE = b"NATS/1.0"
"""What every header block begins with."""
_SPACE = " \t\n\r\x0b\f"
_STATUS, _DESCRIPTION = "Status", "Description"


@lru_cache(maxsize=64)
def _line(key: str) -> bytes:
    """What the line of a key begins with, and the end of the line before."""
    return f"\r\n{key}:".encode(errors="surrogateescape")


class Headers(Mapping[str, str]):
    """A header block, one value per key: the last one, as in nats-py.

    Of the headers of most messages, one or two are needed, or none.

    Args:
        block: The block, with its status line, whose parts are `Status` and `Description`.
    """

    __slots__ = ("_block",)

    def __init__(self, block: bytes) -> None:
        self._block = block

    @staticmethod
    def begin(block: bytes) -> bool:
        """Whether a header block begins as it must."""
        return block.startswith(STATUS_LINE)

    def __getitem__(self, key: str) -> str:
        value = self._find(key)
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        value = self._find(key)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def _find(self, key: str) -> str | None:
        block = self._block
        line = _line(key)
        at = block.rfind(line)
        if at >= 0:
            begin = at + len(line)
            end = block.find(b"\r\n", begin)
            value = block[begin : end if end >= 0 else len(block)]
            return value.decode(errors="surrogateescape").strip(_SPACE)
        if key in {_STATUS, _DESCRIPTION}:
            return self._status().get(key)
        return None

    def _status(self) -> dict[str, str]:
        line = self._block.partition(b"\r\n")[0][len(STATUS_LINE) :]
        if not line:
            return {}
        code, _, described = line.decode(errors="surrogateescape").strip().partition(" ")
        described = described.strip()
        return {_STATUS: code, _DESCRIPTION: described} if described else {_STATUS: code}

    def __iter__(self) -> Iterator[str]:
        lines = self._block.decode(errors="surrogateescape").split("\r\n")[1:]
        keys = dict.fromkeys(line.partition(":")[0] for line in lines if ":" in line)
        return iter(dict.fromkeys([*self._status(), *keys]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True
