"""Operations on many objects: each independent, a few at a time, continuing after failures."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from ..backends.origins import read_only
from ..exceptions import (
    InvalidOptionError,
)
from ..models import BulkResult, ObjectData, ObjectInfo
from .ahead import Ahead
from .arguments import require_concurrency, require_names, require_text
from .bulk_run import LARGE_ONES, BulkRun, deleting
from .handle import StoreHandle
from .put import Progress
from .several import SMALL, Target, read_several

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("BulkVerbs",)

T = TypeVar("T")


class BulkVerbs(StoreHandle):
    """The methods of `ObjectStore` for many objects.

    A failure does not stop the rest: a `BulkError` at the end lists what failed and why, and
    what was done. Failures of the whole bucket do stop it: the connection is lost, or the
    bucket is gone or sealed.
    """

    @property
    def _store(self) -> "ObjectStore":
        # These call the public methods for one object, so that wrappers of those see the
        # calls.
        return cast("ObjectStore", self)

    async def delete_all(
        self,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        concurrency: int = 64,
        progress: Progress | None = None,
    ) -> int:
        """Delete all matching objects that exist now.

        An object that is put again in the meantime stays, because that version did not exist.

        Args:
            prefix: Only names that begin with it, taken literally.
            pattern: Only names that match; `"**"` matches all.
            concurrency: How many are deleted at a time.
            progress: Called with the number of objects done, and the total.

        Returns:
            How many were deleted.

        Raises:
            InvalidOptionError: If neither prefix nor pattern is given, which would mean all.
            BulkError: If some could not be deleted.

        Example:
            ```python
            deleted = await store.delete_all(prefix="ann/")
            ```
        """
        if not prefix and not pattern:
            self._refuse('delete_all() needs a prefix or a pattern; pattern="**" means all')
        run = BulkRun(self, concurrency, progress)
        await self._require_writable(None)
        infos = await self._store.list(prefix=prefix, pattern=pattern)
        await run.each(infos, deleting(self._store, run), key=lambda info: info.name)
        return len(run.end("deleted").deleted)

    async def copy_all(
        self,
        *,
        prefix: str = "",
        pattern: str | None = None,
        to: str = "",
        bucket: str | None = None,
        concurrency: int = 64,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Copy all matching objects, each as `copy` does.

        Args:
            prefix: Only names that begin with it, taken literally.
            pattern: Only names that match.
            to: What the copies' names begin with instead of the prefix.
            bucket: Bucket of the copies; this one if not given.
            concurrency: How many are copied at a time; of objects over 128 KiB, 16 at most.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was copied, by the names of the copies.

        Raises:
            InvalidOptionError: If objects would be copied onto themselves, or onto others
                that are copied too: what comes of those would depend on which is first.
            BulkError: If some could not be copied.
        """
        require_text(self._bucket, "prefix", prefix)
        require_text(self._bucket, "to", to)
        if bucket is not None:
            require_text(self._bucket, "bucket", bucket)
        if bucket in {None, self._bucket} and to == prefix:
            self._refuse("copy_all() onto the same names; give another bucket, or `to`")
        run = BulkRun(self, concurrency, progress, into=bucket)
        await self._require_writable(bucket)
        infos = await self._store.list(prefix=prefix, pattern=pattern)
        if bucket in {None, self._bucket}:
            copied = {to + info.name[len(prefix) :] for info in infos}
            onto = next((info.name for info in infos if info.name in copied), None)
            if onto is not None:
                self._refuse(
                    f"copy_all() would replace {onto!r}, which is to be copied too; give "
                    "another `to`, or a prefix or pattern that leaves the copies out"
                )

        async def copy(info: ObjectInfo) -> None:
            copied = await self._store.copy(
                info.name, to + info.name[len(prefix) :], bucket=bucket
            )
            run.did(copied.name, copied.size)

        for some, most in (
            ([info for info in infos if info.size <= SMALL], None),
            ([info for info in infos if info.size > SMALL], LARGE_ONES),
        ):
            await run.each(some, copy, key=lambda info: info.name, most=most)
        return run.end("copied")

    async def get_many(
        self,
        names: Iterable[str | ObjectInfo] | AsyncIterable[str | ObjectInfo],
        *,
        concurrency: int = 16,
        max_size: int | None = None,
    ) -> AsyncGenerator[ObjectData, None]:
        """Read whole objects in the given order, some of them ahead.

        Args:
            names: Names, or versions as `list` gives them; also from an async iterable,
                such as `iter`.
            concurrency: How many are being read, or waiting to be consumed, at a time. Of
                objects of one chunk, at most 128 KiB, it is eight times as many, and one
                request reads up to 64 of them (nats-server 2.12 and later).
            max_size: The maximum size of each object in bytes.

        Raises:
            ObjStoreError: The error of `get` for the first object that cannot be read.

        Example:
            ```python
            async for data in store.get_many(["a.json", "b.json"]):
                print(data.info.name, json.loads(data))
            ```
        """
        require_concurrency(self._bucket, concurrency)
        require_names(self._bucket, names, max_size)
        ahead = Ahead(
            names if isinstance(names, AsyncIterable) else _async(names),
            partial(self._several, max_size=max_size),
            partial(self._store.get, max_size=max_size),
            concurrency=concurrency,
        )
        async with aclosing(ahead.contents()) as contents:
            async for data in contents:
                yield data

    async def _require_writable(self, bucket: str | None) -> None:
        """Refuse to write to a bucket that is missing, or follows another one.

        Then there is one error, also where there is nothing to write.
        """
        if bucket is None or bucket == self._bucket:
            await self._target()
        else:
            other = await (await self._source()).other(bucket)
            if other.origins:
                raise read_only(bucket, other.origins)

    async def _several(
        self, targets: Sequence[Target], *, max_size: int | None = None
    ) -> list[ObjectData | None]:
        """Read small objects together; `None` for what `get` has to read.

        Observed stores override it.
        """
        return await read_several(await self._source(), targets, max_size=max_size)

    def _refuse(self, problem: str) -> NoReturn:
        msg = f"Bucket '{self._bucket}': {problem}."
        raise InvalidOptionError(msg, bucket=self._bucket)


async def _async(items: Iterable[T]) -> AsyncGenerator[T, None]:
    for item in items:
        yield item
