"""One call for many objects: each independent, a few at a time, with failures recorded."""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
)
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from ..exceptions import (
    BucketNotFoundError,
    BucketReadOnlyError,
    BucketSealedError,
    BulkError,
    InvalidOptionError,
    NotConnectedError,
    ObjStoreError,
)
from ..models import BulkResult
from .handle import StoreHandle
from .put import Progress, report

__all__ = ("BulkRun", "require_concurrency")

T = TypeVar("T")


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
        self.result: BulkResult = BulkResult()
        self._bucket = handle.bucket
        self._buckets = {handle.bucket, into}
        self._concurrency = concurrency
        self._progress = progress
        self._size = 0

    def did(self, name: str, size: int) -> None:
        """Record what was done, and its size."""
        self.result.done.append(name)
        self._size += size

    async def each(
        self,
        items: list[T],
        act: Callable[[T], Awaitable[None]],
        *,
        key: Callable[[T], str],
    ) -> None:
        """Call `act` with each item, some at a time; record failures, and continue."""
        waiting = iter(items)
        done = 0

        async def work() -> None:
            nonlocal done
            for item in waiting:
                try:
                    await act(item)
                except (ObjStoreError, OSError) as error:
                    if self._stops(error):
                        raise
                    self.result.failed[key(item)] = error
                done += 1
                if self._progress is not None:
                    await report(self._progress, done, len(items))

        workers = [
            asyncio.ensure_future(work()) for _ in range(min(self._concurrency, len(items)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _stops(self, error: Exception) -> bool:
        """Whether each of the others would fail in the same way."""
        if isinstance(error, (BucketNotFoundError, BucketReadOnlyError, BucketSealedError)):
            # A link may lead into a deleted bucket; that concerns only this object.
            return error.bucket in self._buckets
        return isinstance(error, NotConnectedError)

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


def require_concurrency(bucket: str, concurrency: int) -> None:
    """Refuse a value that is not a valid concurrency.

    Raises:
        InvalidOptionError: If it is not an integer of at least 1.
    """
    if type(concurrency) is not int or concurrency < 1:
        msg = f"Bucket '{bucket}': concurrency must be a number from 1, got {concurrency!r}."
        raise InvalidOptionError(msg, bucket=bucket)
