"""Changes of several objects in one step: combined, written together, decided again.

The changes are first made on a view of the bucket: what each name holds now, and what it would
hold afterwards. The differences become one batch of messages, each conditional on the revision
that was seen. If another writer was faster, nothing is stored: the changes are made again on a
new view, and those that may not replace the current versions raise their errors.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from .. import wire
from ..backends.base import Backend, WrongRevision
from ..exceptions import ObjectAlreadyExists, RevisionMismatchError
from ..messages import StoredMessage
from ..models import ObjectInfo, ObjectLink
from . import expiry, kept, links, modes
from .batch import BATCH_HEADER_BYTES, Write, require_count, write_all
from .lifetime import aged, with_age
from .metadata import (
    Entry,
    Move,
    find,
    marker,
    new_nuid,
    noted,
    require,
    require_room,
    subject_of,
)
from .rename import Change, Mark, settle
from .renew import renewable
from .together import each

__all__ = (
    "Step",
    "View",
    "amend",
    "commit",
    "delete",
    "link",
    "move",
    "put",
    "rename",
    "renew_link",
)

# How often a transaction is decided again.
ATTEMPTS = 50
# The longest pause before another attempt.
_PAUSE_SECONDS = 0.05


class _Now(NamedTuple):
    """What a name holds after the changes.

    Attributes:
        info: The version.
        raw: The JSON of the version that it amends.
        content: Where its content comes from.
        unique: Whether no other writer can write the same.
    """

    info: ObjectInfo
    raw: dict[str, Any] | None
    content: "Content"
    unique: bool


class Content(NamedTuple):
    """The origin of a name's content.

    Attributes:
        source: The previous version under this or another name; `None` if it is new.
        began: When the first chunk of new content was sent, by the loop's clock.
    """

    source: Entry | None = None
    began: float | None = None


_NOTHING = Content()


class View:
    """What names hold now, and what they hold after the changes made on the view.

    Args:
        backend: The bucket.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.before: dict[str, Entry] = {}
        """What the stream holds, by name."""
        self._now: dict[str, _Now] = {}

    @property
    def changed(self) -> dict[str, ObjectInfo]:
        """What the changed names hold, in the order in which each was last changed."""
        return {name: now.info for name, now in self._now.items()}

    async def read(self, names: Iterable[str]) -> None:
        """Read what names hold from the stream's leader."""
        missing = [one for one in names if one not in self.before]

        async def read(name: str) -> None:
            subject = subject_of(self.backend, name)
            self.before[name] = await find(self.backend, subject, leader=True)

        await each(missing, read)

    async def entry(self, name: str) -> Entry:
        """What a name holds; its revision is the one in the stream."""
        await self.read((name,))
        before, now = self.before[name], self._now.get(name)
        return before if now is None else Entry(before.revision, now.info, now.raw)

    def forget(self, name: str) -> None:
        """Read a name again when it is next needed."""
        self.before.pop(name, None)

    def is_changed(self, name: str) -> bool:
        """Whether it differs from what the stream holds."""
        return name in self._now

    def content(self, name: str) -> Content:
        """The origin of a name's content."""
        now = self._now.get(name)
        return Content(self.before[name]) if now is None else now.content

    def set(
        self,
        name: str,
        info: ObjectInfo,
        *,
        raw: dict[str, Any] | None = None,
        content: Content = _NOTHING,
        unique: bool = True,
    ) -> None:
        """Change what a name holds; the name must have been read."""
        if name not in self._now:
            require_count(self.backend, len(self._now) + 1)
        # Its message takes the place of the name's last change.
        self._now.pop(name, None)
        self._now[name] = _Now(info, raw, content, unique)

    async def planned(self) -> list["_Planned"]:
        """The messages that bring the stream to the state of this view."""
        live = {
            now.info.nuid
            for now in self._now.values()
            if not (now.info.deleted or now.info.is_link())
        }
        result = []
        for name, now in self._now.items():
            before = self.before[name]
            if now.info.deleted and before.live is None and before.error is None:
                # Put and then deleted or moved within the same transaction.
                continue
            stays = before.live is not None and before.live.nuid in live
            source = now.content.source
            moved = None if source is before else source
            plan = await kept.plan(self.backend, before, now.raw, moved=moved, stays=stays)
            raw = self._aged(plan.raw, now.content)
            subject = subject_of(self.backend, name)
            write = Write(subject, now.info, before.revision, raw, now.unique)
            result.append(_Planned(before, write, plan))
        return result

    def _aged(self, raw: dict[str, Any] | None, content: Content) -> dict[str, Any] | None:
        """The JSON including the age of the content, if objects expire."""
        if content.source is not None:
            return with_age(self.backend, content.source.live, raw)
        if content.began is None:
            return raw
        age = asyncio.get_running_loop().time() - content.began
        return aged(self.backend, raw, age)


