"""The file system: fsspec's methods, implemented with those of an `ObjectStore`."""

import asyncio
import errno
import inspect
import os
import stat
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike
from nats.aio.client import Client

from faststream_objstore.backends.jetstream.servers import without_users
from faststream_objstore.exceptions import (
    BucketSealedError,
    InvalidOptionError,
    ObjectNotFoundError,
)
from faststream_objstore.filesystem.blocking import explain_timeouts, sync, sync_wrapper
from faststream_objstore.filesystem.changes import ChangeVerbs
from faststream_objstore.filesystem.files import AsyncObjectFile, ObjectFile, Upload
from faststream_objstore.filesystem.stores import (
    ConnectedStores,
    OneStore,
    Stores,
    default_servers,
)
from faststream_objstore.filesystem.together import Saving, TogetherVerbs
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore, PutMode
from faststream_objstore.store.several import SMALL

__all__ = ("ObjectStoreFileSystem",)


class _Environment:
    """The address that the environment gives, as an attribute of a class."""

    def __get__(self, instance: object, owner: type) -> str:
        return default_servers()


class ObjectStoreFileSystem(TogetherVerbs, ChangeVerbs):
    """The buckets of a server: `objstore://bucket/name`.

    `fsspec`, pandas, pyarrow, dask and zarr find it by the protocol; in a handler,
    `store.filesystem()` returns one on the handler's own connection. Folders follow from the
    names of objects, so empty folders do not exist.

    Args:
        servers: The server's address, or several of a cluster; `NATS_URL` if not given.
        connect_options: Further options for `nats.connect`, such as `user` and `password`.
        timeout: Seconds allowed for one step: a request, a chunk.
        domain: The JetStream domain of the buckets; the server's own if not given.
        store: A store whose connection is used instead of a separate one.
        options: fsspec's own options, such as `asynchronous` and `loop`.

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
    # fsspec keeps file systems by their options, and by this: another NATS_URL is another one.
    _extra_tokenize_attributes: ClassVar[tuple[str, ...]] = ("_environment",)
    _environment: ClassVar[Any] = _Environment()

    def __init__(
        self,
        servers: str | Sequence[str] | None = None,
        *,
        connect_options: dict[str, Any] | None = None,
        timeout: float = 10.0,
        domain: str | None = None,
        store: ObjectStore | None = None,
        **options: Any,
    ) -> None:
        _require_known(options)
        super().__init__(**options)
        explain_timeouts(self)
        self._is_bound = store is not None
        self._stores: Stores
        if store is not None:
            self._stores = OneStore(store)
        else:
            self._stores = ConnectedStores(
                servers or default_servers(), connect_options or {}, timeout, domain
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

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """As fsspec's; without the password there is no `connect_options` either."""
        found: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            found.pop("connect_options", None)
            if found.get("servers"):
                found["servers"] = without_users(found["servers"])
            # The addresses are the only argument that has a place.
            found["args"] = [without_users(one) for one in found["args"]]
        return found

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
        """Bytes of exactly the version that `info` returned; for a link, of its target.

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
        path = Path(lpath)
        read = await asyncio.to_thread(_read_if_small, path)
        if read is None:
            return
        async with self._at(rpath) as (store, name):
            self._require_name(rpath, name)
            await store.put(
                name,
                read,
                filename=path.name,
                mode="create" if mode == "create" else "overwrite",
                progress=_progress(callback),
            )

    async def _get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        saving: Saving | None = None,
        **_: Any,
    ) -> None:
        async with self._at(rpath) as (store, name):
            if isfilelike(lpath):
                await store.get(name, lpath, progress=_progress(callback))
                return
            if saving is not None and name:
                size = await saving.save(store, name, os.fspath(lpath))
                if size is not None:
                    if progress := _progress(callback):
                        await progress(size, size)
                    return
            known = saving is not None and saving.is_folder(rpath)
            is_folder = not name or (
                not await store.exists(name) if known else await self._isdir(rpath)
            )
            if is_folder:
                await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
                return
            await asyncio.to_thread(os.makedirs, Path(lpath).parent, exist_ok=True)
            await store.get_file(name, lpath, progress=_progress(callback))

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        bucket, to = self.split(path2)
        async with self._at(path1) as (store, name):
            if not name or (not to and await self._isdir(path1)):
                return
            self._require_name(path2, to)
            try:
                await store.copy(name, to, bucket=bucket)
            except ObjectNotFoundError as error:
                if await self._isdir(path1):
                    return
                if not (await store.get_info(name)).is_link():
                    raise
                # fsspec leaves out, without a word, what is not found below a folder.
                raise OSError(errno.ENOLINK, str(error), path1) from error

    async def _copy(self, path1: Any, path2: Any, **options: Any) -> None:
        for one in [path2] if isinstance(path2, str) else path2:
            # Or nothing would be copied, without a word: see `_cp_file`.
            async with self._at(self.split(one)[0]):
                pass
        await super()._copy(path1, path2, **options)

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
            sync(self.loop, self._require_content, path, details)
            options["size"] = details["size"]
        else:
            sync(self.loop, self._require_writable, path, mode)
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
            options: `block_size`: how many bytes are collected before they are sent.
        """
        path = self._strip_protocol(path)
        details = None
        if mode == "rb":
            details = await self._info(path)
            await self._require_content(path, details)
        else:
            await self._require_writable(path, mode)
            if mode == "xb" and await self._exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return AsyncObjectFile(
            self, path, mode, details=details, block_size=options.get("block_size")
        )

    async def _require_content(self, path: str, details: dict[str, Any]) -> None:
        """Refuse to open for reading what has no content: a folder, or a link to none."""
        if details["type"] == "other":
            async with self._at(path) as (store, name):
                # It says what is wrong with the link.
                await store.resolve(name)
        if details["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

    async def _require_writable(self, path: str, mode: str) -> None:
        """Refuse now what could not be stored when the file is closed."""
        if mode not in {"wb", "xb"}:
            msg = f"An object is written whole: {path!r} cannot be opened with mode={mode!r}."
            raise ValueError(msg)
        async with self._at(path) as (store, name):
            self._require_name(path, name)
            await store._target()  # noqa: SLF001 - as `put` does
            if (await store.status(count=False)).sealed:
                msg = f"Bucket '{store.bucket}' is sealed: it can be read, never changed."
                raise BucketSealedError(msg, bucket=store.bucket)

    async def _close_all(self) -> None:
        await self._stores.close()

    close: Any = sync_wrapper(_close_all)


# Left alone, they would be without effect: fsspec keeps whatever it is given.
_CONNECTION = frozenset(inspect.signature(Client.connect).parameters) - {"self", "servers"}
_ADDRESS = frozenset({"server", "url", "urls", "host", "hosts", "port"})


def _require_known(options: dict[str, Any]) -> None:
    """Refuse options that belong elsewhere.

    Raises:
        InvalidOptionError: If there is one.
    """
    for name in options:
        if name in _CONNECTION or name == "creds":
            key = "user_credentials" if name == "creds" else name
            msg = (
                f"The file system has no option {name!r} of its own; give it as "
                f"connect_options={{{key!r}: ...}}."
            )
            raise InvalidOptionError(msg)
        if name in _ADDRESS:
            msg = f"The file system has no option {name!r}; give the address as servers=."
            raise InvalidOptionError(msg)


def _limit(given: int | None, default: int, size: int | None) -> int:
    """A limit of a range; a negative one counts from the end."""
    if given is None:
        return default
    return given if given >= 0 else max(0, (size or 0) + given)


def _read_if_small(path: Path) -> bytes | Path | None:
    """The content of a small file; the path of another one; `None` for a folder."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > SMALL:
        return path
    return path.read_bytes()


def _progress(callback: Any) -> Callable[[int, int | None], Awaitable[None]] | None:
    """Convert fsspec's callback to this package's."""
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
    """Close the connection of a file system that is no longer used."""
    if loop.is_running():
        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(stores.close(), loop)
