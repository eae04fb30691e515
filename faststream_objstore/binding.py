"""What `Buckets` keeps for its broker; used by the hook, the fields and the subscribers."""

import asyncio
import logging
import weakref
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal

from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore._faststream import (
    Application,
    BrokerHook,
    connection_of,
    custom_fields,
    declared_streams,
    log_of,
    makes_objects,
    on_lifespan,
)
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    BucketInUseError,
    BucketNotDeclaredError,
    BucketNotFoundError,
    InvalidOptionError,
    NotConnectedError,
)
from faststream_objstore.fields import BucketField, LiveField
from faststream_objstore.following import Following
from faststream_objstore.origin import origin_on
from faststream_objstore.ownership import TAKEN_OVER, is_live, not_declared
from faststream_objstore.store import ObjectStore
from faststream_objstore.wire import bucket_of_stream

if TYPE_CHECKING:
    from faststream_objstore.backends.base import Backend, Server
    from faststream_objstore.connection import Binding
    from faststream_objstore.live import LiveValue
    from faststream_objstore.observers.events import Observer
    from faststream_objstore.sweeping import Sweep

__all__ = ("Attached", "attached_to")

_known: "weakref.WeakSet[Attached]" = weakref.WeakSet()

_logger = logging.getLogger("faststream_objstore")


def attached_to(broker: NatsBroker) -> "list[Attached]":
    """What has been attached to a broker, in order."""
    return [one for one in BrokerHook.attached_to(broker) if isinstance(one, Attached)]


