"""The data of an Object Store, as ADR-20 names it. Values only, no I/O."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from typing_extensions import Self

from .exceptions import InvalidBucketNameError, InvalidOptionError

__all__ = (
    "DEFAULT_CHUNK_SIZE",
    "BulkResult",
    "ObjectData",
    "ObjectInfo",
    "ObjectLink",
    "ObjectMeta",
    "ObjectMetaOptions",
    "ObjectSource",
    "ObjectStoreConfig",
    "ObjectStoreStatus",
    "Storage",
    "new_info",
    "validate_bucket_name",
)

# ADR-20's default; small enough for every server's `max_payload`.
DEFAULT_CHUNK_SIZE = 128 * 1024

Storage = Literal["file", "memory"]

_BUCKET_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)


def validate_bucket_name(bucket: object) -> str:
    """Return `bucket` if it is a bucket name of ADR-20, `[A-Za-z0-9_-]+`.

    Raises:
        InvalidBucketNameError: If it is anything else.
    """
    if not isinstance(bucket, str) or not bucket or not _BUCKET_CHARACTERS.issuperset(bucket):
        msg = (
            f"{bucket!r} is not a bucket name: use one or more of the letters A-Z and a-z, "
            "the digits, '_' and '-' (ADR-20)."
        )
        raise InvalidBucketNameError(msg, bucket=bucket if isinstance(bucket, str) else None)
    return bucket


@dataclass(frozen=True, slots=True)
class ObjectLink:
    """Where a link points: an object, or a whole bucket where `name` is `None`."""

    bucket: str
    name: str | None = None


@dataclass(frozen=True, slots=True, init=False)
class ObjectMetaOptions:
    """The options that travel in an object's metadata.

    Args:
        link: The target, where the object is a link.
        max_chunk_size: Bytes of each chunk but the last.
        chunk_size: The same, under the name that `put` has for it.

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
    """What a caller may say of an object: `put` and `update_meta` take it.

    nats-py's `nats.js.api.ObjectMeta` is accepted wherever this is.

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
class ObjectSource:
    """The version of an object that a result was made from: the result's lineage.

    A publisher keeps it in the result's metadata, under the keys in brackets.

    Attributes:
        bucket: The bucket of the source (`objstore.source.bucket`).
        name: Its name (`objstore.source.name`).
        revision: Its revision (`objstore.source.revision`).
        digest: Its digest; `None` where it has none (`objstore.source.digest`).
        created: When the source's bucket was made, as its stream says: revisions begin
            anew in a bucket that was made again (`objstore.source.created`).
        rebuild: What the publisher's `rebuild` was (`objstore.rebuild`).
    """

    bucket: str
    name: str
    revision: int
    digest: str | None = None
    created: str = ""
    rebuild: str | None = None

    @classmethod
    def read(cls, metadata: Mapping[str, str] | None) -> Self | None:
        """What an object's metadata says, or `None` if it is no result of a publisher."""
        texts = metadata or {}
        bucket, name = texts.get(_SOURCE_BUCKET), texts.get(_SOURCE_NAME)
        revision = texts.get(_SOURCE_REVISION, "")
        # Whoever may write to a bucket may write anything.
        if not bucket or not name or not re.fullmatch(r"[0-9]{1,19}", revision):
            return None
        return cls(
            bucket=bucket,
            name=name,
            revision=int(revision),
            digest=texts.get(_SOURCE_DIGEST),
            created=texts.get(_SOURCE_CREATED, ""),
            rebuild=texts.get(_REBUILD),
        )

    def as_metadata(self) -> dict[str, str]:
        """The texts that say it."""
        texts = {
            _SOURCE_BUCKET: self.bucket,
            _SOURCE_NAME: self.name,
            _SOURCE_REVISION: str(self.revision),
            _SOURCE_DIGEST: self.digest,
            _SOURCE_CREATED: self.created,
            _REBUILD: self.rebuild,
        }
        return {key: text for key, text in texts.items() if text is not None}


