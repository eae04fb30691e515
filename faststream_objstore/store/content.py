"""The content of a large object, collected in memory and hashed while it arrives."""

import asyncio
import io
from typing import Protocol

from ..backends.base import Room
from ..exceptions import ObjectTooLargeError
from ..models import ObjectData, ObjectInfo
from .allocation import allocate
from .digest import INLINE, BufferDigest, LargeSHA256
from .fresh import PAGED_FROM, FreshMemory

__all__ = ("Content", "room_for")

# What a thread hashes at a time: enough to make the hand-overs negligible. It is less towards
# the end, so that not much is left to hash when the last chunk has arrived.
_LEAST, _LEAST_AT_END = 4 * 1024 * 1024, 512 * 1024
_MOST = 32 * 1024 * 1024
# How far ahead of what has arrived the same thread has the kernel provide memory.
_AHEAD = 16 * 1024 * 1024


class Content(Protocol):
    """Collects chunks."""

    filled: int
    """The number of bytes received."""

    @property
    def room(self) -> Room | None:
        """Where further chunks can be received without a copy; they are not appended then."""

    def append(self, chunk: bytes) -> None:
        """Add the next chunk.

        Raises:
            ObjectTooLargeError: If there is not enough memory.
        """

    async def finish(self) -> tuple[ObjectData, bytes]:
        """Return the whole content and its SHA-256 digest."""


def room_for(info: ObjectInfo, first: bytes) -> Content:
    """Make room for an object whose first chunk has arrived.

    Metadata can claim any size, and its writer must not be able to exhaust the reader's
    memory: room is allocated in advance only for what chunks like the first one can hold.

    Raises:
        ObjectTooLargeError: If there is not enough memory.
    """
    if len(first) * info.chunks < info.size:
        return _Growing(info)
    try:
        return _InPlace(info)
    except (MemoryError, OverflowError) as error:
        raise _too_large(info) from error
    except NotImplementedError:
        return _Growing(info)


def _too_large(info: ObjectInfo) -> ObjectTooLargeError:
    msg = (
        f"Bucket '{info.bucket}', object {info.name!r} has {info.size} bytes, more than "
        "there is memory for; read it as a stream with open()."
    )
    return ObjectTooLargeError(msg, bucket=info.bucket, name=info.name)


class _InPlace:
    """An `ObjectData` that is filled as its chunks arrive.

    Raises:
        NotImplementedError: If this is not possible here.
    """

    def __init__(self, info: ObjectInfo) -> None:
        self.filled = 0
        self._data, self._view = allocate(info)
        self._sha256 = LargeSHA256()
        self._hashed = 0
        self._hashing: asyncio.Future[None] | None = None
        self._fresh: FreshMemory | None = None
        if info.size >= PAGED_FROM:
            self._fresh = FreshMemory(self._view)
            self._hash_beside()  # nothing so far, but memory for what is on its way

    @property
    def room(self) -> Room | None:
        return self

    def append(self, chunk: bytes) -> None:
        end = self.filled + len(chunk)
        self._view[self.filled : end] = chunk
        self.commit(len(chunk))

    def reserve(self, size: int) -> memoryview | None:
        """Where the next bytes go; see `Room`."""
        end = self.filled + size
        return self._view[self.filled : end] if end <= len(self._view) else None

    def commit(self, size: int) -> None:
        """They are there; see `Room`."""
        self.filled += size
        unhashed = self.filled - self._hashed
        if unhashed < _LEAST_AT_END or not (self._hashing is None or self._hashing.done()):
            return
        if unhashed >= min(_LEAST, len(self._view) - self.filled):
            self._hash_beside()

    async def finish(self) -> tuple[ObjectData, bytes]:
        while self._hashing is not None:
            await self._hashing
            self._hashing = None
            if self.filled - self._hashed > INLINE:
                self._hash_beside()
        self._hash(self._hashed, self.filled)
        return self._data, self._sha256.digest()

    def _hash_beside(self) -> None:
        start, self._hashed = self._hashed, min(self.filled, self._hashed + _MOST)
        loop = asyncio.get_running_loop()
        # The thread holds on to the data through this object.
        self._hashing = loop.run_in_executor(None, self._work, start, self._hashed)

    def _work(self, start: int, end: int) -> None:
        if self._fresh is not None:
            self._fresh.provide(self.filled, self.filled + _AHEAD)
        self._hash(start, end)

    def _hash(self, start: int, end: int) -> None:
        self._sha256.update(self._view[start:end])


class _Growing:
    """Room that grows with what arrives."""

    def __init__(self, info: ObjectInfo) -> None:
        self.filled = 0
        self._info = info
        self._whole = io.BytesIO()

    @property
    def room(self) -> Room | None:
        return None

    def append(self, chunk: bytes) -> None:
        try:
            self._whole.write(chunk)
        except MemoryError as error:
            raise _too_large(self._info) from error
        self.filled += len(chunk)

    async def finish(self) -> tuple[ObjectData, bytes]:
        received = self._whole.getvalue()
        digest = BufferDigest(memoryview(received))
        try:
            return ObjectData(received, self._info), await digest.result()
        finally:
            await digest.stop()
