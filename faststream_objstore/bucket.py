"""`Bucket`: the declaration of a bucket, and the decorators that react to its objects."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faststream.nats import NatsRouter

from faststream_objstore._faststream import register
from faststream_objstore.backends.origins import read_only
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.retry import Retry, seconds_of
from faststream_objstore.exceptions import (
    BucketInUseError,
    InvalidOptionError,
)
from faststream_objstore.models import (
    Mirror,
    ObjectStoreConfig,
    Storage,
    validate_bucket_name,
)

if TYPE_CHECKING:
    from faststream_objstore.changes.subscriber import Attachment, ChangeSubscriber
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
_RETRY = Retry()


class Bucket:
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

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.config.bucket

    def on_put(
        self,
        pattern: str = "**",
        *,
        durable: str | None = None,
        replay: bool = False,
        max_workers: int = 1,
        retry: Retry | None = _RETRY,
        dead_letter: str | None = None,
        ack_wait: float | timedelta = 30.0,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
        dependencies: Iterable[Any] = (),
        no_reply: bool = False,
    ) -> "ChangeSubscriber":
        """Decorate a function that is called with the `ObjectInfo` when an object is put.

        Delivery is at least once, with the latest state of each object: two puts of the
        same name while the consumer is behind lead to one call, with the newest version.

        Args:
            pattern: Which objects, by name: `*` matches within a `/` segment, `**` across
                segments; `{user}` captures a part of a segment for FastStream's `Path()`,
                `{rest:path}` across segments. Every other character matches itself.
            durable: The name of a consumer that all replicas share: each change is handled
                by one of them, acknowledged after the handler returns, and a restarted
                service resumes where it stopped. Without it, every replica receives every
                change that is made while it runs.
            replay: Whether to start with the objects that already exist.
            max_workers: How many handlers may run at once in this process; never two for
                the same object.
            retry: When to call a failed handler again; `None` means never.
            dead_letter: The subject on which to publish a change whose last attempt has
                failed, as JSON with `bucket`, `object`, `durable`, `error` and `attempts`.
            ack_wait: After how long without a sign of life another replica receives the
                change, in seconds or as a `timedelta`. Renewed while the handler runs.
            title: The title in AsyncAPI.
            description: The description in AsyncAPI; the function's docstring if not given.
            include_in_schema: Whether to include it in the AsyncAPI document.
            dependencies: FastStream `Depends(...)` to run before the handler.
            no_reply: Whether not to reply to requests.

        Returns:
            The subscriber, which is also the decorator.

        Raises:
            InvalidPatternError: If the pattern is malformed.
            InvalidOptionError: If another option is invalid.

        Example:
            ```python
            @photos.on_put("{user}/*.png", durable="thumbnailer", max_workers=4)
            async def make_thumbnail(photo: ObjectInfo, user: Annotated[str, Path()]) -> None:
                print(f"{user} uploaded {photo.name}")
            ```
        """
        return self._subscriber(
            ChangeOptions(
                bucket=self.name,
                event="put",
                pattern=pattern,
                durable=durable,
                replay=replay,
                max_workers=max_workers,
                retry=retry,
                dead_letter=dead_letter,
                ack_wait=ack_wait,
            ),
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            dependencies=dependencies,
            no_reply=no_reply,
        )

    def on_delete(
        self,
        pattern: str = "**",
        *,
        durable: str | None = None,
        replay: bool = False,
        max_workers: int = 1,
        retry: Retry | None = _RETRY,
        dead_letter: str | None = None,
        ack_wait: float | timedelta = 30.0,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
        dependencies: Iterable[Any] = (),
        no_reply: bool = False,
    ) -> "ChangeSubscriber":
        """Decorate a function that is called when an object is deleted.

        It takes the same arguments as `on_put`. The `ObjectInfo` is that of the delete
        marker: it has a name and a revision, and its `deleted` is true. Objects that expire
        are reported to `on_expire`, not here.
        """
        return self._subscriber(
            ChangeOptions(
                bucket=self.name,
                event="delete",
                pattern=pattern,
                durable=durable,
                replay=replay,
                max_workers=max_workers,
                retry=retry,
                dead_letter=dead_letter,
                ack_wait=ack_wait,
            ),
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            dependencies=dependencies,
            no_reply=no_reply,
        )

    def on_expire(
        self,
        pattern: str = "**",
        *,
        durable: str | None = None,
        replay: bool = False,
        max_workers: int = 1,
        retry: Retry | None = _RETRY,
        dead_letter: str | None = None,
        ack_wait: float | timedelta = 30.0,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
        dependencies: Iterable[Any] = (),
        no_reply: bool = False,
    ) -> "ChangeSubscriber":
        """Decorate a function that is called when an object expires.

        The bucket must have `object_ttl`. It takes the same arguments as `on_put`. The
        `ObjectInfo` has a name and a revision, and its `expired` and `deleted` are true; the
        object's content and metadata are gone.

        Objects expire by the `ttl` of their `put`, or by that of the bucket. A durable that is
        away for longer than the bucket's `object_ttl` misses what expires meanwhile, and a
        handler that fails is called again for as long only.

        Raises:
            InvalidOptionError: If the bucket is declared here without `object_ttl`, or if
                another option is invalid.

        Example:
            ```python
            uploads = Bucket("uploads", object_ttl=timedelta(hours=1))


            @uploads.on_expire("{user}/**", durable="cleaner")
            async def expired(info: ObjectInfo, user: Annotated[str, Path()]) -> None:
                print(f"{info.name} of {user} was never collected")
            ```
        """
        self._require_object_ttl("on_expire")
        return self._subscriber(
            ChangeOptions(
                bucket=self.name,
                event="expire",
                pattern=pattern,
                durable=durable,
                replay=replay,
                max_workers=max_workers,
                retry=retry,
                dead_letter=dead_letter,
                ack_wait=ack_wait,
            ),
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            dependencies=dependencies,
            no_reply=no_reply,
        )

    def on_change(
        self,
        pattern: str = "**",
        *,
        durable: str | None = None,
        replay: bool = False,
        max_workers: int = 1,
        retry: Retry | None = _RETRY,
        dead_letter: str | None = None,
        ack_wait: float | timedelta = 30.0,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
        dependencies: Iterable[Any] = (),
        no_reply: bool = False,
    ) -> "ChangeSubscriber":
        """Decorate a function that is called when an object is put or deleted, or expires.

        It takes the same arguments as `on_put`; `info.deleted` and `info.expired` tell them
        apart. Expirations are reported in buckets with `object_ttl`; then both are true.
        """
        return self._subscriber(
            ChangeOptions(
                bucket=self.name,
                event="change",
                pattern=pattern,
                durable=durable,
                replay=replay,
                max_workers=max_workers,
                retry=retry,
                dead_letter=dead_letter,
                ack_wait=ack_wait,
            ),
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            dependencies=dependencies,
            no_reply=no_reply,
        )

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

        if ttl:
            self._require_object_ttl("publisher(ttl=...)")
        if self.config.origins:
            raise read_only(self.name, self.config.origins)
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

    def _require_object_ttl(self, what: str) -> None:
        if self.declare and not self.config.object_ttl:
            msg = (
                f"Bucket '{self.name}': {what} takes a bucket with object_ttl; declare "
                f"Bucket('{self.name}', object_ttl=True), which takes nats-server 2.11."
            )
            raise InvalidOptionError(msg, bucket=self.name)

    def _subscriber(
        self, options: ChangeOptions, *, dependencies: Iterable[Any], **shown: Any
    ) -> "ChangeSubscriber":
        # Imported late: services without change handlers do not need it.
        from faststream_objstore.changes.subscriber import ChangeSubscriber  # noqa: PLC0415

        subscriber = ChangeSubscriber(self, options, **shown)
        register(self.router, subscriber, dependencies=dependencies)
        self.subscribers.append(subscriber)
        return subscriber


def name_of(bucket: str | Bucket) -> str:
    """Return the name of a bucket that is given by name or as a declaration.

    Raises:
        InvalidBucketNameError: If the name is not a valid bucket name.
    """
    return bucket.name if isinstance(bucket, Bucket) else validate_bucket_name(bucket)
