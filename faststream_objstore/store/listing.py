"""All objects of a bucket: listed, counted, swept."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta

from .. import wire
from ..backends.base import Backend, Deliver, StoredMessage
from ..exceptions import BadObjectMetaError, InvalidOptionError
from ..models import ObjectInfo

__all__ = ("entries", "parsed", "sweep")

logger: logging.Logger = logging.getLogger("faststream_objstore")

# What has been complained of: a list in a loop must not fill the log with one bad
# message. Bounded, because buckets and revisions are not.
_complained: dict[tuple[str, int], None] = {}
_COMPLAINTS = 1024


def parsed(message: StoredMessage, bucket: str) -> ObjectInfo | None:
    """What a metadata message says; `None`, and one warning, if it does not parse."""
    try:
        return wire.info_of(message, bucket)[0]
    except BadObjectMetaError as error:
        key = (message.subject, message.sequence)
        if key not in _complained:
            if len(_complained) >= _COMPLAINTS:
                _complained.clear()
            _complained[key] = None
            logger.warning("%s It is passed over.", error)
        return None


async def entries(
    backend: Backend,
    *,
    matches: Callable[[str], bool] | None = None,
    include_deleted: bool = False,
) -> AsyncGenerator[list[ObjectInfo], None]:
    """The newest version of each object, in the order of their last change, many at a time.

    An object that changes during the walk comes again, newer. None that is live all
    the while is missed.
    """
    async with backend.messages(
        wire.metadata_wildcard(backend.bucket), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        bucket = backend.bucket
        while messages := await stream.take():
            infos = [info for one in messages if (info := parsed(one, bucket)) is not None]
            if not include_deleted:
                infos = [info for info in infos if not info.deleted]
            if matches is not None:
                infos = [info for info in infos if matches(info.name)]
            yield infos


async def sweep(backend: Backend, older_than: timedelta) -> int:
    """Remove chunks that no metadata refers to; how many bytes that freed.

    Chunks whose newest is younger than `older_than` may belong to a put that is under
    way, and stay.

    Raises:
        BadObjectMetaError: If metadata does not parse; nothing is removed then.
    """
    if not isinstance(older_than, timedelta):
        msg = (
            f"Bucket '{backend.bucket}': older_than={older_than!r} cannot work; give a "
            "timedelta."
        )
        raise InvalidOptionError(msg, bucket=backend.bucket)
    stored = await backend.subjects(wire.all_chunks_subject(backend.bucket))
    # Read after the chunks, so that whatever is committed meanwhile is seen. A marker
    # or a link names a nuid too, but has no chunks.
    wanted: set[str] = set()
    async with backend.messages(
        wire.all_metadata_subject(backend.bucket), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        async for message in stream:
            if not message.data:
                # The server's own marker of an object that has expired.
                continue
            info, _ = wire.info_of(message, backend.bucket)
            if info.nuid and not info.deleted and not info.is_link():
                wanted.add(wire.chunk_subject(backend.bucket, info.nuid))

    oldest_kept_ns = time.time_ns() - int(older_than.total_seconds() * 1_000_000_000)
    freed = 0
    for subject in stored.keys() - wanted:
        size, newest_ns = 0, 0
        async with backend.messages(subject, headers_only=True) as stream:
            async for message in stream:
                size += message.size
                newest_ns = max(newest_ns, message.time_ns)
        if size and newest_ns <= oldest_kept_ns and await backend.purge(subject):
            freed += size
    return freed