_SOURCE_BUCKET = "objstore.source.bucket"
_SOURCE_NAME = "objstore.source.name"
_SOURCE_REVISION = "objstore.source.revision"
_SOURCE_DIGEST = "objstore.source.digest"
_SOURCE_CREATED = "objstore.source.created"
_REBUILD = "objstore.rebuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One version of one object: what its metadata message says (ADR-20).

    Attributes:
        name: The object's name.
        bucket: The bucket it is in.
        nuid: Names the chunks of this version; empty for links and some markers.
        size: Bytes of content.
        chunks: Number of chunks.
        digest: `SHA-256=` and the padded base64url digest; `None` where unknown.
        deleted: Whether this is the marker that a delete leaves.
        description: Free text.
        headers: Header values by name.
        metadata: Free text by key.
        options: The link's target, the chunk size.
        revision: Stream sequence of the metadata message; grows with each change.
        mtime: When the server stored the metadata message. What `put` returns has the
            caller's clock, because the server does not say; so it is not compared.
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

    @property
    def link(self) -> ObjectLink | None:
        """The target, where this is a link."""
        return self.options.link if self.options else None

    def is_link(self) -> bool:
        """Whether this is a link to an object or to a bucket."""
        return self.link is not None

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 of the content, 32 bytes; `None` where the digest is not known."""
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
    def source(self) -> ObjectSource | None:
        """What it was made from, where a publisher stored it for a change subscriber."""
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


# A frozen dataclass sets each field by a call of `object.__setattr__`, a third of what
# it takes to read a metadata message; these are what that calls in the end.
(
    _set_name,
    _set_bucket,
    _set_nuid,
    _set_size,
    _set_chunks,
    _set_digest,
    _set_deleted,
    _set_description,
    _set_headers,
    _set_metadata,
    _set_options,
    _set_revision,
    _set_mtime,
) = (vars(ObjectInfo)[one.name].__set__ for one in fields(ObjectInfo))


def new_info(
    name: str,
    bucket: str,
    nuid: str,
    size: int,
    chunks: int,
    digest: str | None,
    deleted: bool,
    description: str | None,
    headers: dict[str, list[str]] | None,
    metadata: dict[str, str] | None,
    options: ObjectMetaOptions | None,
    revision: int,
    mtime: datetime | None,
) -> ObjectInfo:
    """As `ObjectInfo(...)` with all fields, in their order, in a third of its time."""
    info = object.__new__(ObjectInfo)
    _set_name(info, name)
    _set_bucket(info, bucket)
    _set_nuid(info, nuid)
    _set_size(info, size)
    _set_chunks(info, chunks)
    _set_digest(info, digest)
    _set_deleted(info, deleted)
    _set_description(info, description)
    _set_headers(info, headers)
    _set_metadata(info, metadata)
    _set_options(info, options)
    _set_revision(info, revision)
    _set_mtime(info, mtime)
    return info


class ObjectData(bytes):
    """The content of an object: `bytes`, with the version it is of in `info`."""

    info: ObjectInfo

    def __new__(cls, content: bytes | bytearray | memoryview, info: ObjectInfo) -> Self:
        """Copy `content` once; every later use is without a copy."""
        data = super().__new__(cls, content)
        data.info = info
        return data

    @property
    def data(self) -> bytes:
        """The content, under the name that nats-py's result has for it."""
        return self

    def __getnewargs__(self) -> tuple[bytes, ObjectInfo]:  # type: ignore[override]
        return bytes(self), self.info

    def __repr__(self) -> str:
        return f"<ObjectData of {self.info.name!r} in {self.info.bucket!r}, {len(self)} bytes>"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What a call for many objects did; names are sorted.

    Attributes:
        done: Names of what was put, fetched, copied or restored.
        unchanged: Names of what was as it should be.
        deleted: Names of what was deleted.
        failed: What failed, by name, and why; also what was refused.
        size: Bytes of content of what was done.
    """

    done: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreConfig:
    """How a bucket is made. `None` leaves a setting to the server, and uncompared.

    Attributes:
        bucket: `[A-Za-z0-9_-]+`.
        description: Free text.
        ttl: How long objects live after their put; a number is seconds; zero is for ever.
        max_bytes: Limit of the bucket's size, bytes, metadata included; -1 is unlimited.
        storage: `"file"` or `"memory"`.
        replicas: 1 to 5, in a cluster.
        placement: `{"cluster": ..., "tags": [...]}`, as the server takes it.
        compression: S2 on disk (nats-server 2.10).
        metadata: Free text by key, on the bucket.
        keep_replaced: How long the chunks of a replaced or deleted version stay, so that
            who is reading it can finish; a number is seconds; zero is not at all.
        transactions: Whether `ObjectStore.transaction` works (nats-server 2.12).
    """

    bucket: str
    description: str | None = None
    ttl: timedelta | float | None = None
    max_bytes: int | None = None
    storage: Storage | None = None
    replicas: int | None = None
    placement: Mapping[str, Any] | None = None
    compression: bool | None = None
    metadata: Mapping[str, str] | None = None
    keep_replaced: timedelta | float | None = None
    transactions: bool | None = None

    def __post_init__(self) -> None:
        validate_bucket_name(self.bucket)

        self._check(
            self.description is None or isinstance(self.description, str),
            "description",
            "a str",
        )
        ttl = self.ttl
        if isinstance(ttl, (int, float)) and not isinstance(ttl, bool):
            # Neither infinity nor "not a number" is a timedelta; refused below.
            with suppress(OverflowError, ValueError):
                ttl = timedelta(seconds=ttl)
        if ttl is not None:
            self._check(
                isinstance(ttl, timedelta) and (not ttl or ttl >= timedelta(milliseconds=100)),
                "ttl",
                "a timedelta or seconds, 100 ms at least (the server's limit), or 0 for ever",
            )
            object.__setattr__(self, "ttl", ttl)
        keep: object = self.keep_replaced
        if isinstance(keep, (int, float)) and not isinstance(keep, bool):
            with suppress(OverflowError, ValueError):
                keep = timedelta(seconds=keep)
        if keep is not None:
            self._check(
                isinstance(keep, timedelta) and keep >= timedelta(0),
                "keep_replaced",
                "a timedelta or seconds, or 0 to keep nothing",
            )
            object.__setattr__(self, "keep_replaced", keep)
        if self.max_bytes is not None:
            self._check(
                type(self.max_bytes) is int and (self.max_bytes > 0 or self.max_bytes == -1),
                "max_bytes",
                "a positive number of bytes, or -1 for no limit",
            )
        storage = getattr(self.storage, "value", self.storage)
        self._check(storage in (None, "file", "memory"), "storage", "'file' or 'memory'")
        object.__setattr__(self, "storage", storage)
        if self.replicas is not None:
            self._check(
                type(self.replicas) is int and 1 <= self.replicas <= 5, "replicas", "1 to 5"
            )
        if self.placement is not None and not isinstance(self.placement, Mapping):
            # nats-py's `Placement`
            placement = {
                key: value
                for key in ("cluster", "tags")
                if (value := getattr(self.placement, key, None)) is not None
            }
            object.__setattr__(self, "placement", placement)
        self._check(
            self.compression is None or isinstance(self.compression, bool),
            "compression",
            "True or False",
        )
        self._check(
            self.transactions is None or isinstance(self.transactions, bool),
            "transactions",
            "True or False",
        )
        if self.metadata is not None:
            self._check(
                isinstance(self.metadata, Mapping)
                and all(
                    isinstance(k, str) and isinstance(v, str) for k, v in self.metadata.items()
                ),
                "metadata",
                "a mapping of str to str",
            )

    def _check(self, holds: bool, option: str, wanted: str) -> None:
        if not holds:
            msg = (
                f"Bucket '{self.bucket}': {option} must be {wanted}, got "
                f"{getattr(self, option)!r}."
            )
            raise InvalidOptionError(msg, bucket=self.bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreStatus:
    """A bucket at one moment.

    Attributes:
        bucket: Its name.
        description: Free text.
        ttl: How long objects live; `None` is for ever.
        storage: `"file"` or `"memory"`.
        replicas: Copies in the cluster.
        sealed: Whether it is read-only for ever.
        size: Bytes stored, metadata and headers included.
        count: Live objects and links; deleted ones are left out. `None` if they were not
            counted.
        backing_store: `"JetStream"`, or `"memory"` in test mode.
        compressed: Whether it is compressed on disk.
        metadata: Free text by key, the server's own `_nats.` keys left out.
        max_bytes: Limit of `size`; `None` is unlimited.
        keep_replaced: How long the chunks of replaced versions stay; `None` is not at all.
        transactions: Whether `ObjectStore.transaction` works.
    """

    bucket: str
    description: str | None
    ttl: timedelta | None
    storage: Storage
    replicas: int
    sealed: bool
    size: int
    count: int | None
    backing_store: str
    compressed: bool
    metadata: dict[str, str]
    max_bytes: int | None = None
    keep_replaced: timedelta | None = None
    transactions: bool = False

    @property
    def storage_type(self) -> Storage:
        """`storage`, under the name that nats-py has for it."""
        return self.storage
