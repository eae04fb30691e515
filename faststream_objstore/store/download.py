"""Get: the chunks of one version, in order, verified to the last byte."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import TypeVar

from typing_extensions import Self

from .. import wire
from ..backends.base import Backend, MessageStream
from ..errors import (
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
from ..models import ObjectInfo
from . import metadata
from .digest import Digest
from .upload import Progress, report

__all__ = (
    "ObjectReader",
    "Version",
    "content",
    "locate",
    "newest",
    "read_range",
    "require_size",
    "verified",
)

T = TypeVar("T")

# A reader that loses the race against writers this often in a row gives up.
_ATTEMPTS = 20
# A few chunks too many cost less than one more look for the first.
_SKIPPED = 2


class Version:
    """One version of one object, and where its chunks are.

    Attributes:
        backend: The bucket that holds the chunks; a link's target, not the link.
        info: The version.
        pinned: Whether the caller asked for exactly this one.
    """

    __slots__ = ("backend", "info", "pinned")

    def __init__(self, backend: Backend, info: ObjectInfo, *, pinned: bool) -> None:
        self.backend = backend
        self.info = info
        self.pinned = pinned

    @property
    def subject(self) -> str:
        """The subject of its chunks."""
        return wire.chunk_subject(self.backend.bucket, self.info.nuid)

    async def lost(self, problem: str) -> ObjStoreError:
        """Why chunks are not as the metadata says.

        Returns:
            `ObjectChangedError` if the object has moved on, else
            `IncompleteObjectError` with `problem`.
        """
        info, backend = self.info, self.backend
        now = await metadata.find(
            backend, metadata.subject_of(backend, info.name), leader=True
        )
        if now.info is None or now.info.deleted or now.info.nuid != info.nuid:
            msg = (
                f"Bucket '{info.bucket}', object {info.name!r}: revision {info.revision} was "
                "replaced or deleted; get it by name to read the newest version."
            )
            return ObjectChangedError(msg, bucket=info.bucket, name=info.name)
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: {problem}; the stored object is "
            "damaged, put it again."
        )
        return IncompleteObjectError(msg, bucket=info.bucket, name=info.name)


async def locate(
    backend: Backend,
    target: str | ObjectInfo,
    *,
    show_deleted: bool = False,
    leader: bool = False,
) -> Version:
    """The version that a name or an `ObjectInfo` means, through a link if it is one.

    Raises:
        ObjectNotFoundError, ObjectDeletedError: If there is no such object.
        LinkIsABucketError: If it is a link to a bucket.
        InvalidLinkError: If it is a link to a link.
    """
    if isinstance(target, ObjectInfo):
        if target.bucket != backend.bucket:
            msg = (
                f"Bucket '{backend.bucket}' was asked for {target.name!r} of bucket "
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
    else:
        info = await metadata.read(backend, target, show_deleted=show_deleted, leader=leader)
        pinned = False

    link = info.link
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


async def newest(
    backend: Backend,
    target: str | ObjectInfo,
    act: Callable[[Version], Awaitable[T]],
    *,
    show_deleted: bool = False,
) -> T:
    """Do `act` with the version meant; by name, again if that was replaced meanwhile.

    `act` must leave nothing behind when it raises `ObjectChangedError`.

    Raises:
        ObjectChangedError: If exactly one version was asked for and it is gone, or an
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
    """Refuse an object of more than `max_size` bytes, before its content is fetched."""
    if max_size is not None and info.size > max_size:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r} has {info.size} bytes, more than "
            f"max_size={max_size}; read it as a stream with open(), or raise the limit."
        )
        raise ObjectTooLargeError(msg, bucket=info.bucket, name=info.name)


async def content(version: Version, progress: Progress | None = None) -> bytes | bytearray:
    """The whole content, verified.

    Raises:
        ObjectChangedError, IncompleteObjectError, DigestMismatchError: If it is not
            what was put.
    """
    info = version.info
    if info.chunks == 1:
        only = await _only_chunk(version)
        await report(progress, len(only), info.size)
        return only

    try:
        whole = bytearray(info.size)
    except (MemoryError, OverflowError) as error:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r} has {info.size} bytes, more than "
            "there is memory for; read it as a stream with open()."
        )
        raise ObjectTooLargeError(msg, bucket=info.bucket, name=info.name) from error
    done = 0
    async with aclosing(verified(version)) as chunks:
        async for chunk in chunks:
            whole[done : done + len(chunk)] = chunk
            done += len(chunk)
            await report(progress, done, info.size)
    return whole


async def _only_chunk(version: Version) -> bytes:
    """The content of a one-chunk object: one round trip, nothing to clean up."""
    info = version.info
    message = await version.backend.last_message(version.subject)
    if message is None:
        # A replica may not have it yet (ADR-31).
        message = await version.backend.last_message(version.subject, leader=True)
    if message is None:
        raise await version.lost("its only chunk is missing")
    _verify_size(info, len(message.data))
    verify_digest(info, hashlib.sha256(message.data).digest())
    return message.data


