"""Which of two results has the newer source, and what a deleted source leaves behind."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import BadObjectMetaError
from faststream_objstore.models import ObjectInfo, ObjectSource
from faststream_objstore.store.metadata import Entry
from faststream_objstore.store.modes import Decision

__all__ = ("Change", "Newest", "StaleResultError", "marker_texts", "source_of")

_logger = logging.getLogger("faststream_objstore")

# Why there is no result, recorded in the metadata of a delete marker. A marker without it was
# left by another client, so the result is missing.
OUTCOME = "objstore.outcome"
DELETED = "deleted"
NOTHING = "nothing"


class StaleResultError(Exception):
    """A result that must not be stored: a newer one exists, or its source is gone."""


class Change(NamedTuple):
    """The change of a source that led to a result.

    Attributes:
        info: The version of the source.
        backend: The source's bucket.
        source: The lineage of a result made from it.
        replayed: Whether it belongs to the state that `replay=True` starts with.
    """

    info: ObjectInfo
    backend: Backend
    source: ObjectSource
    replayed: bool = False


async def source_of(info: ObjectInfo, backend: Backend, rebuild: str | None) -> ObjectSource:
    """The lineage of a result made from a version.

    Args:
        info: The version.
        backend: Its bucket. Its creation time is requested each time, because revisions start
            again in a bucket that is recreated.
        rebuild: The publisher's `rebuild` option.
    """
    state = await backend.state()
    return ObjectSource(
        bucket=info.bucket,
        name=info.name,
        revision=info.revision,
        digest=info.digest,
        created=state.created,
        rebuild=rebuild,
    )


def is_newer(known: ObjectSource, ours: ObjectSource) -> bool:
    """Whether the existing result comes from a newer version than ours.

    `ours` belongs to the bucket that exists now, so another incarnation of it is older.
    Revisions of different buckets cannot be compared.
    """
    return (known.bucket, known.created) == (
        ours.bucket,
        ours.created,
    ) and known.revision > ours.revision


def is_done(info: ObjectInfo, ours: ObjectSource) -> bool:
    """Whether this very version's result exists, or the record that it has none."""
    nothing = (info.metadata or {}).get(OUTCOME) == NOTHING
    return info.source == ours and (not info.deleted or nothing)


class Newest(Decision):
    """Lets a result replace the existing one, unless that has a newer source.

    Args:
        change: The change that led to the result.
        follow: Whether the source must still exist.
    """

    def __init__(self, change: Change, *, follow: bool) -> None:
        self._change = change
        self._follow = follow and not change.info.deleted

    async def before_sending(self, now: Entry) -> None:
        """Refuse an older result.

        Raises:
            StaleResultError: If the existing result has a newer source.
        """
        ours = self._change.source
        known = now.info.source if now.info else None
        if known is None or not is_newer(known, ours):
            return
        if now.live is None and known.name != ours.name:
            # Left by another source, now gone, under a name that several sources share.
            return
        msg = (
            f"it is of revision {ours.revision} of {ours.name!r}, and there is one of "
            f"revision {known.revision}"
        )
        raise StaleResultError(msg)

    async def before_writing(self, now: Entry) -> None:
        """Refuse an older result, and one whose source has been deleted in the meantime.

        Raises:
            StaleResultError: In both cases.
        """
        await self.before_sending(now)
        if self._follow and not await self._source_is_there():
            source = self._change.source
            msg = (
                f"its source {source.name!r} (revision {source.revision}) in "
                f"'{source.bucket}' has been deleted"
            )
            raise StaleResultError(msg)

    async def _source_is_there(self) -> bool:
        info, backend = self._change.info, self._change.backend
        subject = wire.metadata_subject(info.bucket, info.name)
        newest = await backend.last_message(subject, leader=True)
        # A lower sequence belongs to a bucket that was recreated.
        if newest is None or newest.sequence < info.revision:
            return False
        try:
            now, _ = wire.info_of(newest, info.bucket)
        except BadObjectMetaError:
            # Whatever the error is, it does not mean that the source was deleted.
            return True
        return not now.deleted


def marker_texts(now: Entry, change: Change) -> Mapping[str, str] | None:
    """The metadata of a marker that records a missing result; `None` changes nothing.

    Without a marker, a late result would find the name free.

    Args:
        now: What exists now.
        change: The deletion of the source, or the version that has no result.
    """
    ours = change.source
    deletion = change.info.deleted
    if now.error is not None:
        _logger.warning("%s It is left alone.", now.error)
        return None
    info = now.info
    known = info.source if info else None
    if info is not None and known is not None and known.bucket == ours.bucket:
        same = known.name == ours.name
        if is_newer(known, ours) and (same or not info.deleted):
            return None
        if not info.deleted and not same:
            # The result of another source, under a name that several sources share.
            return None
    elif info is not None and not info.deleted:
        _logger.warning(
            "Bucket '%s': %r is left alone, though its source %r in '%s' %s: somebody else "
            "has put it.",
            info.bucket,
            info.name,
            ours.name,
            ours.bucket,
            "was deleted" if deletion else "has no result any more",
        )
        return None
    if change.replayed and deletion and (info is None or info.deleted):
        # That was long ago, so no result of it can still be on its way.
        return None
    outcome = DELETED if deletion else NOTHING
    if info is not None and info.deleted and known == ours and _outcome(info) == outcome:
        return None
    return {**ours.as_metadata(), OUTCOME: outcome}


def _outcome(info: ObjectInfo) -> str | None:
    return (info.metadata or {}).get(OUTCOME)
