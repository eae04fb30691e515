"""The targets that `get` can write to: open files, sync and async, and paths."""

import asyncio
import errno
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any, Protocol

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo
from .put import Progress, report

__all__ = (
    "WriteTarget",
    "beside",
    "require_replaceable",
    "require_writable",
    "save",
    "save_now",
    "write_into",
)

# Chunks are collected up to this size before a thread writes them: handing work to a
# thread costs as much as writing about 100 KiB.
_BATCH = 1024 * 1024

# Not `tempfile`: its files are private to the user whatever the umask says.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class WriteTarget(Protocol):
    """A file open for binary writing, sync or async (such as those of aiofiles and anyio)."""

    def write(self, data: bytes, /) -> Any:
        """Write some or all of the bytes; return their number, or an awaitable of it."""


def require_writable(target: object) -> None:
    """Refuse a target without `write`, before anything is fetched.

    Raises:
        InvalidOptionError: If the target is not a file.
    """
    if not callable(getattr(target, "write", None)):
        msg = f"writeinto must be a file that is open for binary writing, got {target!r}."
        raise InvalidOptionError(msg)


async def write_into(
    target: Any, chunks: AsyncIterable[bytes], info: ObjectInfo, progress: Progress | None
) -> None:
    """Write every chunk to an open file, completing short writes.

    Raises:
        OSError: If writing fails, or the file stops accepting bytes.
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
        rest = unwritten(target, rest, written)


def unwritten(target: object, data: memoryview, written: int | None) -> memoryview:
    """What is left of `data` after a file has written some of it.

    Args:
        target: The file.
        data: What it was given.
        written: What its `write` returned.

    Raises:
        OSError: If it has stopped accepting bytes.
    """
    if written is None:
        if isinstance(target, io.RawIOBase):
            msg = "the file is in non-blocking mode and does not accept more bytes now"
            raise BlockingIOError(msg)
        # A custom writer that returns no count has written everything.
        return data[:0]
    if written <= 0:
        msg = f"the file accepted {written} of {len(data)} bytes"
        raise OSError(msg)
    return data[written:]


async def save(
    path: Path, chunks: AsyncIterable[bytes], info: ObjectInfo, progress: Progress | None
) -> None:
    """Write to a temporary file next to `path`, then move it into place.

    A failed or cancelled call leaves `path` unchanged, and no temporary file.
    """
    # Not in a thread: a cancelled task would not learn that the file was created.
    temporary, descriptor = beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            await write_into(file, chunks, info, progress)
            await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.replace, temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_now(path: str, temporary: str, data: bytes) -> None:
    """As `save`, of a content that is there, without giving way.

    Args:
        path: The file, which is nothing but a regular file, or missing.
        temporary: The temporary file, in the same folder.
        data: The content.
    """
    descriptor = _created(temporary, path)
    try:
        try:
            rest: bytes | memoryview = data
            while (written := os.write(descriptor, rest)) < len(rest):
                rest = memoryview(rest)[written:]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - half of the time is the path's
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def require_replaceable(path: Path | str) -> None:
    """Refuse a folder, and a device or a pipe, which a file moved there would destroy.

    Raises:
        OSError: In both cases.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - half of the time is the path's
    except OSError:
        # It does not exist, or creating the file next to it tells why not.
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        msg = "It is not a regular file, so it is not replaced"
        raise OSError(errno.EINVAL, msg, str(path))


def beside(path: Path) -> tuple[Path, int]:
    """A new temporary file in the same folder, open."""
    require_replaceable(path)
    # File names may have 255 bytes, and a character may take four of them.
    temporary = path.with_name(f".{path.name[:50]}.{os.urandom(6).hex()}.part")
    return temporary, _created(temporary, path)


def _created(temporary: Path | str, path: Path | str) -> int:
    """Create a temporary file and open it."""
    try:
        return os.open(temporary, _CREATE, 0o666)
    except OSError as error:
        # Nobody knows the temporary name.
        error.filename = str(path)
        raise
