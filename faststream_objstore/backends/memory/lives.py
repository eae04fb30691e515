"""When the messages of a stream expire by themselves."""

import heapq

__all__ = ("Lives",)


class Lives:
    """The TTLs of single messages, and which of them leave no marker behind."""

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        self._queue: list[tuple[int, int]] = []
        self._unmarked: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, sequence: int, due_ns: int) -> None:
        """Let a message expire at a time, nanoseconds since the epoch."""
        self._due[sequence] = due_ns
        heapq.heappush(self._queue, (due_ns, sequence))

    def leave_no_marker(self, sequence: int) -> None:
        """Note that the message is itself a marker."""
        self._unmarked.add(sequence)

    def leaves_marker(self, sequence: int) -> bool:
        """Whether a marker takes the place of the message when it expires."""
        return sequence not in self._unmarked

    def forget(self, sequence: int) -> None:
        """Note that a message is gone."""
        self._due.pop(sequence, None)
        self._unmarked.discard(sequence)

    @property
    def first(self) -> int | None:
        """When the next message expires; `None` for never."""
        while self._queue:
            due_ns, sequence = self._queue[0]
            if self._due.get(sequence) == due_ns:
                return due_ns
            heapq.heappop(self._queue)
        return None

    def due(self, now_ns: int) -> int | None:
        """The sequence of a message that has expired."""
        first = self.first
        return self._queue[0][1] if first is not None and first <= now_ns else None
