"""The transfers of a backend: an upload of chunks, messages in order."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from ..messages import StoredMessage

__all__ = ("ChunkUpload", "MessageStream", "Room")


class ChunkUpload(Protocol):
    """An upload of one object's chunks into the stream.

    A single task uses it, and ends it with `finish` or `abort`.
    """

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send a chunk; wait while the window of unacknowledged chunks is full.

        The buffer may be reused by the caller as soon as this returns.

        Raises:
            BucketFullError, BucketSealedError, BucketNotFoundError: If the stream
                refused an earlier chunk.
            ConnectionLostError: If the connection was lost while chunks were out.
            StoreTimeoutError: If no chunk was acknowledged within the timeout.
        """

    async def settle(self) -> None:
        """Wait until the stream has acknowledged every chunk; raises what `write` raises."""

    async def finish(self) -> None:
        """Send nothing more, and wait as `settle` does."""

    async def abort(self) -> None:
        """Remove whatever was stored or is still in flight; never raises.

        Safe to await from a cancelled task: it runs to completion in bounded time.
        """


class Room(Protocol):
    """Memory into which bodies are received, one after the other."""

    def reserve(self, size: int) -> memoryview | None:
        """Memory for the next body, the same until `commit`; `None` if there is no room."""

    def commit(self, size: int) -> None:
        """Note that the next body has been received."""


class MessageStream(Protocol):
    """Messages in the stream's order, each once, without a gap.

    Enter it before iterating; leaving it removes what it needed on the server, in
    error and cancellation too. A lost connection or a restarted server is resumed
    after the last message that was delivered.
    """

    pending: int
    """How many messages matched when it was opened."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[StoredMessage]: ...

    async def __anext__(self) -> StoredMessage:
        """The next message.

        Not followed, it stops after the last message that matches; that is also where
        messages that were counted have been removed meanwhile. Followed, it waits.

        Raises:
            StopAsyncIteration: At the end.
            StoreTimeoutError: If an expected message does not come (not followed).
            BucketNotFoundError: If the bucket is deleted meanwhile, also if it is made again.
        """

    def limit(self, count: int) -> None:
        """Stop after `count` messages (not followed), and transfer no more.

        Call it before reading the first message; none is requested until then.
        """

    def place(self, room: Room) -> bool:
        """Receive the bodies that arrive from now on into memory of the caller.

        Call it right after a `take`, before anything else is awaited. The messages then
        have an empty `data`, except for bodies that did not fit.

        Returns:
            Whether this is supported; otherwise `data` is still the body.
        """

    async def take(self) -> list[StoredMessage]:
        """Return all messages that have arrived, at least one; none at the end.

        Waits and raises as `__anext__` does. Cheaper if there are many.
        """
