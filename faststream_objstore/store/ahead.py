"""Reading many objects in a given order, ahead of the caller."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from typing import Any, TypeAlias

from ..backends.base import TOGETHER
from ..models import ObjectData
from .several import Target

__all__ = ("AHEAD", "Ahead")

AHEAD = 8
"""How many small objects are read ahead for each one that is read alone."""

_Contents: TypeAlias = list[ObjectData | None]
_Batch: TypeAlias = "tuple[list[Target], asyncio.Task[_Contents]]"

Several = Callable[[list[Target]], Coroutine[Any, Any, _Contents]]
Alone = Callable[[Target], Coroutine[Any, Any, ObjectData]]


class _Slot:
    """An object whose turn has not come yet: its content, or what reads it alone."""

    __slots__ = ("data", "target", "task")

    def __init__(self, target: Target, data: ObjectData | None) -> None:
        self.target = target
        self.data = data
        self.task: asyncio.Task[ObjectData] | None = None


class Ahead:
    """The contents of objects, in order, some of them read ahead.

    Small objects are read together as soon as there are enough of them, or nothing else to
    wait for; the others alone.

    Args:
        targets: What to read.
        several: Reads objects together; `None` for those that it leaves.
        alone: Reads one object.
        concurrency: How many objects are read alone, or wait for the caller, at a time. Of
            small ones, `AHEAD` times as many.
    """

    def __init__(
        self,
        targets: AsyncIterable[Target],
        several: Several,
        alone: Alone,
        *,
        concurrency: int,
    ) -> None:
        self._targets = targets
        self._several = several
        self._alone = alone
        self._concurrency = concurrency
        self._most = AHEAD * concurrency
        self._together = min(TOGETHER, self._most // 2)
        self._held = 0
        self._given: list[Target] = []
        self._batches: deque[_Batch] = deque()
        self._slots: deque[_Slot] = deque()
        self._left: deque[_Slot] = deque()
        self._reading = 0
        self._room = asyncio.Event()
        self._more = asyncio.Event()

    async def contents(self) -> AsyncGenerator[ObjectData, None]:
        """Yield the contents; raises what reading the next one, or the source, raises."""
        source = asyncio.ensure_future(self._take())
        source.add_done_callback(lambda _: self._more.set())
        try:
            while True:
                while self._batches and self._batches[0][1].done():
                    self._unpack(*self._batches.popleft())
                if self._slots:
                    data = await self._first()
                    if not self._slots and not self._batches:
                        self._begin()
                    self._room.set()
                    yield data
                elif self._batches:
                    await asyncio.wait((self._batches[0][1],))
                elif self._given:
                    self._begin()
                elif source.done():
                    source.result()
                    return
                else:
                    self._more.clear()
                    await self._more.wait()
        finally:
            alone = (slot.task for slot in self._slots if slot.task is not None)
            tasks = [source, *(task for _, task in self._batches), *alone]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first(self) -> ObjectData:
        """The content of the first of the slots, which is removed."""
        self._read_alone()
        slot = self._slots[0]
        data = slot.data
        if slot.task is not None:
            data = await slot.task
            self._reading -= 1
            self._read_alone()
        assert data is not None  # noqa: S101 - what has no content has a task
        self._slots.popleft()
        self._held -= 1
        return data

    async def _take(self) -> None:
        """Take targets from the source, as many as may be held."""
        loop = asyncio.get_running_loop()
        async for target in self._targets:
            self._given.append(target)
            self._held += 1
            if len(self._given) >= self._together:
                self._begin()
            elif len(self._given) == 1:
                # Unless others are there at once.
                loop.call_soon(self._begin_if_idle)
            while self._held >= self._most:
                self._room.clear()
                await self._room.wait()
        self._begin()

    def _begin_if_idle(self) -> None:
        if not self._slots and not self._batches:
            self._begin()

    def _begin(self) -> None:
        """Read together what was taken."""
        targets, self._given = self._given, []
        if targets:
            task = asyncio.ensure_future(self._several(targets))
            self._batches.append((targets, task))
            self._more.set()

    def _unpack(self, targets: list[Target], task: "asyncio.Task[_Contents]") -> None:
        for target, data in zip(targets, task.result(), strict=True):
            slot = _Slot(target, data)
            self._slots.append(slot)
            if data is None:
                self._left.append(slot)

    def _read_alone(self) -> None:
        while self._left and self._reading < self._concurrency:
            slot = self._left.popleft()
            slot.task = asyncio.ensure_future(self._alone(slot.target))
            self._reading += 1
