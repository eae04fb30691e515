"""`Bucket`: the declaration of a bucket, and the decorators that react to its objects."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faststream.nats import NatsRouter

from faststream_objstore.backends.origins import read_only
from faststream_objstore.changes.decorators import ChangeDecorators
from faststream_objstore.changes.retry import seconds_of
from faststream_objstore.exceptions import (
    BucketInUseError,
    InvalidOptionError,
)
from faststream_objstore.models import (
    Mirror,
    ObjectStoreConfig,
    Storage,
    as_timedelta,
    validate_bucket_name,
)

if TYPE_CHECKING:
    from faststream_objstore.changes.attached import Attachment
    from faststream_objstore.changes.options import ChangeOptions
    from faststream_objstore.changes.subscriber import ChangeSubscriber
    from faststream_objstore.publishers.publisher import ObjectPublisher

__all__ = ("Bucket", "name_of")

# FastStream's own, which a global of the same name would hide.
_TAKEN_KEYS = frozenset(
    {
        "app",
        "broker",
        "context",
        "handler_",
        "log_context",
        "logger",
        "message",
        "buckets",
    }
)


class Bucket(ChangeDecorators):
    """The declaration of a bucket. Made at import time; no broker is needed yet.

    It takes effect when it is passed to `Buckets(broker, ...)`: each time the broker
    connects, the bucket is created if it is missing, and compared with the declaration
    otherwise.

    Args:
        name: The bucket's name, `[A-Za-z0-9_-]+`.
        description: Free text.
        ttl: How long objects live after they were put, as a `timedelta` or in seconds; 0
            means for ever.
        max_bytes: The bucket's maximum size in bytes; -1 means unlimited.
        storage: `"file"` or `"memory"`.
        replicas: The number of copies in a cluster, 1 to 5.
        placement: `{"cluster": ..., "tags": [...]}`.
        compression: Whether to compress on disk.
        metadata: Free text by key.
        keep_replaced: How long the chunks of a replaced or deleted version are kept, so that
            downloads in progress can finish, as a `timedelta` or in seconds; 0 means not at
            all.
        transactions: Whether to enable `ObjectStore.transaction` (nats-server 2.12).
        object_ttl: Whether to enable the `ttl` of `put`, and `on_expire` (nats-server 2.11);
            it cannot be disabled again. A `timedelta`, or a number of seconds, is the least
            `ttl`, and how long an expiration can still be delivered to a subscriber that was
            away; `True` is a minute.
        mirror: The bucket that it follows, perhaps in another domain. It can then only be
            read, and every way of reading works on it (nats-server 2.10).
        sources: Several buckets that it follows; it can then only be read.
        declare: Create the bucket if it is missing, and compare an existing bucket with the
            settings given here. With `False` it is only bound, and must exist.
        update: Apply differences to an existing bucket instead of refusing to start.
        context_key: The key in FastStream's context; the bucket's name if not given.
        timeout: How many seconds one step (a request, a chunk) may take. If not given, the
            broker's `js_options["timeout"]`, or else 10.
        lane: Whether a second connection to NATS may be opened, with the broker's own
            options, while there is much traffic: large objects, or many small ones, are
            then faster. It is closed when it is idle.

    Raises:
        InvalidBucketNameError: If the name is not a valid bucket name.
        InvalidOptionError: If a setting is invalid.

    Example:
        ```python
        photos = Bucket("photos", ttl=timedelta(days=30), max_bytes=10 * 1024**3)


        @photos.on_put("*.png")
        async def added(photo: ObjectInfo) -> None: ...


        broker = NatsBroker()
        buckets = Buckets(broker, photos)
        ```
    """

    def __init__(
        self,
        name: str,
        *,
        description: str | None = None,
        ttl: timedelta | float | None = None,
        max_bytes: int | None = None,
        storage: Storage | None = None,
        replicas: int | None = None,
        placement: Mapping[str, Any] | None = None,
        compression: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        keep_replaced: timedelta | float | None = None,
        transactions: bool | None = None,
        object_ttl: timedelta | float | bool | None = None,
        mirror: Mirror | None = None,
        sources: Sequence[Mirror] | None = None,
        declare: bool = True,
        update: bool = False,
        context_key: str | None = None,
        timeout: float | None = None,
        lane: bool = True,
    ) -> None:
        self.config: ObjectStoreConfig = ObjectStoreConfig(
            bucket=name,
            description=description,
            ttl=ttl,
            max_bytes=max_bytes,
            storage=storage,
            replicas=replicas,
            placement=placement,
            compression=compression,
            metadata=metadata,
            keep_replaced=keep_replaced,
            transactions=transactions,
            object_ttl=object_ttl,
            mirror=mirror,
            sources=sources,
        )
        self.declare: bool = declare
        self.update: bool = update
        self.context_key: str = name if context_key is None else context_key
        seconds = None if timeout is None else seconds_of(timeout)
        if not isinstance(self.context_key, str) or not self.context_key:
            msg = f"Bucket '{name}': context_key must be a non-empty str, got {context_key!r}."
            raise InvalidOptionError(msg, bucket=name)
        if self.context_key in _TAKEN_KEYS:
            msg = (
                f"Bucket '{name}': {self.context_key!r} is already used in FastStream's "
                "context; choose another context_key."
            )
            raise InvalidOptionError(msg, bucket=name)
        if update and not declare:
            msg = (
                f"Bucket '{name}': update=True has no effect with declare=False; remove one "
                "of them."
            )
            raise InvalidOptionError(msg, bucket=name)
        if timeout is not None and (seconds is None or not 0 < seconds < 1e9):
            msg = (
                f"Bucket '{name}': timeout must be a positive number of seconds, got "
                f"{timeout!r}."
            )
            raise InvalidOptionError(msg, bucket=name)
        self.timeout: float | None = seconds
        self.lane: bool = lane
        self.router: NatsRouter = NatsRouter()
        self.subscribers: list[ChangeSubscriber] = []
        self.publishers: list[ObjectPublisher] = []
        self.attachment: Attachment | None = None
        """The `Buckets` that it belongs to, which sets this."""

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    def publisher(
        self,
        name: str,
        *,
        follow: bool = True,
        rebuild: str | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        chunk_size: int | None = None,
        ttl: timedelta | float | None = None,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
    ) -> "ObjectPublisher":
        """Decorate a handler to store what it returns as an object of this bucket.

        The handler may return bytes, a `str`, a `Path`, a binary file, an iterator of bytes
        (or be a generator of bytes itself), or anything that FastStream can encode. `None`
        stores nothing. In a change subscriber, the result of a newer source is never
        replaced by that of an older one, and a redelivered change whose result already
        exists is not handled again.

        Args:
            name: The object's name. `{user}` is filled in from the message's `Path()`
                values; `{{` and `}}` are literal braces.
            follow: With `on_put` and `on_change`: whether to delete an object's result when
                the object is deleted or renamed.
            rebuild: A version that is stored with each result. Results with a different
                value count as missing, so that `replay=True` makes them again.
            content_type: The content type; derived from the result and the name if not
                given.
            headers: Headers for each object.
            metadata: Free text by key for each object.
            chunk_size: The size of a chunk in bytes; see `ObjectStore.put`.
            ttl: How long each object lives; the bucket must have `object_ttl`.
            title: The title in AsyncAPI.
            description: The description in AsyncAPI.
            include_in_schema: Whether to include it in the AsyncAPI document.

        Returns:
            The publisher, which is also the decorator.

        Raises:
            InvalidPatternError, InvalidObjectNameError: If the name is malformed.
            InvalidOptionError: If another option is invalid.
            BucketReadOnlyError: If the bucket follows another one.

        Example:
            ```python
            @photos.on_put("{user}/{stem}.png", durable="thumbnailer")
            @thumbs.publisher("{user}/{stem}.webp")
            async def thumbnail(image: Annotated[bytes, FromObject()]) -> bytes: ...
            ```
        """
        # Imported late: services without publishers do not need it.
        from faststream_objstore.publishers.publisher import ObjectPublisher  # noqa: PLC0415

        if self.config.origins:
            raise read_only(self.name, self.config.origins)
        if ttl:
            self._require_object_ttl("publisher(ttl=...)")
        publisher = ObjectPublisher(
            self,
            name,
            follow=follow,
            rebuild=rebuild,
            content_type=content_type,
            headers=headers,
            metadata=metadata,
            chunk_size=chunk_size,
            ttl=ttl,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
        )
        least, given = self.config.object_ttl, as_timedelta(ttl)
        if (
            isinstance(least, timedelta)
            and isinstance(given, timedelta)
            and timedelta(0) < given < least
        ):
            msg = (
                f"{publisher.declaration}: a ttl of {given} is less than the object_ttl of "
                f"{least}, which is the least that objects of the bucket can have."
            )
            raise InvalidOptionError(msg, bucket=self.name)
        self.publishers.append(publisher)
        return publisher

    def require_distinct_durables(self) -> None:
        """Refuse two subscribers with the same durable: each would miss changes.

        Raises:
            BucketInUseError: If two have the same durable name.
        """
        seen: dict[str, ChangeOptions] = {}
        for subscriber in self.subscribers:
            options = subscriber.options
            if options.durable is None:
                continue
            if other := seen.get(options.durable):
                msg = (
                    f"Bucket '{self.name}': on_{other.event}({other.pattern!r}) and "
                    f"on_{options.event}({options.pattern!r}) have the same "
                    f"durable={options.durable!r}, so each would miss changes. "
                    "Give each its own durable name, or combine them into one on_change."
                )
                raise BucketInUseError(msg, bucket=self.name)
            seen[options.durable] = options


def name_of(bucket: str | Bucket) -> str:
    """Return the name of a bucket that is given by name or as a declaration.

    Raises:
        InvalidBucketNameError: If the name is not a valid bucket name.
    """
    return bucket.name if isinstance(bucket, Bucket) else validate_bucket_name(bucket)
