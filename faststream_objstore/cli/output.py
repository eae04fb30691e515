"""Output of commands: lines for people, JSON for scripts, a bar for what takes long."""

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)

from faststream_objstore.models import BulkResult, ObjectInfo
from faststream_objstore.store.put import Progress as Report

__all__ = (
    "as_json",
    "bar",
    "content_output",
    "emit",
    "flushed",
    "line_of",
    "printable",
    "reasons_in",
    "said_of",
    "say",
    "size_of",
)


def printable(text: str) -> str:
    """A text with terminal control characters escaped; names come from other people."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )


def content_output() -> IO[bytes]:
    """The standard output, for content.

    Raises:
        OSError: If it is closed; what is printed for people is dropped then.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")
    return sys.stdout.buffer


def flushed() -> bool:
    """Whether the standard output has taken everything; if not, it takes nothing more.

    Otherwise the interpreter would try it again when it exits, and report that too.
    """
    if sys.stdout is None:
        return True
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def as_json(info: ObjectInfo) -> dict[str, Any]:
    """An object, as scripts receive it."""
    link = info.link
    return {
        "bucket": info.bucket,
        "name": info.name,
        "size": info.size,
        "chunks": info.chunks,
        "sha256": info.hexdigest,
        "modified": info.mtime and info.mtime.isoformat(),
        "revision": info.revision,
        "deleted": info.deleted,
        "expired": info.expired,
        "expires": info.expires and info.expires.isoformat(),
        "description": info.description,
        "headers": info.headers or {},
        "metadata": info.metadata or {},
        "link": link and {"bucket": link.bucket, "name": link.name},
    }


def emit(value: object) -> None:
    """Print one JSON value on a separate line."""
    print(json.dumps(value), flush=True)


def size_of(size: int) -> str:
    """Bytes as people read them."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def line_of(info: ObjectInfo) -> str:
    """An object in a listing."""
    when = f"{info.mtime:%Y-%m-%d %H:%M}" if info.mtime else ""
    arrow = ""
    if info.link is not None:
        arrow = f" -> {info.link.bucket}/{info.link.name or ''}"
    return f"{info.size:>12}  {when:<16}  {printable(info.name + arrow)}"


def said_of(result: BulkResult) -> dict[str, Any]:
    """The result for many objects, as scripts receive it."""
    return {
        "done": result.done,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "failed": reasons_in(result),
        "size": result.size,
    }


def reasons_in(result: BulkResult) -> dict[str, str]:
    """What failed, and why."""
    return {name: str(why) for name, why in result.failed.items()}


def say(done: BulkResult, what: str, *, json: bool) -> None:
    """Print the result for many objects."""
    if json:
        emit(said_of(done))
        return
    said = f"{len(done.done)} {what}, {size_of(done.size)}"
    if done.unchanged:
        said += f"; {len(done.unchanged)} unchanged"
    if done.deleted:
        said += f"; {len(done.deleted)} deleted"
    print(said)


@contextmanager
def bar(what: str, *, objects: bool = False, quiet: bool = False) -> Iterator[Report | None]:
    """A progress bar on stderr, if that is a terminal; a callback for stores.

    Args:
        what: What is being done.
        objects: Whether objects are counted, and not bytes.
        quiet: Show none.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    counted = (
        [MofNCompleteColumn()] if objects else [DownloadColumn(True), TransferSpeedColumn()]
    )
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        *counted,
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(printable(what), total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield report
