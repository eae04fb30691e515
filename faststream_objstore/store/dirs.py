"""Folders of files as objects, and the other way round."""

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from ..backends.base import TOGETHER
from ..exceptions import (
    BucketNotFoundError,
    InvalidLinkError,
    InvalidObjectNameError,
    InvalidOptionError,
    LinkIsABucketError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjStoreError,
    UnsupportedDataError,
)
from ..models import DEFAULT_CHUNK_SIZE, BulkResult, ObjectData, ObjectInfo
from . import paths
from .arguments import path_of
from .bulk_run import LARGE_ONES, BulkRun, deleting, together
from .expiry import life_of, settle
from .handle import StoreHandle
from .hops import Hops
from .put import Progress
from .readahead import ReadAhead

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("DirVerbs",)

# A file of one chunk is read or written in one go: opening it as a stream costs as much as the
# rest of a small put.
_SMALL = DEFAULT_CHUNK_SIZE
_HASHED_AT_ONCE = 1024 * 1024


class DirVerbs(StoreHandle):
    """The methods of `ObjectStore` for folders on disk; failures are those of `BulkVerbs`."""

    @property
    def _store(self) -> "ObjectStore":
        # These call the public methods for one object, so that wrappers of those see the
        # calls.
        return cast("ObjectStore", self)

    async def put_dir(
        self,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        concurrency: int = 64,
        progress: Progress | None = None,
        ttl: timedelta | float | None = None,
    ) -> BulkResult:
        """Store all files below a folder, named by their paths within it.

        Args:
            path: The folder. Symbolic links that lead out of it are not followed.
            prefix: What the names begin with; it ends with `/`.
            concurrency: How many are put at a time; of files over 128 KiB, 16 at most.
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
        root = path_of(self._bucket, "path", path)
        run = BulkRun(self, concurrency, progress)
        # Refused once, and not for each file.
        name = f"{prefix}..."
        await settle(await self._target(), name, life_of(self._bucket, name, ttl))
        found = await asyncio.to_thread(paths.walk, root)
        await self._put_all(run, found, prefix, ttl=ttl)
        return run.end("put")

    async def get_dir(
        self,
        prefix: str,
        path: str | PathLike[str],
        *,
        concurrency: int = 64,
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
            concurrency: How many are fetched at a time; of objects over 128 KiB, 16 at most.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was fetched.

        Raises:
            BulkError: If some could not be fetched, or were refused.
        """
        self._require_folder(prefix)
        root = path_of(self._bucket, "path", path)
        run = BulkRun(self, concurrency, progress)
        infos = await self._store.list(prefix=prefix)
        folder = await asyncio.to_thread(paths.Folder, root)
        colliding = paths.collisions(info.name[len(prefix) :] for info in infos)
        run.expect(len(infos))
        small: list[ObjectInfo] = []
        large: list[ObjectInfo] = []
        for info in infos:
            name = info.name[len(prefix) :]
            try:
                # Names that are not paths are reported first.
                paths.relative(name)
                if name in colliding:
                    msg = (
                        f"Bucket '{self._bucket}': {info.name!r} and "
                        f"{prefix + colliding[name]!r} cannot both be files of one folder on "
                        "every system; get them one by one."
                    )
                    raise InvalidObjectNameError(msg, bucket=self._bucket, name=info.name)
            except InvalidObjectNameError as error:
                await run.passed(info.name, error)
            else:
                # It is not known how large a link's target is.
                is_small = info.size <= _SMALL and not info.is_link()
                (small if is_small else large).append(info)
        saving = _Saving(self._store, run, folder, prefix)
        await run.groups(small, saving.group, size=TOGETHER)
        await run.each(large, saving.file, key=lambda info: info.name, most=LARGE_ONES)
        return run.end("fetched")

    async def sync(
        self,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        delete: bool = False,
        concurrency: int = 64,
        progress: Progress | None = None,
    ) -> BulkResult:
        """Make the objects below a prefix match the files below a folder.

        A file is sent if its object does not exist, or has another size or SHA-256. A link
        stays as long as its target has the content of the file, and will not be deleted.

        Args:
            path: The folder. Symbolic links that lead out of it are not followed.
            prefix: What the names begin with; it ends with `/`.
            delete: Delete the objects below the prefix that have no file. This is not done if
                anything failed; objects that are put in the meantime stay.
            concurrency: How many files are compared and put at a time; of files over
                128 KiB, 16 at most.
            progress: Called with the number of files done, and the total.

        Returns:
            What was put, what was already up to date, and what was deleted.

        Raises:
            OSError: If the folder cannot be read.
            BulkError: If some files could not be stored, or objects deleted.
        """
        self._require_folder(prefix)
        root = path_of(self._bucket, "path", path)
        run = BulkRun(self, concurrency, progress)
        await self._target()
        found = await asyncio.to_thread(paths.walk, root)
        listed = {info.name: info for info in await self._store.list(prefix=prefix)}
        kept = {prefix + file.name for file in found}
        extra = [info for name, info in listed.items() if name not in kept] if delete else []
        gone = {info.name for info in extra}
        await self._put_all(run, found, prefix, listed=listed, gone=gone)
        if not run.result.failed:
            await run.each(extra, deleting(self._store, run), key=lambda info: info.name)
        return run.end("synchronised")

    async def _put_all(
        self,
        run: BulkRun,
        found: list[paths.Found],
        prefix: str,
        *,
        ttl: timedelta | float | None = None,
        listed: Mapping[str, ObjectInfo] | None = None,
        gone: Collection[str] = (),
    ) -> None:
        """Put files; of those that are listed, the ones that differ.

        Args:
            run: The call.
            found: The files.
            prefix: What the names begin with.
            ttl: How long each object lives.
            listed: The objects that are there, by name.
            gone: The names of those that will be deleted.
        """
        listed = listed or {}

        async def put(file: paths.Found, data: bytes | OSError | None) -> None:
            name = prefix + file.name
            if file.problem:
                msg = (
                    f"Bucket '{self._bucket}': {str(file.path)!r} is not stored: "
                    f"{file.problem}."
                )
                raise UnsupportedDataError(msg, bucket=self._bucket, name=name)
            if isinstance(data, OSError):
                raise data
            if listed and await self._is_same(file, data, listed.get(name), gone):
                run.result.unchanged.append(name)
                return
            if data is None:
                info = await self._store.put_file(name, file.path, ttl=ttl)
            else:
                info = await self._store.put(name, data, filename=file.filename, ttl=ttl)
            run.did(info.name, info.size)

        run.expect(len(found))
        links = {name for name, info in listed.items() if info.is_link()}
        small: list[paths.Found] = []
        large: list[paths.Found] = []
        linked: list[paths.Found] = []
        for file in found:
            if links and prefix + file.name in links:
                linked.append(file)
            else:
                (small if file.size <= _SMALL else large).append(file)
        async with ReadAhead(small, Hops()) as ahead:
            await run.taking(
                ahead.next, lambda read: put(*read), key=lambda read: prefix + read[0].name
            )
        # Links come last: their targets may be among the other files.
        for files in (large, linked):
            await run.each(
                files,
                lambda file: put(file, None),
                key=lambda file: prefix + file.name,
                most=LARGE_ONES,
            )

    async def _is_same(
        self,
        file: paths.Found,
        data: bytes | None,
        info: ObjectInfo | None,
        gone: Collection[str],
    ) -> bool:
        """Whether an object has the content of a file."""
        if info is not None and info.is_link():
            try:
                info = await self._store.resolve(info.name)
            except (
                BucketNotFoundError,
                InvalidLinkError,
                LinkIsABucketError,
                ObjectNotFoundError,
            ):
                return False
            if info.bucket == self._bucket and info.name in gone:
                return False
        if info is None or info.size != (file.size if data is None else len(data)):
            return False
        # Unknown, it is that of no file.
        if data is not None:
            return hashlib.sha256(data).digest() == info.sha256
        # Beside the others, not in their way.
        return await asyncio.to_thread(_sha256, Path(file.path)) == info.sha256

    def _require_folder(self, prefix: str) -> None:
        if not isinstance(prefix, str) or (prefix and not prefix.endswith("/")):
            self._refuse(
                f"prefix={prefix!r} is not a folder's; end it with '/', or give '' for all"
            )

    def _refuse(self, problem: str) -> NoReturn:
        msg = f"Bucket '{self._bucket}': {problem}."
        raise InvalidOptionError(msg, bucket=self._bucket)


