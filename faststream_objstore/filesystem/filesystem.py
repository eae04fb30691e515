"""The file system: fsspec's verbs, each in terms of an `ObjectStore`'s."""

import asyncio
import errno
import inspect
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from fsspec.asyn import sync, sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import has_magic
from fsspec.utils import isfilelike, stringify_path

from faststream_objstore.exceptions import (
    BucketError,
    BucketNotFoundError,
    InvalidBucketNameError,
    LinkIsABucketError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    PermissionDeniedError,
)
from faststream_objstore.filesystem.bases import AsyncFileSystem
from faststream_objstore.filesystem.files import AsyncObjectFile, ObjectFile, Upload
from faststream_objstore.filesystem.stores import (
    ConnectedStores,
    OneStore,
    Stores,
    default_servers,
)
from faststream_objstore.models import ObjectInfo, validate_bucket_name
from faststream_objstore.store import ObjectStore, PutMode
from faststream_objstore.store.paths import relative

__all__ = ("ObjectStoreFileSystem",)

_CONCURRENCY = 16


class ObjectStoreFileSystem(AsyncFileSystem):
    """The buckets of a server: `objstore://bucket/name`.

    `fsspec`, pandas, pyarrow, dask and zarr find it by the protocol; in a handler,
    `store.filesystem()` gives one on the handler's own connection. Folders are what the names
    of objects say, so an empty one is not there.

    Args:
        servers: The server's address, or several of a cluster; `NATS_URL` if not given.
        connect_options: What else `nats.connect` takes, such as `user` and `password`.
        timeout: Seconds that one step may take: a request, a chunk.
        store: A store whose connection is used instead of one of its own.
        options: fsspec's own, such as `asynchronous` and `loop`.

    Example:
        ```python
        import pandas

        options = {"servers": "nats://127.0.0.1:4222"}
        frame = pandas.read_parquet("objstore://sales/2026.parquet", storage_options=options)
        ```
    """

    protocol: ClassVar[str] = "objstore"
    root_marker: ClassVar[str] = ""
    cachable: ClassVar[bool] = True

    def __init__(
        self,
        servers: str | Sequence[str] | None = None,
        *,
        connect_options: dict[str, Any] | None = None,
        timeout: float = 10.0,
        store: ObjectStore | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._is_bound = store is not None
        self._stores: Stores
        if store is not None:
            self._stores = OneStore(store)
        else:
            self._stores = ConnectedStores(
                servers or default_servers(), connect_options or {}, timeout
            )
            if not self.asynchronous:
                weakref.finalize(self, _close, self._loop, self._stores)

    def __reduce__(self) -> Any:
        if self._is_bound:
            msg = (
                "A file system on a store's connection cannot be pickled; make one with "
                'fsspec.filesystem("objstore", servers=...).'
            )
            raise TypeError(msg)
        return super().__reduce__()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = stringify_path(path)
        return text.removeprefix("objstore://").lstrip("/").rstrip("/")

    @staticmethod
    def split(path: str) -> tuple[str, str]:
        """The bucket and the object's name; either may be empty."""
        bucket, _, name = ObjectStoreFileSystem._strip_protocol(path).partition("/")
        return bucket, name

    @asynccontextmanager
    async def _at(self, path: str) -> AsyncGenerator[tuple[ObjectStore, str], None]:
        """The store and the name of a path; errors are as Python's of files."""
        bucket, name = self.split(path)
        try:
            # Not a bucket of this name, and not there either.
            yield await self._stores.open(validate_bucket_name(bucket)), name
        except (ObjectNotFoundError, BucketNotFoundError, InvalidBucketNameError) as error:
            if isinstance(error, BucketError):
                self._stores.forget(bucket)
            raise FileNotFoundError(errno.ENOENT, str(error), path) from error
        except ObjectAlreadyExists as error:
            raise FileExistsError(errno.EEXIST, str(error), path) from error
        except LinkIsABucketError as error:
            raise IsADirectoryError(errno.EISDIR, str(error), path) from error
        except PermissionDeniedError as error:
            raise PermissionError(errno.EACCES, str(error), path) from error

    @staticmethod
    def _require_name(path: str, name: str) -> None:
        if not name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

    # What is there

    async def _entry(self, store: ObjectStore, info: ObjectInfo) -> dict[str, Any]:
        """What fsspec says of an object; of a link, what its target is."""
        target = info
        kind = "file"
        if info.is_link():
            try:
                target = await store.resolve(info)
            except (ObjectNotFoundError, BucketNotFoundError, LinkIsABucketError):
                kind = "other"
        return {
            "name": f"{info.bucket}/{info.name}",
            "size": target.size,
            "type": kind,
            "mtime": info.mtime,
            "digest": target.digest,
            "revision": info.revision,
            "metadata": dict(info.metadata or {}),
            "info": info,
        }

    @staticmethod
    def _directory(path: str) -> dict[str, Any]:
        return {"name": path, "size": 0, "type": "directory"}

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return self._directory("")
        async with self._at(path) as (store, name):
            if not name:
                # A bucket that was looked up before may be gone.
                await store.status(count=False)
                return self._directory(path)
            try:
                return await self._entry(store, await store.get_info(name))
            except ObjectNotFoundError:
                async with aclosing(store.iter(prefix=name + "/")) as infos:
                    async for _info in infos:
                        return self._directory(path)
                raise

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        entries: list[dict[str, Any]]
        if not path:
            entries = [self._directory(one) for one in await self._stores.names()]
        else:
            async with self._at(path) as (store, name):
                prefix = name + "/" if name else ""
                page = await store.list(prefix=prefix, delimiter="/")
                entries = [
                    self._directory(f"{store.bucket}/{one[:-1]}") for one in page.folders
                ]
                entries += [
                    await self._entry(store, info)
                    for info in page.objects
                    if info.name != prefix
                ]
                if not entries and name:
                    entries = [await self._info(path)]
                    if entries[0]["type"] == "directory":
                        entries = []
        entries.sort(key=lambda entry: str(entry["name"]))
        return entries if detail else [entry["name"] for entry in entries]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **_: Any,
    ) -> Any:
        """All below a path, with one listing of each bucket."""
        if maxdepth is not None and maxdepth < 1:
            msg = "maxdepth must be at least 1"
            raise ValueError(msg)
        path = self._strip_protocol(path)
        bucket, name = self.split(path)
        buckets = [bucket] if bucket else await self._stores.names()
        found: dict[str, dict[str, Any]] = {}
        for one in buckets:
            if not path and not one.startswith(prefix):
                continue
            if not path and withdirs:
                found[one] = self._directory(one)
            if not path and maxdepth == 1:
                continue
            beginning = (name + "/" if name else "") + (prefix if path else "")
            with suppress(FileNotFoundError):
                async with self._at(one) as (store, _name):
                    for info in await store.list(prefix=beginning):
                        await self._add(store, info, path, maxdepth, withdirs, found)
        if name:
            with suppress(FileNotFoundError):
                entry = await self._info(path)
                if entry["type"] != "directory" or (withdirs and not prefix):
                    found[path] = entry
        elif path and withdirs and not prefix and await self._isdir(path):
            found[path] = self._directory(path)
        names = sorted(found)
        return {one: found[one] for one in names} if detail else names

    async def _add(
        self,
        store: ObjectStore,
        info: ObjectInfo,
        path: str,
        maxdepth: int | None,
        withdirs: bool,
        found: dict[str, dict[str, Any]],
    ) -> None:
        full = f"{info.bucket}/{info.name}"
        below = full[len(path) + 1 :] if path else full
        segments = below.split("/")
        if withdirs:
            for depth in range(1, len(segments)):
                if maxdepth is None or depth <= maxdepth:
                    folder = "/".join([*([path] if path else []), *segments[:depth]])
                    found.setdefault(folder, self._directory(folder))
        # A name that ends with a slash is what some clients make for a folder.
        if (maxdepth is None or len(segments) <= maxdepth) and segments[-1]:
            found[full] = await self._entry(store, info)

    async def _modified(self, path: str) -> datetime:
        mtime: datetime | None = (await self._info(path)).get("mtime")
        if mtime is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return mtime

    modified: Any = sync_wrapper(_modified)
    created: Any = modified

    # Content

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        async with self._at(path) as (store, name):
            self._require_name(path, name)
            if start is None and end is None:
                return bytes(await store.get(name))
            size = None
            if end is None or end < 0 or (start or 0) < 0:
                size = int((await self._info(path))["size"])
            first = _limit(start, 0, size)
            stop = _limit(end, size or 0, size)
            return await store.get_range(name, first, stop) if first < stop else b""

    async def read_version(self, details: dict[str, Any], start: int, end: int) -> bytes:
        """Bytes of exactly the version that `info` gave; of a link, of its target.

        Raises:
            ObjectChangedError: If that version is gone.
        """
        async with self._at(details["name"]) as (store, name):
            info: ObjectInfo | None = details.get("info")
            version = name if info is None or info.is_link() else info
            if start == 0 and end >= details["size"]:
                # All of it, so that it is verified.
                return bytes(await store.get(version))
            return await store.get_range(version, start, end)

    async def put_content(self, path: str, data: Any, mode: PutMode) -> ObjectInfo:
        """Put an object of a path."""
        async with self._at(path) as (store, name):
            self._require_name(path, name)
            return await store.put(name, data, mode=mode)

    async def begin_upload(self, path: str, mode: str) -> Upload:
        """Begin to put an object of a path, piece by piece."""
        async with self._at(path) as (store, name):
            self._require_name(path, name)
            return Upload(store, name, "create" if mode == "xb" else "overwrite")

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **_: Any
    ) -> None:
        await self.put_content(path, value, "create" if mode == "create" else "overwrite")

    async def _put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **_: Any,
    ) -> None:
        if await asyncio.to_thread(Path(lpath).is_dir):
            return
        async with self._at(rpath) as (store, name):
            self._require_name(rpath, name)
            await store.put_file(
                name,
                lpath,
                mode="create" if mode == "create" else "overwrite",
                progress=_progress(callback),
            )

    async def _get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **_: Any
    ) -> None:
        async with self._at(rpath) as (store, name):
            if isfilelike(lpath):
                await store.get(name, lpath, progress=_progress(callback))
                return
            if not name or await self._isdir(rpath):
                await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
                return
            await asyncio.to_thread(os.makedirs, Path(lpath).parent, exist_ok=True)
            await store.get_file(name, lpath, progress=_progress(callback))

    async def _get(
        self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any
    ) -> Any:
        if isinstance(lpath, str):
            # Some versions of fsspec make folders wherever a name leads.
            for path in await self._expand_path(rpath, recursive=recursive):
                name = self.split(path)[1]
                if name:
                    relative(name)
        return await super()._get(rpath, lpath, recursive=recursive, **options)

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        bucket, to = self.split(path2)
        async with self._at(path1) as (store, name):
            if not name or (not await store.exists(name) and await self._isdir(path1)):
                return
            self._require_name(path2, to)
            await store.copy(name, to, bucket=bucket)

    # Changes

    async def _rm_file(self, path: str, **_: Any) -> None:
        async with self._at(path) as (store, name):
            if not name or (not await store.exists(name) and await self._isdir(path)):
                # A folder is gone with what was in it; a bucket stays.
                return
            if not await store.delete(name):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **_: Any,
    ) -> None:
        given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        paths = [self._strip_protocol(one) for one in given]
        if not recursive or maxdepth is not None or any(has_magic(one) for one in paths):
            expanded = await self._expand_path(paths, recursive=recursive, maxdepth=maxdepth)
            if not recursive:
                for one in expanded:
                    if (await self._info(one))["type"] == "directory":
                        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), one)
                await asyncio.gather(*(self._rm_file(one) for one in expanded))
                return
            paths = expanded if maxdepth is None else []
            if maxdepth is not None:
                await asyncio.gather(*(self._rm_file(one) for one in expanded))
        for one in paths:
            await self._rm_tree(one, batch_size or self.batch_size or _CONCURRENCY)

    async def _rm_tree(self, path: str, concurrency: int) -> None:
        async with self._at(path) as (store, name):
            if not name:
                await store.delete_all(pattern="**", concurrency=concurrency)
                return
            deleted = await store.delete_all(prefix=name + "/", concurrency=concurrency)
            if await store.exists(name):
                await store.delete(name)
            elif not deleted:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    async def _mv_file(self, path1: str, path2: str, **_: Any) -> None:
        """Rename within a bucket, which moves no content; copy and delete otherwise."""
        bucket, to = self.split(path2)
        async with self._at(path1) as (store, name):
            self._require_name(path1, name)
            self._require_name(path2, to)
            if bucket == store.bucket:
                with suppress(ObjectAlreadyExists):
                    await store.rename(name, to)
                    return
            info = await store.get_info(name)
            await store.copy(info.name, to, bucket=bucket)
            await store.delete(info)

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **options: Any,
    ) -> None:
        """Move; a single object of a bucket is renamed, whatever its size."""
        single = isinstance(path1, str) and isinstance(path2, str) and not recursive
        if (
            single
            and not has_magic(path1)
            and not path2.endswith("/")
            and self.isfile(path1)
            and not self.isdir(path2)
        ):
            sync(self.loop, self._mv_file, path1, path2)
            return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)

    async def _mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a bucket. Below one there is nothing to make."""
        bucket, name = self.split(path)
        if name or not create_parents:
            return
        if bucket in await self._stores.names():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        await self._stores.create(bucket)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        try:
            await self._mkdir(path)
        except FileExistsError:
            if not exist_ok:
                raise

    # Open files

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> ObjectFile:
        if mode == "rb":
            details = self.info(path)
            if details["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            options["size"] = details["size"]
        else:
            self._require_writable(path, mode)
            details = None
            if mode == "xb" and self.exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        file = ObjectFile(
            self,
            path,
            mode=mode,
            block_size=block_size,
            autocommit=autocommit,
            cache_options=cache_options,
            **options,
        )
        if details is not None:
            file.details = details
        return file

    async def open_async(self, path: str, mode: str = "rb", **options: Any) -> AsyncObjectFile:
        """A file for async code: `async with await fs.open_async(path, "rb") as file`.

        Args:
            path: The path.
            mode: `"rb"`, `"wb"` or `"xb"`.
            options: `block_size`: bytes that are gathered before they are sent.
        """
        path = self._strip_protocol(path)
        details = None
        if mode == "rb":
            details = await self._info(path)
            if details["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        else:
            self._require_writable(path, mode)
            if mode == "xb" and await self._exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return AsyncObjectFile(
            self, path, mode, details=details, block_size=options.get("block_size")
        )

    def _require_writable(self, path: str, mode: str) -> None:
        if mode not in {"wb", "xb"}:
            msg = f"An object is written whole: {path!r} cannot be opened with mode={mode!r}."
            raise ValueError(msg)
        self._require_name(path, self.split(path)[1])

    async def _close_all(self) -> None:
        await self._stores.close()

    close: Any = sync_wrapper(_close_all)


def _limit(given: int | None, default: int, size: int | None) -> int:
    """A limit of a range; a negative one counts from the end."""
    if given is None:
        return default
    return given if given >= 0 else max(0, (size or 0) + given)


def _progress(callback: Any) -> Callable[[int, int | None], Awaitable[None] | None] | None:
    """Fsspec's callback as this package's."""
    if callback is DEFAULT_CALLBACK:
        return None

    async def progress(done: int, total: int | None) -> None:
        if total is not None and callback.size != total:
            callback.set_size(total)
        told = callback.absolute_update(done)
        if inspect.isawaitable(told):
            await told

    return progress


def _close(loop: asyncio.AbstractEventLoop, stores: Stores) -> None:
    """Close the connection of a file system that nobody uses any more."""
    if loop.is_running():
        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(stores.close(), loop)
