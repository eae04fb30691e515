"""Dump and restore: a bucket as a tar archive that any tar program can read.

`bucket.json` comes first, with the settings. Each object has a `metadata/N.json`, followed
by
its content: `objects/NAME`, or `objects-by-number/N` if the name is not a valid path
    everywhere. `end.json` comes last, to distinguish a complete dump from one that was cut
    off.
"""

import asyncio
import io
import json
import logging
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ..backends.base import TOGETHER, Backend, StreamState
from ..exceptions import (
    InvalidObjectNameError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjStoreError,
    OriginRecreatedError,
    PermissionDeniedError,
)
from ..logs import log
from ..models import BulkResult, ObjectData, ObjectInfo, ObjectStoreStatus
from . import paths
from .bulk_run import stops
from .dumped import FORMAT, VERSION
from .files import unwritten
from .lag import lag_of
from .put import Progress, report
from .restore import failures

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("Dump",)

# An object is written to disk before it goes into the tar, where its size comes first: it may
# be replaced while it is read, and what is in a tar cannot be taken back.
_IN_MEMORY = 4 * 1024 * 1024
_ATTEMPTS = 20


class Dump:
    """A dump in progress.

    Args:
        store: The bucket.
        file: Where to write the archive.
        compression: `gz`, or an empty string for none.
        folder: Where temporary files go, if not where the system has them.
    """

    def __init__(
        self, store: "ObjectStore", file: IO[bytes], compression: str, folder: Path | None
    ) -> None:
        self._store = store
        self._file = cast("IO[bytes]", _Whole(file))
        self._mode: Any = f"w|{compression}"
        self._folder = None if folder is None else str(folder)
        self._result = BulkResult()
        self._size = 0
        self._number = 0

    async def run(self, progress: Progress | None) -> BulkResult:
        """Write everything; see `ObjectStore.dump`."""
        backend = await self._store._source()  # noqa: SLF001
        state = await backend.state()
        settings = _settings(self._store._status_of(backend, state))  # noqa: SLF001
        if backend.origins:
            await _tell_lag(backend, state)
        infos = await self._store.list()
        with tarfile.open(
            fileobj=self._file, mode=self._mode, format=tarfile.PAX_FORMAT
        ) as tar:
            await asyncio.to_thread(_add_json, tar, "bucket.json", settings)
            for _ in range(_ATTEMPTS):
                if not await self._add_listed(tar, infos, progress):
                    break
                # What is gone may have been renamed, and the new name was not listed.
                known = {*self._result.done, *self._result.failed}
                infos = [info for info in await self._store.list() if info.name not in known]
            end = {"objects": len(self._result.done)}
            await asyncio.to_thread(_add_json, tar, "end.json", end)
        result = replace(self._result, size=self._size)
        if result.failed:
            raise failures(self._store.bucket, "dumped", result)
        return result

    async def _add_listed(
        self, tar: tarfile.TarFile, infos: Sequence[ObjectInfo], progress: Progress | None
    ) -> bool:
        """Write objects; whether some of them were gone, and so are not in the dump."""
        result, before = self._result, self._number
        some_gone = False
        apart = paths.collisions([*result.done, *(info.name for info in infos)])
        for start in range(0, len(infos), TOGETHER):
            some = infos[start : start + TOGETHER]
            together = await self._store._several([one.name for one in some])  # noqa: SLF001
            await asyncio.to_thread(_add_all, tar, together, self._number + 1, apart)
            for listed, data in zip(some, together, strict=True):
                self._number += 1
                info: ObjectInfo | None = None
                try:
                    if data is not None:
                        info = data.info
                    else:
                        info = await self._add(tar, listed, self._number, apart)
                except ObjectNotFoundError:
                    some_gone = True
                except ObjStoreError as error:
                    if stops(error, {self._store.bucket}):
                        raise
                    result.failed[listed.name] = error
                if info is not None:
                    result.done.append(info.name)
                    self._size += info.size
                if progress is not None:
                    await report(progress, self._number, before + len(infos))
        return some_gone

    async def _add(
        self, tar: tarfile.TarFile, listed: ObjectInfo, number: int, apart: dict[str, str]
    ) -> ObjectInfo:
        for _ in range(_ATTEMPTS):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=self._folder) as content:
                try:
                    info = await self._store.get_info(listed.name)
                    if not info.is_link():
                        await self._store.get(info, cast("IO[bytes]", content))
                except ObjectChangedError:
                    continue
                content.seek(0)
                await asyncio.to_thread(_add_object, tar, info, content, number, apart)
                return info
        msg = (
            f"Bucket '{listed.bucket}', object {listed.name!r} changes faster than it can be "
            "read; dump it again."
        )
        raise ObjectChangedError(msg, bucket=listed.bucket, name=listed.name)