async def verified(version: Version) -> AsyncGenerator[bytes, None]:
    """The chunks in order; an error instead of the last if they are not what was put."""
    info = version.info
    if info.chunks == 1:
        yield await _only_chunk(version)
        return
    digest = Digest()
    received = chunks = 0
    # Handed out one behind: whoever has as many bytes as the object has read on to its
    # end, and must not have them before they are verified.
    held: bytes | None = None
    if info.size or info.chunks:
        async with _opened(version) as stream:
            async for message in stream:
                chunk = message.data
                received += len(chunk)
                chunks += 1
                if received > info.size or (info.chunks and chunks > info.chunks):
                    raise await version.lost(
                        f"there is more than its {info.size} bytes in {info.chunks} chunks"
                    )
                await digest.add(chunk)
                if held is not None:
                    yield held
                held = chunk
        if info.chunks and chunks != info.chunks:
            raise await version.lost(f"{chunks} of its {info.chunks} chunks are there")
        if received != info.size:
            raise await version.lost(f"{received} of its {info.size} bytes are there")
    verify_digest(info, await digest.result())
    if held is not None:
        yield held


class _opened:  # noqa: N801 - reads as a function
    """The stream of a version's chunks, refused at once if their number is wrong."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._stream = version.backend.messages(version.subject)

    async def __aenter__(self) -> MessageStream:
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self._stream)
            info = self._version.info
            if info.chunks and stream.pending != info.chunks:
                raise await self._version.lost(
                    f"{stream.pending} of its {info.chunks} chunks are there"
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
            "bytes are there; the stored object is damaged, put it again."
        )
        raise IncompleteObjectError(msg, bucket=info.bucket, name=info.name)


def verify_digest(info: ObjectInfo, sha256: bytes) -> None:
    """Compare with the metadata's digest; metadata without one is taken as it is."""
    if info.digest is not None and wire.decode_digest(info.digest) != sha256:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r}: the content has the digest "
            f"{wire.encode_digest(sha256)} and the metadata says {info.digest}; the stored "
            "object is damaged, put it again."
        )
        raise DigestMismatchError(msg, bucket=info.bucket, name=info.name)


