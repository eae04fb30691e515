"""The chunks of a version that was replaced: removed, unless a rename has passed them on."""

import logging
from contextlib import suppress

from .. import wire
from ..backends.base import Backend, WrongRevision
from ..exceptions import InvalidObjectNameError, ObjStoreError
from ..logs import log
from ..models import ObjectInfo
from .metadata import Entry, Move, find, marker, subject_of, write

__all__ = ("fence", "remove_chunks")


async def remove_chunks(backend: Backend, replaced: Entry, *, by: int) -> None:
    """Remove the chunks of a version that the caller has replaced.

    The change itself is done, so a failure here is logged and not raised: the chunks are then
    unreachable until `sweep` removes them.

    Args:
        backend: The bucket.
        replaced: The version.
        by: The revision that replaced it.
    """
    info = replaced.live
    if info is None or info.is_link() or not info.nuid:
        return
    try:
        if replaced.move is None or not await _is_needed(
            backend, info.nuid, replaced.move, by=by
        ):
            await backend.purge(wire.chunk_subject(backend.bucket, info.nuid))
    except ObjStoreError as error:
        text = (
            f"Bucket '{backend.bucket}': chunks of the replaced version of {info.name!r} are "
            f"left behind until sweep() removes them: {error}"
        )
        log(backend, logging.WARNING, text)


async def _is_needed(backend: Backend, nuid: str, move: Move, *, by: int) -> bool:
    """Whether the other name of a move has these chunks, or may have passed them on."""
    other = await _settled(backend, move, since=by)
    # A writer that replaced the other name after this one checks this name and removes the
    # chunks, unless it has moved them to a third name.
    return other.holds(nuid) or other.revision > by


async def fence(backend: Backend, nuid: str, move: Move, *, since: int) -> bool:
    """Make sure that a noted move never writes its new name.

    Args:
        backend: The bucket.
        nuid: The chunks of the version that is moved.
        move: The note.
        since: The revision that has the note.

    Returns:
        Whether that is certain; `False` if the other name already has the chunks.
    """
    return not (await _settled(backend, move, since=since)).holds(nuid)


async def _settled(backend: Backend, move: Move, *, since: int) -> Entry:
    """What the other name of a move holds, once no write of the move can follow.

    A server that answers with an older state than that of revision `since` could make it look
    as if the other name did not have the chunks.
    """
    try:
        subject = subject_of(backend, move.other)
    except InvalidObjectNameError:
        # Not written by this package: nothing can be stored under that name.
        return Entry()
    while True:
        other = await find(backend, subject, leader=True, since=since)
        if (
            other.revision != move.awaited
            or other.live is not None
            # Not written by this package.
            or other.error is not None
        ):
            return other
        # The rename may be about to write the new name. If the revision there changes, its
        # write is refused; it then reads again, and sees what has become of the old name.
        known = other.info or ObjectInfo(name=move.other, bucket=backend.bucket)
        gone = marker(known)
        with suppress(WrongRevision):
            await write(backend, subject, gone, replaces=other.revision, raw=other.raw)
            return other
