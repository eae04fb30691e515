"""Restore: the content of a dump, trusted only as far as it can be checked."""

import asyncio
import hashlib
import json
import logging
import tarfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from .. import wire
from ..exceptions import (
    BulkError,
    DigestMismatchError,
    InvalidDumpError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjStoreError,
)
from ..logs import log
from ..models import (
    BulkResult,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
)
from .expiry import ExpiredError, Until
from .modes import PutMode, RestoreMode
from .put import Progress, report

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = (
    "FORMAT",
    "VERSION",
    "Restore",
    "config_of_dump",
    "failures",
    "reading",
)

T = TypeVar("T")

FORMAT = "faststream-objstore-dump"
VERSION = 1
_READ = 1024 * 1024
_LARGEST_JSON = 16 * 1024 * 1024
_LARGEST_HEADER = 1024 * 1024
# What `dump` writes has none; the map of a sparse file may be of any length.
_SPARSE = "sparse files are not taken"
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


async def config_of_dump(
    source: str | PathLike[str] | IO[bytes], bucket: str
) -> ObjectStoreConfig:
    """The settings of the dumped bucket, to create a bucket to restore into.

    Args:
        source: The dump.
        bucket: The name of the new bucket.

    Raises:
        InvalidDumpError: If it is not a dump.
    """
    async with reading(source) as tar:
        settings = await asyncio.to_thread(_header, tar)
    try:
        return ObjectStoreConfig(
            bucket=bucket,
            description=settings["description"],
            ttl=settings["ttl"],
            max_bytes=settings["max_bytes"],
            storage=settings["storage"],
            replicas=settings["replicas"],
            compression=settings["compression"] or None,
            metadata=settings["metadata"] or None,
            keep_replaced=settings["keep_replaced"],
            # Older dumps do not say, and older servers have none.
            transactions=settings.get("transactions") or None,
            object_ttl=settings.get("object_ttl"),
        )
    except (KeyError, InvalidOptionError) as error:
        msg = f"The dump's settings cannot be read: {error}"
        raise InvalidDumpError(msg) from error


def failures(bucket: str, what: str, result: BulkResult) -> BulkError:
    """The error of a call in which some objects failed."""
    shown = [f"{name!r} ({why})" for name, why in islice(result.failed.items(), 3)]
    msg = (
        f"Bucket '{bucket}': {len(result.failed)} objects could not be {what}: "
        f"{', '.join(shown)}. The rest is done; `result` of this error says all."
    )
    return BulkError(msg, bucket=bucket, result=result)


@asynccontextmanager
async def reading(
    source: str | PathLike[str] | IO[bytes],
) -> AsyncGenerator[tarfile.TarFile, None]:
    """The tar, read as a stream; a file that was already open is not closed."""

    def opened() -> tarfile.TarFile:
        if isinstance(source, (str, PathLike)):
            return tarfile.open(source, "r|*", tarinfo=_Member)
        return tarfile.open(fileobj=source, mode="r|*", tarinfo=_Member)

    with_errors = _saying_what(opened)
    tar = await asyncio.to_thread(with_errors)
    try:
        yield tar
    finally:
        await asyncio.to_thread(tar.close)


class _Member(tarfile.TarInfo):
    """A member whose headers are bounded: tarfile reads long names and PAX records whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        """Parse a block, as `tarfile` does."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _LARGEST_HEADER:
            msg = f"it has a header of {member.size} bytes"
            raise tarfile.ReadError(msg)
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(_SPARSE)
        return member

    def _refuse_sparse(self, *_: object) -> NoReturn:
        raise tarfile.ReadError(_SPARSE)

    # The three forms that it has in PAX headers.
    _proc_gnusparse_00 = _refuse_sparse
    _proc_gnusparse_01 = _refuse_sparse
    _proc_gnusparse_10 = _refuse_sparse


def _saying_what(work: Callable[[], T]) -> Callable[[], T]:
    """Wrap `work`: errors of tarfile and of decompression become one of this package's."""

    def call() -> T:
        try:
            return work()
        except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
            # The last two for PAX records that make no sense, and for endless chains of them.
            msg = f"The file is no dump, or it is cut off or damaged: {error}"
            raise InvalidDumpError(msg) from error
        except OSError as error:
            # gzip's error for damaged data; the operating system's errors have an errno.
            if error.errno is not None:
                raise
            msg = f"The dump is damaged: {error}"
            raise InvalidDumpError(msg) from error

    return call


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    member = _saying_what(tar.next)()
    # What it would keep of all members, and of global headers.
    tar.members.clear()  # type: ignore[attr-defined]
    tar.pax_headers.clear()  # type: ignore[attr-defined]
    if member is not None and not member.isreg():
        msg = f"The dump has a member {member.name!r} that is no file; it is not restored."
        raise InvalidDumpError(msg)
    return member


