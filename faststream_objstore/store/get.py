"""Get: reading the chunks of one version, in order and fully verified."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import TypeVar

from .. import wire
from ..backends.base import Backend, EarlyMessage, MessageStream, StoredMessage
from ..backends.origins import localized, named
from ..exceptions import (
    BucketNotFoundError,
    DigestMismatchError,
    IncompleteObjectError,
    InvalidLinkError,
    InvalidOptionError,
    LinkIsABucketError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectTooLargeError,
    ObjStoreError,
)
from ..models import ObjectData, ObjectInfo
from . import expiry, metadata
from .content import Content, room_for
from .digest import Digest
from .put import Progress, report

__all__ = (
    "Version",
    "content",
    "locate",
    "may_have_expired",
    "newest",
    "only_chunk",
    "opened",
    "require_size",
    "until",
    "verified",
    "verified_chunk",
    "verify_digest",
)

T = TypeVar("T")

# A reader gives up after losing the race against writers this often in a row.
_ATTEMPTS = 20
# No nats-server accepts a larger message, whatever its max_payload.
_LARGEST_CHUNK = 64 * 1024 * 1024


class Version:
    """One version of one object, and where its chunks are.

    Attributes:
        backend: The bucket that holds the chunks; a link's target, not the link.
        info: The version.
        pinned: Whether the caller asked for exactly this one.
    """

    __slots__ = ("backend", "info", "pinned")

    def __init__(self, backend: Backend, info: ObjectInfo, *, pinned: bool) -> None:
        self.backend: Backend = backend
        self.info: ObjectInfo = info
        self.pinned: bool = pinned

    @property
    def subject(self) -> str:
        """The subject of its chunks.

        Raises:
            IncompleteObjectError: If the metadata names none, and there should be some.
        """
        if not self.info.nuid:
            msg = (
                f"Bucket '{self.info.bucket}', object {self.info.name!r}: its metadata has no "
                "nuid, which says where its chunks are; put it again."
            )
            raise IncompleteObjectError(msg, bucket=self.info.bucket, name=self.info.name)
        return wire.chunk_subject(self.backend.bucket, self.info.nuid)

    async def last_chunk(self) -> StoredMessage | None:
        """The last of its chunks, if there is any."""
        # A replica may not have it yet (ADR-31).
        backend, subject, info = self.backend, self.subject, self.info
        size = min(info.size, (info.options and info.options.max_chunk_size) or info.size)
        return await backend.last_message(subject, size=size) or await backend.last_message(
            subject, size=size, leader=True
        )

    async def lost(self, problem: str) -> ObjStoreError:
        """Find out why chunks do not match the metadata.

        Returns:
            `ObjectChangedError` if the object has been replaced, deleted or has expired,
            otherwise `IncompleteObjectError` with `problem`.
        """
        info, backend = self.info, self.backend
        if backend.max_age:
            # To tell objects that have just expired, or whose ttl was lowered, from damaged
            # ones.
            await backend.state()
        now = await metadata.find(
            backend, metadata.subject_of(backend, info.name), leader=True
        )
        if now.info is None or now.info.deleted or now.info.nuid != info.nuid:
            msg = (
                f"Bucket '{info.bucket}', object {info.name!r}: revision {info.revision} was "
                "replaced or deleted, or has expired; get it by name to read the newest "
                "version."
            )
            return ObjectChangedError(msg, bucket=info.bucket, name=info.name)
        remedy = "put it again"
        if backend.origins:
            remedy = (
                f"if the {named(backend.origins)} has all of it, the server had no room here: "
                f"delete '{backend.bucket}' and declare it again, which copies everything"
            )
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: {problem}; it is damaged, or, if "
            f"the bucket has a ttl, about to expire: {remedy}."
        )
        return IncompleteObjectError(msg, bucket=info.bucket, name=info.name)


async def locate(
    backend: Backend,
    target: str | ObjectInfo,
    *,
    show_deleted: bool = False,
    leader: bool = False,
) -> Version:
    """Find the version that a name or an `ObjectInfo` refers to, following a link.

    Raises:
        ObjectNotFoundError, ObjectDeletedError: If there is no such object.
        LinkIsABucketError: If it is a link to a bucket.
        InvalidLinkError: If it is a link to a link.
    """
    if isinstance(target, ObjectInfo):
        if target.bucket != backend.bucket:
            msg = (
                f"Bucket '{backend.bucket}' was asked for {target.name!r} in bucket "
                f"'{target.bucket}'; use that bucket's store."
            )
            raise InvalidOptionError(msg, bucket=backend.bucket, name=target.name)
        info, pinned = target, True
        if info.deleted and not show_deleted:
            msg = (
                f"Bucket '{backend.bucket}': revision {info.revision} of {info.name!r} is a "
                "delete marker and has no content."
            )
            raise ObjectDeletedError(msg, bucket=backend.bucket, name=info.name)
        await _require_alive(backend, info)
    else:
        info = await metadata.read(backend, target, show_deleted=show_deleted, leader=leader)
        pinned = False

    # That of a change, which the caller may hand in, names what the origin's metadata names.
    link = info.link if not backend.origins else localized(info, backend.origins).link
    if link is None or info.deleted:
        return Version(backend, info, pinned=pinned)
    if link.name is None:
        msg = (
            f"Bucket '{backend.bucket}': {info.name!r} is a link to the whole bucket "
            f"'{link.bucket}' and has no content; use that bucket's store."
        )
        raise LinkIsABucketError(msg, bucket=backend.bucket, name=info.name)
    other = backend
    if link.bucket != backend.bucket:
        try:
            other = await backend.other(link.bucket)
        except BucketNotFoundError as error:
            msg = (
                f"Bucket '{backend.bucket}': {info.name!r} is a link into the bucket "
                f"'{link.bucket}', which does not exist; delete the link or create the bucket."
            )
            raise BucketNotFoundError(msg, bucket=link.bucket, name=link.name) from error
    linked = await metadata.read(other, link.name, show_deleted=show_deleted, leader=leader)
    if linked.is_link() and not linked.deleted:
        msg = (
            f"Bucket '{backend.bucket}': {info.name!r} is a link to {link.name!r} in "
            f"'{link.bucket}', which is a link itself; ADR-20 forbids that."
        )
        raise InvalidLinkError(msg, bucket=backend.bucket, name=info.name)
    return Version(other, linked, pinned=False)


def may_have_expired(backend: Backend, info: ObjectInfo) -> bool:
    """Whether a version has a `ttl`, and may be older than that by now."""
    return (
        info.expires is not None
        and wire.microseconds(info.expires) * 1000 <= backend.latest_time()
    )


async def _require_alive(backend: Backend, info: ObjectInfo) -> None:
    """Refuse a version that has expired, whose chunks are still there for some time."""
    if not may_have_expired(backend, info):
        return
    subject = metadata.subject_of(backend, info.name)
    now = await metadata.find(backend, subject, leader=True)
    # A link has no chunks, and is not replaced by a version with the same nuid.
    if not now.holds(info.nuid):
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: revision {info.revision} has "
            "expired, or was replaced; get it by name to read the newest version."
        )
        raise ObjectChangedError(msg, bucket=info.bucket, name=info.name)


async def until(version: Version) -> expiry.Until | None:
    """The `ttl` of a copy, which expires with the original."""
    info = version.info
    if info.expires is not None and version.pinned:
        # The caller's may be by a clock that is wrong. One that was replaced may be kept.
        subject = metadata.subject_of(version.backend, info.name)
        now = await metadata.find(version.backend, subject, leader=True)
        if now.live is not None and now.holds(info.nuid):
            info = now.live
    return None if info.expires is None else expiry.Until(wire.microseconds(info.expires))


async def newest(
    backend: Backend,
    target: str | ObjectInfo,
    act: Callable[[Version], Awaitable[T]],
    *,
    show_deleted: bool = False,
) -> T:
    """Call `act` with the requested version; by name, again if that has been replaced.

    `act` must clean up after itself when it raises `ObjectChangedError`.

    Raises:
        ObjectChangedError: If a particular version was requested and is gone, or if the
            object changes faster than it can be read.
    """
    for attempt in range(_ATTEMPTS):
        version = await locate(backend, target, show_deleted=show_deleted, leader=attempt > 0)
        try:
            return await act(version)
        except ObjectChangedError:
            if version.pinned or attempt == _ATTEMPTS - 1:
                raise
    msg = "unreachable: the last attempt returns or raises"
    raise AssertionError(msg)


def require_size(info: ObjectInfo, max_size: int | None) -> None:
    """Refuse an object larger than `max_size` bytes, before its content is fetched."""
    if max_size is not None and info.size > max_size:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r} has {info.size} bytes, more than "
            f"max_size={max_size}; read it as a stream with open(), or raise the limit."
        )
        raise ObjectTooLargeError(msg, bucket=info.bucket, name=info.name)


async def content(
    version: Version, progress: Progress | None = None, early: EarlyMessage | None = None
) -> ObjectData:
    """Read the whole content, verified.

    Args:
        version: The version.
        progress: Called after each chunk.
        early: A chunk that was requested early.

    Raises:
        ObjectChangedError, IncompleteObjectError, DigestMismatchError: If it is not
            what was put.
        ObjectTooLargeError: If there is not enough memory.
    """
    info = version.info
    if info.chunks == 1:
        only = await only_chunk(version, early)
        if progress is not None:
            await report(progress, len(only), info.size)
        return ObjectData(only, info)

    if info.chunks and info.size > info.chunks * _LARGEST_CHUNK:
        raise await version.lost(f"{info.size} bytes cannot fit into {info.chunks} chunks")
    whole: Content | None = None
    placed = False
    done = 0
    async with aclosing(_arrivals(version)) as arrivals:
        async for stream, messages in arrivals:
            if whole is None:
                whole = room_for(info, messages[0].data)
                for message in messages:
                    whole.append(message.data)
                placed = whole.room is not None and stream.place(whole.room)
            elif not placed:
                for message in messages:
                    whole.append(message.data)
            if progress is not None:
                for message in messages:
                    done += message.size
                    await report(progress, done, info.size)
    if whole is None:
        verify_digest(info, hashlib.sha256().digest())
        return ObjectData(b"", info)
    data, sha256 = await whole.finish()
    verify_digest(info, sha256)
    return data


async def only_chunk(version: Version, early: EarlyMessage | None = None) -> bytes:
    """Read the content of a one-chunk object: one round trip, nothing to clean up."""
    info = version.info
    message = None
    if early is not None and early.subject == version.subject:
        message = await early.message()
    if message is None:
        message = await version.last_chunk()
    if message is None:
        raise await version.lost("its only chunk is missing")
    return verified_chunk(info, message)


def verified_chunk(info: ObjectInfo, message: StoredMessage) -> bytes:
    """The content of a one-chunk object.

    Raises:
        IncompleteObjectError, DigestMismatchError: If it is not what was put.
    """
    _verify_size(info, len(message.data))
    verify_digest(info, hashlib.sha256(message.data).digest())
    return message.data


async def verified(
    version: Version, *, window: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks in order, with an error instead of the last if they are damaged."""
    info = version.info
    if info.chunks == 1:
        yield await only_chunk(version)
        return
    digest = Digest()
    # Yielded with a delay of one chunk: a caller that has received all of the object's bytes
    # may stop reading, so the last chunk is held back until they are verified.
    held: bytes | None = None
    async with aclosing(_arrivals(version, window=window)) as arrivals:
        async for _, messages in arrivals:
            for message in messages:
                chunk = message.data
                await digest.add(chunk)
                if held is not None:
                    yield held
                held = chunk
    verify_digest(info, await digest.result())
    if held is not None:
        yield held


