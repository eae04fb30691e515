"""Metadata messages: read, and replaced by compare-and-set, never blindly overwritten.

The stream decides races: every write names the revision that it replaces. The loser reads
again, through the stream's leader, and decides again; a writer that replaces a version removes
that version's chunks, and only after its own write is acknowledged.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Any, NamedTuple

from .. import wire
from ..backends.base import Backend, WrongRevision
from ..backends.origins import localized
from ..exceptions import (
    BadObjectMetaError,
    InvalidOptionError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjStoreError,
    StoreTimeoutError,
)
from ..messages import StoredMessage
from ..models import ObjectInfo, new_info
from . import expiry
from .lifetime import Lifetimes
from .lost import until_known

__all__ = (
    "Entry",
    "Move",
    "encoded",
    "entry_of",
    "find",
    "marker",
    "new_nuid",
    "noted",
    "read",
    "require",
    "require_fits",
    "require_room",
    "stored",
    "subject_of",
    "write",
)

# A generous estimate of the headers of a metadata message, which the server counts too.
_HEADER_BYTES = 128
# A TTL, and the reason of a marker.
_EXPIRY_HEADER_BYTES = 64
# What the nuid, the digest, the size, the chunk count and the chunk size add to a put's
# metadata; in a bucket with a ttl, also their age; in an object with a ttl, also that.
_FILLED_IN_BYTES = 160
_AGE_BYTES = 40
_EXPIRY_BYTES = 48
# The size of everything except the name, the bucket and the metadata that a caller gave.
_KEYS_BYTES = 512
_NO_TEXTS: Mapping[str, str] = {}


def new_nuid() -> str:
    """A unique name for the chunks of a new version."""
    # 22 characters, like other clients', but all of them random; nats-py's generator takes ten
    # times as long.
    return token_hex(11)


def subject_of(backend: Backend, name: str) -> str:
    """The subject of an object's metadata.

    Raises:
        InvalidObjectNameError: If the name is invalid.
    """
    return wire.metadata_subject(backend.bucket, name, limit=backend.max_subject)


class Move(NamedTuple):
    """The note of a rename, in the metadata of both names until each is replaced.

    Two names share the chunks during a rename, and after one that was interrupted. So a writer
    that replaces a version with this note checks the other name first.

    Attributes:
        other: The other name.
        awaited: Under the old name: the revision of the new name that the rename replaces.
            As long as it is current, the rename may still write the new name. `None` under
            the new name.
    """

    other: str
    awaited: int | None


class Entry(NamedTuple):
    """What the stream holds under an object's name.

    Attributes:
        revision: Sequence of its newest metadata message; 0 if there is none.
        info: The content of that message; `None` if there is none, or if it cannot be parsed.
        raw: Its JSON, unknown keys included.
        error: Why it cannot be parsed.
        expired: Whether the object has expired; then nothing else is set.
    """

    revision: int = 0
    info: ObjectInfo | None = None
    raw: dict[str, Any] | None = None
    error: BadObjectMetaError | None = None
    expired: bool = False

    @property
    def live(self) -> ObjectInfo | None:
        """The object, unless it is deleted, missing or unreadable."""
        return self.info if self.info is not None and not self.info.deleted else None

    def holds(self, nuid: str) -> bool:
        """Whether it is a live object with these chunks."""
        return bool(nuid) and self.live is not None and self.live.nuid == nuid

    @property
    def move(self) -> Move | None:
        """The note of a rename, if there is one."""
        said = None if self.raw is None else self.raw.get(wire.MOVE_NOTE)
        if not isinstance(said, dict):
            return None
        to, awaited, came_from = said.get("to"), said.get("at"), said.get("from")
        if isinstance(to, str) and type(awaited) is int:
            return Move(to, awaited)
        return Move(came_from, None) if isinstance(came_from, str) else None


def noted(raw: dict[str, Any] | None, move: Move | None) -> dict[str, Any]:
    """The JSON of a version with this note of a rename, or without a note."""
    kept = {key: value for key, value in (raw or {}).items() if key != wire.MOVE_NOTE}
    if move is None:
        return kept
    if move.awaited is None:
        return kept | {wire.MOVE_NOTE: {"from": move.other}}
    return kept | {wire.MOVE_NOTE: {"to": move.other, "at": move.awaited}}


async def find(
    backend: Backend, subject: str, *, leader: bool = False, since: int = 0
) -> Entry:
    """The current entry of a metadata subject, even if it cannot be parsed.

    Args:
        backend: The bucket.
        subject: The subject.
        leader: Whether to ask the stream's leader.
        since: A revision in the bucket that the answer must not be older than.
    """
    message = await backend.last_message(subject, leader=leader, since=max(since, 0))
    return Entry() if message is None else await entry_of(backend, message)


async def entry_of(
    backend: Backend, message: StoredMessage, lifetimes: Lifetimes | None = None
) -> Entry:
    """The entry in a metadata message.

    Args:
        backend: The bucket.
        message: The message.
        lifetimes: Those of the answer that it is a part of.
    """
    try:
        info, raw = wire.info_of(message, backend.bucket)
    except BadObjectMetaError as error:
        return Entry(revision=message.sequence, error=error)
    if (backend.max_age or info.expires is not None) and await (
        lifetimes or Lifetimes(backend)
    ).is_over(info, raw, message.time_ns):
        return Entry(revision=message.sequence, expired=True)
    if backend.origins:
        info = localized(info, backend.origins)
    return Entry(message.sequence, info, raw)


async def read(
    backend: Backend, name: str, *, show_deleted: bool = False, leader: bool = False
) -> ObjectInfo:
    """The object with a name.

    Raises:
        ObjectNotFoundError: If nothing was ever stored under it.
        ObjectDeletedError: If it was deleted and `show_deleted` is false.
        BadObjectMetaError: If its metadata cannot be parsed.
    """
    subject = subject_of(backend, name)
    entry = await find(backend, subject, leader=leader)
    if not leader and entry.live is None and entry.error is None:
        # A replica may lack it (ADR-31), so the leader is asked before saying so.
        entry = await find(backend, subject, leader=True)
    return require(backend, name, entry, show_deleted=show_deleted)


def require(
    backend: Backend, name: str, entry: Entry, *, show_deleted: bool = False
) -> ObjectInfo:
    """The entry's object; raises the error that explains why there is none; see `read`."""
    if entry.error is not None:
        raise entry.error
    if entry.expired or (entry.info is not None and entry.info.expired and not show_deleted):
        msg = (
            f"Bucket '{backend.bucket}': the object {name!r} has expired, as its ttl or the "
            "bucket's says; put it again."
        )
        # As for a deleted object, while there is a marker.
        error = ObjectNotFoundError if entry.info is None else ObjectDeletedError
        raise error(msg, bucket=backend.bucket, name=name)
    if entry.info is None:
        msg = (
            f"Bucket '{backend.bucket}' has no object {name!r}; list() shows those it has, "
            "exists() asks without an error."
        )
        raise ObjectNotFoundError(msg, bucket=backend.bucket, name=name)
    if entry.info.deleted and not show_deleted:
        msg = (
            f"Bucket '{backend.bucket}': the object {name!r} has been deleted; "
            "get_info(name, show_deleted=True) shows its marker."
        )
        raise ObjectDeletedError(msg, bucket=backend.bucket, name=name)
    return entry.info


