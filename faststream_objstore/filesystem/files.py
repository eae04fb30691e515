"""Open files: reads of ranges, and writes that become an object when they are closed."""

import asyncio
import io
import logging
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.filesystem.bases import (
    AbstractAsyncStreamedFile,
    AbstractBufferedFile,
)
from faststream_objstore.filesystem.blocking import sync
from faststream_objstore.filesystem.paths import file_errors
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore, PutMode

if TYPE_CHECKING:
    from faststream_objstore.filesystem.filesystem import ObjectStoreFileSystem

__all__ = ("AsyncObjectFile", "ObjectFile", "Upload")

_logger = logging.getLogger("faststream_objstore")

READ_BLOCK = 256 * 1024
"""How many bytes are read ahead. A range costs a round trip and whole chunks."""
WRITE_BLOCK = 4 * 1024 * 1024
"""How many bytes are collected before they are sent."""


def _mode(mode: str) -> PutMode:
    return "create" if mode == "xb" else "overwrite"


class Upload:
    """A put whose content arrives piece by piece.

    Args:
        store: The bucket.
        name: The object.
        mode: The `mode` of `put`.
    """

    def __init__(self, store: ObjectStore, name: str, mode: PutMode) -> None:
        self._path = f"{store.bucket}/{name}"
        # One piece is sent while the next is collected.
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._put = asyncio.ensure_future(store.put(name, self._content(), mode=mode))

    async def _content(self) -> AsyncGenerator[bytes, None]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def write(self, piece: bytes | None) -> None:
        """Pass the next piece; `None` marks the end.

        Raises:
            OSError: If the put has failed, for a reason that files have too.
            ObjStoreError: If it has failed for another reason.
        """
        handing = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({handing, self._put}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()
        if self._put.done():
            with file_errors(self._path):
                self._put.result()

    async def finish(self) -> ObjectInfo:
        """Complete it; the object then exists."""
        await self.write(None)
        with file_errors(self._path):
            return await self._put

    async def abort(self) -> None:
        """Leave the object unchanged."""
        self._put.cancel()
        await asyncio.gather(self._put, return_exceptions=True)

    def abandon(self) -> None:
        """Like `abort`, without waiting; to be called from the loop's own thread."""
        self._put.cancel()


class ObjectFile(AbstractBufferedFile):
    """An object as a file, for reading or for writing.

    Reading keeps to the version that was opened. Writing changes nothing until `close`, and
    nothing at all if the `with` block raises or the file is dropped without being closed.
    """

    fs: "ObjectStoreFileSystem"

    def __init__(
        self,
        fs: "ObjectStoreFileSystem",
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        **options: Any,
    ) -> None:
        self._upload: Upload | None = None
        self._held: bytes | None = None
        size = _block_size(block_size, path, mode)
        super().__init__(fs, path, mode=mode, block_size=size, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        # A file of an arrow data set has a size, but no details.
        data: bytes = sync(self.fs.loop, self.fs.read_version, self.details, start, end)
        return data

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        if final and not self.autocommit:
            self._held = data
        elif final:
            self._send(data)
        else:
            if self._upload is None:
                self._upload = sync(self.fs.loop, self.fs.begin_upload, self.path, self.mode)
            sync(self.fs.loop, self._upload.write, data)
        return True

    def _send(self, data: bytes) -> None:
        if self._upload is None:
            sync(self.fs.loop, self.fs.put_content, self.path, data, _mode(self.mode))
            return
        if data:
            sync(self.fs.loop, self._upload.write, data)
        sync(self.fs.loop, self._upload.finish)
        self._upload = None

    def commit(self) -> None:
        """Turn what was written in a transaction into the object."""
        if self._held is not None:
            data, self._held = self._held, None
            self._send(data)

    def discard(self) -> None:
        """Leave the object unchanged."""
        self.closed: bool = True
        self._held = None
        upload, self._upload = self._upload, None
        if upload is not None:
            sync(self.fs.loop, upload.abort)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is not None and self.mode != "rb" and not self.closed:
            self.discard()
            return
        self.close()

    def __del__(self) -> None:
        upload, self._upload = getattr(self, "_upload", None), None
        if self.closed:
            return
        if self.mode != "rb":
            _warn_of(self.path)
        if upload is not None:
            self.fs.loop.call_soon_threadsafe(upload.abandon)
        self.closed = True


class AsyncObjectFile(AbstractAsyncStreamedFile):
    """An object as a file for async code: `async with await fs.open_async(path) as file`.

    Like `ObjectFile`; `details` are required for reading.
    """

    fs: "ObjectStoreFileSystem"

    loc: int

    def __init__(
        self,
        fs: "ObjectStoreFileSystem",
        path: str,
        mode: str,
        *,
        details: dict[str, Any] | None = None,
        block_size: int | None = None,
    ) -> None:
        self._upload: Upload | None = None
        size = None if details is None else details["size"]
        # Its reads are as long as they are asked for.
        super().__init__(
            fs,
            path,
            mode=mode,
            block_size=_block_size(block_size, path, mode),
            cache_type="none",
            size=size,
        )
        if details is not None:
            self.details = details

    async def read(self, length: int = -1) -> bytes:
        """The next bytes; all remaining ones if no length is given."""
        if self.mode != "rb":
            msg = "the file is not open for reading"
            raise io.UnsupportedOperation(msg)
        end = self.size if length < 0 else min(self.size, self.loc + length)
        data = await self._fetch_range(self.loc, end)
        self.loc += len(data)
        return data

    async def _fetch_range(self, start: int, end: int) -> bytes:
        return await self.fs.read_version(self.details, start, end) if start < end else b""

    async def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        if final and self._upload is None:
            await self.fs.put_content(self.path, data, _mode(self.mode))
            return True
        if self._upload is None:
            self._upload = await self.fs.begin_upload(self.path, self.mode)
        if data:
            await self._upload.write(data)
        if final:
            await self._upload.finish()
            self._upload = None
        return True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is not None and self.mode != "rb":
            self.closed: bool = True
            upload, self._upload = self._upload, None
            if upload is not None:
                await upload.abort()
            return
        await self.close()

    def __del__(self) -> None:
        upload, self._upload = getattr(self, "_upload", None), None
        if not self.closed and self.mode != "rb":
            _warn_of(self.path)
            if upload is not None:
                upload.abandon()
        self.closed = True


def _block_size(given: int | str | None, path: str, mode: str) -> int:
    if given is None or given in {"default", 0}:
        # To other file systems, 0 means unbuffered.
        return READ_BLOCK if mode == "rb" else WRITE_BLOCK
    if type(given) is not int or given < 0:
        # With less than nothing to read, files would be empty.
        msg = f"{path!r}: block_size must be a number of bytes from 1, got {given!r}."
        raise InvalidOptionError(msg)
    return given


def _warn_of(path: str) -> None:
    # Other file systems store it when it is collected; but it may be half of a file then.
    _logger.warning(
        "The file %r was dropped without being closed, so nothing is stored; close it, or "
        "open it in a with block.",
        path,
    )
