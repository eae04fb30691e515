"""The contents of a folder's small files, read ahead in a thread."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from types import TracebackType

from typing_extensions import Self

from .hops import Hops
from .paths import Found, read_all

__all__ = ("ReadAhead",)

# As many files are read in one call of a thread, unless they have more bytes.
_TOGETHER = 128
_BYTES = 2 * 1024 * 1024

_Read = tuple[Found, bytes | OSError]


class ReadAhead:
    """Hands out files with their contents to several tasks, each file to one of them.

    Reading must not wait for the puts, nor the puts for each other: what is put is taken by
    whichever task is free, and the next files are read before those that are there run out.

    Args:
        files: The files; each is held in memory whole.
        hops: The thread that reads them.

    Example:
        ```python
        async with ReadAhead(files, Hops()) as ahead:
            while (read := await ahead.next()) is not None:
                file, content = read
        ```
    """

    def __init__(self, files: Sequence[Found], hops: Hops) -> None:
        self._hops = hops
        self._parts = _parts(files)
        self._ready: deque[_Read] = deque()
        self._bytes = 0
        self._reading: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._more = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        reading, self._reading = self._reading, set()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def next(self) -> _Read | None:
        """The next file and its content, or why it cannot be read; `None` at the end."""
        ready = self._ready
        while not ready:
            self._begin()
            if self._failure is not None:
                raise self._failure
            if not self._reading:
                return None
            self._more.clear()
            await self._more.wait()
        read = ready.popleft()
        self._bytes -= read[0].size
        # The answers to puts come in bursts, so many are taken at a time.
        if len(ready) < _TOGETHER and self._bytes < _BYTES:
            self._begin()
        return read

    def _begin(self) -> None:
        """Begin to read the next files, unless as many threads as may do so are at it."""
        while len(self._reading) < self._hops.threads:
            part = next(self._parts, None)
            if part is None:
                return
            task = asyncio.ensure_future(self._read(part))
            self._reading.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._reading.discard(task)
        if not task.cancelled():
            self._failure = task.exception() or self._failure
        self._more.set()

    async def _read(self, part: Sequence[Found]) -> None:
        contents = await self._hops.run(partial(read_all, part))
        self._ready.extend(zip(part, contents, strict=True))
        self._bytes += sum(file.size for file in part)


def _parts(files: Sequence[Found]) -> Iterator[Sequence[Found]]:
    start = size = 0
    for at, file in enumerate(files):
        if at > start and (at - start >= _TOGETHER or size + file.size > _BYTES):
            yield files[start:at]
            start, size = at, 0
        size += file.size
    if start < len(files):
        yield files[start:]