class _Planned(NamedTuple):
    before: Entry
    write: Write
    plan: kept.Plan


Step: TypeAlias = Callable[[View], Coroutine[Any, Any, Any]]
"""Makes one change on a view, completely or not at all; called again after a lost race."""


async def commit(
    view: View,
    steps: Iterable[Step],
    *,
    ready: Callable[[View], Awaitable[None]] | None = None,
    attempts: int | None = ATTEMPTS,
) -> tuple[View, list[tuple[ObjectInfo, StoredMessage]]]:
    """Write the changes of a view, and remove the chunks that they replace.

    Args:
        view: The view that the steps have changed.
        steps: The changes, to be made again on a new view.
        ready: Called with the view before it is written.
        attempts: The maximum number of attempts; `None` for no limit.

    Returns:
        The view that was written, and each message with its version, in order.

    Raises:
        RevisionMismatchError: If other writers were faster each time. Errors of the steps
            are raised too.
        StoreTimeoutError, NotConnectedError: As for `write_all`.
    """
    backend = view.backend
    for attempt in itertools.count(1):
        if ready is not None:
            await ready(view)
        planned = await view.planned()
        if not planned:
            return view, []
        try:
            written = await write_all(backend, [one.write for one in planned])
        except WrongRevision:
            pause = min(_PAUSE_SECONDS, 0.001 * 2 ** min(attempt, 10))
            await asyncio.sleep(random.random() * pause)  # noqa: S311
            again = View(backend)
            await again.read(view.before)
            stored = _stored(planned, again)
            if stored:
                await _settle(backend, planned, by=stored[-1][1].sequence)
                return view, stored
            if attempts is not None and attempt >= attempts:
                raise _lost(view, again, attempt) from None
            view = again
            for step in steps:
                await step(view)
            continue
        await _settle(backend, planned, by=written[-1][1].sequence)
        return view, written
    msg = "unreachable: the last attempt returns or raises"
    raise AssertionError(msg)


def _stored(planned: list[_Planned], now: View) -> list[tuple[ObjectInfo, StoredMessage]]:
    """The messages of a batch that was refused and is stored; none if it is not.

    A server that is behind has refused it. If the steps were made again, they would replace
    what they have stored, or be refused because of it.
    """
    for number, (_, write, _) in enumerate(planned):
        entry = now.before[write.info.name]
        if (
            write.unique
            and entry.info is not None
            and entry.info.nuid == write.info.nuid
            and entry.info.deleted == write.info.deleted
        ):
            return [
                _as_stored(one.write, sequence, entry.info)
                for sequence, one in enumerate(planned, entry.revision - number)
            ]
    return []


def _as_stored(
    write: Write, sequence: int, beside: ObjectInfo
) -> tuple[ObjectInfo, StoredMessage]:
    data = wire.metadata_json(write.info, write.raw)
    message = StoredMessage(write.subject, data, sequence, time.time_ns(), size=len(data))
    return replace(write.info, revision=sequence, mtime=beside.mtime), message


def _lost(view: View, now: View, attempts: int) -> RevisionMismatchError:
    """The error for an object that other writers keep changing."""
    bucket = view.backend.bucket
    changed = [
        name
        for name in view.changed
        if view.before[name].revision != now.before[name].revision
    ]
    name = changed[0] if changed else next(iter(view.changed))
    msg = (
        f"Bucket '{bucket}': {name!r} is at revision {now.before[name].revision}, not at "
        f"{view.before[name].revision}: other writers were first {attempts} times, so that "
        "the transaction is given up. Try again, or have fewer writers of that object."
    )
    return RevisionMismatchError(msg, bucket=bucket, name=name)


async def _settle(backend: Backend, planned: list[_Planned], *, by: int) -> None:
    # Everything was replaced at the same moment, that of the last message, so what the other
    # name of a rename holds since then is not later.
    async def settle_one(replaced: _Planned) -> None:
        await kept.settle(backend, replaced.before, replaced.plan, by=by)

    await each(planned, settle_one)


# --- the changes


async def put(
    view: View,
    version: ObjectInfo,
    condition: modes.Condition,
    began: float,
    life: expiry.Life | None = None,
    amends: dict[str, Any] | None = None,
) -> None:
    """Give a name a version whose chunks are stored; raises as `put_object` does."""
    before = await view.entry(version.name)
    modes.require(view.backend.bucket, version.name, before, condition)
    if isinstance(condition, modes.Decision):
        await condition.before_writing(before)
    raw = expiry.with_life(amends, life)
    view.set(version.name, version, raw=raw, content=Content(began=began))


