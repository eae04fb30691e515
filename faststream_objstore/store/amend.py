"""Changes of metadata alone: delete, amend, rename. The chunks stay where they are."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ..backends.base import Backend, WrongRevision
from ..exceptions import ObjectAlreadyExists
from ..messages import StoredMessage
from ..models import ObjectInfo
from . import kept, modes
from .metadata import (
    find,
    new_nuid,
    require,
    subject_of,
    write,
)

__all__ = ("amend", "delete", "delete_marker", "rename")

Mark: TypeAlias = Callable[[ObjectInfo], ObjectInfo]
"""Says of an amended version whose doing that is; see `Origin`."""


def _unmarked(info: ObjectInfo) -> ObjectInfo:
    return info


async def delete(
    backend: Backend,
    name: str,
    mark: Mark = _unmarked,
    *,
    condition: modes.Condition = None,
) -> tuple[bool, StoredMessage | None]:
    """Replace an object by a delete marker, then remove its chunks.

    Args:
        backend: The bucket.
        name: The object.
        mark: Applied to the marker.
        condition: The revision that may be deleted; `None` for any.

    Returns:
        Whether it was live, and the marker's message if one was written.

    Raises:
        RevisionMismatchError: If the object is at another revision.
        ObjectNotFoundError: If nothing was ever put under the name.
    """
    subject = subject_of(backend, name)
    while True:
        entry = await find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        if entry.error is None and require(backend, name, entry, show_deleted=True).deleted:
            return False, None
        known = entry.info or ObjectInfo(name=name, bucket=backend.bucket)
        plan = await kept.plan(backend, entry, entry.raw)
        try:
            _, message = await write(
                backend,
                subject,
                delete_marker(mark(known)),
                replaces=entry.revision,
                raw=plan.raw,
            )
        except WrongRevision:
            continue
        await kept.settle(backend, entry, plan)
        return True, message


def delete_marker(info: ObjectInfo, nuid: str | None = None) -> ObjectInfo:
    """What a deleted version leaves; it keeps what the version says beside its content."""
    return replace(
        info,
        # Go's client refuses to delete what has no nuid.
        nuid=nuid or info.nuid or new_nuid(),
        size=0,
        chunks=0,
        digest=None,
        deleted=True,
    )


async def amend(
    backend: Backend,
    name: str,
    change: Callable[[ObjectInfo], ObjectInfo],
    mark: Mark = _unmarked,
    *,
    condition: modes.Condition = None,
) -> tuple[ObjectInfo, list[StoredMessage]]:
    """Rewrite the metadata of a live object, content untouched.

    Args:
        backend: The bucket.
        name: The object.
        change: Makes the new metadata of the newest version; called again for a newer
            one. If it changes the name, the object is renamed.
        mark: Applied to the delete marker that a renamed object leaves.
        condition: The revision that may be changed; `None` for any.

    Raises:
        RevisionMismatchError: If the object is at another revision.
        ObjectNotFoundError: If there is no such object, or it is deleted.
        ObjectAlreadyExists: If the new name is taken.
    """
    subject = subject_of(backend, name)
    while True:
        entry = await find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        changed = change(require(backend, name, entry))
        if changed.name != name:
            return await rename(backend, name, changed.name, change, mark, condition=condition)
        try:
            info, message = await write(
                backend, subject, changed, replaces=entry.revision, raw=kept.carried(entry)
            )
        except WrongRevision:
            continue
        return info, [message]


async def rename(
    backend: Backend,
    name: str,
    to: str,
    change: Callable[[ObjectInfo], ObjectInfo],
    mark: Mark = _unmarked,
    *,
    condition: modes.Condition = None,
) -> tuple[ObjectInfo, list[StoredMessage]]:
    """Move an object's metadata to another name; the chunks stay where they are.

    The new name is written first, so that no failure loses the object: one between the
    two writes leaves it under both names, and renaming again finishes the move.

    Raises:
        RevisionMismatchError: If the old name is at another revision.
        ObjectNotFoundError: If there is no such object, or it is deleted.
        ObjectAlreadyExists: If the new name is taken.
    """
    subject, target = subject_of(backend, name), subject_of(backend, to)
    while True:
        entry = await find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        info = require(backend, name, entry)
        taken = await find(backend, target, leader=True)
        if taken.live and (taken.live.nuid != info.nuid or not info.nuid):
            msg = (
                f"Bucket '{backend.bucket}': {name!r} cannot become {to!r}, which exists; "
                "delete that first, or choose another name."
            )
            raise ObjectAlreadyExists(msg, bucket=backend.bucket, name=to)
        try:
            moved, arrived = await write(
                backend,
                target,
                replace(change(info), name=to),
                replaces=taken.revision,
                raw=kept.carried(entry, taken),
            )
        except WrongRevision:
            continue
        try:
            # A nuid of its own: another client that replaces the marker must not
            # remove the chunks, which now belong to the new name.
            _, left = await write(
                backend,
                subject,
                delete_marker(mark(info), _moved_nuid(info.nuid, to)),
                replaces=entry.revision,
                raw=kept.carried(entry),
            )
        except WrongRevision:
            now = (await find(backend, subject, leader=True)).info
            if (
                condition is None
                and now is not None
                and now.nuid == info.nuid
                and not now.deleted
            ):
                # Same content, newer metadata, or moved back: what is under the new
                # name is replaced in the next round.
                continue
            if now is not None and now.nuid == _moved_nuid(info.nuid, to):
                # Another task made the same move, and finished it first.
                return moved, [arrived]
            # The old name was replaced meanwhile, and its chunks are being removed; or
            # they belong to a third name now.
            await _withdraw(backend, target, moved)
            continue
        return moved, [arrived, left]


def _moved_nuid(nuid: str, to: str) -> str:
    """The nuid of the marker that a move leaves; it tells what was moved, and where to."""
    return hashlib.sha256(f"{nuid} {to}".encode()).hexdigest()[:22]


async def _withdraw(backend: Backend, subject: str, info: ObjectInfo) -> None:
    try:
        await write(backend, subject, delete_marker(info, new_nuid()), replaces=info.revision)
    except WrongRevision:
        # Whoever replaced it has settled the matter.
        return
