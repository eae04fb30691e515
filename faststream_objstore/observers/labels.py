"""Labels that stay few, whatever services name their buckets."""

__all__ = ("NO_DURABLE", "BoundedLabels")

NO_DURABLE = ""
"""The durable's label where a subscriber has none."""

_OTHER = "(other)"


class BoundedLabels:
    """The names that have a label of their own; the rest shares one.

    Args:
        most: How many have one.
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
