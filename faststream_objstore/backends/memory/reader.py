"""Reading a stream in order, to its end or indefinitely."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self

from ..base import ConsumerState, Deliver, Room, StoredMessage
from .stream import Stream, matcher, not_found

__all__ = ("MemoryReader",)


class MemoryReader:
    """A `MessageStream`: a queue that the stream keeps up to date."""

    pending: int = 0

    def __init__(
        self,
        find: Callable[[], Stream],
        subject: str | Sequence[str],
        *,
        deliver: Deliver,
        start_sequence: int | None,
        follow: bool,
        headers_only: bool,
    ) -> None:
        self._find = find
        self._subjects = (subject,) if isinstance(subject, str) else tuple(subject)
        self._matchers = [matcher(one) for one in self._subjects]
        self._deliver = deliver
        self._start = start_sequence or 0
        self._follow = follow
        self._headers_only = headers_only
        self._limit: int | None = None
        self._read = 0
        self._queue: OrderedDict[int, StoredMessage] = OrderedDict()
        self._stream: Stream | None = None
        self._ended = False
        # Created in the loop that waits, because the server may have been made outside of any.
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        stream = self._find()
        if self._deliver is not Deliver.NEW:
            found = stream.matching(*self._subjects)
            if self._deliver is Deliver.LAST_PER_SUBJECT:
                found = [one for one in found if one is stream.last(one.subject)]
            for message in found:
                if message.sequence >= self._start:
                    self._queue[message.sequence] = message
        self.pending = len(self._queue)
        self._ended = not self._goes_on(self.pending)
        stream.listeners.add(self)
        self._stream = stream
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._ended = True
        if self._stream:
            self._stream.listeners.discard(self)
        self.wake()

    def __aiter__(self) -> AsyncIterator[StoredMessage]:
        return self

    async def __anext__(self) -> StoredMessage:
        stream = self._stream
        if stream is None:
            msg = "Enter it first: async with backend.messages(...) as messages"
            raise RuntimeError(msg)
        await asyncio.sleep(0)
        while not self._ended:
            if stream.deleted:
                raise not_found(stream.bucket)
            stream.expire()
            if self._queue:
                _, message = self._queue.popitem(last=False)
                self._read += 1
                pending = len(self._queue)
                # A reader of a server stops at the message that reports that none follow.
                self._ended = not self._goes_on(pending)
                data = b"" if self._headers_only else message.data
                return message._replace(data=data, pending=pending)
            if not self._follow:
                self._ended = True
                break
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise StopAsyncIteration

    def limit(self, count: int) -> None:
        """Stop after `count` messages; see `MessageStream`."""
        self._limit = count
        self._ended = self._ended or not self._goes_on(len(self._queue))

    def place(self, room: Room) -> bool:  # noqa: ARG002 - the bodies are here already
        """Not supported: receive bodies into the caller's memory; see `MessageStream`."""
        return False

    async def take(self) -> list[StoredMessage]:
        """The next message; see `MessageStream`. Later ones may still be removed."""
        try:
            return [await self.__anext__()]
        except StopAsyncIteration:
            return []

    def _goes_on(self, pending: int) -> bool:
        if self._limit is not None and self._read >= self._limit:
            return False
        return self._follow or pending > 0

    def offer(self, message: StoredMessage) -> None:
        """Queue a stored message if it matches."""
        if message.sequence >= self._start and any(
            matches(message.subject) for matches in self._matchers
        ):
            self._queue[message.sequence] = message
            self.wake()

    def forget(self, sequence: int) -> None:
        """Drop a message that was removed."""
        self._queue.pop(sequence, None)

    def state(self) -> ConsumerState:
        """The messages that it has yet to read."""
        first = next(iter(self._queue), None)
        return ConsumerState(
            name=f"reader-{id(self):x}",
            filters=self._subjects,
            floor=0 if first is None else first - 1,
            idle=first is None,
        )

    def wake(self) -> None:
        """Make a waiting reader check again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            # The writer may run in another thread's loop; the reader's loop may be closed.
            with suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
