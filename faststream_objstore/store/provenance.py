"""The origin of a change: headers that belong to the change, not to the object."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from ..models import ObjectInfo

__all__ = ("Origin",)


def _unknown(given: Collection[str]) -> Mapping[str, str]:  # noqa: ARG001
    return {}


class Origin(NamedTuple):
    """Marks each change with its context: a trace, the message that is being handled.

    Headers with these names belong to a single change. A delete, a rename, an update and a
    copy have their own, never those of the put before. Headers that a caller gives are kept.

    Attributes:
        names: The names of these headers; empty if changes are not marked.
        current: Called with the names that the caller gave; returns the headers to add.
    """

    names: frozenset[str] = frozenset()
    current: Callable[[Collection[str]], Mapping[str, str]] = _unknown

    def mark(self, info: ObjectInfo, *, before: ObjectInfo | None = None) -> ObjectInfo:
        """Mark the version that a change makes.

        Args:
            info: The version.
            before: The version that it amends; origin headers that both have are outdated.

        Returns:
            The marked version.
        """
        if not self.names:
            return info
        if not info.headers:
            new = self.current(())
            if not new:
                return info
            return replace(info, headers={name: [value] for name, value in new.items()})
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
        """Remove the origin headers from a version."""
        headers = {
            name: values
            for name, values in (info.headers or {}).items()
            if name not in self.names
        }
        return replace(info, headers=headers or None)
