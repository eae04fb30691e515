"""Metadata messages as objects, with a warning for those that cannot be parsed."""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from .. import wire
from ..backends.base import Backend, Deliver, StoredMessage
from ..backends.origins import localized
from ..exceptions import BadObjectMetaError
from ..logs import log
from ..models import ObjectInfo
from .lifetime import Lifetimes

__all__ = ("entries", "everything", "parsed", "present")

# Each message is reported once, so that a list in a loop does not fill the log, and each
# bucket at most this often: the first hundred bad messages say as much as thousands.
_COMPLAINTS = 100
_BUCKETS = 1024
_complained: dict[str, set[tuple[str, int]]] = {}


def parsed(message: StoredMessage, backend: Backend) -> ObjectInfo | None:
    """Parse a metadata message; `None`, and one warning, if it cannot be parsed."""
    try:
        info, _ = wire.info_of(message, backend.bucket)
        return localized(info, backend.origins) if backend.origins else info
    except BadObjectMetaError as error:
        _complain(error, message, backend)
        return None


async def present(backend: Backend, messages: Iterable[StoredMessage]) -> list[ObjectInfo]:
    """Parse metadata messages, leaving out those that are malformed or have expired."""
    bucket, origins = backend.bucket, backend.origins
    lifetimes = Lifetimes(backend)
    expires = bool(backend.max_age)
    found = []
    for message in messages:
        try:
            info, raw = wire.info_of(message, bucket)
        except BadObjectMetaError as error:
            _complain(error, message, backend)
        else:
            if (expires or info.expires is not None) and await lifetimes.is_over(
                info, raw, message.time_ns
            ):
                continue
            found.append(localized(info, origins) if origins else info)
    return found


def _complain(error: BadObjectMetaError, message: StoredMessage, backend: Backend) -> None:
    bucket = backend.bucket
    if bucket not in _complained and len(_complained) >= _BUCKETS:
        _complained.clear()
    known = _complained.setdefault(bucket, set())
    key = (message.subject, message.sequence)
    if key in known or len(known) > _COMPLAINTS:
        return
    known.add(key)
    if len(known) <= _COMPLAINTS:
        log(backend, logging.WARNING, f"{error} It is skipped.")
    else:
        text = (
            f"Bucket '{bucket}': more than {_COMPLAINTS} metadata messages cannot be parsed; "
            "further ones are not logged."
        )
        log(backend, logging.WARNING, text)


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
            infos = await present(backend, messages)
            if not include_deleted:
                infos = [info for info in infos if not info.deleted]
            if matches is not None:
                infos = [info for info in infos if matches(info.name)]
            yield infos


async def everything(
    backend: Backend, matches: Callable[[str], bool] | None
) -> dict[str, ObjectInfo]:
    """The newest version under each name, delete markers too."""
    found: dict[str, ObjectInfo] = {}
    async with aclosing(entries(backend, matches=matches, include_deleted=True)) as batches:
        async for batch in batches:
            for info in batch:
                found[info.name] = info
    return found
