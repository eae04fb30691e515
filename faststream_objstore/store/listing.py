"""Reading all objects of a bucket, with a warning for metadata that cannot be parsed."""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable

from .. import wire
from ..backends.base import Backend, Deliver, StoredMessage
from ..exceptions import BadObjectMetaError
from ..models import ObjectInfo
from .lifetime import Lifetimes

__all__ = ("entries", "parsed", "present")

logger: logging.Logger = logging.getLogger("faststream_objstore")

# Each message is reported once, so that a list in a loop does not fill the log, and each
# bucket at most this often: the first hundred bad messages say as much as thousands.
_COMPLAINTS = 100
_BUCKETS = 1024
_complained: dict[str, set[tuple[str, int]]] = {}


def parsed(message: StoredMessage, bucket: str) -> ObjectInfo | None:
    """Parse a metadata message; `None`, and one warning, if it cannot be parsed."""
    try:
        return wire.info_of(message, bucket)[0]
    except BadObjectMetaError as error:
        _complain(error, message, bucket)
        return None


async def present(
    backend: Backend, messages: Iterable[StoredMessage]
) -> list[tuple[StoredMessage, ObjectInfo]]:
    """Parse metadata messages, leaving out those that are malformed or have expired."""
    bucket = backend.bucket
    if not backend.max_age:
        return [(one, info) for one in messages if (info := parsed(one, bucket)) is not None]
    lifetimes = Lifetimes(backend)
    found = []
    for message in messages:
        try:
            info, raw = wire.info_of(message, bucket)
        except BadObjectMetaError as error:
            _complain(error, message, bucket)
        else:
            if not await lifetimes.is_over(info, raw, message.time_ns):
                found.append((message, info))
    return found


def _complain(error: BadObjectMetaError, message: StoredMessage, bucket: str) -> None:
    if bucket not in _complained and len(_complained) >= _BUCKETS:
        _complained.clear()
    known = _complained.setdefault(bucket, set())
    key = (message.subject, message.sequence)
    if key in known or len(known) > _COMPLAINTS:
        return
    known.add(key)
    if len(known) <= _COMPLAINTS:
        logger.warning("%s It is skipped.", error)
    else:
        logger.warning(
            "Bucket '%s': more than %s metadata messages cannot be parsed; further ones are "
            "not logged.",
            bucket,
            _COMPLAINTS,
        )


async def entries(
    backend: Backend,
    *,
    matches: Callable[[str], bool] | None = None,
    include_deleted: bool = False,
) -> AsyncGenerator[list[ObjectInfo], None]:
    """Yield the newest version of each object in batches, in the order of the last change.

    An object that changes meanwhile is yielded again, in its new version. An object that
    exists throughout is never missed.
    """
    async with backend.messages(
        wire.metadata_wildcard(backend.bucket), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        while messages := await stream.take():
            infos = [info for _, info in await present(backend, messages)]
            if not include_deleted:
                infos = [info for info in infos if not info.deleted]
            if matches is not None:
                infos = [info for info in infos if matches(info.name)]
            yield infos
