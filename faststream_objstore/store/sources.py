"""What `put` accepts, cut into full chunks."""

import asyncio
import inspect
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from ..exceptions import UnsupportedDataError

__all__ = (
    "AsyncReadable",
    "PutData",
    "chunks_of",
    "in_memory",
    "is_repeatable",
    "known_size",
    "require_supported",
)

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

# A file is read in pieces of this size at least: a thread hand-over for each chunk of a
# few KiB would cost more than the read.
_READ = 1024 * 1024


def require_supported(data: object, bucket: str, name: str) -> None:
    """Refuse what cannot be stored, before anything is sent.

    Raises:
        UnsupportedDataError: Naming the type and what is accepted.
    """
    if isinstance(data, (bytes, str)):
        return
    supported = (
        isinstance(data, os.PathLike)
        or _view(data) is not None
        or hasattr(data, "read")
        or hasattr(data, "__aiter__")
        or (isinstance(data, Iterable) and not isinstance(data, dict))
    )
    # A generator function that was not called is the usual slip.
    if not supported or isinstance(data, type) or inspect.iscoroutine(data):
        msg = (
            f"Bucket '{bucket}', object {name!r}: {type(data).__name__} cannot be stored; "
            "give bytes, str, a Path, a binary file, or an (async) iterable of bytes."
        )
        raise UnsupportedDataError(msg, bucket=bucket, name=name)


def is_repeatable(data: object) -> bool:
    """Whether the content can be read a second time: bytes, text and paths can."""
    return isinstance(data, (str, os.PathLike)) or _view(data) is not None


def known_size(data: object) -> int | None:
    """Bytes of the content, where they are known without reading it."""
    if isinstance(data, str):
        return None
    if isinstance(data, bytes):
        return len(data)
    view = _view(data)
    if view is not None:
        return view.nbytes
    if isinstance(data, os.PathLike):
        return Path(data).stat().st_size
    return None


def in_memory(data: object) -> memoryview | None:
    """The content as one buffer, where it is bytes or text; nothing is copied of bytes.

    Raises:
        UnsupportedDataError: If the text has no UTF-8 form.
    """
    if isinstance(data, str):
        try:
            data = data.encode()
        except UnicodeEncodeError as error:
            msg = f"the text has no UTF-8 form ({error.reason}); encode it yourself."
            raise UnsupportedDataError(msg) from error
    return _view(data)


async def chunks_of(data: Any, chunk_size: int) -> AsyncGenerator[Buffer, None]:
    """The content of a file or an iterable in chunks; the last one may be shorter.

    No chunk is changed after it was yielded, so a reader may lag behind.

    Args:
        data: Any `PutData` that is not `in_memory`.
        chunk_size: Bytes of each chunk but the last.

    Raises:
        UnsupportedDataError: If a file or an iterable yields something else than bytes.
    """
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
        # nats-py takes text files too, and reads the bytes under them.
        read = getattr(data, "buffer", data).read
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
