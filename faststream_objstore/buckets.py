"""`Buckets`: attaches declared buckets to a broker, and keeps them bound to it."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from faststream.nats import NatsBroker
from nats.js.api import ObjectStoreConfig as NatsConfig

from faststream_objstore._faststream import Application
from faststream_objstore.binding import Attached
from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore

if TYPE_CHECKING:
    from faststream_objstore.health import Health
    from faststream_objstore.live import LiveValue
    from faststream_objstore.observers.events import Observer
    from faststream_objstore.sweeping import Sweep

__all__ = ("Buckets",)

# Inside the class, `list` is the method.
Names: TypeAlias = list[str]


class Buckets:
    """Object Store buckets for one `NatsBroker`.

    Whenever the broker connects, each declared bucket is created, or compared with the
    existing one, before any handler runs; if that fails, the broker does not start. Existing
    stores bind themselves to the new connection after a restart. Under `TestNatsBroker` the
    buckets are in memory, and empty each time it is entered.

    A `Bucket` belongs to one `Buckets` at a time: the next one that declares it takes it
    over, with its handlers, and errors of the first say so. This allows a factory to build a
    new broker and `Buckets` for each test.

    ```python
    photos = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, photos, Bucket("thumbs"))
    ```

    Args:
        broker: The broker, or the first bucket if `attach` provides the broker later.
        *buckets: The declarations.
        observers: The observers of every operation and every change, such as a
            `PrometheusObserver`.
        sweep: Have one replica of many sweep each bucket at intervals. If not given, only
            the buckets that follow others are swept, once a day; `False` sweeps none.

    Raises:
        BucketInUseError, InvalidOptionError: See `attach`.
    """

    def __init__(
        self,
        broker: NatsBroker | Bucket | None = None,
        *buckets: Bucket,
        observers: "Iterable[Observer]" = (),
        sweep: "Sweep | Literal[False] | None" = None,
    ) -> None:
        if sweep is not None and sweep is not False and not _is_sweep(sweep):
            msg = f"Buckets: sweep must be a Sweep(...), got {sweep!r}."
            raise InvalidOptionError(msg)
        self._attached: Attached = Attached(self, observers, sweep)
        if isinstance(broker, Bucket):
            self._attached.attach(None, broker, *buckets)
        else:
            self._attached.attach(broker, *buckets)

    @property
    def attached(self) -> Attached:
        """What it keeps for its broker; for this package's own use."""
        return self._attached

    def __repr__(self) -> str:
        return repr(self._attached)

    @property
    def broker(self) -> NatsBroker | None:
        """The broker, once attached."""
        return self._attached.broker

    @property
    def live_objects(self) -> "tuple[LiveValue, ...]":
        """The values behind `LiveObject`s: version, loads and failures of each."""
        return self._attached.live_values

    def attach(self, broker: NatsBroker, *buckets: Bucket) -> None:
        """Attach the declared buckets, and further ones, to a broker.

        If the broker is already running, the buckets are bound and their change subscribers
        started in the background; `await bind()` to wait for that and to see errors.

        ```python
        buckets = Buckets(photos)
        buckets.attach(broker)
        buckets.attach(broker, Bucket("reports"))  # one more
        ```

        Args:
            broker: The broker; the same one again to add buckets.
            *buckets: Further declarations.

        Raises:
            BucketInUseError: If another bucket of this broker has the same name or context
                key, or a bucket belongs to another broker that is running.
            InvalidOptionError: If it is not a `NatsBroker`, or if a bucket's context key is
                already used in FastStream's context.
        """
        if not isinstance(broker, NatsBroker):
            msg = f"attach() takes a NatsBroker and then Bucket(...), got {broker!r}."
            raise InvalidOptionError(msg)
        self._attached.attach(broker, *buckets)

    def install(self, app: Application) -> None:
        """Add the stores to an app's context, and connect before its later startup hooks.

        Startup hooks that are added afterwards find their buckets; so do lifespans, where
        a store connects the broker when it is first used.

        Args:
            app: A `FastStream`, an `AsgiFastStream`, or an object with the same hooks.

        Raises:
            InvalidOptionError: If a bucket's context key is already used in the app's
                context.

        Example:
            ```python
            app = FastStream(broker)
            buckets.install(app)


            @app.on_startup
            async def seed(photos: Annotated[ObjectStore, Context()]) -> None:
                await photos.put("welcome.txt", "Hello")
            ```
        """
        self._attached.install(app)

    async def bind(self) -> None:
        """Connect if necessary, bind all buckets, and start subscribers that do not run yet.

        Only needed after adding buckets or subscribers to a broker that is already running.

        Raises:
            BucketConfigMismatchError: If a bucket exists with other settings.
            BucketNotFoundError: If a `declare=False` bucket does not exist.
            BucketInUseError: If something else would rewrite a bucket's stream.
        """
        await self._attached.bind()

    async def health(
        self,
        *,
        max_lag: float | timedelta | None = None,
        max_fill: float | None = None,
        timeout: float | timedelta = 5.0,
    ) -> "Health":
        """Check the declared buckets and their subscribers.

        It changes nothing, and does not raise for the problems it finds. Under
        `TestNatsBroker` it checks the buckets in memory.

        ```python
        health = await buckets.health(max_lag=timedelta(minutes=5), max_fill=0.9)
        for problem in health.problems:
            print(problem.kind, problem.bucket, problem.durable, problem.detail)
        ```

        Args:
            max_lag: The maximum age of a durable's oldest unhandled change, in seconds or as
                a `timedelta`; unlimited if not given.
            max_fill: The share of its `max_bytes` that a bucket may use, such as 0.9; all of
                it if not given.
            timeout: How many seconds the check may take, whatever NATS does.

        Returns:
            The problems that were found.

        Raises:
            InvalidOptionError: If an option is invalid.
        """
        # Where nobody asks, it need not be there.
        from faststream_objstore.health import HealthLimits, check  # noqa: PLC0415

        limits = HealthLimits(max_lag=max_lag, max_fill=max_fill, timeout=timeout)
        return await check(self._attached, limits)

    async def open(self, bucket: str | Bucket) -> ObjectStore:
        """Open a bucket: a declared one, or any that exists on the server.

        Args:
            bucket: Its name, or its declaration.

        Returns:
            The bucket's store.

        Raises:
            BucketNotFoundError: If it is not declared and does not exist.
            NotConnectedError: If the broker has been stopped.

        Example:
            ```python
            store = await buckets.open("photos")
            await store.put("cat.png", Path("cat.png"))
            ```
        """
        name = name_of(bucket)
        await self._attached.backend_of(name)
        return self._attached.handle(name)

    async def create(self, bucket: str | ObjectStoreConfig, **settings: Any) -> ObjectStore:
        """Create a bucket that is known only at run time.

        ```python
        store = await buckets.create("tenant-7", ttl=timedelta(days=30))
        ```

        Args:
            bucket: Its name, or all of its settings.
            **settings: Fields of `ObjectStoreConfig`, if `bucket` is a name.

        Returns:
            The bucket's store.

        Raises:
            BucketConfigMismatchError: If it exists with other settings.
            InvalidOptionError: If a setting is invalid.
        """
        if not isinstance(bucket, ObjectStoreConfig):
            bucket = ObjectStoreConfig(bucket=bucket, **settings)
        elif settings:
            msg = (
                f"Bucket '{bucket.bucket}': create() takes either an ObjectStoreConfig or a "
                f"name and settings; remove {', '.join(settings)}."
            )
            raise InvalidOptionError(msg, bucket=bucket.bucket)
        from faststream_objstore.store.declare import (  # noqa: PLC0415 - see `binding.py`
            bind_bucket,
        )

        binding = await self._attached.bound()
        binding.keep(
            await bind_bucket(binding.server(None), bucket, declare=True, update=False)
        )
        return self._attached.handle(bucket.bucket)

    async def create_object_store(
        self,
        bucket: str | ObjectStoreConfig | None = None,
        config: ObjectStoreConfig | NatsConfig | None = None,
        **settings: Any,
    ) -> ObjectStore:
        """`create` under nats-py's name, and with its parameters.

        Args:
            bucket: Its name; that of the configuration if not given.
            config: Its settings, in this package's class or in nats-py's.
            **settings: Those that differ from the configuration.

        Raises:
            BucketConfigMismatchError: If it exists with other settings.
            InvalidOptionError: If a setting is invalid, or there are two names.
        """
        if config is None:
            return await self.create("" if bucket is None else bucket, **settings)
        given = {
            one.name: value
            for one in fields(config)
            if (value := getattr(config, one.name)) is not None
        }
        if isinstance(config, NatsConfig) and config.placement is not None:
            given["placement"] = config.placement.as_dict()
        name = bucket.bucket if isinstance(bucket, ObjectStoreConfig) else bucket
        if name is not None and given.setdefault("bucket", name) != name:
            msg = f"Bucket '{name}': config is of {given['bucket']!r}; give one name."
            raise InvalidOptionError(msg, bucket=name)
        return await self.create(ObjectStoreConfig(**{"bucket": "", **given, **settings}))

    async def delete_bucket(self, bucket: str | Bucket) -> bool:
        """Delete a bucket and everything in it.

        Args:
            bucket: Its name, or its declaration.

        Returns:
            `True`, as in nats-py.

        Raises:
            BucketNotFoundError: If it does not exist.
        """
        name = name_of(bucket)
        binding = await self._attached.bound()
        await binding.server(None).delete(name)
        if name not in self._attached.declared:
            binding.backends.pop(name, None)
        return True

    async def list(self) -> Names:
        """List the names of all buckets on the server, sorted."""
        return await (await self._attached.bound()).server(None).buckets()

    # nats-py's names.
    object_store = open  # noqa: A003
    delete_object_store = delete_bucket


def _is_sweep(value: object) -> bool:
    from faststream_objstore.sweeping import Sweep  # noqa: PLC0415 - few services sweep

    return isinstance(value, Sweep)
