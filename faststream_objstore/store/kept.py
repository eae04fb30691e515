"""Replaced versions that are kept for a while: noted, kept, removed.

With `keep_replaced`, the chunks of a version that was replaced or deleted are kept for a
while, so that its readers can finish. The metadata that replaced the version notes it, so
that any writer and any sweep knows when it is due, even if the writer that noted it has
died. In other buckets this costs only two dict lookups for each change.
"""

import asyncio
import heapq
import itertools
import time
from datetime import timedelta
from typing import Any, NamedTuple

from .. import wire
from ..backends.base import Backend
from ..models import ObjectInfo
from .lifetime import with_age
from .metadata import Entry
from .removal import remove_chunks

__all__ = ("MOST", "Plan", "carried", "plan", "settle")

MOST = 64
"""Versions of one object that are being kept."""

# How many removals one process schedules for one bucket; sweep does the rest.
_AWAITED = 100_000


class Plan(NamedTuple):
    """What a change must note, and what it removes afterwards.

    Attributes:
        raw: The JSON that the new metadata amends.
        seconds: How long the replaced version is kept.
        due: Versions whose time is over.
        stays: Whether the replaced content still belongs to an object.
    """

    raw: dict[str, Any] | None
    seconds: float = 0.0
    due: tuple[wire.Replaced, ...] = ()
    stays: bool = False


_NOTHING = Plan(None)


async def plan(
    backend: Backend,
    entry: Entry,
    raw: dict[str, Any] | None = None,
    *,
    moved: Entry | None = None,
    stays: bool = False,
) -> Plan:
    """Plan what a change must note when it replaces an entry and its content, if any.

    Args:
        backend: The bucket.
        entry: What is replaced.
        raw: The JSON that the new metadata amends, if it amends any.
        moved: The version that replaces it by being moved from another name, if any.
        stays: Whether the entry's content still belongs to an object afterwards.
    """
    keep = wire.keep_replaced(backend.metadata)
    if not (
        keep
        or wire.has_replaced(entry.raw)
        or (moved is not None and wire.has_replaced(moved.raw))
    ):
        return _NOTHING if raw is None and not stays else Plan(raw, stays=stays)
    noted = _noted(entry)
    if moved is not None:
        known = {one.nuid for one in noted}
        noted += [one for one in _noted(moved) if one.nuid not in known]
        noted.sort(key=lambda one: one.at_us)
    now_us = time.time_ns() // 1000
    if keep and any(_is_due(one, keep, now_us) for one in noted):
        # By this machine's clock; the server's clock decides.
        now_us = (await backend.state()).time_ns // 1000
        keep = wire.keep_replaced(backend.metadata)
    young = [one for one in noted if keep and not _is_due(one, keep, now_us)]
    newest = _replaced(entry) if keep and not stays else None
    young = young[-(MOST if newest is None else MOST - 1) :]
    return Plan(
        wire.with_replaced(raw, young, newest),
        keep.total_seconds(),
        tuple(one for one in noted if one not in young),
        stays,
    )


def carried(backend: Backend, entry: Entry, *others: Entry) -> dict[str, Any] | None:
    """The JSON of an entry, notes included, for a change that keeps the content.

    Args:
        backend: The bucket.
        entry: What is amended.
        others: What else the new metadata replaces.
    """
    if not any(wire.has_replaced(one.raw) for one in (entry, *others)):
        return with_age(backend, entry.live, entry.raw)
    noted = {one.nuid: one for each in (*others, entry) for one in _noted(each)}
    raw = wire.with_replaced(entry.raw, sorted(noted.values(), key=lambda one: one.at_us))
    return with_age(backend, entry.live, raw)


def _is_due(one: wire.Replaced, keep: timedelta, now_us: int) -> bool:
    return one.at_us + keep // timedelta(microseconds=1) <= now_us


def _noted(entry: Entry) -> list[wire.Replaced]:
    if entry.info is None or entry.info.mtime is None:
        return []
    return wire.replaced_in(entry.raw, wire.microseconds(entry.info.mtime) * 1000)


def _replaced(entry: Entry) -> wire.Replaced | None:
    """The version of an entry, if it has chunks."""
    info = entry.live
    if info is None or not info.nuid or info.is_link():
        return None
    return wire.Replaced(info.nuid, 0, (entry.raw or {}).get(wire.MOVE_NOTE))


async def settle(backend: Backend, entry: Entry, plan: Plan, *, by: int) -> None:
    """Remove what an acknowledged change has replaced, or schedule the removal.

    Args:
        backend: The bucket.
        entry: What was replaced.
        plan: The plan for that change.
        by: The revision that replaced it.
    """
    replaced = None if plan.stays else _replaced(entry)
    name = entry.info.name if entry.info else ""
    if replaced is not None and plan.seconds:
        _later(backend, name, replaced, plan.seconds, by)
    elif replaced is not None:
        await _remove(backend, name, replaced, by)
    for one in plan.due:
        # Only the time of its replacement is known: sweep removes what was being renamed.
        await _remove(backend, name, one, -1)


async def _remove(backend: Backend, name: str, version: wire.Replaced, by: int) -> None:
    info = ObjectInfo(name=name, bucket=backend.bucket, nuid=version.nuid)
    raw = {wire.MOVE_NOTE: version.move}
    await remove_chunks(backend, Entry(info=info, raw=raw), by=by)


class _Removals:
    """The versions of one bucket that this process will remove when their time is over.

    Args:
        backend: The bucket.
        loop: The event loop in which they were written.
    """

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._backend = backend
        self._due: list[tuple[float, int, str, wire.Replaced, int]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, name: str, version: wire.Replaced, seconds: float, by: int) -> None:
        """Remove a version after a delay in seconds."""
        if len(self._due) >= _AWAITED:
            # The next writer that replaces the object removes it, or sweep does.
            return
        due = self.loop.time() + seconds
        heapq.heappush(self._due, (due, next(self._numbers), name, version, by))
        self._arm()

    def _arm(self) -> None:
        if self._task is not None or not self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due[0][0], self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = self.loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._due and self._due[0][0] <= self.loop.time():
                *_, name, version, by = heapq.heappop(self._due)
                await _remove(self._backend, name, version, by)
        finally:
            self._task = None
            if self._due:
                self._arm()
            elif _removals.get(self._backend) is self:
                del _removals[self._backend]


# Those that have something to remove.
_removals: dict[Backend, _Removals] = {}


def _later(
    backend: Backend, name: str, version: wire.Replaced, seconds: float, by: int
) -> None:
    loop = asyncio.get_running_loop()
    removals = _removals.get(backend)
    if removals is None or removals.loop is not loop:
        removals = _removals[backend] = _Removals(backend, loop)
    removals.add(name, version, seconds, by)
