"""An object, in the terms of ADR-20. Values only, no I/O."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ..exceptions import InvalidOptionError

if TYPE_CHECKING:
    from .sources import ObjectSource

__all__ = (
    "DEFAULT_CHUNK_SIZE",
    "ObjectData",
    "ObjectInfo",
    "ObjectLink",
    "ObjectMeta",
    "ObjectMetaOptions",
    "new_info",
)

# ADR-20's default; small enough for every server's `max_payload`.
DEFAULT_CHUNK_SIZE = 128 * 1024


@dataclass(frozen=True, slots=True)
class ObjectLink:
    """Where a link points: an object, or a whole bucket where `name` is `None`."""

    bucket: str
    name: str | None = None


@dataclass(frozen=True, slots=True, init=False)
class ObjectMetaOptions:
    """The options that travel in an object's metadata.

    Args:
        link: The target, if the object is a link.
        max_chunk_size: Bytes of each chunk but the last.
        chunk_size: The same, under the name that `put` uses.

    Raises:
        InvalidOptionError: If both sizes are given, and differ.
    """

    link: ObjectLink | None = None
    max_chunk_size: int | None = None

    def __init__(
        self,
        link: ObjectLink | None = None,
        max_chunk_size: int | None = None,
        *,
        chunk_size: int | None = None,
    ) -> None:
        if None not in {max_chunk_size, chunk_size} and max_chunk_size != chunk_size:
            msg = (
                "max_chunk_size and chunk_size of ObjectMetaOptions mean the same; got "
                f"{max_chunk_size!r} and {chunk_size!r}."
            )
            raise InvalidOptionError(msg)
        object.__setattr__(self, "link", link)
        size = chunk_size if max_chunk_size is None else max_chunk_size
        object.__setattr__(self, "max_chunk_size", size)

    @property
    def chunk_size(self) -> int | None:
        """Bytes of each chunk but the last."""
        return self.max_chunk_size


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a caller can set on an object; the argument of `put` and `update_meta`.

    nats-py's `nats.js.api.ObjectMeta` is accepted wherever this class is.

    Attributes:
        name: The object's name; `put` uses its own argument.
        description: Free text.
        headers: Header values by name; one value, or several.
        options: A link, a chunk size in bytes.
        metadata: Free text by key.
    """

    name: str | None = None
    description: str | None = None
    headers: Mapping[str, str | list[str]] | None = None
    options: ObjectMetaOptions | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One version of one object, as its metadata message describes it (ADR-20).

    Attributes:
        name: The object's name.
        bucket: The bucket that it is in.
        nuid: Names the chunks of this version; empty for links and some markers.
        size: Bytes of content.
        chunks: Number of chunks.
        digest: `SHA-256=` and the padded base64url digest; `None` where unknown.
        deleted: Whether this is the marker that a delete leaves.
        description: Free text.
        headers: Header values by name.
        metadata: Free text by key.
        options: The link's target, the chunk size.
        revision: Stream sequence of the metadata message; it grows with each change.
        expired: Whether this is the marker of an object that has expired; `deleted` is true
            too.
        expires: When the object expires, if it was put with a `ttl`; by the server's clock. As
            with `mtime`, it is close to that in the result of `put`, and is not compared.
        mtime: When the server stored the metadata message. The server's reply to a write has
            no time, so the result of `put` has what the server's clock says according to an
            earlier reply, which may differ a little; so it is not compared.
    """

    name: str
    bucket: str
    nuid: str = ""
    size: int = 0
    chunks: int = 0
    digest: str | None = None
    deleted: bool = False
    description: str | None = None
    headers: dict[str, list[str]] | None = field(default=None, hash=False)
    metadata: dict[str, str] | None = field(default=None, hash=False)
    options: ObjectMetaOptions | None = None
    revision: int = 0
    mtime: datetime | None = field(default=None, compare=False)
    expired: bool = False
    expires: datetime | None = field(default=None, compare=False)

    @property
    def link(self) -> ObjectLink | None:
        """The target, if this is a link."""
        return self.options.link if self.options else None

    def is_link(self) -> bool:
        """Whether this is a link to an object or to a bucket."""
        return self.link is not None

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 of the content, 32 bytes; `None` if the digest is not known."""
        kind, _, text = (self.digest or "").partition("=")
        if kind != "SHA-256":
            return None
        # Clients disagree about the alphabet and the padding.
        text = text.rstrip("=").replace("+", "-").replace("/", "_")
        try:
            digest = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        return digest if len(digest) == 32 else None

    @property
    def hexdigest(self) -> str | None:
        """The SHA-256 of the content as `sha256sum` prints it; `None` if it is not known."""
        digest = self.sha256
        return None if digest is None else digest.hex()

    @property
    def source(self) -> "ObjectSource | None":
        """What it was made from, if a publisher stored it for a change subscriber."""
        from .sources import ObjectSource  # noqa: PLC0415 - see `models/__init__.py`

        return ObjectSource.read(self.metadata)

    @property
    def meta(self) -> ObjectMeta:
        """The part of it that `update_meta` can change."""
        return ObjectMeta(
            name=self.name,
            description=self.description,
            headers=dict(self.headers) if self.headers else None,
            options=self.options,
            metadata=self.metadata,
        )


class _Draft:
    """An `ObjectInfo` that is not frozen yet."""

    # The same slots, so that it can become one.
    __slots__ = tuple(one.name for one in fields(ObjectInfo))


def new_info(
    name: str,
    bucket: str,
    nuid: str = "",
    size: int = 0,
    chunks: int = 0,
    digest: str | None = None,
    deleted: bool = False,
    description: str | None = None,
    headers: dict[str, list[str]] | None = None,
    metadata: dict[str, str] | None = None,
    options: ObjectMetaOptions | None = None,
    revision: int = 0,
    mtime: datetime | None = None,
    expired: bool = False,
    expires: datetime | None = None,
) -> ObjectInfo:
    """Equivalent to `ObjectInfo(...)` with the fields in order, in a seventh of the time."""
    # A frozen dataclass sets each field by calling `object.__setattr__`, which would take a
    # third of the time that it takes to read a metadata message.
    draft: Any = object.__new__(_Draft)
    draft.name = name
    draft.bucket = bucket
    draft.nuid = nuid
    draft.size = size
    draft.chunks = chunks
    draft.digest = digest
    draft.deleted = deleted
    draft.description = description
    draft.headers = headers
    draft.metadata = metadata
    draft.options = options
    draft.revision = revision
    draft.mtime = mtime
    draft.expired = expired
    draft.expires = expires
    draft.__class__ = ObjectInfo
    info: ObjectInfo = draft
    return info


class ObjectData(bytes):
    """The content of an object: `bytes`, with its version in `info`."""

    info: ObjectInfo

    def __new__(cls, content: bytes | bytearray | memoryview, info: ObjectInfo) -> Self:
        """Copy `content` once; later uses do not copy it again."""
        data = super().__new__(cls, content)
        data.info = info
        return data

    @property
    def data(self) -> bytes:
        """The content, under the name that nats-py's result uses."""
        return self

    def __getnewargs__(self) -> tuple[bytes, ObjectInfo]:  # type: ignore[override]
        return bytes(self), self.info

    def __repr__(self) -> str:
        return f"<ObjectData of {self.info.name!r} in {self.info.bucket!r}, {len(self)} bytes>"
