"""The state of a bucket. Values only, no I/O."""

from dataclasses import dataclass
from datetime import timedelta

from .buckets import Storage
from .mirrors import Mirror

__all__ = ("ObjectStoreStatus",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreStatus:
    """The state of a bucket at one moment.

    Attributes:
        bucket: Its name.
        description: Free text.
        ttl: How long objects live; `None` is for ever.
        storage: `"file"` or `"memory"`.
        replicas: Copies in the cluster.
        sealed: Whether it is permanently read-only.
        size: Bytes stored, metadata and headers included.
        count: The number of live objects and links, without deleted ones. `None` if they
            were not counted.
        backing_store: `"JetStream"`, or `"memory"` in test mode.
        compressed: Whether it is compressed on disk.
        metadata: Free text by key, without the server's own `_nats.` keys.
        max_bytes: Limit of `size`; `None` is unlimited.
        keep_replaced: How long the chunks of replaced versions are kept; `None` if they are
            not.
        transactions: Whether `ObjectStore.transaction` works.
        object_ttl: The least `ttl` of an object, and how long the marker of an expired one
            stays; `None` if objects have no `ttl` of their own.
        origins: The buckets that it follows; then it can only be read.
        lag: How many messages (chunks, and metadata) it is behind its origins, at most.
            `None` if that cannot be learned, because an origin is out of reach, or if it
            follows no bucket.
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
    object_ttl: timedelta | None = None
    origins: tuple[Mirror, ...] = ()
    lag: int | None = None

    @property
    def storage_type(self) -> Storage:
        """`storage`, under the name that nats-py gives it."""
        return self.storage
