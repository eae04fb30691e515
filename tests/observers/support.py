"""What the tests of observers share."""

import asyncio

from faststream_objstore.observers import ChangeEvent, OperationEvent
from tests.changes.support import soon


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.operations: list[OperationEvent] = []
        self.changes: list[ChangeEvent] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def operation(self, event: OperationEvent) -> None:
        self.operations.append(event)

    def change(self, event: ChangeEvent) -> None:
        self.changes.append(event)
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for_changes(self, count: int) -> list[ChangeEvent]:
        async with self._changed:
            await soon(self._changed.wait_for(lambda: len(self.changes) >= count))
        return self.changes

    def told(self) -> list[tuple[str, str, int]]:
        """Operation, outcome and bytes of each."""
        return [(one.operation, one.outcome, one.bytes) for one in self.operations]
