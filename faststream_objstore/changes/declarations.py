"""The declarations of the processes that share a durable, recorded on its consumer.

Processes with different declarations receive each other's changes. A change that only another
process wants must not be acknowledged, so each has to know which declarations are alive.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from faststream_objstore.changes.delivery import event_of
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.exceptions import InvalidPatternError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.pattern import NamePattern

__all__ = ("Declaration", "Declarations", "server_time")

_KEY = "faststream-objstore.declared"
# A consumer's metadata has room for 128 KiB.
_MOST = 32
# How long a silent declaration is remembered, because it may have given changes back.
_REMEMBERED_SECONDS = 24 * 3600.0

CONFIRM_SECONDS = 30.0
"""How often a process confirms that its declaration is alive."""
SILENT_SECONDS = 120.0
"""After this time without a confirmation, changes that only it wanted are acknowledged."""


class Declaration(NamedTuple):
    """The event and the pattern of a subscriber.

    Attributes:
        event: `"put"`, `"delete"`, `"expire"` or `"change"`.
        pattern: The pattern of object names.
    """

    event: str
    pattern: str

    @classmethod
    def of(cls, options: ChangeOptions, *, follows: bool = False) -> "Declaration":
        """Make the declaration of a subscriber.

        Args:
            options: The subscriber's options.
            follows: Whether it also needs deletions, to delete its results.

        Returns:
            The declaration.
        """
        return cls("change" if follows else options.event, options.pattern)

    def __str__(self) -> str:
        return f"on_{self.event}({self.pattern!r})"

    def wants(self, info: ObjectInfo) -> bool:
        """Whether it wants a change; `True` if its pattern is not understood here."""
        if self.event in {"put", "delete", "expire"} and self.event != event_of(info):
            return False
        try:
            return NamePattern(self.pattern).match(info.name) is not None
        except InvalidPatternError:
            # A later release may have other patterns. Late is better than lost.
            return True


class Declarations(Mapping[Declaration, float]):
    """The declarations on a consumer, with the server time of their last confirmation.

    Args:
        info: The server's information about the consumer.
        own: The declaration of this process.
    """

    def __init__(self, info: Mapping[str, Any], own: Declaration) -> None:
        self.own = own
        self.now: float = server_time(info)
        self._confirmed: dict[Declaration, float] = {}
        for one, at in _read((info["config"].get("metadata") or {}).get(_KEY)):
            self._confirmed[one] = max(at, self._confirmed.get(one, 0.0))

    def __getitem__(self, key: Declaration) -> float:
        return self._confirmed[key]

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._confirmed)

    def __len__(self) -> int:
        return len(self._confirmed)

    @property
    def own_age(self) -> float:
        """Seconds since this process's declaration was confirmed."""
        return self.now - self.get(self.own, float("-inf"))

    @property
    def others(self) -> dict[Declaration, float]:
        """Other declarations that are alive, with the seconds since their confirmation."""
        return {
            one: self.now - at
            for one, at in self.items()
            if one != self.own and self.now - at <= SILENT_SECONDS
        }

    @property
    def silent(self) -> dict[Declaration, float]:
        """Other declarations that are not alive, with the time at which each was given up."""
        return {
            one: at + SILENT_SECONDS
            for one, at in self.items()
            if one != self.own and self.now - at > SILENT_SECONDS
        }

    @property
    def shared_until(self) -> float:
        """Another process may have given back changes made up to this time, repeatedly."""
        return max(
            (at + SILENT_SECONDS for one, at in self.items() if one != self.own), default=0.0
        )

    def confirmed(self) -> dict[str, str]:
        """The consumer metadata that confirms this process's declaration."""
        known = {
            one: at for one, at in self.items() if self.now - at <= _REMEMBERED_SECONDS
        } | {self.own: self.now}
        newest = sorted(known.items(), key=lambda item: item[1], reverse=True)[:_MOST]
        return {
            _KEY: json.dumps(
                [
                    {"event": one.event, "pattern": one.pattern, "at": round(at, 3)}
                    for one, at in newest
                ]
            )
        }


def _read(text: object) -> Iterator[tuple[Declaration, float]]:
    try:
        listed = json.loads(text) if isinstance(text, str) else []
    except ValueError:
        return
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        event, pattern, at = one.get("event"), one.get("pattern"), one.get("at")
        if (
            isinstance(event, str)
            and isinstance(pattern, str)
            and isinstance(at, (int, float))
        ):
            yield Declaration(event, pattern), float(at)


def server_time(info: Mapping[str, Any]) -> float:
    """The server's time in a response, in seconds since the epoch."""
    text = info.get("ts")
    if not isinstance(text, str):
        return time.time()
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return whole.timestamp() + float(f"0.{fraction or '0'}")
