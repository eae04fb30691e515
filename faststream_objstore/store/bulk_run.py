"""One call for many objects: each independent, a few at a time, with failures recorded."""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Sequence,
)
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import (
    BucketNotFoundError,
    BucketReadOnlyError,
    BucketSealedError,
    BulkError,
    NotConnectedError,
    ObjectNotFoundError,
    ObjStoreError,
    RevisionMismatchError,
)
from ..models import BulkResult, ObjectInfo
from .arguments import require_concurrency, require_progress
from .handle import StoreHandle
from .put import Progress, report

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("LARGE_ONES", "BulkRun", "deleting", "stops", "together")

T = TypeVar("T")

LARGE_ONES = 16
"""How many larger objects at a time, at most: each has a window of chunks."""


class BulkRun:
    """One call of a bulk method: what has been done so far, and what failed.

    Args:
        handle: The bucket.
        concurrency: How many objects at a time.
        progress: Called with the number of objects done, and the total.
        into: Another bucket that each of them is written to.
    """

    def __init__(
        self,
        handle: StoreHandle,
        concurrency: int,
        progress: Progress | None,
        *,
        into: str | None = None,
    ) -> None:
        require_concurrency(handle.bucket, concurrency)
        require_progress(handle.bucket, progress)
        self.result: BulkResult = BulkResult()
        self._bucket = handle.bucket
        self._buckets = {handle.bucket, into}
        self._concurrency = concurrency
        self._progress = progress
        self._size = 0
        self._passed = 0
        self._total = 0

    def did(self, name: str, size: int) -> None:
        """Record what was done, and its size."""
        self.result.done.append(name)
        self._size += size

    async def each(
        self,
        items: Sequence[T],
        act: Callable[[T], Awaitable[None]],
        *,
        key: Callable[[T], str],
        most: int | None = None,
    ) -> None:
        """Call `act` with each item, some at a time; record failures, and continue.

        Args:
            items: The items.
            act: What is done with each.
            key: The name under which a failure is recorded.
            most: How many at a time, if fewer than the caller of the method allows.
        """
        self.expect(len(items))
        await self._work(
            items,
            lambda item: self.one(key(item), partial(act, item)),
            min(self._concurrency, most or self._concurrency),
        )

    async def taking(
        self,
        take: Callable[[], Awaitable[T | None]],
        act: Callable[[T], Awaitable[None]],
        *,
        key: Callable[[T], str],
    ) -> None:
        """As `each`, with items of which the next one is taken when it is its turn.

        Args:
            take: Returns the next item; `None` at the end.
            act: What is done with each.
            key: The name under which a failure is recorded.
        """

        async def work() -> None:
            while (item := await take()) is not None:
                failure: Exception | None = None
                try:
                    await act(item)
                except (ObjStoreError, OSError) as error:
                    failure = error
                if failure is None and self._progress is None:
                    # As `passed` does, which would cost as much as the rest of this loop.
                    self._passed += 1
                else:
                    await self.passed(key(item), failure)

        await together([work() for _ in range(self._concurrency)])

    async def groups(
        self,
        items: Sequence[T],
        act: Callable[[Sequence[T], asyncio.Semaphore], Awaitable[None]],
        *,
        size: int,
    ) -> None:
        """Call `act` with groups of items, which accounts for each of them.

        Args:
            items: The items.
            act: What is done with a group. It calls `one` or `passed` for each item. It
                holds the semaphore while it uses the bucket; another group may meanwhile
                use the disk.
            size: How many are in a group, if so many may be under way.
        """
        self.expect(len(items))
        size = min(size, self._concurrency)
        parts = [items[at : at + size] for at in range(0, len(items), size)]
        at_once = self._concurrency // size
        bucket = asyncio.Semaphore(at_once)
        await self._work(parts, lambda part: act(part, bucket), at_once + 1)

    def expect(self, count: int) -> None:
        """Note that so many items are to be done, for the progress."""
        self._total = max(self._total, self._passed + count)

    async def one(self, name: str, act: Callable[[], Awaitable[None]]) -> None:
        """Call `act`, which is what is done with one item; record its failure.

        Raises:
            ObjStoreError: If all others would fail in the same way.
        """
        failure: Exception | None = None
        try:
            await act()
        except (ObjStoreError, OSError) as error:
            failure = error
        await self.passed(name, failure)

    async def passed(self, name: str, failure: Exception | None = None) -> None:
        """Record that one item is done, or its failure.

        Raises:
            ObjStoreError: The failure, if all others would fail in the same way.
        """
        if failure is not None:
            if stops(failure, self._buckets):
                raise failure
            self.result.failed[name] = failure
        self._passed += 1
        if self._progress is not None:
            await report(self._progress, self._passed, self._total)

    @staticmethod
    async def _work(
        items: Sequence[T], act: Callable[[T], Awaitable[None]], at_once: int
    ) -> None:
        waiting = iter(items)

        async def work() -> None:
            for item in waiting:
                await act(item)

        await together([work() for _ in range(min(at_once, len(items)))])

    def end(self, what: str) -> BulkResult:
        """The result, sorted.

        Raises:
            BulkError: If something failed.
        """
        result = replace(
            self.result,
            done=sorted(self.result.done),
            unchanged=sorted(self.result.unchanged),
            deleted=sorted(self.result.deleted),
            failed=dict(sorted(self.result.failed.items())),
            size=self._size,
        )
        if result.failed:
            shown = [f"{name!r} ({why})" for name, why in islice(result.failed.items(), 3)]
            more = len(result.failed) - len(shown)
            rest = f" and {more} more" if more else ""
            msg = (
                f"Bucket '{self._bucket}': {len(result.failed)} of them could not be {what}: "
                f"{', '.join(shown)}{rest}. The rest is done; `result` of this error says all."
            )
            raise BulkError(msg, bucket=self._bucket, result=result)
        return result


def stops(error: Exception, buckets: Collection[str | None]) -> bool:
    """Whether each of the others would fail in the same way.

    Args:
        error: Why one failed.
        buckets: The buckets that all of them are in.
    """
    if isinstance(error, (BucketNotFoundError, BucketReadOnlyError, BucketSealedError)):
        # A link may lead into a deleted bucket; that concerns only this object.
        return error.bucket in buckets
    return isinstance(error, NotConnectedError)


async def together(doing: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them; the first error ends the others."""
    tasks = [asyncio.ensure_future(one) for one in doing]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def deleting(store: "ObjectStore", run: BulkRun) -> Callable[[ObjectInfo], Awaitable[None]]:
    """How one object is deleted as it was listed."""

    async def delete(info: ObjectInfo) -> None:
        # Put again, or expired: either way, the listed version is gone.
        with suppress(RevisionMismatchError, ObjectNotFoundError):
            if await store.delete(info):
                run.result.deleted.append(info.name)

    return delete
