"""`Buckets`: brings declared buckets to a broker, and keeps them bound to it."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict, overload

from faststream.nats import NatsBroker
from typing_extensions import Unpack

from faststream_objstore._faststream import (
    Application,
    BrokerHook,
    ContextRepo,
    CustomField,
    connection_of,
    custom_fields,
    declared_streams,
    on_lifespan,
)
from faststream_objstore.backends.base import Backend, Server
from faststream_objstore.binding import Binding
from faststream_objstore.bucket import TAKEN_OVER, Bucket, not_declared
from faststream_objstore.exceptions import (
    BucketInUseError,
    BucketNotFoundError,
    InvalidOptionError,
    NotConnectedError,
)
from faststream_objstore.live import LiveField, LiveSource, LiveValue
from faststream_objstore.models import ObjectStoreConfig, Storage, validate_bucket_name
from faststream_objstore.origin import origin_on
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.wire import bucket_of_stream

__all__ = ("BucketField", "Buckets", "extension_key")

# Inside the class, `list` is the method.
Names: TypeAlias = list[str]
Attached: TypeAlias = "list[Buckets]"

_logger = logging.getLogger("faststream_objstore")


class BucketSettings(TypedDict, total=False):
    """The settings of `ObjectStoreConfig` but its name, as keywords; see there."""

    description: str | None
    ttl: timedelta | float | None
    max_bytes: int | None
    storage: Storage | None
    replicas: int | None
    placement: Mapping[str, Any] | None
    compression: bool | None
    metadata: Mapping[str, str] | None


class BucketField(CustomField):
    """What the handlers of a broker are searched for, to warn of undeclared buckets."""

    __slots__ = ()

    @property
    def bucket_name(self) -> str | None:
        """The bucket that it names, if it names one."""
        return None


def extension_key(bucket: str) -> str:
    """Where the context has the `Buckets` that declares a bucket."""
    return f"objstore:{bucket}"


class Buckets:
    """Object Store buckets for one `NatsBroker`.

    Whenever the broker connects, each declared bucket is created, or compared with the one
    that exists, before any handler runs; if that fails, the broker does not start. Stores
    that were handed out bind themselves to the new connection after a restart. Under
    `TestNatsBroker` the buckets are in memory, and empty at each entry.

    A `Bucket` belongs to one `Buckets` at a time: the next one that declares it takes it
    over with its handlers, and the errors of the first say so. That is how a factory can
    build broker and `Buckets` anew for each test.

    Args:
        broker: The broker, or the first bucket where `attach` gives the broker later.
        *buckets: The declarations.

    Raises:
        BucketInUseError: See `attach`.
    """

    def __init__(self, broker: NatsBroker | Bucket | None = None, *buckets: Bucket) -> None:
        self._broker: NatsBroker | None = None
        self._buckets: dict[str, Bucket] = {}
        self._handles: dict[str, ObjectStore] = {}
        self._apps: list[Application] = []
        self._binding: Binding | None = None
        self._was_connected = False
        self._late: set[asyncio.Task[None]] = set()
        self._taken_over: set[str] = set()
        self._warned: set[tuple[str, str]] = set()
        self._origin = origin_on(lambda: self._broker)
        if isinstance(broker, Bucket):
            self.add(broker, *buckets)
        else:
            self.add(*buckets)
            if broker is not None:
                self.attach(broker)

    def __repr__(self) -> str:
        return f"Buckets({', '.join(map(repr, self._buckets.values()))})"

    @property
    def broker(self) -> NatsBroker | None:
        """The broker, once attached."""
        return self._broker

    @property
    def buckets(self) -> Mapping[str, Bucket]:
        """The declared buckets by name."""
        return MappingProxyType(self._buckets)

    @staticmethod
    def all_of(broker: NatsBroker) -> Attached:
        """Those attached to a broker."""
        return BrokerHook.attached_to(broker)

    def add(self, *buckets: Bucket) -> None:
        """Declare further buckets; see `attach` for a broker that runs already.

        Raises:
            BucketInUseError: If another bucket has the name or the context key, or the
                bucket belongs to another broker that is running.
        """
        for bucket in buckets:
            if not isinstance(bucket, Bucket):
                msg = f"{bucket!r} is not a bucket; Buckets takes a NatsBroker, then Buckets."
                raise InvalidOptionError(msg)
            self._refuse_twin(bucket, self)
            if self._broker is not None:
                self._claim(bucket, self._broker)
            self._buckets[bucket.name] = bucket
            self._taken_over.discard(bucket.name)
        if buckets and self._broker is not None:
            self._announce(self._broker)

    def attach(self, broker: NatsBroker) -> None:
        """Bring the declared buckets to a broker.

        If the broker runs already, its buckets are bound and its change subscribers
        started in the background; `await bind()` to wait for that, and to see what fails.

        Raises:
            BucketInUseError: If another `Buckets` of this broker declares a bucket of the
                same name or context key, or a bucket belongs to another broker that is
                running.
            InvalidOptionError: If it is not a `NatsBroker`.
        """
        if not isinstance(broker, NatsBroker):
            msg = f"Buckets needs a NatsBroker, not {broker!r}."
            raise InvalidOptionError(msg)
        if broker is self._broker:
            return
        if self._broker is not None and _is_live(self._broker):
            msg = "This Buckets belongs to a broker that is running; stop that one first."
            raise BucketInUseError(msg)
        for bucket in self._buckets.values():
            self._claim(bucket, broker)
        if self._broker is not None:
            BrokerHook.of(self._broker).discard(self)
        self._broker = broker
        self._binding = None
        self._announce(broker)

    def install(self, app: Application) -> None:
        """Make the stores known to an app, and connect before its later startup hooks.

        Startup hooks that are added afterwards find their buckets; so do lifespans, where
        a store connects the broker at its first use.
        """
        if app in self._apps:
            return
        self._apps.append(app)
        self._register(app.context)
        on_lifespan(app, self._expect_connection)
        app.on_startup(self._connect)

    async def bind(self) -> None:
        """Connect if need be, bind every bucket, and start subscribers that are not running.

        Only needed where buckets or subscribers were added to a broker that runs already.

        Raises:
            BucketConfigMismatchError: If a bucket exists with other settings.
            BucketNotFoundError: If a `declare=False` bucket does not exist.
            BucketInUseError: If something else would rewrite a bucket's stream.
        """
        broker = self._attached()
        if connection_of(broker) is None:
            await broker.connect()
        # Locked, since `attach` may be at the same in the background.
        async with BrokerHook.of(broker).lock:
            await self.bind_now()
            in_memory = self._binding is not None and self._binding.in_memory
            if not in_memory and not broker.running:
                return
            await self.start_now()
            for bucket in tuple(self._buckets.values()):
                for subscriber in tuple(bucket.subscribers):
                    if not subscriber.running:
                        await subscriber.start_late(in_memory=in_memory)

    async def bind_now(self) -> None:
        """Bind to the connection that is there; the broker's hook calls it, locked."""
        broker = self._attached()
        for stream in declared_streams(broker):
            if (name := bucket_of_stream(stream)) is not None:
                msg = (
                    f"Bucket '{name}': a subscriber or publisher names its stream "
                    f"{stream!r}, and FastStream would rewrite the stream's settings, which "
                    f'ruins the bucket. Use JStream("{stream}", declare=False) there.'
                )
                raise BucketInUseError(msg, bucket=name)
        connection = connection_of(broker)
        if connection is None:
            raise self._not_connected()
        # FastStream replaces a broker's context when an app takes the broker in.
        self._register(broker.context)
        binding = self._binding
        if binding is None or not binding.is_of(connection):
            binding = self._binding = Binding(connection, broker)
        # A handle that outlives its test must not reach a real server on its own.
        self._was_connected = True
        for bucket in tuple(self._buckets.values()):
            bucket.require_distinct_durables()
            if bucket.name not in binding.backends:
                binding.backends[bucket.name] = await bind_bucket(
                    binding.server(bucket.timeout),
                    bucket.config,
                    # Nothing exists in memory, so what a service only binds is made.
                    declare=bucket.declare or binding.in_memory,
                    update=bucket.update,
                )

    async def start_now(self) -> None:
        """Load and follow what handlers' `LiveObject`s name; the broker's hook calls it."""
        binding = self._binding
        if binding is None or binding.in_memory:
            return
        broker = self._attached()
        attached = self.all_of(broker)
        declared = {name for one in attached for name in one.buckets}
        wanted: list[tuple[LiveField, LiveValue]] = []
        for handler, field in custom_fields(broker):
            if isinstance(field, BucketField) and self in attached[:1]:
                self._warn_of_undeclared(handler, field, declared)
            if isinstance(field, LiveField):
                bucket = field.source.bucket
                if bucket not in declared:
                    raise not_declared(
                        bucket,
                        declared,
                        taken_over=any(one.has_lost(bucket) for one in attached),
                    )
                if bucket in self._buckets:
                    wanted.append((field, await self.live_value(field.source)))
        await binding.live.start({value for _, value in wanted})
        for field, value in wanted:
            value.get(required=field.must_exist)

    def _warn_of_undeclared(
        self, handler: str, field: "BucketField", declared: set[str]
    ) -> None:
        # No error: the bucket may be attached before the handler's first message.
        bucket = field.bucket_name
        if bucket is None or bucket in declared or (handler, bucket) in self._warned:
            return
        self._warned.add((handler, bucket))
        _logger.warning(
            "%s asks for bucket '%s', which is not declared (declared: %s); pass Bucket(%r) "
            "to Buckets(broker, ...), or each of its messages fails.",
            handler,
            bucket,
            ", ".join(f"'{one}'" for one in sorted(declared)) or "none",
            bucket,
        )

    async def stop_now(self) -> None:
        """Follow nothing any more; the broker's hook calls it."""
        if self._binding is not None:
            await self._binding.live.stop()

    @property
    def live_objects(self) -> tuple[LiveValue, ...]:
        """What `LiveObject`s share now: version, loads and failures of each, for health."""
        return () if self._binding is None else tuple(self._binding.live)

    async def live_value(self, source: LiveSource, *, current: bool = False) -> LiveValue:
        """What `LiveObject`s of one source share, on the connection that is there now.

        Args:
            source: Which object.
            current: Bring it up to date, and have it followed where the broker runs.
        """
        live = (await self._bound(source.bucket)).live
        value = live.of(source, partial(self.backend_of, source.bucket))
        if current and live.running:
            await value.follow()
        elif current:
            await value.refresh()
        return value

    def handle(self, bucket: str) -> ObjectStore:
        """The store of a bucket, which binds itself at its first use."""
        if bucket not in self._handles:
            self._handles[bucket] = ObjectStore(
                bucket, partial(self.backend_of, bucket), origin=self._origin
            )
        return self._handles[bucket]

    async def open(self, bucket: str | Bucket) -> ObjectStore:
        """The store of a bucket: a declared one, or any that exists.

        Raises:
            BucketNotFoundError: If it is not declared and does not exist.
            NotConnectedError: If the broker has been stopped.
        """
        name = _name_of(bucket)
        await self.backend_of(name)
        return self.handle(name)

    @overload
    async def create(self, config: ObjectStoreConfig) -> ObjectStore: ...

    @overload
    async def create(self, config: str, **params: Unpack[BucketSettings]) -> ObjectStore: ...

    @overload
    async def create(
        self, *, bucket: str, **params: Unpack[BucketSettings]
    ) -> ObjectStore: ...

    async def create(
        self, config: ObjectStoreConfig | str | None = None, **params: Any
    ) -> ObjectStore:
        """Create a bucket that is known only at run time.

        Args:
            config: Its settings, or its name.
            **params: The settings of `ObjectStoreConfig`, where `config` is not one.

        Raises:
            BucketConfigMismatchError: If it exists with other settings.
        """
        if isinstance(config, str):
            config = ObjectStoreConfig(bucket=config, **params)
        elif config is None:
            config = ObjectStoreConfig(**params)
        elif params or not isinstance(config, ObjectStoreConfig):
            msg = f"create takes an ObjectStoreConfig, or settings: {config!r}."
            raise InvalidOptionError(msg)
        binding = await self._bound()
        binding.backends[config.bucket] = await bind_bucket(
            binding.server(None), config, declare=True, update=False
        )
        return self.handle(config.bucket)

    async def delete_bucket(self, bucket: str | Bucket) -> bool:
        """Delete a bucket and everything in it; `True`, as nats-py returns.

        Raises:
            BucketNotFoundError: If it does not exist.
        """
        name = _name_of(bucket)
        binding = await self._bound()
        await binding.server(None).delete(name)
        if name not in self._buckets:
            binding.backends.pop(name, None)
        return True

    async def list(self) -> Names:
        """The names of all buckets, declared or not, sorted."""
        return await (await self._bound()).server(None).buckets()

    # nats-py's names.
    object_store = open  # noqa: A003
    create_object_store = create
    delete_object_store = delete_bucket

    async def server_of(self, bucket: str) -> Server:
        """Where a bucket is, once it is bound."""
        await self.backend_of(bucket)
        declared = self._buckets.get(bucket)
        return (await self._bound()).server(declared.timeout if declared else None)

    async def backend_of(self, bucket: str) -> Backend:
        """A bucket's stream on the connection that is there now.

        Raises:
            BucketNotFoundError: If it is not declared and does not exist.
        """
        binding = await self._bound(bucket)
        backend = binding.backends.get(bucket)
        if backend is None:
            try:
                backend = await binding.server(None).open(bucket)
            except BucketNotFoundError as error:
                msg = (
                    f"{error} It was declared here, but {TAKEN_OVER}"
                    if self.has_lost(bucket)
                    else f"{error} Declared are: {', '.join(sorted(self._buckets)) or 'none'}."
                )
                raise BucketNotFoundError(msg, bucket=bucket) from None
            binding.backends[bucket] = backend
        return backend

    async def _bound(self, bucket: str | None = None) -> Binding:
        broker = self._attached()
        connection = connection_of(broker)
        binding = self._binding
        if connection is None:
            if self._was_connected:
                raise self._not_connected()
            await broker.connect()
        elif (
            binding is None
            or not binding.is_of(connection)
            or (bucket in self._buckets and bucket not in binding.backends)
        ):
            async with BrokerHook.of(broker).lock:
                await self.bind_now()
        if self._binding is None:
            raise self._not_connected()
        return self._binding

    def _claim(self, bucket: Bucket, broker: NatsBroker) -> None:
        for extension in self.all_of(broker):
            self._refuse_twin(bucket, extension)
        holder = bucket.attachment
        if isinstance(holder, Buckets) and holder is not self:
            held_by = holder.broker
            if held_by is not None and held_by is not broker and _is_live(held_by):
                msg = (
                    f"Bucket '{bucket.name}' belongs to another broker, which is running; "
                    "stop that one first, or declare a second Bucket of this name."
                )
                raise BucketInUseError(msg, bucket=bucket.name)
            holder.release(bucket)
        broker.include_router(bucket.router)
        bucket.attachment = self

    def release(self, bucket: Bucket) -> None:
        """Forget a bucket that goes to another `Buckets`."""
        if self._buckets.pop(bucket.name, None) is not None:
            self._taken_over.add(bucket.name)
        if not self._buckets and self._broker is not None:
            BrokerHook.of(self._broker).discard(self)

    def has_lost(self, bucket: str) -> bool:
        """Whether a bucket was declared here until another `Buckets` took it over."""
        return bucket in self._taken_over

    def _announce(self, broker: NatsBroker) -> None:
        BrokerHook.of(broker).add(self)
        self._register(broker.context)
        for app in self._apps:
            self._register(app.context)
        if _is_live(broker):
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            task = loop.create_task(self._bind_late(broker))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _bind_late(self, broker: NatsBroker) -> None:
        if self._broker is not broker or connection_of(broker) is None:
            return
        try:
            await self.bind()
        except Exception:
            _logger.exception("The buckets of a running broker could not be bound")

    def _register(self, context: ContextRepo) -> None:
        for bucket in self._buckets.values():
            store = self.handle(bucket.name)
            context.set_global(bucket.context_key, store)
            context.set_global(extension_key(bucket.name), self)
        context.set_global("buckets", self)

    async def _connect(self) -> None:
        await self._attached().connect()

    def _expect_connection(self) -> None:
        # The app starts again, so a store may connect the broker again.
        self._was_connected = False

    def _attached(self) -> NatsBroker:
        if self._broker is None:
            msg = "This Buckets has no broker: use Buckets(broker, ...) or attach(broker)."
            raise NotConnectedError(msg)
        return self._broker

    def _not_connected(self) -> NotConnectedError:
        msg = (
            f"The broker of {self!r} is not connected any more: it has been stopped. Connect "
            "it again, or use the store before it stops (in on_shutdown, not after_shutdown)."
        )
        return NotConnectedError(msg)

    @staticmethod
    def _refuse_twin(bucket: Bucket, extension: "Buckets") -> None:
        for other in extension.buckets.values():
            for option in ("name", "context_key"):
                if other is not bucket and getattr(other, option) == getattr(bucket, option):
                    msg = (
                        f"Bucket '{bucket.name}': this broker has another Bucket of the same "
                        f"{option}; share one declaration, or give it another one."
                    )
                    raise BucketInUseError(msg, bucket=bucket.name)


def _is_live(broker: NatsBroker) -> bool:
    return broker.running or connection_of(broker) is not None


def _name_of(bucket: str | Bucket) -> str:
    return bucket.name if isinstance(bucket, Bucket) else validate_bucket_name(bucket)
