"""Delete and amend: another metadata message in place of an object's newest one."""

import asyncio
import random
from collections.abc import Callable

from ..backends.base import Backend, WrongRevision
from ..messages import StoredMessage
from ..models import ObjectInfo
from . import atomic, kept, modes
from .metadata import (
    find,
    marker,
    noted,
    require,
    subject_of,
    write,
)
from .rename import Mark, rename, settle

__all__ = ("amend", "delete")

# The longest pause of an update that a rename has overtaken, before it stops that again.
_PAUSE_SECONDS = 0.05


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
        plan = await kept.plan(backend, entry, noted(entry.raw, None))
        try:
            _, message = await write(
                backend,
                subject,
                marker(mark(known)),
                replaces=entry.revision,
                raw=plan.raw,
            )
        except WrongRevision:
            continue
        await kept.settle(backend, entry, plan, by=message.sequence)
        return True, message


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
    overtaken = 0
    while True:
        entry = await find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        now = require(backend, name, entry)
        changed = change(now)
        # A move that was begun step by step, and broken off, is finished so.
        move = entry.move
        begun = move is not None and move.other == changed.name and move.awaited is not None
        if changed.name != name and backend.atomic and not begun:
            return await atomic.rename(backend, name, entry, change, mark, condition)
        if changed.name != name:
            moved, messages, ours = await rename(
                backend, name, changed.name, change, mark, condition=condition
            )
            if ours or change(moved) == moved:
                return moved, messages
            # Somebody else had begun the move; what this change says comes after it.
            info, more = await amend(backend, changed.name, change, mark)
            return info, messages + more
        moving = entry.move is not None and entry.move.awaited is not None
        try:
            # The new name would keep what was said before: the rename has come first and is
            # finished, or starts again after this.
            if moving and not await settle(backend, name, entry, now, mark):
                continue
            raw = kept.carried(backend, entry)
            info, message = await write(
                backend,
                subject,
                changed,
                replaces=entry.revision,
                raw=noted(raw, None) if moving else raw,
            )
        except WrongRevision:
            if moving:
                # Each of the two can stop the other: let the rename get on.
                overtaken += 1
                pause = min(_PAUSE_SECONDS, 0.001 * 2 ** min(overtaken, 10))
                await asyncio.sleep(random.random() * pause)  # noqa: S311
            continue
        return info, [message]
