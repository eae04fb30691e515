"""fsspec's methods that look up and list."""

import errno
import os
from contextlib import suppress
from datetime import datetime
from typing import Any

from faststream_objstore.exceptions import (
    BadObjectMetaError,
    BucketNotFoundError,
    InvalidBucketNameError,
    InvalidLinkError,
    InvalidObjectNameError,
    LinkIsABucketError,
    ObjectNotFoundError,
    PermissionDeniedError,
    StoreTimeoutError,
)
from faststream_objstore.filesystem.blocking import sync_wrapper
from faststream_objstore.filesystem.paths import ObjectPaths, file_errors
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

__all__ = ("ListingVerbs",)


_LEADS_NOWHERE = (
    BadObjectMetaError,
    BucketNotFoundError,
    InvalidBucketNameError,
    InvalidLinkError,
    InvalidObjectNameError,
    LinkIsABucketError,
    ObjectNotFoundError,
    PermissionDeniedError,
)


class ListingVerbs(ObjectPaths):
    """The file system's methods that look up and list."""

    async def _entry(self, store: ObjectStore, info: ObjectInfo) -> dict[str, Any]:
        """The details of an object for fsspec; for a link, those of its target."""
        target = info
        kind = "file"
        if info.is_link():
            try:
                target = await store.resolve(info)
            except _LEADS_NOWHERE:
                # Not worth the whole listing: other clients write links as they like.
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

    async def _buckets(self) -> list[str]:
        with file_errors(""):
            return await self._stores.names()

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return self._directory("")
        async with self._at(path) as (store, name):
            if not name:
                # A bucket that was looked up earlier may be gone.
                await store.status(count=False)
                return self._directory(path)
            try:
                return await self._entry(store, await store.get_info(name))
            except ObjectNotFoundError:
                # By the names: the metadata of all objects would be much more.
                if (await store.list(prefix=name + "/", delimiter="", limit=1)).objects:
                    return self._directory(path)
                raise

    async def _isdir(self, path: str) -> bool:
        return await self._kind(path) == "directory"

    async def _isfile(self, path: str) -> bool:
        return await self._kind(path) == "file"

    async def _kind(self, path: str) -> str | None:
        try:
            return str((await self._info(path))["type"])
        except StoreTimeoutError:
            # An `OSError` since Python 3.11. What did not answer may well be there.
            raise
        except OSError:
            return None

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        entries: list[dict[str, Any]]
        if not path:
            entries = [self._directory(one) for one in await self._buckets()]
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
        """Everything below a path, with one listing per bucket."""
        if maxdepth is not None and maxdepth < 1:
            msg = "maxdepth must be at least 1"
            raise ValueError(msg)
        path = self._strip_protocol(path)
        bucket, name = self.split(path)
        buckets = [bucket] if bucket else await self._buckets()
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
        # Some clients create a name that ends with a slash to represent a folder.
        if (maxdepth is None or len(segments) <= maxdepth) and segments[-1]:
            found[full] = await self._entry(store, info)

    async def _modified(self, path: str) -> datetime:
        mtime: datetime | None = (await self._info(path)).get("mtime")
        if mtime is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return mtime

    modified: Any = sync_wrapper(_modified)

    created: Any = modified
