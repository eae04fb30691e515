"""Watch: the current state of a bucket, then each change as it happens."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any

from typing_extensions import Self

from .. import wire
from ..backends.base import Backend, Deliver, MessageStream, StoredMessage
from ..exceptions import InvalidOptionError, StoreTimeoutError
from ..models import ObjectInfo
from ..settling import run_to_completion
from .handle import StoreHandle
from .scan import present

__all__ = ("ObjectWatch", "ObjectWatcher", "WatchVerbs")


class ObjectWatcher:
    """The changes of a bucket, in stream order, each one once.

    When the current state is complete, `updates` returns `None` once, as in nats-py; so does
    iteration over a watcher that was obtained with `await`.

    Attributes:
        synced: Set once the current state has been delivered.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        updates_only: bool,
        ignore_deletes: bool,
        include_history: bool,
    ) -> None:
        if updates_only and include_history:
            msg = (
                f"Bucket '{backend.bucket}': updates_only and include_history cannot be "
                "combined; choose one of them."
            )
            raise InvalidOptionError(msg, bucket=backend.bucket)
        self.synced: asyncio.Event = asyncio.Event()
        self._backend = backend
        self._bucket = backend.bucket
        self._ignore_deletes = ignore_deletes
        self._updates_only = updates_only
        self._stream: MessageStream = backend.messages(
            wire.metadata_wildcard(backend.bucket),
            deliver=(
                Deliver.NEW
                if updates_only
                else Deliver.ALL
                if include_history
                else Deliver.LAST_PER_SUBJECT
            ),
            follow=True,
        )
        self._reading: asyncio.Future[list[StoredMessage]] | None = None
        self._arrived: deque[StoredMessage] = deque()
        self._stopped = asyncio.Event()
        self._marker_due = False
        self._marks = True

    async def start(self, *, marks: bool) -> None:
        """Start watching; called by `ObjectWatch`.

        Args:
            marks: Whether iteration yields the `None` as well.
        """
        self._marks = marks
        await self._stream.__aenter__()
        if self._updates_only:
            self.synced.set()
        elif self._stream.pending == 0:
            self._in_sync()

    def _in_sync(self) -> None:
        self.synced.set()
        self._marker_due = True

    async def stop(self) -> None:
        """Stop the watch; a pending iteration or `updates` ends at once."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        await run_to_completion(self._close())

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                # Retrieved only so that asyncio does not report it as never retrieved.
                self._reading.exception()
        await self._stream.__aexit__(None, None, None)

    async def updates(self, timeout: float | None = 5.0) -> ObjectInfo | None:
        """Wait for the next change.

        Args:
            timeout: How many seconds to wait; `None` waits for ever.

        Returns:
            The change; `None` once, when the current state is complete.

        Raises:
            StoreTimeoutError: If nothing changes in that time (nats-py's `TimeoutError`).
            StopAsyncIteration: If the watch was stopped.
            BucketNotFoundError: If the bucket was deleted.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            if self._marker_due:
                self._marker_due = False
                return None
            left = None if deadline is None else max(0.0, deadline - loop.time())
            message = await self._next(left)
            if message.pending == 0 and not self.synced.is_set():
                self._in_sync()
            for info in await present(self._backend, (message,)):
                if not (info.deleted and self._ignore_deletes):
                    return info

    async def _next(self, timeout: float | None) -> StoredMessage:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            if self._stopped.is_set():
                raise StopAsyncIteration
            if self._arrived:
                # Without a task: the current state of a large bucket arrives this way.
                return self._arrived.popleft()
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._read())
            reading = self._reading
            stopped = asyncio.ensure_future(self._stopped.wait())
            waits: set[asyncio.Future[Any]] = {reading, stopped}
            try:
                # The read outlives this wait: a message that arrives just after a timeout
                # goes to the next call.
                await asyncio.wait(
                    waits,
                    timeout=None if deadline is None else max(0.0, deadline - loop.time()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                stopped.cancel()
            if self._stopped.is_set():
                raise StopAsyncIteration
            if not reading.done():
                msg = f"Bucket '{self._bucket}': no change within {timeout} seconds."
                raise StoreTimeoutError(msg, bucket=self._bucket)
            # Several tasks may wait; the first of them takes it, the others go on.
            if self._reading is reading:
                self._reading = None
                self._arrived.extend(reading.result())

    async def _read(self) -> list[StoredMessage]:
        messages = await self._stream.take()
        if not messages:
            raise StopAsyncIteration
        return messages

    def __aiter__(self) -> AsyncIterator[ObjectInfo]:
        return self

    async def __anext__(self) -> ObjectInfo:
        info = await self.updates(timeout=None)
        while info is None and not self._marks:
            info = await self.updates(timeout=None)
        # The marker, for code written against nats-py.
        return info  # type: ignore[return-value]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.stop()


class ObjectWatch:
    """The result of `ObjectStore.watch`: await it, enter it, or iterate over it.

    When entered or iterated over, it yields changes only and stops the watch at the end; an
    interrupted iteration stops it when its iterator is closed. When awaited, it behaves as
    in nats-py: iteration over the watcher yields `None` once the current state is complete,
    and `stop` stops it.
    """

    def __init__(self, start: Callable[[], Awaitable[ObjectWatcher]]) -> None:
        self._begin = start
        self._watcher: ObjectWatcher | None = None

    def __await__(self) -> Generator[object, None, ObjectWatcher]:
        return self._open(marks=True).__await__()

    async def _open(self, *, marks: bool) -> ObjectWatcher:
        watcher = await self._begin()
        try:
            await watcher.start(marks=marks)
        except BaseException:
            await watcher.stop()
            raise
        return watcher

    async def __aenter__(self) -> ObjectWatcher:
        self._watcher = await self._open(marks=False)
        return self._watcher

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if self._watcher is not None:
            await self._watcher.stop()

    async def __aiter__(self) -> AsyncIterator[ObjectInfo]:
        async with self as watcher:
            async for info in watcher:
                yield info


class WatchVerbs(StoreHandle):
    """The verb of `ObjectStore` that follows the changes of a bucket."""

    def watch(
        self,
        *,
        updates_only: bool = False,
        ignore_deletes: bool = False,
        include_history: bool = False,
        meta_only: bool = False,  # noqa: ARG002
    ) -> ObjectWatch:
        """Watch the bucket: its current state, then every change.

        `async for info in store.watch()`, `async with store.watch() as watcher` and
        `watcher = await store.watch()` all work; see `ObjectWatch`.

        Args:
            updates_only: Skip the current state.
            ignore_deletes: Skip delete markers.
            include_history: Include every stored metadata message, not only the newest of
                each object. Only clients that do not use rollups leave more than one.
            meta_only: Accepted for compatibility with nats-py; a watch never has content.

        Returns:
            The watch: await it, enter it, or iterate over it.

        Raises:
            InvalidOptionError: If `updates_only` and `include_history` are combined. It is
                raised when the watch begins.

        Example:
            ```python
            async for info in store.watch(updates_only=True):
                print(info.name, "deleted" if info.deleted else info.size)
            ```
        """

        async def start() -> ObjectWatcher:
            return ObjectWatcher(
                await self._source(),
                updates_only=updates_only,
                ignore_deletes=ignore_deletes,
                include_history=include_history,
            )

        return ObjectWatch(start)