class _Saving:
    """Objects as files of a folder, for `get_dir`."""

    def __init__(
        self, store: "ObjectStore", run: BulkRun, folder: paths.Folder, prefix: str
    ) -> None:
        self._store = store
        self._run = run
        self._folder = folder
        self._prefix = prefix
        self._hops = Hops()

    def _relative(self, info: ObjectInfo) -> str:
        return info.name[len(self._prefix) :]

    async def group(self, infos: Sequence[ObjectInfo], bucket: asyncio.Semaphore) -> None:
        """Save small objects together."""
        async with bucket:
            contents = await self._read(infos)
        written = iter(
            await self._hops.run(
                partial(
                    self._folder.write_all,
                    [
                        (self._relative(info), content)
                        for info, content in zip(infos, contents, strict=True)
                        if isinstance(content, ObjectData)
                    ],
                )
            )
        )
        for info, content in zip(infos, contents, strict=True):
            if content is None:
                await self._run.one(info.name, partial(self.file, info))
                continue
            failure: Exception | None
            if isinstance(content, ObjectData):
                failure = next(written)
                if failure is None:
                    self._run.did(info.name, len(content))
            else:
                failure = content
            await self._run.passed(info.name, failure)

    async def _read(self, infos: Sequence[ObjectInfo]) -> list[ObjectData | Exception | None]:
        """The content of each as it was listed; `None` for what has changed since."""
        contents: list[ObjectData | Exception | None] = [
            *await self._store._several(infos)  # noqa: SLF001 - observed, as `get` is
        ]

        async def read(index: int) -> None:
            try:
                # As it was listed: its metadata need not be read again.
                contents[index] = await self._store.get(infos[index])
            except ObjectChangedError:
                pass
            except (ObjStoreError, OSError) as error:
                contents[index] = error

        await together([read(at) for at, one in enumerate(contents) if one is None])
        return contents

    async def file(self, info: ObjectInfo) -> None:
        """Save one object of any size: as it was listed, or its newest version."""
        path = await asyncio.to_thread(self._folder.place, self._relative(info))
        try:
            got = await self._store.get_file(info, path)
        except ObjectChangedError:
            got = await self._store.get_file(info.name, path)
        self._run.did(info.name, got.size)


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.digest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_HASHED_AT_ONCE):
            yield piece