async def delete(view: View, name: str, mark: Mark, condition: modes.Condition) -> bool:
    """Leave a marker under a name; returns whether it was live. Raises as `amend.delete`."""
    before = await view.entry(name)
    bucket = view.backend.bucket
    modes.require(bucket, name, before, condition)
    if before.error is None and require(view.backend, name, before, show_deleted=True).deleted:
        return False
    known = before.info or ObjectInfo(name=name, bucket=bucket)
    # Its nuid differs from the version's, so that the marker shows who wrote it.
    view.set(name, marker(mark(known), new_nuid()), raw=noted(before.raw, None))
    return True


async def amend(
    view: View, name: str, change: Change, mark: Mark, condition: modes.Condition
) -> ObjectInfo:
    """Change a live object's metadata, or its name; raises as `amend.amend` does."""
    before, info = await _settled(view, name, mark, condition)
    changed = change(info)
    if changed.name != name:
        return await move(view, name, changed.name, change, mark, condition)
    raw = noted(before.raw, None) if _is_moving(before) else before.raw
    view.set(name, changed, raw=raw, content=view.content(name), unique=False)
    return changed


def _is_moving(entry: Entry) -> bool:
    """Whether a step-by-step rename may still write another name, or has written it."""
    return entry.move is not None and entry.move.awaited is not None


async def move(
    view: View, name: str, to: str, change: Change, mark: Mark, condition: modes.Condition
) -> ObjectInfo:
    """Move an object to another name and leave a marker; raises as `rename.rename` does."""
    backend = view.backend
    await view.read((name, to))
    before, info = await _settled(view, name, mark, condition)
    content = view.content(name)
    source = content.source
    taken = await view.entry(to)
    if taken.live is not None:
        msg = (
            f"Bucket '{backend.bucket}': {name!r} cannot become {to!r}, which exists; delete "
            "that first, or choose another name."
        )
        raise ObjectAlreadyExists(msg, bucket=backend.bucket, name=to)
    raw = noted(before.raw, None)
    moved = replace(change(info), name=to)
    # As in a step-by-step rename: a concurrent one learns from this what has become of the
    # version. A version that is new here, or back under its name, was not moved from anywhere.
    came_from = source.info.name if source is not None and source.info is not None else to
    arrived = raw if came_from == to else noted(raw, Move(came_from, None))
    require_count(backend, len(view.changed.keys() | {name, to}))
    require_room(backend, to, (moved, arrived), more=BATCH_HEADER_BYTES)
    view.set(to, moved, raw=arrived, content=content, unique=False)
    view.set(name, marker(mark(info), new_nuid()), raw=raw)
    return moved


async def _settled(
    view: View, name: str, mark: Mark, condition: modes.Condition
) -> tuple[Entry, ObjectInfo]:
    """What a name holds after its step-by-step rename is settled; see `rename`."""
    backend = view.backend
    while True:
        before = await view.entry(name)
        modes.require(backend.bucket, name, before, condition)
        info = require(backend, name, before)
        source = view.content(name).source
        if source is None or source is not view.before[name] or source.move is None:
            return before, info
        # The rename was interrupted, or is still running.
        with suppress(WrongRevision):
            if source.info is None or await settle(backend, name, source, source.info, mark):
                return before, info
        if view.is_changed(name):
            # The version to be changed is gone, so the change is not written either.
            return before, info
        view.forget(name)


async def link(
    view: View,
    name: str,
    target: ObjectLink,
    change: Change,
    condition: modes.Condition,
) -> ObjectInfo:
    """Give a name a link; raises as `links.put_link` does."""
    before = await view.entry(name)
    modes.require(view.backend.bucket, name, before, condition)
    version = change(links.link_over(view.backend, name, target, before))
    view.set(name, version)
    return version


async def renew_link(
    view: View,
    name: str,
    change: Change,
    life: expiry.Life | None,
    condition: modes.Condition,
) -> ObjectInfo:
    """Give a live link another `ttl`."""
    before = await view.entry(name)
    modes.require(view.backend.bucket, name, before, condition)
    changed = change(require(view.backend, name, before))
    view.set(name, changed, raw=expiry.with_life(renewable(before), life))
    return changed


async def rename(
    backend: Backend,
    name: str,
    entry: Entry,
    change: Change,
    mark: Mark,
    condition: modes.Condition,
) -> tuple[ObjectInfo, list[StoredMessage]]:
    """Move an object in one step to the name that `change` gives it; see `amend.amend`."""

    async def step(view: View) -> None:
        await amend(view, name, change, mark, condition)

    view = View(backend)
    view.before[name] = entry
    await step(view)
    _, written = await commit(view, (step,), attempts=None)
    return written[0][0], [message for _, message in written]
