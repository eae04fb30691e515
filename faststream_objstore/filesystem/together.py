"""Reading many files: small objects together, all others by a call for each."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import Self

from faststream_objstore.backends.base import TOGETHER
from faststream_objstore.filesystem.listing import ListingVerbs
from faststream_objstore.models import ObjectData
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.files import require_replaceable, save_now
from faststream_objstore.store.hops import Hops
from faststream_objstore.store.paths import relative
from faststream_objstore.store.together import each

__all__ = ("Saving", "TogetherVerbs")

# Of ranges, the contents of as many objects are in memory at a time.
_RANGES = 8 * TOGETHER


class TogetherVerbs(ListingVerbs):
    """The file system's methods that read many files."""

    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        paths = [] if options else await self._expand_path(path, recursive=recursive)
        if len(paths) < 2:
            return await super()._cat(
                path, recursive=recursive, on_error=on_error, batch_size=batch_size, **options
            )
        found = await self._read_together(paths)
        left = [one for one in paths if one not in found]
        # Below a folder, it and others are among the paths, and have no content.
        folders = _folders_in(paths) if recursive else set()
        left = [one for one in left if one not in folders or await self._is_object(one)]
        if left:
            found |= await super()._cat(left, on_error=on_error, batch_size=batch_size)
        return {one: found[one] for one in paths if one in found}

    async def _is_object(self, path: str) -> bool:
        async with self._at(path) as (store, name):
            return bool(name) and await store.exists(name)

    async def _cat_ranges(
        self,
        paths: Any,
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **options: Any,
    ) -> Any:
        every = list(dict.fromkeys(paths)) if isinstance(paths, list) else []
        given = {"max_gap": max_gap, "batch_size": batch_size, "on_error": on_error}
        if len(every) < 2 or max_gap is not None or options:
            return await super()._cat_ranges(paths, starts, ends, **given, **options)
        count = len(paths)
        starts = list(starts) if isinstance(starts, Iterable) else [starts] * count
        ends = list(ends) if isinstance(ends, Iterable) else [ends] * count
        if not len(starts) == len(ends) == count:
            msg = f"cat_ranges() got {count} paths, {len(starts)} starts and {len(ends)} ends."
            raise ValueError(msg)
        by_path: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            by_path.setdefault(path, []).append(at)
        parts: dict[int, Any] = {}
        for first in range(0, len(every), _RANGES):
            # A range transfers whole chunks, and these have one.
            found = await self._read_together(every[first : first + _RANGES])
            for path, data in found.items():
                for at in by_path[path]:
                    parts[at] = data[slice(starts[at], ends[at])]
        left = [at for at in range(count) if at not in parts]
        if left:
            others = await super()._cat_ranges(
                *([values[at] for at in left] for values in (paths, starts, ends)), **given
            )
            parts |= zip(left, others, strict=True)
        return [parts[at] for at in range(count)]

    async def _read_together(self, paths: list[str]) -> dict[str, bytes]:
        """The contents of paths that can be read together; the rest is left out."""
        found: dict[str, bytes] = {}
        # Those of a bucket are next to each other, mostly.
        for bucket, several in groupby(paths, lambda path: self.split(path)[0]):
            every = list(several)
            with suppress(OSError):
                async with self._at(bucket) as (store, _):

                    async def read(
                        some: list[str], store: ObjectStore = store
                    ) -> list[ObjectData | None]:
                        names = [self.split(path)[1] for path in some]
                        return await store._several(names)  # noqa: SLF001

                    parts = [
                        every[at : at + TOGETHER] for at in range(0, len(every), TOGETHER)
                    ]
                    for some, contents in zip(parts, await each(parts, read), strict=True):
                        found |= {
                            path: bytes(data)
                            for path, data in zip(some, contents, strict=True)
                            if data is not None
                        }
        return found

    async def _get(
        self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any
    ) -> Any:
        paths: list[str] = []
        if not isinstance(lpath, (list, tuple)):
            # Some versions of fsspec create the folders of every name.
            paths = await self._expand_path(rpath, recursive=recursive)
            for path in paths:
                name = self.split(path)[1]
                if name:
                    relative(name)
        async with Saving(_folders_in(paths)) as saving:
            return await super()._get(
                rpath, lpath, recursive=recursive, saving=saving, **options
            )


def _folders_in(paths: Iterable[str]) -> set[str]:
    """The folders above the paths."""
    folders: set[str] = set()
    for path in paths:
        above = path.rpartition("/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    return folders


class _File(NamedTuple):
    """A file that is to have the content of an object."""

    name: str
    path: str
    saved: "asyncio.Future[int | None]"


class Saving:
    """Small objects that are saved by several tasks at the same time, together.

    Args:
        folders: The paths that are folders, if not only folders.
    """

    def __init__(self, folders: set[str]) -> None:
        self._folders = folders
        self._waiting: dict[ObjectStore, list[_File]] = {}
        self._hops = Hops()
        self._running: set[asyncio.Task[None]] = set()
        self._token = os.urandom(6).hex()
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def is_folder(self, path: str) -> bool:
        """Whether a path is known to be one of a folder; of an object too, perhaps."""
        return path in self._folders

    async def save(self, store: ObjectStore, name: str, path: str) -> int | None:
        """Save an object, verified, in a file that appears complete or not at all.

        Args:
            store: The bucket.
            name: The object.
            path: The file.

        Returns:
            How many bytes it has; `None` if it is left to `get_file`.

        Raises:
            OSError: If the file cannot be written.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(store, [])
        one = _File(name, path, loop.create_future())
        waiting.append(one)
        if len(waiting) == TOGETHER:
            self._begin(store)
        elif len(waiting) == 1:
            # When all others that have been started have come, too.
            loop.call_soon(self._begin, store)
        return await one.saved

    def _begin(self, store: ObjectStore) -> None:
        if some := self._waiting.pop(store, None):
            task = asyncio.ensure_future(self._run(store, some))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, store: ObjectStore, files: list[_File]) -> None:
        try:
            contents = await store._several([one.name for one in files])  # noqa: SLF001
            for one, data in zip(files, contents, strict=True):
                if data is None:
                    _settle(one, None)
            ready = [
                (one, data)
                for one, data in zip(files, contents, strict=True)
                if data is not None
            ]
            done = await self._hops.run(partial(self._write, ready))
            for (one, data), failure in zip(ready, done, strict=True):
                _settle(one, len(data) if failure is None else failure)
        except BaseException as error:
            for one in files:
                _settle(one, error)
            raise

    def _write(self, files: list[tuple[_File, ObjectData]]) -> list[OSError | None]:
        failures: list[OSError | None] = []
        for one, data in files:
            self._count += 1
            path = Path(one.path)
            # File names may have 255 bytes, and a character may take four of them.
            part = path.with_name(f".{path.name[:50]}.{self._token}{self._count}.part")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                require_replaceable(path)
                save_now(str(path), str(part), data)
            except OSError as error:
                failures.append(error)
            else:
                failures.append(None)
        return failures


def _settle(one: _File, result: int | BaseException | None) -> None:
    if one.saved.done():
        return
    if isinstance(result, asyncio.CancelledError):
        one.saved.cancel()
    elif isinstance(result, BaseException):
        one.saved.set_exception(result)
    else:
        one.saved.set_result(result)
