"""Deleting, moving, and creating buckets: fsspec's methods that send no content."""

import asyncio
import errno
import os
from contextlib import suppress
from typing import Any

from fsspec.asyn import _run_coros_in_chunks
from fsspec.core import has_magic
from fsspec.utils import other_paths

from faststream_objstore.exceptions import ObjectAlreadyExists
from faststream_objstore.filesystem.blocking import sync
from faststream_objstore.filesystem.paths import ObjectPaths, file_errors

__all__ = ("ChangeVerbs",)

_CONCURRENCY = 64


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
        **_: Any,
    ) -> None:
        """Move objects, or folders, one object after the other as `rename` does.

        Raises:
            OSError: If a folder is to be moved into itself.
        """
        sync(self.loop, self._mv, path1, path2, recursive, maxdepth)

    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        # Not a copy of all that is followed by a deletion of all: that deletes what is put
        # meanwhile, what is deeper than `maxdepth`, and a folder that is moved into itself.
        if isinstance(path1, list) and isinstance(path2, list):
            sources, targets = path1, path2
        else:
            sources = await self._expand_path(path1, recursive=recursive, maxdepth=maxdepth)
            targets = await self._targets(path1, sources, path2)
        pairs = [
            (self._strip_protocol(one), self._strip_protocol(to))
            for one, to in zip(sources, targets, strict=True)
        ]
        moved = {one for one, _ in pairs}
        folders = {above for one in moved for above in _above(one)}
        for one, to in pairs:
            # Then what is moved would depend on what comes first.
            if one != to and (to in moved or (one in folders and one in _above(to))):
                msg = (
                    "A folder cannot be moved into itself, nor a file onto one that moves too"
                )
                raise OSError(errno.EINVAL, msg, one)
        single = isinstance(path1, str) and not recursive and not has_magic(path1)

        async def move(one: str, to: str) -> None:
            if one == to:
                return
            try:
                await self._mv_file(one, to)
            except (FileNotFoundError, IsADirectoryError):
                if not single and (one in folders or await self._isdir(one)):
                    # It disappears with its content.
                    return
                if single and await self._isdir(one):
                    raise IsADirectoryError(
                        errno.EISDIR, os.strerror(errno.EISDIR), one
                    ) from None
                raise

        await _run_coros_in_chunks(
            [move(one, to) for one, to in pairs], batch_size=self.batch_size or _CONCURRENCY
        )

    async def _targets(self, path1: Any, sources: list[str], path2: Any) -> list[str]:
        """Where each path goes: fsspec's rules, which are those of `cp`."""
        if not isinstance(path1, str) or not isinstance(path2, str):
            return list(other_paths(sources, path2, flatten=not isinstance(path1, str)))
        is_folder = path2.endswith("/") or await self._isdir(path2)
        into = is_folder and not path1.endswith("/")
        if has_magic(path1):
            into = len(sources) == 1
        return list(other_paths(sources, self._strip_protocol(path2), exists=into))

    async def _mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Create a bucket. Below a bucket there is nothing to create."""
        bucket, name = self.split(path)
        if name or not create_parents:
            return
        with file_errors(path):
            if bucket in await self._stores.names():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            await self._stores.create(bucket)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        try:
            await self._mkdir(path)
        except FileExistsError:
            if not exist_ok:
                raise


def _above(path: str) -> list[str]:
    """The folders above a path."""
    segments = path.split("/")
    return ["/".join(segments[:depth]) for depth in range(1, len(segments))]