async def read_range(version: Version, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` (exclusive), from the chunks that hold them and one more.

    The digest is of the whole, so it cannot be verified here; number and size of the
    chunks are.
    """
    info, backend = version.info, version.backend
    stop = min(stop, info.size)
    if start >= stop:
        return b""
    if info.chunks == 1:
        return (await _only_chunk(version))[start:stop]
    chunk_size = info.options.max_chunk_size if info.options else None
    if not info.chunks or not chunk_size:
        return await _scan(version, start, stop)

    # Chunks carry no number: where one is missing, the next would be taken for it.
    stored = (await backend.subjects(version.subject)).get(version.subject, 0)
    if stored != info.chunks:
        raise await version.lost(f"{stored} of its {info.chunks} chunks are there")
    last = await backend.last_message(version.subject)
    if last is None:
        last = await backend.last_message(version.subject, leader=True)
    if last is None:
        raise await version.lost("its chunks are missing")
    # Some clients store short chunks in the middle. If the last one has just the bytes
    # that full chunks before it leave, then they are full.
    if len(last.data) != info.size - (info.chunks - 1) * chunk_size:
        return await _scan(version, start, stop)

    first_chunk, last_chunk = start // chunk_size, (stop - 1) // chunk_size
    parts: list[bytes] = []
    wanted = last_chunk - first_chunk + 1
    from_stream = wanted - (last_chunk == info.chunks - 1)
    if from_stream:
        async with AsyncExitStack() as stack:
            stream, skip = await _seek(version, stack, first_chunk, last.sequence, from_stream)
            async for message in stream:
                if skip:
                    skip -= 1
                    continue
                if len(message.data) != chunk_size:
                    raise await version.lost("a chunk has another size than it should")
                parts.append(message.data)
                if len(parts) == from_stream:
                    break
        if len(parts) != from_stream:
            raise await version.lost("chunks are missing")
    if from_stream != wanted:
        parts.append(last.data)
    whole = parts[0] if len(parts) == 1 else b"".join(parts)
    offset = first_chunk * chunk_size
    return whole[start - offset : stop - offset]


async def _seek(
    version: Version, stack: AsyncExitStack, index: int, last_sequence: int, count: int
) -> tuple[MessageStream, int]:
    """A stream that begins at chunk `index` or a little before, and how many before.

    Chunks of one put are often neighbours in the stream, but other writers may come
    between. How many chunks there are from a sequence on tells where it is, without a
    chunk being transferred.
    """
    chunks = version.info.chunks
    # `low` is at the chunk or before it, `high` behind it; counted back from the last
    # chunk as if all were neighbours, the first guess is never before it.
    low, high = 0, last_sequence + 1
    guess, reach = last_sequence - (chunks - 1 - index), 1
    while True:
        async with AsyncExitStack() as attempt:
            stream = await attempt.enter_async_context(
                version.backend.messages(
                    version.subject, start_sequence=guess, limit=count + _SKIPPED
                )
            )
            found = chunks - stream.pending
            if found < 0 or (found > index and guess <= 1):
                raise await version.lost(f"{stream.pending} of its {chunks} chunks are there")
            if 0 <= index - found <= _SKIPPED:
                stack.push_async_exit(attempt.pop_all())
                return stream, index - found
        if found > index:
            high = guess
        else:
            low = guess
        if high - low <= 1:
            # Only where chunks are being removed meanwhile.
            raise await version.lost("its chunks are going")
        if low:
            guess = (low + high) // 2
        else:
            guess = max(1, guess - max(found - index, reach))
            reach *= 4


async def _scan(version: Version, start: int, stop: int) -> bytes:
    """The range by reading from the front, where chunk sizes are not known."""
    parts: list[bytes] = []
    position = 0
    async with _opened(version) as stream:
        async for message in stream:
            parts.append(message.data[max(0, start - position) : max(0, stop - position)])
            position += len(message.data)
            if position >= stop:
                return b"".join(parts)
    raise await version.lost(f"{position} of its {version.info.size} bytes are there")


class ObjectReader:
    """An object's content as a stream, in constant memory.

    Made by `ObjectStore.open`, used in `async with`; leave it early whenever you like.
    The content is verified as a whole before its last chunk is handed out: a caller that
    has as many bytes as the object has read what was put, or got an error.
    """

    def __init__(
        self,
        source: Callable[[], Awaitable[Backend]],
        target: str | ObjectInfo,
        *,
        show_deleted: bool = False,
        max_size: int | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._show_deleted = show_deleted
        self._max_size = max_size
        self._info: ObjectInfo | None = None
        self._chunks: AsyncGenerator[bytes, None] | None = None
        self._rest = memoryview(b"")
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def info(self) -> ObjectInfo:
        """The version that is being read; of a link, its target."""
        if self._info is None:
            msg = "the reader is not open: use it as `async with store.open(name) as reader`."
            raise InvalidOptionError(msg)
        return self._info

    async def __aenter__(self) -> Self:
        await newest(
            await self._source(), self._target, self._begin, show_deleted=self._show_deleted
        )
        return self

    async def _begin(self, version: Version) -> None:
        require_size(version.info, self._max_size)
        chunks = verified(version)
        try:
            # The first chunk is fetched here, so that a version that is replaced just
            # now is noticed while there still is another to take.
            self._rest = memoryview(await chunks.__anext__())
        except StopAsyncIteration:
            self._rest = memoryview(b"")
        except BaseException:
            await chunks.aclose()
            raise
        self._info, self._chunks = version.info, chunks

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading; nothing is left on the server."""
        self._closed = True
        self._rest = memoryview(b"")
        if self._chunks is not None:
            chunks, self._chunks = self._chunks, None
            await chunks.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, of any size but none.

        Raises:
            ObjectChangedError: If the version was replaced or deleted meanwhile.
            IncompleteObjectError, DigestMismatchError: If it is damaged.
            StoreTimeoutError: If the next chunk does not come within the timeout.
        """
        info = self.info
        if self._closed:
            msg = f"Bucket '{info.bucket}', object {info.name!r}: the reader is closed."
            raise InvalidOptionError(msg, bucket=info.bucket, name=info.name)
        while not self._rest:
            if self._chunks is None:
                raise StopAsyncIteration
            if self._failure is not None:
                # The generator has ended; to report that would pass for the object's end.
                msg = (
                    f"Bucket '{info.bucket}', object {info.name!r}: an earlier read failed "
                    f"or was cancelled ({self._failure!r}); open the object again."
                )
                raise IncompleteObjectError(msg, bucket=info.bucket, name=info.name)
            try:
                self._rest = memoryview(await self._chunks.__anext__())
            except StopAsyncIteration:
                raise
            except BaseException as error:
                self._failure = error
                raise
        piece, self._rest = self._rest, memoryview(b"")
        whole = piece.obj
        return whole if type(whole) is bytes and len(whole) == len(piece) else bytes(piece)

    async def read(self, size: int = -1, /) -> bytes:
        """Read bytes, as a binary file does.

        Args:
            size: At most this many, fewer only at the end; negative for all that is left.

        Returns:
            The bytes; none at the end. Raises as iteration does.
        """
        parts: list[memoryview] = []
        missing = size
        while missing:
            if not self._rest:
                try:
                    self._rest = memoryview(await self.__anext__())
                except StopAsyncIteration:
                    break
            part = self._rest if missing < 0 else self._rest[:missing]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            if missing > 0:
                missing -= len(part)
        return b"".join(parts)
