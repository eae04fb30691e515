"""Mends that a chaos run can do without, one at a time: it must find what they mend."""

from collections.abc import Callable

REVERTS: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Undo a mend in this process."""
    if name:
        REVERTS[name]()
