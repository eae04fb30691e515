"""Deleting, moving, and creating buckets: fsspec's methods that send no content."""

import asyncio
import errno
import os
from contextlib import suppress
from typing import Any

from fsspec.asyn import sync
from fsspec.core import has_magic

from faststream_objstore.exceptions import ObjectAlreadyExists
from faststream_objstore.filesystem.paths import ObjectPaths

__all__ = ("ChangeVerbs",)

_CONCURRENCY = 16


class ChangeVerbs(ObjectPaths):
    """The file system's methods that delete, move, and create buckets."""

    async def _rm_file(self, path: str, **_: Any) -> None:
        async with self._at(path) as (store, name):
            if not name or (not await store.exists(name) and await self._isdir(path)):
                # A folder disappears with its content; a bucket stays.
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
        """Create a bucket. Below a bucket there is nothing to create."""
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