def require_fits(backend: Backend, info: ObjectInfo) -> None:
    """Refuse a new version whose metadata is too large, before its chunks are sent.

    Raises:
        InvalidOptionError: If it does not fit into one message.
    """
    if not (info.description or info.headers):
        # A character takes at most six bytes of JSON; twelve, if a text has no UTF-8 form.
        most = 12 * len(info.name) + len(info.bucket) + _KEYS_BYTES
        for key, text in (info.metadata or _NO_TEXTS).items():
            most += 12 * (len(key) + len(text)) + 8
        if most <= backend.max_payload - _header_bytes(backend):
            return
    filled_in = _FILLED_IN_BYTES + (_AGE_BYTES if backend.max_age else 0)
    filled_in += _EXPIRY_BYTES if backend.least_ttl else 0
    _require_size(backend, info, len(wire.metadata_json(info)) + filled_in)


def _header_bytes(backend: Backend) -> int:
    return _HEADER_BYTES + (_EXPIRY_HEADER_BYTES if backend.least_ttl else 0)


def _require_size(backend: Backend, info: ObjectInfo, size: int, *, more: int = 0) -> None:
    limit = backend.max_payload - _header_bytes(backend) - more
    if size > limit:
        msg = (
            f"Bucket '{backend.bucket}', object {info.name!r}: its name, description, "
            f"headers and metadata take {size} bytes, and a message holds {limit}; store "
            "less of them."
        )
        raise InvalidOptionError(msg, bucket=backend.bucket, name=info.name)