def _json_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    value: object = None
    if member.size <= _LARGEST_JSON:
        try:
            value = json.loads(_read(tar, member))
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        msg = f"The dump's {member.name!r} is no JSON object; the dump is damaged."
        raise InvalidDumpError(msg)
    return value


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else _saying_what(file.read)()


def _header(tar: tarfile.TarFile) -> dict[str, Any]:
    member = _next(tar)
    settings = _json_of(tar, member) if member and member.name == "bucket.json" else {}
    if settings.get("format") != FORMAT:
        msg = "The file is no dump of a bucket: it does not begin with bucket.json."
        raise InvalidDumpError(msg)
    if settings.get("version") != VERSION:
        msg = f"The dump has version {settings.get('version')!r}; this reads {VERSION}."
        raise InvalidDumpError(msg)
    return settings


@dataclass(frozen=True, slots=True)
class _Entry:
    """An object of a dump, from its JSON, which is not trusted."""

    name: str
    path: str | None
    size: int
    sha256: str | None
    meta: ObjectMeta
    link: ObjectLink | None = field(default=None)
    ttl: Until | None = None

    @classmethod
    def read(cls, raw: dict[str, Any], member: str) -> "_Entry":
        try:
            link = raw["link"] and ObjectLink(raw["link"]["bucket"], raw["link"]["name"])
            size, chunk_size = int(raw["size"]), raw["chunk_size"]
            entry = cls(
                name=_text(raw["name"]),
                path=raw["path"] and _text(raw["path"]),
                size=size,
                sha256=raw["sha256"] and _text(raw["sha256"]),
                link=link or None,
                ttl=_ttl(raw.get("expires")),
                meta=ObjectMeta(
                    description=raw["description"] and _text(raw["description"]),
                    headers=raw["headers"],
                    metadata=raw["metadata"],
                    options=ObjectMetaOptions(max_chunk_size=chunk_size and int(chunk_size)),
                ),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            msg = f"The dump's {member!r} does not say what an object is: {error!r}."
            raise InvalidDumpError(msg) from error
        if (entry.path is None) == (entry.link is None):
            msg = f"The dump's {member!r} is neither a link nor an object."
            raise InvalidDumpError(msg)
        return entry


def _ttl(expires: object) -> Until | None:
    """When it expires; older dumps do not say."""
    if expires is None:
        return None
    return Until(wire.microseconds(datetime.fromisoformat(_text(expires))))


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is no text"
        raise TypeError(msg)
    return value


class Restore:
    """A restore in progress."""

    def __init__(self, store: "ObjectStore", tar: tarfile.TarFile, mode: RestoreMode) -> None:
        self._store = store
        self._tar = tar
        self._put_mode: PutMode = "overwrite" if mode == "overwrite" else "create"
        self._keeps = mode == "missing"
        self._result = BulkResult()
        self._size = 0
        self._expired: list[str] = []
        self._kept_for_ever: list[str] = []
        # Whether objects of the bucket may expire, the server's clock, and ours.
        self._bucket: tuple[bool, int, float] | None = None

    async def run(self, progress: Progress | None) -> BulkResult:
        """Restore everything; raises as `ObjectStore.restore` does."""
        settings = await asyncio.to_thread(_header, self._tar)
        links: list[_Entry] = []
        count = 0
        while True:
            member = await asyncio.to_thread(_next, self._tar)
            if member is None:
                msg = f"The dump is cut off behind {count} objects: it has no end.json."
                raise InvalidDumpError(msg)
            raw = await asyncio.to_thread(_json_of, self._tar, member)
            if member.name == "end.json":
                break
            entry = _Entry.read(raw, member.name)
            count += 1
            if entry.link is not None:
                links.append(entry)
                continue
            content = await asyncio.to_thread(_next, self._tar)
            if content is None or content.name != entry.path or content.size != entry.size:
                msg = f"The dump has no content of {entry.name!r} behind {member.name!r}."
                raise InvalidDumpError(msg)
            await self._noting(entry, partial(self._put, entry, content))
            if progress is not None:
                await report(progress, count - len(links), None)
        if raw.get("objects") != count:
            msg = f"The dump says that it has {raw.get('objects')!r} objects; it has {count}."
            raise InvalidDumpError(msg)
        for number, entry in enumerate(links, count - len(links) + 1):
            await self._noting(entry, partial(self._link, entry, settings.get("bucket")))
            if progress is not None:
                await report(progress, number, count)
        result = BulkResult(
            done=sorted(self._result.done),
            unchanged=sorted(self._result.unchanged),
            failed=self._result.failed,
            size=self._size,
        )
        await self._tell()
        if result.failed:
            raise failures(self._store.bucket, "restored", result)
        return result

    async def _tell(self) -> None:
        """Warn of what is otherwise than in the dump."""
        bucket, backend = self._store.bucket, await self._store._source()  # noqa: SLF001
        if self._expired:
            text = (
                f"Bucket '{bucket}': {len(self._expired)} objects of the dump have expired "
                f"since and are not restored, the first one {self._expired[0]!r}."
            )
            log(backend, logging.WARNING, text)
        if self._kept_for_ever:
            text = (
                f"Bucket '{bucket}': {len(self._kept_for_ever)} objects of the dump expire at "
                f"a time of their own, the first one {self._kept_for_ever[0]!r}, and stay "
                "here, because this bucket has no object_ttl. Declare it with "
                "object_ttl=True and update=True, which takes nats-server 2.11, and restore "
                "them again with mode='overwrite'."
            )
            log(backend, logging.WARNING, text)

    async def _require_time(self, entry: _Entry) -> bool:
        """Whether an object that expires will do so here.

        Raises:
            ExpiredError: If it has expired.
        """
        if entry.ttl is None:
            return True
        if self._bucket is None:
            backend = await self._store._source()  # noqa: SLF001
            state = await backend.state()
            self._bucket = bool(backend.least_ttl), state.time_ns, time.monotonic()
        expires, time_ns, read_at = self._bucket
        now_us = time_ns // 1000 + int((time.monotonic() - read_at) * 1e6)
        if entry.ttl.at_us <= now_us:
            msg = f"Bucket '{self._store.bucket}': {entry.name!r} has expired."
            raise ExpiredError(msg, bucket=self._store.bucket, name=entry.name)
        return expires

    async def _noting(self, entry: _Entry, work: Callable[[], Awaitable[None]]) -> None:
        expires = True
        try:
            expires = await self._require_time(entry)
            await work()
        except ObjectAlreadyExists as error:
            if self._keeps:
                self._result.unchanged.append(entry.name)
            else:
                self._result.failed[entry.name] = error
        except InvalidDumpError:
            raise
        except ExpiredError:
            self._expired.append(entry.name)
        except ObjStoreError as error:
            self._result.failed[entry.name] = error
        else:
            self._result.done.append(entry.name)
            self._size += entry.size
            if not expires:
                self._kept_for_ever.append(entry.name)

    async def _put(self, entry: _Entry, content: tarfile.TarInfo) -> None:
        await self._store.put(
            entry.name,
            self._content(entry, content),
            entry.meta,
            mode=self._put_mode,
            ttl=entry.ttl,
        )

    async def _content(
        self, entry: _Entry, member: tarfile.TarInfo
    ) -> AsyncGenerator[bytes, None]:
        file = self._tar.extractfile(member)
        digest = hashlib.sha256()
        while file is not None:
            piece = await asyncio.to_thread(_saying_what(lambda: file.read(_READ)))
            if not piece:
                break
            digest.update(piece)
            yield piece
        if entry.sha256 is not None and digest.hexdigest() != entry.sha256:
            msg = (
                f"Bucket '{self._store.bucket}', object {entry.name!r}: the dump has content "
                f"of the SHA-256 {digest.hexdigest()} and says {entry.sha256}; it is not put."
            )
            raise DigestMismatchError(msg, bucket=self._store.bucket, name=entry.name)

    async def _link(self, entry: _Entry, dumped: object) -> None:
        link = cast("ObjectLink", entry.link)
        # A link within the bucket stays within the bucket, whatever its name is now.
        bucket = self._store.bucket if link.bucket == dumped else link.bucket
        await self._store._restore_link(  # noqa: SLF001
            entry.name,
            ObjectLink(bucket, link.name),
            entry.meta,
            mode=self._put_mode,
            ttl=entry.ttl,
        )
