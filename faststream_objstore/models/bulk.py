"""The result of a call for many objects. Values only, no I/O."""

from dataclasses import dataclass, field

__all__ = ("BulkResult",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """The result of a call for many objects; names are sorted.

    Attributes:
        done: Names of what was put, fetched, copied or restored.
        unchanged: Names of what was already up to date.
        deleted: Names of what was deleted.
        failed: The reason of each failure or refusal, by name.
        size: Total bytes of the content of `done`.
    """

    done: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    size: int = 0