async def write(
    backend: Backend,
    subject: str,
    info: ObjectInfo,
    *,
    replaces: int,
    raw: Mapping[str, Any] | None = None,
    again: bool = False,
) -> tuple[ObjectInfo, StoredMessage]:
    """Store a metadata message that replaces the one at revision `replaces`.

    Args:
        backend: The bucket.
        subject: The object's metadata subject.
        info: Its content.
        replaces: The revision that it replaces.
        raw: The JSON of the version that it amends.
        again: Whether the same message may have been written already.

    Returns:
        `info` with its revision and time, and the message for `Backend.announce`.

    Raises:
        WrongRevision: If the object is at another revision; the message is not stored.
        PermissionDeniedError: If it was refused, and so not stored.
        StoreTimeoutError: If it is not known whether it was stored.
    """
    info, data = encoded(backend, info, raw)
    (ttl,) = await expiry.seconds_left(backend, (raw,)) if wire.has_expiry(raw) else (0,)

    def send() -> Awaitable[StoredMessage]:
        return backend.publish_metadata(
            subject, data, expected_sequence=replaces, ttl=ttl, marker=info.deleted
        )

    async def found() -> StoredMessage:
        current = await backend.last_message(subject, leader=True)
        if current is not None and current.data == data:
            return current
        if current is not None and info.chunks and current.sequence > replaces:
            chunk_subject = wire.chunk_subject(backend.bucket, info.nuid)
            last = await backend.last_message(chunk_subject, leader=True)
            if last is not None and current.sequence < last.sequence:
                # The write comes after its chunks, so it would have replaced this.
                raise WrongRevision(subject)
        msg = (
            f"Bucket '{backend.bucket}', object {info.name!r}: the answer to a write was "
            "lost and the object has changed since; whether the write came before is not "
            "known. Read the object, and write again if needed."
        )
        raise StoreTimeoutError(msg, bucket=backend.bucket, name=info.name) from None

    def unknown(error: ObjStoreError) -> StoreTimeoutError:
        msg = (
            f"Bucket '{backend.bucket}', object {info.name!r}: the answer to a write was "
            f"lost, and the next attempt failed ({error}); read the object, and write again "
            "if needed."
        )
        return StoreTimeoutError(msg, bucket=backend.bucket, name=info.name)

    message = await until_known(send, found, unknown, again=again)
    return stored(info, message, raw), message


def encoded(
    backend: Backend, info: ObjectInfo, raw: Mapping[str, Any] | None = None, *, more: int = 0
) -> tuple[ObjectInfo, bytes]:
    """The version as it is written, shortened if necessary, and its JSON.

    Args:
        backend: The bucket.
        info: Its content.
        raw: The JSON of the version that it amends.
        more: Bytes of headers besides the usual ones.

    Raises:
        InvalidOptionError: If it does not fit into one message.
    """
    limit = backend.max_payload - _header_bytes(backend) - more
    if info.deleted:
        raw = wire.without_expiry(wire.without_content_age(raw))
    data = wire.metadata_json(info, raw)
    if wire.has_replaced(raw) and len(data) > limit:
        # Rather than refusing the change, leave the removal of those versions to sweep.
        data = wire.metadata_json(info, wire.with_replaced(raw, ()))
    if info.deleted and len(data) > limit:
        # Other clients may fill a message to the last byte, and a marker is longer.
        info = replace(info, description=None, headers=None, metadata=None)
        data = wire.metadata_json(info)
    if len(data) > limit:
        _require_size(backend, info, len(data), more=more)
    return info, data


def require_room(
    backend: Backend,
    to: str,
    *written: tuple[ObjectInfo, Mapping[str, Any] | None],
    more: int = 0,
) -> None:
    """Refuse a rename whose messages are too large, before any of them is written.

    Args:
        backend: The bucket.
        to: The new name.
        written: The versions that it writes, each with the JSON that it amends: the object
            under one of its names, with the note of the rename.
        more: Bytes of headers besides the usual ones.

    Raises:
        InvalidOptionError: If one of them does not fit into one message.
    """
    for info, raw in written:
        try:
            encoded(backend, info, raw, more=more)
        except InvalidOptionError as error:
            msg = (
                f"Bucket '{backend.bucket}': the rename to {to!r} notes the other name in the "
                "object's metadata, which has no room for that. Nothing has changed; store "
                f"less of it with update_meta(), then rename the object. ({error})"
            )
            raise InvalidOptionError(msg, bucket=backend.bucket, name=to) from error


def stored(
    info: ObjectInfo, message: StoredMessage, raw: Mapping[str, Any] | None = None
) -> ObjectInfo:
    """`info` with the revision and the times of its metadata message."""
    # `dataclasses.replace` takes six times as long, and every put would wait for it.
    return new_info(
        info.name,
        info.bucket,
        info.nuid,
        info.size,
        info.chunks,
        info.digest,
        info.deleted,
        info.description,
        info.headers,
        info.metadata,
        info.options,
        message.sequence,
        message.time,
        info.expired,
        None if raw is None or info.deleted else wire.expires_at(raw, message.time_ns // 1000),
    )


def marker(info: ObjectInfo, nuid: str | None = None) -> ObjectInfo:
    """The delete marker that replaces a version."""
    return replace(
        info,
        # Go's client refuses to delete an object without a nuid.
        nuid=nuid or info.nuid or new_nuid(),
        size=0,
        chunks=0,
        digest=None,
        deleted=True,
        expires=None,
        expired=False,
    )
