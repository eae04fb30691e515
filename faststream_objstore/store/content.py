"""The content of a large object, gathered in memory and hashed while it arrives."""

import asyncio
import hashlib
import io
import sys
from typing import Protocol

from ..exceptions import ObjectTooLargeError
from ..models import ObjectData, ObjectInfo
from .digest import INLINE, BufferDigest

__all__ = ("Content", "room_for")

# What a thread hashes at a time: so much that the hand-overs do not count, and so little
# that not much is left to hash once the last chunk has come.
_LEAST = 4 * 1024 * 1024
_MOST = 32 * 1024 * 1024


class Content(Protocol):
    """Where chunks are gathered."""

    filled: int
    """Bytes that are there."""

    def append(self, chunk: bytes) -> None:
        """Add the next chunk.

        Raises:
            ObjectTooLargeError: If there is not enough memory.
        """

    async def finish(self) -> tuple[ObjectData, bytes]:
        """The whole, and its SHA-256."""


def room_for(info: ObjectInfo, first: bytes) -> Content:
    """A place for an object whose first chunk has come.

    Metadata can claim any size, and whoever may write it must not be able to exhaust the
    reader's memory: room is made ahead only for what chunks like the first can hold.

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
    """An `ObjectData` that is written before anybody sees it.

    An instance of a subclass of `bytes` can otherwise only be made as a copy of finished
    bytes. That takes twice the memory, and a quarter more time for 256 MiB, because fresh
    memory costs as much as the network.

    Raises:
        NotImplementedError: If this is not possible here.
    """

    def __init__(self, info: ObjectInfo) -> None:
        self.filled = 0
        self._data = bytes.__new__(ObjectData, info.size)
        self._data.info = info
        self._view = _writable(self._data)
        self._sha256 = hashlib.sha256()
        self._hashed = 0
        self._hashing: asyncio.Future[None] | None = None

    def append(self, chunk: bytes) -> None:
        end = self.filled + len(chunk)
        self._view[self.filled : end] = chunk
        self.filled = end
        if end - self._hashed >= _LEAST and (self._hashing is None or self._hashing.done()):
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
        self._hashing = loop.run_in_executor(None, self._hash, start, self._hashed)

    def _hash(self, start: int, end: int) -> None:
        self._sha256.update(self._view[start:end])


def _writable(data: bytes) -> memoryview:
    """The memory of a `bytes` object that was made just now and that nobody else has.

    CPython's C API allows to fill it then (`PyBytes_FromStringAndSize`, `PyBytes_AsString`).
    """
    if sys.implementation.name != "cpython":
        raise NotImplementedError
    try:
        import ctypes  # noqa: PLC0415 - 10 ms, for those who read large objects
    except ImportError:
        raise NotImplementedError from None
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)
    address = prototype(("PyBytes_AsString", ctypes.pythonapi))(data)
    return memoryview((ctypes.c_char * len(data)).from_address(address)).cast("B")


class _Growing:
    """Room that grows with what arrives."""

    def __init__(self, info: ObjectInfo) -> None:
        self.filled = 0
        self._info = info
        self._whole = io.BytesIO()

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
