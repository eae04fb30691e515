"""Whose doing a change is: headers that belong to the change, not to the object."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from ..models import ObjectInfo

__all__ = ("Origin",)


def _unknown(given: Collection[str]) -> Mapping[str, str]:  # noqa: ARG001
    return {}


class Origin(NamedTuple):
    """Marks each change with what it was made in: a trace, the message that is handled.

    A header of these names is of one change only. A delete, a rename, an update and a copy
    carry their own, never those of the put that came before. What a caller gives is kept.

    Attributes:
        names: The headers that say it; none where nobody asks.
        current: Called with the names that the caller has given; what to add to them.
    """

    names: frozenset[str] = frozenset()
    current: Callable[[Collection[str]], Mapping[str, str]] = _unknown

    def mark(self, info: ObjectInfo, *, before: ObjectInfo | None = None) -> ObjectInfo:
        """The version that a change makes.

        Args:
            info: What it says.
            before: The version that it amends; what both say of their origin is old.
        """
        if not self.names:
            return info
        old = (before and before.headers) or {}
        given = {
            name: values
            for name, values in (info.headers or {}).items()
            if name not in self.names or old.get(name) != values
        }
        added = {
            name: [value] for name, value in self.current(given).items() if name not in given
        }
        headers = given | added
        return (
            info if headers == (info.headers or {}) else replace(info, headers=headers or None)
        )

    def unmarked(self, info: ObjectInfo) -> ObjectInfo:
        """The version without what says whose doing it was."""
        headers = {
            name: values
            for name, values in (info.headers or {}).items()
            if name not in self.names
        }
        return replace(info, headers=headers or None)
