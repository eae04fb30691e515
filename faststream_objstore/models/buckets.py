"""The settings of a bucket. Values only, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from ..exceptions import InvalidOptionError
from .durations import as_timedelta
from .mirrors import Mirror, validate_mirrors
from .names import validate_bucket_name

__all__ = ("MOST_TTL", "ObjectStoreConfig", "Storage")

Storage = Literal["file", "memory"]

MOST_TTL = timedelta(days=100 * 365)
"""The longest `ttl` of one object; the server counts nanoseconds, in 63 bits."""
# What `object_ttl=True` means.
_OBJECT_TTL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreConfig:
    """The settings of a bucket. `None` leaves a setting to the server, and is not compared.

    Attributes:
        bucket: `[A-Za-z0-9_-]+`.
        description: Free text.
        ttl: How long objects live after their put; a number is in seconds; zero is for ever.
        max_bytes: The maximum size of the bucket in bytes, metadata included; -1 is unlimited.
        storage: `"file"` or `"memory"`.
        replicas: 1 to 5, in a cluster.
        placement: `{"cluster": ..., "tags": [...]}`, in the server's format.
        compression: S2 on disk (nats-server 2.10).
        metadata: Free text by key, on the bucket.
        keep_replaced: How long the chunks of a replaced or deleted version are kept, so that
            its readers can finish; a number is in seconds; zero does not keep them.
        transactions: Whether `ObjectStore.transaction` works (nats-server 2.12).
        object_ttl: Whether `put` takes a `ttl`, and expirations are reported (nats-server
            2.11). A `timedelta`, or seconds, is the least `ttl`, and how long the marker of
            an expired object stays; `True` is a minute.
        mirror: The bucket that it follows; it can then only be read (nats-server 2.10).
        sources: Several buckets that it follows; it can then only be read (nats-server 2.10).
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
    object_ttl: timedelta | float | bool | None = None
    mirror: Mirror | None = None
    sources: Sequence[Mirror] | None = None

    def __post_init__(self) -> None:
        validate_bucket_name(self.bucket)

        self._check(
            self.description is None or isinstance(self.description, str),
            "description",
            "a str",
        )
        ttl = as_timedelta(self.ttl)
        if ttl is not None:
            self._check(
                isinstance(ttl, timedelta) and (not ttl or ttl >= timedelta(milliseconds=100)),
                "ttl",
                "a timedelta or seconds, 100 ms at least (the server's limit), or 0 for ever",
            )
            object.__setattr__(self, "ttl", ttl)
        keep = as_timedelta(self.keep_replaced)
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
        self._check_object_ttl()
        sources = validate_mirrors(self.bucket, self.mirror, self.sources)
        object.__setattr__(self, "sources", sources)
        if self.origins and (self.transactions or self.keep_replaced or self.object_ttl):
            msg = (
                f"Bucket '{self.bucket}': transactions, keep_replaced and object_ttl are "
                "settings of the bucket that is written to; declare them for the origin."
            )
            raise InvalidOptionError(msg, bucket=self.bucket)
        if self.metadata is not None:
            self._check(
                isinstance(self.metadata, Mapping)
                and all(
                    isinstance(k, str) and isinstance(v, str) for k, v in self.metadata.items()
                ),
                "metadata",
                "a mapping of str to str",
            )

    def _check_object_ttl(self) -> None:
        given = as_timedelta(self.object_ttl)
        if isinstance(given, bool):
            given = _OBJECT_TTL if given else timedelta(0)
        if given is not None:
            self._check(
                isinstance(given, timedelta)
                and given % timedelta(seconds=1) == timedelta(0)
                and timedelta(0) <= given <= MOST_TTL,
                "object_ttl",
                "True (a minute), False or 0 (no ttl), or whole seconds from 1, as a number "
                "or a timedelta",
            )
            object.__setattr__(self, "object_ttl", given)

    @property
    def origins(self) -> tuple[Mirror, ...]:
        """The buckets that it follows; none for a bucket that can be written to."""
        return (self.mirror,) if self.mirror is not None else tuple(self.sources or ())

    def _check(self, holds: bool, option: str, wanted: str) -> None:
        if not holds:
            msg = (
                f"Bucket '{self.bucket}': {option} must be {wanted}, got "
                f"{getattr(self, option)!r}."
            )
            raise InvalidOptionError(msg, bucket=self.bucket)
