"""`Bucket`: the declaration of a bucket, and the decorators that react to its objects."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faststream.nats import NatsRouter

from faststream_objstore._faststream import register
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.retry import Retry, seconds_of
from faststream_objstore.exceptions import (
    BucketInUseError,
    BucketNotDeclaredError,
    InvalidOptionError,
)
from faststream_objstore.models import ObjectStoreConfig, Storage, validate_bucket_name

if TYPE_CHECKING:
    from faststream_objstore.changes.subscriber import Attachment, ChangeSubscriber
    from faststream_objstore.publishers.publisher import ObjectPublisher

__all__ = ("TAKEN_OVER", "Bucket", "name_of", "not_declared")

TAKEN_OVER = (
    "it was taken over by another Buckets, because a Bucket belongs to one Buckets at a "
    "time. Use that one, or declare a Bucket for each."
)

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


def not_declared(
    bucket: str, declared: Iterable[str], *, taken_over: bool = False
) -> BucketNotDeclaredError:
    """The error for a bucket that is not among the declared ones.

    Args:
        bucket: Its name.
        declared: The declared ones.
        taken_over: Whether it was, before another `Buckets` took it.
    """
    if taken_over:
        msg = f"Bucket '{bucket}' is not declared here any more: {TAKEN_OVER}"
        return BucketNotDeclaredError(msg, bucket=bucket)
    listed = ", ".join(f"'{one}'" for one in sorted(declared)) or "none"
    msg = (
        f"Bucket '{bucket}' is not declared here (declared: {listed}). Pass "
        f"Bucket({bucket!r}) to the Buckets(broker, ...) of this broker."
    )
    return BucketNotDeclaredError(msg, bucket=bucket)


class Bucket:
    """A bucket as a service wants it. Made at import time; needs no broker yet.

    It comes to life when it is passed to `Buckets(broker, ...)`: the bucket is then
    created, or compared with the one that exists, each time the broker connects.

    Args:
        name: `[A-Za-z0-9_-]+`.
        description: Free text.
        ttl: How long objects live after their put; a number is seconds; 0 is for ever.
        max_bytes: Limit of the bucket's size, bytes; -1 is unlimited.
        storage: `"file"` or `"memory"`.
        replicas: 1 to 5, in a cluster.
        placement: `{"cluster": ..., "tags": [...]}`.
        compression: Compress on disk.
        metadata: Free text by key.
        keep_replaced: How long the chunks of a replaced or deleted version stay, so that
            downloads that are under way can finish; a number is seconds; 0 is not at all.
        transactions: Have `ObjectStore.transaction`, which takes nats-server 2.12.
        declare: Create it if it is missing, and compare what is named here with the one
            that exists. With `False` it is only bound, and must exist.
        update: Apply differences to an existing bucket instead of refusing to start.
        context_key: The key in FastStream's context; the bucket's name if not given.
        timeout: Seconds that one step may take: a request, a chunk. The broker's
            `js_options["timeout"]` if not given, and 10 if there is none either.
        lane: Whether a second connection to NATS may be opened, with the broker's own
            options, while much is transferred: from 8 MiB on it makes reads nearly twice
            as fast. It is closed when it is idle.

    Raises:
        InvalidBucketNameError: If the name cannot be a bucket's.
        InvalidOptionError: If a setting cannot work.
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
        )
        self.declare: bool = declare
        self.update: bool = update
        self.context_key: str = name if context_key is None else context_key
        seconds = None if timeout is None else seconds_of(timeout)
        if not isinstance(self.context_key, str) or not self.context_key:
            msg = f"Bucket '{name}': context_key={context_key!r} cannot work; give a name."
            raise InvalidOptionError(msg, bucket=name)
        if self.context_key in _TAKEN_KEYS:
            msg = (
                f"Bucket '{name}': {self.context_key!r} means something else in FastStream's "
                "context; give another context_key."
            )
            raise InvalidOptionError(msg, bucket=name)
        if update and not declare:
            msg = (
                f"Bucket '{name}': update=True has nothing to apply with declare=False; drop "
                "one of them."
            )
            raise InvalidOptionError(msg, bucket=name)
        if timeout is not None and (seconds is None or not 0 < seconds < 1e9):
            msg = f"Bucket '{name}': timeout={timeout!r} cannot work; give positive seconds."
            raise InvalidOptionError(msg, bucket=name)
        self.timeout: float | None = seconds
        self.lane: bool = lane
        self.router: NatsRouter = NatsRouter()
        self.subscribers: list[ChangeSubscriber] = []
        self.publishers: list[ObjectPublisher] = []
        self.attachment: Attachment | None = None
        """The `Buckets` that it belongs to; set by that."""

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
        """Decorate a function: it runs with the `ObjectInfo` when an object is put.

        At least once, latest state for each object: two puts of one name while the
        consumer is behind give one call, with the newest.

        Args:
            pattern: Which objects, by name: `*` within a `/` segment, `**` across,
                `{user}` a part of a segment into FastStream's `Path()`, `{rest:path}`
                across segments. Every other character is itself.
            durable: Name of a consumer that all replicas share: each change is handled by
                one of them, acknowledged after the handler returns, and a restarted
                service goes on where it stopped. Without it, every replica gets every
                change from its start on.
            replay: Begin with the objects that are there already (`False`).
            max_workers: Handlers at a time in this process, never two of one object (1).
            retry: When a failed handler is called again (`Retry()`); `None`: never.
            dead_letter: Where to publish a change whose last attempt has failed:
                JSON with `bucket`, `object`, `durable`, `error` and `attempts`.
            ack_wait: After how many seconds (or what `timedelta`) without a sign of life
                another replica gets the change (30). Renewed while the handler runs.
            title: AsyncAPI's title.
            description: AsyncAPI's description; the function's docstring if not given.
            include_in_schema: Whether AsyncAPI shows it (`True`).
            dependencies: FastStream's `Depends(...)` to run before the handler.
            no_reply: Not to answer requests (`False`).

        Raises:
            InvalidPatternError: If the pattern is malformed.
            InvalidOptionError: If another option cannot work.
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
        """Decorate a function: it runs when an object is deleted. See `on_put`.

        The `ObjectInfo` is that of the deletion: it has a name and a revision, and
        `deleted` is true. What expires with the bucket's `ttl` is not reported.
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
        """Decorate a function: it runs when an object is put or deleted. See `on_put`."""
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
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
    ) -> "ObjectPublisher":
        """Decorate a handler: what it returns becomes an object of this bucket.

        ```python
        @photos.on_put("{user}/{stem}.png", durable="thumbnailer")
        @thumbs.publisher("{user}/{stem}.webp")
        async def thumbnail(image: Annotated[bytes, FromObject()]) -> bytes: ...
        ```

        The handler returns bytes, `str`, a `Path`, a binary file, an iterator of bytes (or
        it yields them itself), or what FastStream can encode. `None` stores nothing. Under
        a change subscriber the result of a newer source is never replaced by that of an
        older one, and a repeated change whose result is there is not handled again.

        Args:
            name: The object's name; `{user}` is filled in from the message's `Path()`
                values, `{{` and `}}` are braces.
            follow: Under `on_put` and `on_change`: delete the result of an object when that
                is deleted, or renamed.
            rebuild: Kept with each result. Results of another value count as missing, so
                that `replay=True` makes them anew.
            content_type: The content type; it follows from the result and the name if not
                given.
            headers: Headers of each object.
            metadata: Free text by key, on each object.
            chunk_size: Bytes of a chunk; as for `ObjectStore.put` if not given.
            title: AsyncAPI's title.
            description: AsyncAPI's description.
            include_in_schema: Whether AsyncAPI shows it.

        Raises:
            InvalidPatternError, InvalidObjectNameError: If the name is malformed.
            InvalidOptionError: If another option cannot work.
        """
        # Services without publishers do without it.
        from faststream_objstore.publishers.publisher import ObjectPublisher  # noqa: PLC0415

        publisher = ObjectPublisher(
            self,
            name,
            follow=follow,
            rebuild=rebuild,
            content_type=content_type,
            headers=headers,
            metadata=metadata,
            chunk_size=chunk_size,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
        )
        self.publishers.append(publisher)
        return publisher

    def require_distinct_durables(self) -> None:
        """Refuse two subscribers that would take changes from each other.

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
                    f"durable={options.durable!r}, so each would miss what the other got. "
                    "Give each a durable name of its own, or make them one on_change."
                )
                raise BucketInUseError(msg, bucket=self.name)
            seen[options.durable] = options

    def _subscriber(
        self, options: ChangeOptions, *, dependencies: Iterable[Any], **shown: Any
    ) -> "ChangeSubscriber":
        # Services without change handlers do without it.
        from faststream_objstore.changes.subscriber import ChangeSubscriber  # noqa: PLC0415

        subscriber = ChangeSubscriber(self, options, **shown)
        register(self.router, subscriber, dependencies=dependencies)
        self.subscribers.append(subscriber)
        return subscriber


def name_of(bucket: str | Bucket) -> str:
    """The bucket's name.

    Raises:
        InvalidBucketNameError: If it cannot be one.
    """
    return bucket.name if isinstance(bucket, Bucket) else validate_bucket_name(bucket)
