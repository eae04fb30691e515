"""Rename: the metadata moves to another name, the chunks stay where they are.

There are three writes, each compare-and-set: a note under the old name, the new name, and a
marker under the old name. So no failure loses the object: a failure between the last two
leaves it under both names, each with a note, and renaming again completes the move. While a
note exists, a writer that replaces one of the names checks the other one before it removes
the chunks (`removal.remove_chunks`), so a live object has its chunks at every moment.

A version is only in one move at a time: a second rename first completes the noted move or, if
the new name is not written yet, makes sure that it never will be. A rename that is overtaken
in this way completes the other one, so one of the two always makes progress. An update of the
old name settles the move in the same way, so that the new name never holds outdated metadata.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from ..backends.base import Backend, WrongRevision
from ..exceptions import (
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from ..messages import StoredMessage
from ..models import ObjectInfo
from . import kept, modes
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
    write,
)
from .removal import fence, remove_chunks

__all__ = ("Change", "Mark", "rename", "settle")

Change: TypeAlias = Callable[[ObjectInfo], ObjectInfo]
"""Makes the version's metadata under the new name."""

Mark: TypeAlias = Callable[[ObjectInfo], ObjectInfo]
"""Marks an amended version with its origin; see `Origin`."""


async def rename(
    backend: Backend,
    name: str,
    to: str,
    change: Change,
    mark: Mark,
    *,
    condition: modes.Condition = None,
) -> tuple[ObjectInfo, list[StoredMessage], bool]:
    """Move an object's metadata to another name.

    Args:
        backend: The bucket.
        name: The old name.
        to: The new name.
        change: Makes the metadata under the new name; called again if the version changes.
        mark: Applied to the delete marker under the old name.
        condition: The revision of the old name that may be moved; `None` for any revision.

    Returns:
        The object under its new name, what to announce, and whether this call wrote it;
        it did not if another rename to the same name had already started the move.

    Raises:
        RevisionMismatchError: If the old name is at another revision.
        ObjectNotFoundError: If there is no such object, or if it is deleted.
        ObjectAlreadyExists: If the new name is taken.
        InvalidOptionError: If the metadata, with the note, is too large for a message.
    """
    return await _Rename(backend, name, to, change, mark, condition).run()


async def settle(
    backend: Backend, name: str, entry: Entry, info: ObjectInfo, mark: Mark
) -> bool:
    """Settle a noted move before the version is moved in one step, or amended.

    Args:
        backend: The bucket.
        name: The version's name.
        entry: What the name holds.
        info: The version.
        mark: Applied to a delete marker that the earlier move has not left yet.

    Returns:
        Whether it is still there; `False` if it had been moved, and now has its marker.

    Raises:
        WrongRevision: If another writer changes it in the meantime.
    """
    move = _Rename(backend, name, name, lambda same: same, mark, None)
    is_there = await move._is_settled(entry, info)  # noqa: SLF001 - its own
    for message in move._messages:  # noqa: SLF001 - its own
        await backend.announce(message)
    return is_there


