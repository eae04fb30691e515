"""The standard input, read so that a command which waits for it can still be ended."""

import errno
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

__all__ = ("reading_stdin",)

_READ = 1024 * 1024
_AHEAD = 4


@contextmanager
def reading_stdin() -> Iterator[IO[bytes]]:
    """The standard input; a `read` that waits for it returns when the block ends.

    A thread that is blocked in a read cannot be ended, and asyncio waits for its threads
    before a program exits. So a daemon thread reads, and what waits for it can be woken up.

    Raises:
        OSError: If there is no standard input.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdin")
    stdin = _Stdin(sys.stdin.fileno())
    try:
        yield cast("IO[bytes]", stdin)
    finally:
        stdin.close()


class _Stdin:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: queue.Queue[bytes | OSError] = queue.Queue(_AHEAD)
        self._rest = b""
        self._ended = False
        threading.Thread(target=self._fill, daemon=True).start()

    def _fill(self) -> None:
        # Not through `sys.stdin`, whose lock the interpreter needs when it exits.
        piece: bytes | OSError = b"-"
        while piece and not isinstance(piece, OSError):
            try:
                piece = os.read(self._descriptor, _READ)
            except OSError as error:
                piece = error
            self._pieces.put(piece)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._rest and not self._ended:
            piece = self._pieces.get()
            if isinstance(piece, OSError):
                raise piece
            self._rest, self._ended = piece, not piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        """Wake up a `read` that waits."""
        # If it is full, none waits.
        with suppress(queue.Full):
            self._pieces.put_nowait(b"")
