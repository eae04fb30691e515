"""Operations on many objects: each independent, a few at a time, continuing after failures."""

import asyncio
import hashlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from ..exceptions import (
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    RevisionMismatchError,
    UnsupportedDataError,
)
from ..models import DEFAULT_CHUNK_SIZE, BulkResult, ObjectData, ObjectInfo
from . import files, paths
from .ahead import Ahead
from .bulk_run import BulkRun, require_concurrency
from .expiry import life_of
from .handle import StoreHandle
from .hops import Hops
from .put import Progress
from .several import Target, read_several

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("BulkVerbs",)

T = TypeVar("T")

# A file of one chunk is read or written in one go: opening it as a stream costs as much as the
# rest of a small put.
_SMALL = DEFAULT_CHUNK_SIZE
_HASHED_AT_ONCE = 1024 * 1024


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
        concurrency: int = 16,
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
        infos = await self._store.list(prefix=prefix, pattern=pattern)
        await run.each(infos, self._delete_listed(run), key=lambda info: info.name)
        return len(run.end("deleted").deleted)

    def _delete_listed(self, run: BulkRun) -> Callable[[ObjectInfo], Awaitable[None]]:
        async def delete(info: ObjectInfo) -> None:
            # Put again, or expired: either way, the listed version is gone.
            with suppress(RevisionMismatchError, ObjectNotFoundError):
                if await self._store.delete(info):
                    run.result.deleted.append(info.name)

        return delete

    async def copy_all(
        self,
        *,
        prefix: str = "",
        pattern: str | None = None,
        to: str = "",
        bucket: str | None = None,
        concurrency: int = 16,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Copy all matching objects, each as `copy` does.

        Args:
            prefix: Only names that begin with it, taken literally.
            pattern: Only names that match.
            to: What the copies' names begin with instead of the prefix.
            bucket: Bucket of the copies; this one if not given.
            concurrency: How many are copied at a time.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was copied, by the names of the copies.

        Raises:
            InvalidOptionError: If objects would be copied onto themselves, or onto others
                that are copied too: what comes of those would depend on which is first.
            BulkError: If some could not be copied.
        """
        if bucket in {None, self._bucket} and to == prefix:
            self._refuse("copy_all() onto the same names; give another bucket, or `to`")
        run = BulkRun(self, concurrency, progress, into=bucket)
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

        await run.each(infos, copy, key=lambda info: info.name)
        return run.end("copied")

    async def put_dir(
        self,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        concurrency: int = 16,
        progress: Progress | None = None,
        ttl: timedelta | float | None = None,
    ) -> BulkResult:
        """Store all files below a folder, named by their paths within it.

        Args:
            path: The folder. Symbolic links that lead out of it are not followed.
            prefix: What the names begin with; it ends with `/`.
            concurrency: How many are put at a time.
            progress: Called with the number of files done, and the total.
            ttl: How long each object lives, as for `put`.

        Returns:
            What was put.

        Raises:
            InvalidOptionError: If `ttl` is invalid.
            OSError: If the folder cannot be read.
            BulkError: If some files could not be stored.

        Example:
            ```python
            await store.put_dir("site", "www/")  # site/css/a.css is www/css/a.css
            ```
        """
        self._require_folder(prefix)
        life_of(self._bucket, prefix, ttl)
        run = BulkRun(self, concurrency, progress)
        found = await asyncio.to_thread(paths.walk, Path(path))
        hops = Hops()

        async def put(file: paths.Found) -> None:
            info = await self._put_found(file, prefix, hops, ttl)
            run.did(info.name, info.size)

        await run.each(found, put, key=lambda file: prefix + file.name)
        return run.end("put")

    async def get_dir(
        self,
        prefix: str,
        path: str | PathLike[str],
        *,
        concurrency: int = 16,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Write all objects below a prefix to files in a folder.

        Each file appears complete and verified, or not at all. Nothing is written outside
        the folder. Refused are names that are not paths below it (`..`, absolute paths,
        NUL), names that differ from another one only in case, and names that lead out of it
        through a symbolic link.

        Args:
            prefix: What the names begin with; it ends with `/`, or is empty for all.
            path: The folder; created if it is missing.
            concurrency: How many are fetched at a time.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was fetched.

        Raises:
            BulkError: If some could not be fetched, or were refused.
        """
        self._require_folder(prefix)
        run = BulkRun(self, concurrency, progress)
        infos = await self._store.list(prefix=prefix)
        folder = await asyncio.to_thread(paths.Folder, Path(path))
        hops = Hops()
        colliding = paths.collisions(info.name[len(prefix) :] for info in infos)

        async def get(info: ObjectInfo) -> None:
            name = info.name[len(prefix) :]
            # Names that are not paths are reported first.
            paths.relative(name)
            if name in colliding:
                msg = (
                    f"Bucket '{self._bucket}': {info.name!r} and "
                    f"{prefix + colliding[name]!r} cannot both be files of one folder on "
                    "every system; get them one by one."
                )
                raise InvalidObjectNameError(msg, bucket=self._bucket, name=info.name)
            got = await self._get_into(folder, hops, info, name)
            run.did(info.name, got.size)

        await run.each(infos, get, key=lambda info: info.name)
        return run.end("fetched")

    async def sync(
        self,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        delete: bool = False,
        concurrency: int = 16,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Make the objects below a prefix match the files below a folder.

        A file is sent if its object does not exist, or has another size or SHA-256.

        Args:
            path: The folder. Symbolic links that lead out of it are not followed.
            prefix: What the names begin with; it ends with `/`.
            delete: Delete the objects below the prefix that have no file. This is not done if
                anything failed; objects that are put in the meantime stay.
            concurrency: How many files are compared and put at a time.
            progress: Called with the number of files done, and the total.

        Returns:
            What was put, what was already up to date, and what was deleted.

        Raises:
            OSError: If the folder cannot be read.
            BulkError: If some files could not be stored, or objects deleted.
        """
        self._require_folder(prefix)
        run = BulkRun(self, concurrency, progress)
        found = await asyncio.to_thread(paths.walk, Path(path))
        listed = {info.name: info for info in await self._store.list(prefix=prefix)}
        hops = Hops()

        async def compare(file: paths.Found) -> None:
            info = listed.get(prefix + file.name)
            if info is not None and not file.problem and await _is_same(file, info, hops):
                run.result.unchanged.append(info.name)
                return
            put = await self._put_found(file, prefix, hops)
            run.did(put.name, put.size)

        await run.each(found, compare, key=lambda file: prefix + file.name)
        if delete and not run.result.failed:
            kept = {prefix + file.name for file in found}
            extra = [info for name, info in listed.items() if name not in kept]
            await run.each(extra, self._delete_listed(run), key=lambda info: info.name)
        return run.end("synchronised")

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
        if isinstance(names, (str, ObjectInfo)):
            self._refuse(f"get_many() takes several names, got {names!r}; give it a list")
        ahead = Ahead(
            names if isinstance(names, AsyncIterable) else _async(names),
            partial(self._several, max_size=max_size),
            partial(self._store.get, max_size=max_size),
            concurrency=concurrency,
        )
        async with aclosing(ahead.contents()) as contents:
            async for data in contents:
                yield data

    async def _several(
        self, targets: Sequence[Target], *, max_size: int | None = None
    ) -> list[ObjectData | None]:
        """Read small objects together; `None` for what `get` has to read.

        Observed stores override it.
        """
        return await read_several(await self._source(), targets, max_size=max_size)

    async def _put_found(
        self,
        file: paths.Found,
        prefix: str,
        hops: Hops,
        ttl: timedelta | float | None = None,
    ) -> ObjectInfo:
        name = prefix + file.name
        if file.problem:
            msg = f"Bucket '{self._bucket}': {str(file.path)!r} is not stored: {file.problem}."
            raise UnsupportedDataError(msg, bucket=self._bucket, name=name)
        if file.size > _SMALL:
            return await self._store.put_file(name, file.path, ttl=ttl)
        data = await hops.run(file.path.read_bytes)
        return await self._store.put(name, data, filename=file.path.name, ttl=ttl)

    async def _get_into(
        self, folder: paths.Folder, hops: Hops, info: ObjectInfo, relative: str
    ) -> ObjectInfo:
        try:
            # As it was listed: its metadata need not be read again.
            return await self._save(folder, hops, info, relative, size=info.size)
        except ObjectChangedError:
            return await self._save(folder, hops, info.name, relative)

    async def _save(
        self,
        folder: paths.Folder,
        hops: Hops,
        target: str | ObjectInfo,
        relative: str,
        *,
        size: int = 0,
    ) -> ObjectInfo:
        try:
            data = await self._store.get(target, max_size=_SMALL) if size <= _SMALL else None
        except ObjectTooLargeError:
            # It is not known, or was small when it was listed.
            data = None
        if data is None:
            path = await asyncio.to_thread(folder.place, relative)
            return await self._store.get_file(target, path)

        def write() -> None:
            files.save_now(folder.place(relative), data)

        # A cancelled thread keeps running; it leaves a complete file, or none.
        await hops.run(write)
        return data.info

    def _require_folder(self, prefix: str) -> None:
        if not isinstance(prefix, str) or (prefix and not prefix.endswith("/")):
            self._refuse(
                f"prefix={prefix!r} is not a folder's; end it with '/', or give '' for all"
            )

    def _refuse(self, problem: str) -> NoReturn:
        msg = f"Bucket '{self._bucket}': {problem}."
        raise InvalidOptionError(msg, bucket=self._bucket)


async def _async(items: Iterable[T]) -> AsyncGenerator[T, None]:
    for item in items:
        yield item


async def _is_same(file: paths.Found, info: ObjectInfo, hops: Hops) -> bool:
    if info.is_link() or info.size != file.size or info.sha256 is None:
        return False
    if file.size > _SMALL:
        # Beside the others, not in their way.
        return await asyncio.to_thread(_sha256, file.path) == info.sha256
    return await hops.run(lambda: _sha256(file.path)) == info.sha256


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.digest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_HASHED_AT_ONCE):
            yield piece
