"""Labels whose number stays limited, whatever services name their buckets."""

__all__ = ("NO_DURABLE", "BoundedLabels")

NO_DURABLE = ""
"""The durable's label for a subscriber without one."""

_OTHER = "(other)"


class BoundedLabels:
    """The names that have their own label; all others share one.

    Args:
        most: How many names have their own label.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The label of a name."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return _OTHER
            self._known.add(name)
        return name
