"""Where `get` can write to: open files, sync and async, and paths."""

import asyncio
import inspect
import io
import os
import secrets
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any, Protocol

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo
from .put import Progress, report

__all__ = ("WriteTarget", "require_writable", "save", "save_now", "write_into")

# Chunks are gathered to this many bytes before a thread writes them: the hand-over
# costs as much as writing some 100 KiB.
_BATCH = 1024 * 1024


class WriteTarget(Protocol):
    """A file open for binary writing, sync or, as aiofiles' and anyio's, async."""

    def write(self, data: bytes, /) -> Any:
        """Write all or some of the bytes; how many, or an awaitable of that."""


def require_writable(target: object) -> None:
    """Refuse what has no `write`, before anything is fetched."""
    if not callable(getattr(target, "write", None)):
        msg = f"writeinto={target!r} cannot work; give a file that is open for binary writing."
        raise InvalidOptionError(msg)


async def write_into(
    target: Any, chunks: AsyncIterable[bytes], info: ObjectInfo, progress: Progress | None
) -> None:
    """Write every chunk to an open file, completing short writes.

    Raises:
        OSError: What the file raised; also where it stops accepting bytes.
    """
    # nats-py takes text files too, and writes to the buffer under them.
    write = getattr(target, "buffer", target).write
    done = 0
    batch: list[bytes] = []
    waiting = 0
    async for chunk in chunks:
        batch.append(chunk)
        waiting += len(chunk)
        done += len(chunk)
        if waiting >= _BATCH:
            await _write_all(target, write, b"".join(batch))
            batch, waiting = [], 0
        if progress is not None:
            await report(progress, done, info.size)
    if batch:
        await _write_all(target, write, b"".join(batch))


async def _write_all(target: Any, write: Callable[[Any], Any], data: bytes) -> None:
    if isinstance(target, io.BytesIO):
        write(data)
        return
    rest = memoryview(data)
    while rest:
        if inspect.iscoroutinefunction(write):
            written = await write(rest)
        else:
            written = await asyncio.to_thread(write, rest)
            if inspect.isawaitable(written):
                written = await written
        if written is None:
            if isinstance(target, io.RawIOBase):
                msg = "the file is in non-blocking mode and takes no more bytes now"
                raise BlockingIOError(msg)
            # A writer of the caller's own that does not count: it took everything.
            return
        if written <= 0:
            msg = f"the file took {written} of {len(rest)} bytes"
            raise OSError(msg)
        rest = rest[written:]


async def save(
    path: Path, chunks: AsyncIterable[bytes], info: ObjectInfo, progress: Progress | None
) -> None:
    """Write to a temporary file beside `path`, then put it in its place.

    A failed or cancelled call leaves `path` as it was, and no other file.
    """
    # Not in a thread: a cancelled task would not learn that the file has been made.
    temporary, descriptor = _beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            await write_into(file, chunks, info, progress)
            await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.replace, temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_now(path: Path, data: bytes) -> None:
    """As `save`, of a content that is there, without giving way."""
    temporary, descriptor = _beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> tuple[Path, int]:
    """A new temporary file in the same folder, open."""
    # A file system's limit is 255 bytes, and a character may take four.
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(6)}.part")
    # Not `tempfile`: its files are private to the user whatever the umask says.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return temporary, os.open(temporary, flags, 0o666)
