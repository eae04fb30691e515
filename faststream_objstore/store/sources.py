"""What `put` accepts, cut into full chunks."""

import asyncio
import inspect
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from ..exceptions import UnsupportedDataError

__all__ = ("Again", "AsyncReadable", "PutData", "Source")

Buffer: TypeAlias = bytes | bytearray | memoryview


class AsyncReadable(Protocol):
    """A file whose `read` is a coroutine, such as aiofiles' and anyio's."""

    async def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


PutData: TypeAlias = (
    str
    | Buffer
    | os.PathLike[str]
    | IO[bytes]
    | AsyncReadable
    | Iterable[bytes]
    | AsyncIterable[bytes]
)

# Of a stream, so much is kept until the server has received it.
_KEPT_BYTES = 1024 * 1024

# A file is read in pieces of this size at least: a thread hand-over for each chunk of a
# few KiB would cost more than the read.
_READ = 1024 * 1024


class Again:
    """An asynchronous iterable that can be read again, and then yields the same.

    Args:
        begin: Begins to read it.
    """

    def __init__(self, begin: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self._begin = begin

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._begin()


class Source:
    """The content of a put, whose kind is decided here, before anything is sent.

    Attributes:
        size: The size of the content in bytes, if it is known without reading it.
        buffer: The whole content, if it is bytes or text; bytes are not copied.
    """

    __slots__ = ("_data", "_kept", "_rest", "_same", "buffer", "size")

    def __init__(
        self, data: Any, *, size: int | None, repeatable: bool, buffer: memoryview | None
    ) -> None:
        self._data = data
        self._same = repeatable
        # What a stream has yielded so far, and the stream.
        self._kept: list[Buffer] | None = None if repeatable else []
        self._rest: AsyncGenerator[Buffer, None] | None = None
        self.size: int | None = size
        self.buffer: memoryview | None = buffer

    @property
    def repeatable(self) -> bool:
        """Whether it can be read again from its start.

        Bytes, text and paths can be; other data as long as what they have yielded is kept.
        """
        return self._same or self._kept is not None

    def is_outgrown(self, size: int) -> bool:
        """Whether a stream is kept, and `size` bytes of it are too much for that."""
        return self._kept is not None and size > _KEPT_BYTES

    def let_go(self) -> None:
        """Keep nothing of a stream any more."""
        self._kept = None

    async def close(self) -> None:
        """End a stream that is not read any more."""
        if self._rest is not None:
            await self._rest.aclose()

    @classmethod
    def of(cls, data: object, bucket: str, name: str) -> "Source":
        """Make the source for the data given to `put`.

        Args:
            data: Any `PutData`.
            bucket: The bucket, for error messages.
            name: The object's name, for error messages.

        Returns:
            The source.

        Raises:
            UnsupportedDataError: If the type is not supported.
            OSError: If there is no such file.
        """
        if isinstance(data, str):
            try:
                data = data.encode()
            except UnicodeEncodeError as error:
                msg = (
                    f"Bucket '{bucket}', object {name!r}: the text has no UTF-8 form "
                    f"({error.reason}); encode it to bytes first."
                )
                raise UnsupportedDataError(msg, bucket=bucket, name=name) from error
        if (view := _view(data)) is not None:
            return cls(data, size=view.nbytes, repeatable=True, buffer=view)
        if isinstance(data, os.PathLike):
            size = Path(data).stat().st_size
            return cls(data, size=size, repeatable=True, buffer=None)
        if isinstance(data, Again):
            return cls(data, size=None, repeatable=True, buffer=None)
        supported = (
            hasattr(data, "read")
            or hasattr(data, "__aiter__")
            or (isinstance(data, Iterable) and not isinstance(data, dict))
        )
        # A generator function that was not called is the usual mistake.
        if not supported or isinstance(data, type) or inspect.iscoroutine(data):
            msg = (
                f"Bucket '{bucket}', object {name!r}: {type(data).__name__} cannot be stored; "
                "give bytes, str, a Path, a binary file, or an (async) iterable of bytes."
            )
            raise UnsupportedDataError(msg, bucket=bucket, name=name)
        return cls(data, size=None, repeatable=False, buffer=None)

    def chunks(self, chunk_size: int) -> AsyncGenerator[Buffer, None]:
        """The content in chunks; the last one may be shorter.

        No chunk is changed after it was yielded, so a reader may lag behind.

        Args:
            chunk_size: Bytes of each chunk but the last.

        Raises:
            UnsupportedDataError: If a file or an iterable yields anything but bytes.
        """
        if self._same:
            return _chunks_of(self._data, chunk_size)
        return self._once_more(chunk_size)

    async def _once_more(self, chunk_size: int) -> AsyncGenerator[Buffer, None]:
        for chunk in tuple(self._kept or ()):
            yield chunk
        if self._rest is None:
            self._rest = _chunks_of(self._data, chunk_size)
        while True:
            try:
                chunk = await anext(self._rest)
            except StopAsyncIteration:
                return
            except BaseException:
                # It has ended here, so the content cannot be completed from it any more.
                self.let_go()
                raise
            if self._kept is not None:
                self._kept.append(chunk)
            yield chunk


async def _chunks_of(data: Any, chunk_size: int) -> AsyncGenerator[Buffer, None]:
    async with aclosing(_pieces(data, max(chunk_size, _READ))) as pieces:
        waiting: list[memoryview] = []
        waiting_bytes = 0
        async for piece in pieces:
            rest = _view(piece)
            if rest is None:
                msg = (
                    f"the data yielded {type(piece).__name__} instead of bytes; open text "
                    "files in binary mode, and encode text."
                )
                raise UnsupportedDataError(msg)
            # An iterable may reuse its buffer for the next piece.
            if not rest.readonly:
                rest = memoryview(bytes(rest))
            while waiting_bytes + rest.nbytes >= chunk_size:
                taken = chunk_size - waiting_bytes
                if waiting:
                    yield b"".join((*waiting, rest[:taken]))
                    waiting, waiting_bytes = [], 0
                else:
                    yield rest[:taken]
                rest = rest[taken:]
            if rest.nbytes:
                waiting.append(rest)
                waiting_bytes += rest.nbytes
                # Thousands of tiny views weigh more than the bytes they show.
                if len(waiting) > 1024:
                    waiting = [memoryview(b"".join(waiting))]
        if waiting:
            yield b"".join(waiting)


def _view(data: object) -> memoryview | None:
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        return None
    if view.nbytes == 0:
        # An empty view of some shapes cannot be cast.
        return memoryview(b"")
    try:
        return view.cast("B")
    except (TypeError, ValueError):
        # Not contiguous, or of a format that is not native, such as "<i".
        return memoryview(view.tobytes())


async def _pieces(data: Any, size: int) -> AsyncGenerator[Any, None]:
    if isinstance(data, os.PathLike):
        file = await asyncio.to_thread(Path(data).open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, size):
                yield piece
        finally:
            file.close()
    elif hasattr(data, "read"):
        # nats-py accepts text files too, and reads their underlying bytes.
        read = data.read
        if hasattr(data, "buffer"):
            read = (await _underlying(data)).read
        while True:
            if isinstance(data, io.BytesIO):
                piece = read(size)
            elif inspect.iscoroutinefunction(read):
                piece = await read(size)
            else:
                piece = await asyncio.to_thread(read, size)
                if inspect.isawaitable(piece):
                    piece = await piece
            if piece is None:
                msg = "the file is in non-blocking mode and has nothing to read now."
                raise UnsupportedDataError(msg)
            if not piece:
                return
            yield piece
    elif hasattr(data, "__aiter__"):
        iterator = data.__aiter__()
        try:
            async for piece in iterator:
                yield piece
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    else:
        for piece in data:
            yield piece
            # A generator that computes must not starve the loop.
            await asyncio.sleep(0)


async def _underlying(file: Any) -> Any:
    """The binary file that a text file reads, which is ahead of it by a block."""
    try:
        if not await _asked(getattr(file, "seekable", bool)):
            return file.buffer
        position = await _asked(file.tell)
    except OSError as error:
        msg = f"the text file has no position ({error}); open it in binary mode."
        raise UnsupportedDataError(msg) from error
    if position >> 64:
        # In the middle of what its decoder was given at once.
        msg = "the text file is between two bytes; open it in binary mode."
        raise UnsupportedDataError(msg)
    await asyncio.to_thread(file.buffer.seek, position)
    return file.buffer


async def _asked(call: Any) -> Any:
    answer = await asyncio.to_thread(call)
    return await answer if inspect.isawaitable(answer) else answer
