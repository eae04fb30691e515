"""What a dump contains: read from a tar that anybody may have written."""

import asyncio
import json
import tarfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from .. import wire
from ..backends.base import TOGETHER
from ..exceptions import InvalidDumpError, InvalidOptionError
from ..models import (
    DEFAULT_CHUNK_SIZE,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
)
from .expiry import Until

__all__ = (
    "FORMAT",
    "VERSION",
    "Batch",
    "Entry",
    "config_of_dump",
    "header",
    "read_batch",
    "reading",
    "saying_what",
)

T = TypeVar("T")

FORMAT = "faststream-objstore-dump"
VERSION = 1
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
        settings = await asyncio.to_thread(header, tar)
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


@asynccontextmanager
async def reading(
    source: str | PathLike[str] | IO[bytes],
) -> AsyncGenerator[tarfile.TarFile, None]:
    """The tar, read as a stream; a file that was already open is not closed."""

    def opened() -> tarfile.TarFile:
        if isinstance(source, (str, PathLike)):
            with Path(source).open("rb"):
                # tarfile's own error for a folder does not say which.
                pass
            return tarfile.open(source, "r|*", tarinfo=_Member)
        return tarfile.open(fileobj=source, mode="r|*", tarinfo=_Member)

    with_errors = saying_what(opened)
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


def saying_what(work: Callable[[], T]) -> Callable[[], T]:
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
    member = saying_what(tar.next)()
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
    return b"" if file is None else saying_what(file.read)()


def header(tar: tarfile.TarFile) -> dict[str, Any]:
    """The settings of the dumped bucket, which come first.

    Raises:
        InvalidDumpError: If it is no dump, or one of another version.
    """
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
class Entry:
    """An object of a dump, from its JSON, which is not trusted."""

    name: str
    path: str | None
    size: int
    sha256: str | None
    meta: ObjectMeta
    link: ObjectLink | None = field(default=None)
    ttl: Until | None = None

    @classmethod
    def read(cls, raw: dict[str, Any], member: str) -> "Entry":
        """Check what the JSON of a member says.

        Raises:
            InvalidDumpError: If it describes no object.
        """
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


@dataclass(slots=True)
class Batch:
    """The next objects of a dump.

    Attributes:
        small: Those whose content has been read.
        links: Those that are links.
        large: One whose content is next in the tar.
        count: How many they are.
        end: What the dump says behind the last object, if this is the end of it.
        failure: Why there are no more of them.
    """

    small: list[tuple[Entry, bytes]] = field(default_factory=list)
    links: list[Entry] = field(default_factory=list)
    large: tuple[Entry, tarfile.TarInfo] | None = None
    count: int = 0
    end: dict[str, Any] | None = None
    failure: InvalidDumpError | OSError | None = None


def read_batch(tar: tarfile.TarFile, behind: int) -> Batch:
    """The next objects, up to one that is too large to be read now.

    Args:
        tar: The dump.
        behind: How many have been read before.
    """
    batch = Batch()
    names: set[str] = set()
    try:
        while batch.count < TOGETHER:
            member = _next(tar)
            if member is None:
                count = behind + batch.count
                msg = f"The dump is cut off behind {count} objects: it has no end.json."
                raise InvalidDumpError(msg)
            raw = _json_of(tar, member)
            if member.name == "end.json":
                batch.end = raw
                break
            entry = Entry.read(raw, member.name)
            batch.count += 1
            if entry.link is not None:
                batch.links.append(entry)
                continue
            content = _next(tar)
            if content is None or content.name != entry.path or content.size != entry.size:
                msg = f"The dump has no content of {entry.name!r} behind {member.name!r}."
                raise InvalidDumpError(msg)
            if entry.size > DEFAULT_CHUNK_SIZE or entry.name in names:
                # A name that is there twice is put twice, one after the other.
                batch.large = entry, content
                break
            names.add(entry.name)
            batch.small.append((entry, _read(tar, content)))
    except (InvalidDumpError, OSError) as error:
        batch.failure = error
    return batch