class _Whole:
    """A file that writes all that it is given: `tarfile` takes no notice of short writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write all of it."""
        rest = memoryview(data)
        while rest:
            rest = unwritten(self._file, rest, self._file.write(rest))
        return len(data)


async def _tell_lag(backend: Backend, state: StreamState) -> None:
    """Warn if a bucket that follows others does not have all of theirs."""
    behind = "it is not known how far it is behind"
    try:
        lag = await lag_of(backend, state)
    except PermissionDeniedError:
        lag = None
    except OriginRecreatedError as error:
        # What is here may be all that is left.
        behind = str(error)
        lag = None
    if lag == 0:
        return
    if lag is not None:
        behind = f"it is up to {lag} messages behind"
    origins = " and ".join(map(str, backend.origins))
    text = (
        f"Bucket '{backend.bucket}', which follows the {origins}, is dumped as it is, and "
        f"{behind}: what has not arrived is not in the dump. Dump the origin instead, or wait "
        "until status().lag is 0."
    )
    log(backend, logging.WARNING, text)


def _settings(status: ObjectStoreStatus) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "bucket": status.bucket,
        "description": status.description,
        "ttl": _seconds(status.ttl),
        "max_bytes": status.max_bytes,
        "storage": status.storage,
        "replicas": status.replicas,
        "compression": status.compressed,
        "metadata": status.metadata,
        "keep_replaced": _seconds(status.keep_replaced),
        "transactions": status.transactions,
        "object_ttl": _seconds(status.object_ttl),
    }


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


def _path_of(name: str, number: int, apart: Mapping[str, str]) -> str:
    try:
        paths.relative(name)
        name.encode()
    except (InvalidObjectNameError, UnicodeEncodeError):
        return f"objects-by-number/{number}"
    # Nor may it exceed the limits of tar programs and file systems.
    if (
        name in apart
        or "\\" in name
        or any(len(one.encode()) > 255 for one in name.split("/"))
    ):
        return f"objects-by-number/{number}"
    return f"objects/{name}"


def _said_of(info: ObjectInfo, path: str | None) -> dict[str, Any]:
    link = info.link
    return {
        "name": info.name,
        "path": path,
        "size": info.size,
        "sha256": info.hexdigest,
        "chunk_size": info.options.max_chunk_size if info.options else None,
        "description": info.description,
        "headers": info.headers,
        "metadata": info.metadata,
        "link": link and {"bucket": link.bucket, "name": link.name},
        "modified": info.mtime and info.mtime.isoformat(),
        "revision": info.revision,
        "expires": info.expires and info.expires.isoformat(),
    }


def _add_all(
    tar: tarfile.TarFile,
    together: Sequence[ObjectData | None],
    first: int,
    apart: Mapping[str, str],
) -> None:
    for number, data in enumerate(together, first):
        if data is not None:
            _add_object(tar, data.info, io.BytesIO(data), number, apart)


def _add_object(
    tar: tarfile.TarFile,
    info: ObjectInfo,
    content: Any,
    number: int,
    apart: Mapping[str, str],
) -> None:
    path = None if info.is_link() else _path_of(info.name, number, apart)
    _add_json(tar, f"metadata/{number}.json", _said_of(info, path))
    if path is not None:
        _add_file(tar, path, info, content)


def _add_json(tar: tarfile.TarFile, name: str, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
    # It keeps a record of all members that it has written.
    tar.members.clear()  # type: ignore[attr-defined]


def _add_file(tar: tarfile.TarFile, path: str, info: ObjectInfo, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(path)
    member.size = info.size
    member.mode = 0o644
    member.mtime = int(info.mtime.timestamp()) if info.mtime else 0
    tar.addfile(member, content)
    tar.members.clear()  # type: ignore[attr-defined]
