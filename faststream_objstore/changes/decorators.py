"""The decorators of a bucket that run a function when its objects change."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faststream.nats import NatsRouter

from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.models import ObjectStoreConfig

if TYPE_CHECKING:
    from faststream_objstore.changes.attached import Attachment
    from faststream_objstore.changes.options import Event
    from faststream_objstore.changes.subscriber import ChangeSubscriber

__all__ = ("ChangeDecorators",)

_RETRY = Retry()


class ChangeDecorators:
    """The part of `Bucket` that declares change subscribers.

    Attributes:
        config: The bucket's settings.
        declare: Whether the bucket is created, and compared with the settings.
        router: Where its subscribers are registered.
        subscribers: Its subscribers, in the order of their declaration.
        attachment: The `Buckets` that it belongs to, which sets this.
    """

    config: ObjectStoreConfig
    declare: bool
    router: NatsRouter
    subscribers: "list[ChangeSubscriber]"
    attachment: "Attachment | None"

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
            "put",
            dependencies,
            pattern=pattern,
            durable=durable,
            replay=replay,
            max_workers=max_workers,
            retry=retry,
            dead_letter=dead_letter,
            ack_wait=ack_wait,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
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
            "delete",
            dependencies,
            pattern=pattern,
            durable=durable,
            replay=replay,
            max_workers=max_workers,
            retry=retry,
            dead_letter=dead_letter,
            ack_wait=ack_wait,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
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
            "expire",
            dependencies,
            pattern=pattern,
            durable=durable,
            replay=replay,
            max_workers=max_workers,
            retry=retry,
            dead_letter=dead_letter,
            ack_wait=ack_wait,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
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
            "change",
            dependencies,
            pattern=pattern,
            durable=durable,
            replay=replay,
            max_workers=max_workers,
            retry=retry,
            dead_letter=dead_letter,
            ack_wait=ack_wait,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            no_reply=no_reply,
        )

    def _require_object_ttl(self, what: str) -> None:
        # For one that follows others, the origin's counts.
        if self.declare and not self.config.object_ttl and not self.config.origins:
            msg = (
                f"Bucket '{self.name}': {what} takes a bucket with object_ttl; declare "
                f"Bucket('{self.name}', object_ttl=True), which takes nats-server 2.11."
            )
            raise InvalidOptionError(msg, bucket=self.name)

    def _subscriber(
        self,
        event: "Event",
        dependencies: Iterable[Any],
        *,
        title: str | None,
        description: str | None,
        include_in_schema: bool,
        no_reply: bool,
        **options: Any,
    ) -> "ChangeSubscriber":
        # Imported late: services without change handlers do not need them.
        from faststream_objstore._faststream import register  # noqa: PLC0415
        from faststream_objstore.changes.options import ChangeOptions  # noqa: PLC0415
        from faststream_objstore.changes.subscriber import ChangeSubscriber  # noqa: PLC0415

        subscriber = ChangeSubscriber(
            self,
            ChangeOptions(bucket=self.name, event=event, **options),
            title=title,
            description=description,
            include_in_schema=include_in_schema,
            no_reply=no_reply,
        )
        register(self.router, subscriber, dependencies=dependencies)
        self.subscribers.append(subscriber)
        return subscriber