class Attached(Following):
    """The declared buckets of one `Buckets`, and their current connections.

    The broker's hook, the fields and the change subscribers use it; users call `Buckets`.

    Args:
        extension: The `Buckets`, which the context offers to handlers and hooks.
        observers: The observers of operations and changes.
        sweep: When the buckets are swept; those that follow others daily if not given.

    Raises:
        InvalidOptionError: If an observer is not one.
    """

    broker: NatsBroker | None

    def __init__(
        self,
        extension: object,
        observers: "Iterable[Observer]" = (),
        sweep: "Sweep | Literal[False] | None" = None,
    ) -> None:
        super().__init__(extension, observers, sweep)
        # Entering test mode on a running broker adds test buckets beside the live ones.
        self._tests: weakref.WeakKeyDictionary[object, Binding] = weakref.WeakKeyDictionary()
        self._was_connected = False
        self._late: set[asyncio.Task[None]] = set()
        self._warned: set[tuple[str, str]] = set()
        self._origin = origin_on(lambda: self.broker)
        _known.add(self)

    def __repr__(self) -> str:
        return f"Buckets({', '.join(map(repr, self._declared.values()))})"

    @property
    def live_values(self) -> "tuple[LiveValue, ...]":
        """What the `LiveObject`s share on the current connection."""
        connection = None if self.broker is None else connection_of(self.broker)
        binding = self._binding_of(connection) or self._live
        return () if binding is None else tuple(binding.live)

    @property
    def binding_now(self) -> "Binding | None":
        """What is bound to the current connection, if anything."""
        return None if self.broker is None else self._binding_of(connection_of(self.broker))

    def attach(self, broker: NatsBroker | None, *buckets: Bucket) -> None:
        """Declare further buckets, and attach all of them to a broker if one is given.

        Nothing is changed if this fails.

        Raises:
            BucketInUseError: If another bucket has the name or the context key, or a
                bucket or this `Buckets` belongs to another broker that is running.
            InvalidOptionError: If something is not a broker or a bucket, or if the broker's
                context already uses a context key for something else.
        """
        if broker is not None and not isinstance(broker, NatsBroker):
            msg = f"Buckets needs a NatsBroker, got {broker!r}."
            raise InvalidOptionError(msg)
        for bucket in buckets:
            if not isinstance(bucket, Bucket):
                msg = f"Buckets takes a NatsBroker and then Bucket(...), got {bucket!r}."
                raise InvalidOptionError(msg)
        if broker is not None and self.broker not in {None, broker} and is_live(self.broker):
            msg = "This Buckets belongs to a broker that is running; stop that one first."
            raise BucketInUseError(msg)
        target = broker or self.broker
        moves = target is not self.broker
        wanted = [*self._declared.values(), *buckets] if moves else list(buckets)
        self._require_distinct(buckets)
        if target is not None:
            for bucket in wanted:
                self._require_free(bucket, target)
        # Everything has been checked, so everything can be changed.
        for bucket in buckets:
            self._declared[bucket.name] = bucket
            self._taken_over.discard(bucket.name)
        if target is None:
            return
        for bucket in wanted:
            self._claim(bucket, target)
        if moves:
            if self.broker is not None:
                BrokerHook.of(self.broker).discard(self)
            self.broker = target
            self._live = None
        if moves or buckets:
            self._announce(target)

    def install(self, app: Application) -> None:
        """Make the stores known to an app, and connect before its later startup hooks."""
        if app in self._apps:
            return
        self._apps.append(app)
        self._register(app.context)
        on_lifespan(app, self._expect_connection)
        app.on_startup(self._connect)

    async def bind(self) -> None:
        """Connect if necessary, bind every bucket, and start the stopped subscribers."""
        broker = self._attached_broker()
        if connection_of(broker) is None:
            await broker.connect()
        # Locked, because `attach` may be running in the background at the same time.
        async with BrokerHook.of(broker).lock:
            await self.on_connect()
            in_memory = not isinstance(connection_of(broker), Client)
            if not in_memory and not broker.running:
                return
            await self.on_start()
            for bucket in tuple(self._declared.values()):
                for subscriber in tuple(bucket.subscribers):
                    if not subscriber.running:
                        await subscriber.start_late(in_memory=in_memory)

    async def on_connect(self) -> None:
        """Bind to the current connection; called by the broker's hook, under its lock."""
        # Imported late, because programs that never connect do not need them.
        from faststream_objstore.connection import Binding  # noqa: PLC0415
        from faststream_objstore.store.declare import bind_bucket  # noqa: PLC0415

        broker = self._attached_broker()
        for stream in declared_streams(broker):
            if (name := bucket_of_stream(stream)) is not None:
                msg = (
                    f"Bucket '{name}': a subscriber or publisher names its stream "
                    f"{stream!r}, and FastStream would rewrite the stream's settings, which "
                    f'ruins the bucket. Use JStream("{stream}", declare=False) there.'
                )
                raise BucketInUseError(msg, bucket=name)
        if makes_objects(broker):
            # Imported late, because services without publishers do not need it.
            from faststream_objstore.publishers.checks import (  # noqa: PLC0415
                check_publishers,
            )

            check_publishers(broker, self._declared)
        connection = connection_of(broker)
        if connection is None:
            raise self._not_connected()
        if not isinstance(connection, Client):
            # `TestNatsBroker` does not start our subscribers.
            self._check_handlers(broker)
        # FastStream replaces a broker's context when an app adopts the broker.
        self._register(broker.context)
        binding = self._binding_of(connection)
        if binding is None:
            binding = Binding(connection, broker)
            if binding.in_memory:
                self._tests[connection] = binding
            else:
                self._live = binding
        # A handle that outlives its test must not connect to a real server by itself.
        self._was_connected = True
        for bucket in tuple(self._declared.values()):
            bucket.require_distinct_durables()
            if bucket.name not in binding.backends:
                backend = await bind_bucket(
                    binding.server(bucket.timeout, lane=bucket.lane),
                    bucket.config,
                    # In memory nothing exists yet, so buckets that a service only binds are
                    # created.
                    declare=bucket.declare or binding.in_memory,
                    update=bucket.update,
                )
                binding.keep(backend)

    def _check_handlers(self, broker: NatsBroker) -> None:
        attached = attached_to(broker)
        # Once for the broker, not once for each of its `Buckets`.
        if self not in attached[:1]:
            return
        from faststream_objstore.declarations import (  # noqa: PLC0415 - as in `on_connect`
            check_handlers,
        )

        check_handlers(broker)
        declared = {name for one in attached for name in one.declared}
        for handler, field in custom_fields(broker):
            bucket = field.bucket_name if isinstance(field, BucketField) else None
            if isinstance(field, LiveField):
                bucket = field.source.bucket
            if bucket is None or bucket in declared:
                continue
            taken_over = any(one.has_lost(bucket) for one in attached)
            error = not_declared(bucket, declared, taken_over=taken_over)
            # A `Buckets` without a broker may still be attached before the first message.
            if isinstance(field, LiveField) or not (taken_over or _is_waiting(bucket)):
                msg = f"{handler}: {error}"
                raise BucketNotDeclaredError(msg, bucket=bucket)
            if (handler, bucket) not in self._warned:
                self._warned.add((handler, bucket))
                _logger.warning("%s: %s Until then its messages fail.", handler, error)

    def log(self, level: int, text: str) -> None:
        """Log with the broker's logger."""
        if self.broker is None:
            _logger.log(level, "%s", text)
        else:
            log_of(self.broker)(level, text, None)

    def handle(self, bucket: str) -> ObjectStore:
        """The store of a bucket, which is bound at its first use."""
        if bucket not in self._handles:
            source = partial(self.backend_of, bucket)
            if self.observers is None:
                self._handles[bucket] = ObjectStore(bucket, source, origin=self._origin)
            else:
                from faststream_objstore.observers.store import (  # noqa: PLC0415
                    ObservedStore,
                )

                self._handles[bucket] = ObservedStore(
                    bucket, source, origin=self._origin, observers=self.observers
                )
        return self._handles[bucket]

    async def server_of(self, bucket: str) -> "Server":
        """Where a bucket is, once it is bound."""
        await self.backend_of(bucket)
        declared = self._declared.get(bucket)
        binding = await self.bound()
        if declared is None:
            return binding.server(None)
        return binding.server(declared.timeout, lane=declared.lane)

    async def backend_of(self, bucket: str) -> "Backend":
        """A bucket's stream on the current connection.

        Raises:
            BucketNotFoundError: If it is not declared and does not exist.
        """
        binding = await self.bound(bucket)
        backend = binding.backends.get(bucket)
        if backend is None:
            try:
                backend = await binding.server(None).open(bucket)
            except BucketNotFoundError as error:
                msg = (
                    f"{error} It was declared here, but {TAKEN_OVER}"
                    if self.has_lost(bucket)
                    else f"{error} Declared: {', '.join(sorted(self._declared)) or 'none'}."
                )
                raise BucketNotFoundError(msg, bucket=bucket) from None
            binding.keep(backend)
        return backend

    async def bound(self, bucket: str | None = None) -> "Binding":
        """The buckets on the current connection; declared ones are bound.

        Raises:
            NotConnectedError: If the broker has been stopped, or if there is no broker.
        """
        broker = self._attached_broker()
        connection = connection_of(broker)
        if connection is None:
            if self._was_connected:
                raise self._not_connected()
            await broker.connect()
            connection = connection_of(broker)
        binding = self._binding_of(connection)
        if binding is None or (bucket in self._declared and bucket not in binding.backends):
            async with BrokerHook.of(broker).lock:
                await self.on_connect()
            binding = self._binding_of(connection_of(broker))
        if binding is None:
            raise self._not_connected()
        return binding

    def _binding_of(self, connection: object | None) -> "Binding | None":
        """What is bound to a connection, if anything is."""
        if connection is None:
            return None
        if not isinstance(connection, Client):
            return self._tests.get(connection)
        return self._live if self._live is not None and self._live.is_of(connection) else None

    def _claim(self, bucket: Bucket, broker: NatsBroker) -> None:
        holder = bucket.attachment
        if isinstance(holder, Attached) and holder is not self:
            holder.release(bucket)
        broker.include_router(bucket.router)
        bucket.attachment = self

    def _announce(self, broker: NatsBroker) -> None:
        BrokerHook.of(broker).add(self)
        self._register(broker.context)
        for app in self._apps:
            self._register(app.context)
        if is_live(broker):
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            task = loop.create_task(self._bind_late(broker))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _bind_late(self, broker: NatsBroker) -> None:
        if self.broker is not broker or connection_of(broker) is None:
            return
        try:
            await self.bind()
        except Exception:
            _logger.exception("The buckets of a running broker could not be bound")

    async def _connect(self) -> None:
        await self._attached_broker().connect()

    def _expect_connection(self) -> None:
        # The app is starting again, so a store may connect the broker again.
        self._was_connected = False

    def _attached_broker(self) -> NatsBroker:
        if self.broker is None:
            msg = "This Buckets has no broker: use Buckets(broker, ...) or attach(broker)."
            raise NotConnectedError(msg)
        return self.broker

    def _not_connected(self) -> NotConnectedError:
        msg = (
            f"The broker of {self!r} is not connected any more: it has been stopped. Connect "
            "it again, or use the store before it stops (in on_shutdown, not after_shutdown)."
        )
        return NotConnectedError(msg)


def _is_waiting(bucket: str) -> bool:
    return any(one.broker is None and bucket in one.declared for one in _known)
