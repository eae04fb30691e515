"""Metadata messages that are written together: either all of them, or none."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ..backends.base import BATCH_LIMIT, Backend, MetadataWrite, WrongRevision
from ..exceptions import (
    InvalidOptionError,
    ObjStoreError,
    StoreTimeoutError,
)
from ..messages import StoredMessage
from ..models import ObjectInfo
from . import expiry
from .lost import until_known
from .metadata import encoded, stored
from .together import each

__all__ = ("BATCH_HEADER_BYTES", "Write", "require_count", "write_all")

BATCH_HEADER_BYTES = 96
"""The headers of a batch: its id, the position in it, the commit."""


class Write(NamedTuple):
    """One message of a batch.

    Attributes:
        subject: The object's metadata subject.
        info: Its content.
        replaces: The revision that it replaces.
        raw: The JSON of the version that it amends.
        unique: Whether no other writer can have written the same.
    """

    subject: str
    info: ObjectInfo
    replaces: int
    raw: dict[str, Any] | None
    unique: bool


def require_count(backend: Backend, count: int) -> None:
    """Refuse more messages than a server accepts in one batch.

    Raises:
        InvalidOptionError: If there are more.
    """
    if count > BATCH_LIMIT:
        msg = (
            f"Bucket '{backend.bucket}': a transaction changes {BATCH_LIMIT} names at most "
            "(a rename changes two); use several."
        )
        raise InvalidOptionError(msg, bucket=backend.bucket)


async def write_all(
    backend: Backend, writes: Sequence[Write]
) -> list[tuple[ObjectInfo, StoredMessage]]:
    """Store metadata messages next to each other, either all or none.

    Returns:
        The results of `metadata.write`, one for each message.

    Raises:
        WrongRevision: If one of the objects is at another revision; nothing is stored.
        StoreTimeoutError, NotConnectedError: If it is not known whether everything or nothing
            is stored; but after a `PermissionDeniedError` nothing is.
    """
    require_count(backend, len(writes))
    infos: list[ObjectInfo] = []
    batch: list[MetadataWrite] = []
    ttls = await expiry.seconds_left(backend, [one.raw for one in writes])
    for one, ttl in zip(writes, ttls, strict=True):
        info, data = encoded(backend, one.info, one.raw, more=BATCH_HEADER_BYTES)
        infos.append(info)
        batch.append(MetadataWrite(one.subject, data, one.replaces, ttl, info.deleted))
    messages = await until_known(
        lambda: backend.publish_batch(batch),
        lambda: _found(backend, writes, batch),
        partial(_unknown, backend),
    )
    return [
        (stored(info, message, one.raw), message)
        for one, info, message in zip(writes, infos, messages, strict=True)
    ]


async def _found(
    backend: Backend, writes: Sequence[Write], batch: Sequence[MetadataWrite]
) -> list[StoredMessage]:
    """Find the messages of a batch whose answer was lost and that is refused when resent.

    Either it is stored, or it never will be: an object that it replaces has another revision.

    Raises:
        WrongRevision: If it is not stored.
        StoreTimeoutError: If each of its objects has changed since.
    """
    current = await each(batch, lambda one: backend.last_message(one.subject, leader=True))
    # They are adjacent in the stream, so finding one of them locates all of them.
    first = 0
    alike = True
    for number, (write, sent, now) in enumerate(zip(writes, batch, current, strict=True)):
        sequence = 0 if now is None else now.sequence
        if sequence == sent.expected_sequence:
            raise WrongRevision(sent.subject)
        same = now is not None and now.data == sent.data
        alike = alike and same and first in {0, sequence - number}
        if same and (write.unique or not first):
            first = sequence - number
        if same and write.unique:
            break
    else:
        if not alike:
            msg = (
                f"Bucket '{backend.bucket}': the answer to a transaction was lost and its "
                "objects have changed since; whether it came before is not known. Read "
                "them, and begin again if needed."
            )
            raise StoreTimeoutError(msg, bucket=backend.bucket) from None
    time_ns = max(one.time_ns for one in current if one is not None)
    return [
        StoredMessage(one.subject, one.data, sequence, time_ns, size=len(one.data))
        for sequence, one in enumerate(batch, first)
    ]


def _unknown(backend: Backend, error: ObjStoreError) -> StoreTimeoutError:
    """This attempt was refused, but an earlier one without an answer may be stored."""
    msg = (
        f"Bucket '{backend.bucket}': the answer to a transaction was lost, and the next "
        f"attempt failed ({error}); all of it may be stored, or nothing. Read the objects, "
        "and begin again if needed."
    )
    return StoreTimeoutError(msg, bucket=backend.bucket)