async def _arrivals(
    version: Version, *, window: int | None = None
) -> AsyncGenerator[tuple[MessageStream, list[StoredMessage]], None]:
    """Yield the chunks as they arrive; raise if their number or size is wrong."""
    info = version.info
    received = chunks = 0
    if info.size or info.chunks:
        async with opened(version, window=window) as stream:
            while messages := await stream.take():
                received += sum(message.size for message in messages)
                chunks += len(messages)
                if received > info.size or (info.chunks and chunks > info.chunks):
                    raise await version.lost(
                        f"there are more than its {info.size} bytes in {info.chunks} chunks"
                    )
                yield stream, messages
    if info.chunks and chunks != info.chunks:
        raise await version.lost(f"{chunks} of its {info.chunks} chunks were found")
    if received != info.size:
        raise await version.lost(f"{received} of its {info.size} bytes were found")


class opened:  # noqa: N801 - reads as a function
    """The stream of a version's chunks; entering it fails if their number is wrong."""

    def __init__(self, version: Version, *, window: int | None = None) -> None:
        self._version = version
        self._stream = version.backend.messages(
            version.subject,
            size=version.info.size,
            window=window,
            expected=version.info.chunks or None,
        )

    async def __aenter__(self) -> MessageStream:
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self._stream)
            info = self._version.info
            if info.chunks and stream.pending != info.chunks:
                raise await self._version.lost(
                    f"{stream.pending} of its {info.chunks} chunks were found"
                )
            stack.pop_all()
        return stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self._stream.__aexit__(exc_type, exc_val, exc_tb)


def _verify_size(info: ObjectInfo, received: int) -> None:
    if received != info.size:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: {received} of its {info.size} "
            "bytes were found; the stored object is damaged, put it again."
        )
        raise IncompleteObjectError(msg, bucket=info.bucket, name=info.name)


def verify_digest(info: ObjectInfo, sha256: bytes) -> None:
    """Compare with the metadata's digest; metadata without one is accepted as it is."""
    if (
        info.digest is not None
        # As nearly all clients write it, which takes less time to compare.
        and info.digest != wire.encode_digest(sha256)
        and wire.decode_digest(info.digest) != sha256
    ):
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: the content has the digest "
            f"{wire.encode_digest(sha256)}, but the metadata says {info.digest}; the stored "
            "object is damaged, put it again."
        )
        raise DigestMismatchError(msg, bucket=info.bucket, name=info.name)