class _Rename:
    """A rename in progress.

    Attributes:
        arrived: The object under its new name, once it is there.
        ours: Whether this rename wrote it.
    """

    def __init__(
        self,
        backend: Backend,
        name: str,
        to: str,
        change: Change,
        mark: Mark,
        condition: modes.Condition,
    ) -> None:
        self._backend = backend
        self._name = name
        self._to = to
        self._subject = subject_of(backend, name)
        self._target = subject_of(backend, to)
        self._change = change
        self._mark = mark
        self._condition = condition
        self._messages: list[StoredMessage] = []
        self._arrival: StoredMessage | None = None
        # The revision of the old name from which the new name was written.
        self._written_from = 0
        # The chunks of the version that was noted here, once one is noted.
        self._nuid = ""
        self.arrived: ObjectInfo | None = None
        self.ours: bool = False

    async def run(self) -> tuple[ObjectInfo, list[StoredMessage], bool]:
        """Move it; see `rename`."""
        while True:
            old = await find(self._backend, self._subject, leader=True)
            if self.arrived is None and self._is_moved(old, self._nuid):
                # Another rename has completed this one.
                self.arrived = (await find(self._backend, self._target, leader=True)).live
            if self.arrived is not None and self._is_over(old, self.arrived):
                return self._result(self.arrived)
            try:
                await self._require_condition(old)
                info = require(self._backend, self._name, old)
                if await self._is_settled(old, info):
                    old, info = await self._arrive(old, info)
                    await self._mark_moved(self._subject, old, info, self._to)
                    if self.arrived is not None:
                        return self._result(self.arrived)
            except (RevisionMismatchError, ObjectNotFoundError, InvalidOptionError):
                await self._withdraw()
                raise
            except WrongRevision:
                continue

    async def _require_condition(self, old: Entry) -> None:
        """Refuse a version that may not be moved, unless it is already under the new name."""
        if (
            self.arrived is not None
            and self._condition not in {None, old.revision}
            and old.holds(self.arrived.nuid)
            and (await find(self._backend, self._target, leader=True)).holds(self.arrived.nuid)
        ):
            # An `update_meta` of this package settles the move first, so another client
            # wrote this. If the new name were taken back, a writer that trusts the note and
            # marks the old name would leave neither; so it is moved, with its current
            # metadata.
            return
        modes.require(self._backend.bucket, self._name, old, self._condition)

    def _is_over(self, old: Entry, arrived: ObjectInfo) -> bool:
        """Whether the old name must not be marked by us any more, since the move was made."""
        if old.holds(arrived.nuid):
            # Moved back in the meantime.
            return old.move == Move(self._to, None)
        if old.info is None:
            return old.error is not None
        # Another rename has completed the move, or a put followed it. A delete of the old
        # name, however, meant the object that is now under the new name.
        return not old.info.deleted or self._is_moved(old, arrived.nuid)

    def _is_moved(self, old: Entry, nuid: str) -> bool:
        """Whether the old name has the marker of exactly this move."""
        return (
            bool(nuid)
            and old.info is not None
            and old.info.deleted
            and old.info.nuid == _moved_nuid(nuid, self._to)
        )

    async def _is_settled(self, old: Entry, info: ObjectInfo) -> bool:
        """Settle an earlier move of the version; returns whether it must still be moved."""
        move = old.move
        if move is None or (move.other == self._to and move.awaited is not None):
            return True
        try:
            other_subject = subject_of(self._backend, move.other)
        except InvalidObjectNameError:
            # Not written by this package.
            return True
        other = await find(self._backend, other_subject, leader=True, since=old.revision)
        if move.awaited is None:
            # It was moved from that name, which the rename may not have marked yet.
            if (
                other.info is not None
                and other.holds(info.nuid)
                and other.move is not None
                and other.move.other == self._name
                and other.move.awaited is not None
                and other.move.awaited < old.revision
            ):
                await self._mark_moved(other_subject, other, other.info, self._name)
            return True
        if self._nuid == info.nuid and other.revision == move.awaited and not other.live:
            # Overtaken, so complete the rename that overtook this one.
            await write(
                self._backend,
                other_subject,
                replace(info, name=move.other),
                replaces=other.revision,
                raw=noted(kept.carried(self._backend, old, other), Move(self._name, None)),
            )
        elif await fence(self._backend, info.nuid, move, since=old.revision):
            return True
        await self._mark_moved(self._subject, old, info, move.other)
        return False

    async def _arrive(self, old: Entry, info: ObjectInfo) -> tuple[Entry, ObjectInfo]:
        """Write the note, then the new name; returns the old name's version to be marked."""
        taken = await find(self._backend, self._target, leader=True)
        if self.arrived is None and taken.holds(info.nuid):
            self.arrived = taken.info
            return old, info
        if self.arrived is not None:
            # The old name's metadata has changed since then, and the new name's has not.
            if taken.revision == self.arrived.revision and old.revision != self._written_from:
                await self._write_new_name(old, info, taken)
            return old, info
        if taken.live is not None:
            msg = (
                f"Bucket '{self._backend.bucket}': {self._name!r} cannot become "
                f"{self._to!r}, which exists; delete that first, or choose another name."
            )
            raise ObjectAlreadyExists(msg, bucket=self._backend.bucket, name=self._to)
        move = Move(self._to, taken.revision)
        raw = noted(kept.carried(self._backend, old), move)
        new_name = self._new_name(old, info, taken)
        require_room(self._backend, self._to, (info, raw), new_name)
        if old.move != move:
            # Some clients write links without a nuid; it would then be impossible to tell
            # that two names hold the same object.
            info = replace(info, nuid=info.nuid or new_nuid())
            info, _ = await write(
                self._backend, self._subject, info, replaces=old.revision, raw=raw
            )
            old = Entry(info.revision, info, raw)
            self._nuid = info.nuid
            if self._condition is not None:
                self._condition = info.revision
        await self._write_new_name(old, info, taken)
        return old, info

    async def _write_new_name(self, old: Entry, info: ObjectInfo, taken: Entry) -> None:
        new, raw = self._new_name(old, info, taken)
        self.arrived, self._arrival = await write(
            self._backend, self._target, new, replaces=taken.revision, raw=raw
        )
        self.ours = True
        self._written_from = old.revision

    def _new_name(
        self, old: Entry, info: ObjectInfo, taken: Entry
    ) -> tuple[ObjectInfo, dict[str, Any]]:
        """The metadata to write under the new name, and the JSON that it amends."""
        raw = noted(kept.carried(self._backend, old, taken), Move(self._name, None))
        return replace(self._change(info), name=self._to), raw

    async def _mark_moved(self, subject: str, old: Entry, info: ObjectInfo, to: str) -> None:
        # With a nuid of its own, so that another client that replaces the marker does not
        # remove the chunks, which now belong to the new name.
        gone = marker(self._mark(info), _moved_nuid(info.nuid, to))
        _, message = await write(
            self._backend,
            subject,
            gone,
            replaces=old.revision,
            raw=noted(kept.carried(self._backend, old), None),
        )
        self._messages.append(message)
        # If the new name had already been replaced, its chunks now belong to no object.
        raw = noted(old.raw, Move(to, None))
        await remove_chunks(self._backend, old._replace(raw=raw), by=message.sequence)

    async def _withdraw(self) -> None:
        """Take the new name back, because its source version was deleted or changed."""
        if self.arrived is None or not self.ours:
            return
        gone = marker(self.arrived, new_nuid())
        replaces = self.arrived.revision
        try:
            _, message = await write(self._backend, self._target, gone, replaces=replaces)
        except WrongRevision:
            # The writer that replaced it has already settled the move.
            return
        raw = noted(None, Move(self._name, None))
        await remove_chunks(
            self._backend, Entry(replaces, self.arrived, raw), by=message.sequence
        )

    def _result(self, arrived: ObjectInfo) -> tuple[ObjectInfo, list[StoredMessage], bool]:
        first = [] if self._arrival is None else [self._arrival]
        return arrived, first + self._messages, self.ours


def _moved_nuid(nuid: str, to: str) -> str:
    """The nuid of the marker that a move leaves; it shows what was moved, and to where."""
    return hashlib.sha256(f"{nuid} {to}".encode()).hexdigest()[:22]
