"""What this package needs of FastStream beyond its public API, and nothing else.

The only module that imports `faststream._internal` or touches FastStream's private
attributes: what a new FastStream breaks, it breaks here.
"""
# ruff: noqa: SLF001 - that is what this module is for

import asyncio
import contextlib
import dataclasses
import inspect
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, cast

import nats.errors
from fast_depends.core import CallModel
from fast_depends.dependencies import Dependant
from fast_depends.library import CustomField
from faststream._internal.application import Application
from faststream._internal.broker.registrator import Registrator
from faststream._internal.constants import PATH_CONTEXT_PREFIX
from faststream._internal.context import Context as ContextField
from faststream._internal.context import ContextRepo
from faststream._internal.di import FastDependsConfig
from faststream._internal.endpoint.call_wrapper import HandlerCallWrapper
from faststream._internal.endpoint.subscriber import SubscriberSpecification
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.endpoint.subscriber.utils import default_filter
from faststream._internal.endpoint.utils import ParserComposition, process_msg
from faststream._internal.logger.logger_proxy import RealLoggerObject
from faststream._internal.parser import DefaultCodec
from faststream._internal.utils.path import Address
from faststream.exceptions import SetupError
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, NatsRouter
from faststream.nats.subscriber.config import (
    NatsSubscriberConfig,
    NatsSubscriberSpecificationConfig,
)
from faststream.nats.subscriber.specification import NatsSubscriberSpecification
from faststream.nats.subscriber.usecases.stream_basic import StreamSubscriber
from faststream.specification.asyncapi.utils import resolve_payloads, to_camelcase
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.errors import ServerUnreachableError

__all__ = (
    "Application",
    "BrokerHook",
    "CallsCollection",
    "ContextRepo",
    "CustomField",
    "Dependant",
    "Encoded",
    "HandlerCallWrapper",
    "NatsSubscriberSpecification",
    "NatsSubscriberSpecificationConfig",
    "PlainSubscriber",
    "api_options",
    "connection_of",
    "custom_fields",
    "declared_streams",
    "encode_body",
    "fake_brokers",
    "is_installed",
    "is_producer",
    "on_lifespan",
    "register",
    "resolve_payloads",
    "to_camelcase",
)

_HOOK = "_faststream_objstore_hook"
# Between warnings that no server answers; the pause doubles each time.
_SILENT_SECONDS, _LONGEST_SILENCE = 3.0, 60.0

_logger = logging.getLogger("faststream_objstore")


def connection_of(broker: NatsBroker) -> object | None:
    """What the broker talks to now: a NATS client, a test's fake producer, or nothing."""
    client = broker._connection
    if isinstance(client, Client):
        return client
    # Not imported: that takes long, and whoever tests has it already.
    testing = sys.modules.get("faststream.nats.testing")
    producer: object = broker.config.broker_config.producer
    if (
        testing is not None
        and isinstance(producer, testing.FakeProducer)
        # A test that failed leaves its fake producer behind, but not the other patches.
        and "_connect" in vars(broker)
    ):
        fake: object = producer
        return fake
    return None


def fake_brokers(producer: Any) -> Sequence[NatsBroker]:
    """The brokers that were entered together with a test's fake producer."""
    brokers: Sequence[NatsBroker] = producer.brokers
    return brokers


def is_installed(producer: Any) -> bool:
    """Whether a test's fake producer is in use."""
    installed: bool = producer.broker.config.broker_config.producer is producer
    return installed


def api_options(broker: NatsBroker) -> tuple[str, float | None]:
    """The prefix of the JetStream API, and the timeout, of the broker's `js_options`."""
    options = dict(broker.config.broker_config.js_options)
    domain = options.get("domain")
    prefix = JetStreamServer.prefix_of(str(domain)) if domain else options.get("prefix")
    timeout = options.get("timeout")
    return str(prefix or "$JS.API"), float(str(timeout)) if timeout else None


def declared_streams(broker: NatsBroker) -> list[str]:
    """The streams that FastStream would create or reconfigure when the broker starts."""
    return [
        stream.name for stream, _ in broker._stream_builder.objects.values() if stream.declare
    ]


def custom_fields(broker: NatsBroker) -> list[tuple[str, CustomField]]:
    """What handlers ask for in `Annotated`, and their dependencies, and those of these.

    Each comes with the name of its handler.
    """
    found: list[tuple[str, CustomField]] = []
    for subscriber in broker.subscribers:
        if any(call.dependant is None for call in subscriber.calls):
            subscriber._build_fastdepends_model()
        for call in subscriber.calls:
            found += [(call.name, field) for _, field in _fields_of(call.dependant)]
    return found


def _fields_of(model: Any) -> list[tuple[CallModel, CustomField]]:
    found: list[tuple[CallModel, CustomField]] = []
    known: set[int] = set()

    def walk(model: Any) -> None:
        # FastAPI's routers have models of their own kind.
        if not isinstance(model, CallModel) or id(model) in known:
            return
        known.add(id(model))
        found.extend((model, field) for field in model.custom_fields.values())
        for key in (*model.dependencies.values(), *model.extra_dependencies):
            walk(model.dependency_provider.get_dependant(key))

    walk(model)
    return found


def _required_captures(model: Any) -> list[str]:
    """The names of the `Path()` values that a handler cannot do without."""
    names: list[str] = []
    for owner, field in _fields_of(model):
        if not isinstance(field, ContextField) or not field.required or field.initial:
            continue
        key = f"{field.prefix}{field.name or field.param_name}"
        if not key.startswith(PATH_CONTEXT_PREFIX):
            continue
        parameter = inspect.signature(owner.call).parameters.get(field.param_name)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        if default is inspect.Parameter.empty or isinstance(default, CustomField):
            names.append(key.removeprefix(PATH_CONTEXT_PREFIX).partition(".")[0])
    return names


class BrokerHook:
    """What runs when a broker has connected: `broker.connect()` is in every mode.

    And, on a server, before its subscribers start, and before they stop.

    Args:
        broker: The broker; these methods are replaced on the instance.
    """

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = weakref.ref(broker)
        self._connect = broker.connect
        self._start = broker.start
        self._stop = broker.stop
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            weakref.WeakKeyDictionary()
        )
        self._extensions: list[Any] = []
        broker.connect = self.connect  # type: ignore[method-assign]
        broker.start = self.start  # type: ignore[method-assign]
        broker.stop = self.stop  # type: ignore[method-assign]

    @classmethod
    def of(cls, broker: NatsBroker) -> "BrokerHook":
        """The broker's hook, made at the first call."""
        hook: BrokerHook | None = vars(broker).get(_HOOK)
        if hook is None:
            hook = cls(broker)
            setattr(broker, _HOOK, hook)
        return hook

    @staticmethod
    def attached_to(broker: NatsBroker) -> list[Any]:
        """What was added to the broker's hook, in order."""
        hook: BrokerHook | None = vars(broker).get(_HOOK)
        return [] if hook is None else list(hook._extensions)

    def add(self, extension: Any) -> None:
        """Have `bind_now`, `start_now` and `stop_now` run with the broker's own steps."""
        if extension not in self._extensions:
            self._extensions.append(extension)

    def discard(self, extension: Any) -> None:
        """Undo `add`."""
        if extension in self._extensions:
            self._extensions.remove(extension)

    @property
    def lock(self) -> asyncio.Lock:
        """Held while something connects or binds; tests run each in a loop of its own."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def connect(self) -> Client:
        """`broker.connect()`, and then what hangs on it; closed again if that fails."""
        async with self.lock:
            connection = await self._reach()
            try:
                for extension in tuple(self._extensions):
                    await extension.bind_now()
            except BaseException:
                broker = self._broker()
                if broker is not None:
                    # What went wrong first is what the user has to know.
                    with contextlib.suppress(Exception):
                        await broker.stop()
                raise
            return connection

    async def start(self) -> None:
        """`broker.start()`, after what subscribers rely on; stopped again if that fails."""
        broker = self._broker()
        if broker is not None:
            was_running = broker.running
            await broker.connect()
            try:
                for extension in tuple(self._extensions):
                    await extension.start_now()
            except BaseException:
                if not was_running:
                    with contextlib.suppress(Exception):
                        await broker.stop()
                raise
        await self._start()

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """`broker.stop()`, after what runs in the background."""
        try:
            for extension in tuple(self._extensions):
                await extension.stop_now()
        finally:
            await self._stop(exc_type, exc_val, exc_tb)

    async def _reach(self) -> Client:
        # nats-py tries for two minutes by default, and says nothing of it.
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting: asyncio.TimerHandle

        def warn(pause: float) -> None:
            nonlocal waiting
            self._warn(
                f"No NATS server answers at {self._servers()} yet, after "
                f"{loop.time() - began:.0f} s; still trying."
            )
            waiting = loop.call_later(pause, warn, min(pause * 2, _LONGEST_SILENCE))

        waiting = loop.call_later(_SILENT_SECONDS, warn, _SILENT_SECONDS * 2)
        try:
            return await self._connect()
        except nats.errors.NoServersError as error:
            msg = (
                f"No NATS server answers at {self._servers()}: start one (nats-server -js), "
                "or give NatsBroker(...) the right address."
            )
            raise ServerUnreachableError(msg) from error
        finally:
            waiting.cancel()

    def _warn(self, text: str) -> None:
        broker = self._broker()
        logger = broker.config.logger if broker is not None else None
        # It is set up by the first connection; until then it refuses to log.
        if logger is not None and isinstance(logger.logger, RealLoggerObject):
            logger.log(text, logging.WARNING)
        else:
            _logger.warning("%s", text)

    def _servers(self) -> str:
        broker = self._broker()
        return ", ".join(broker.specification.url) if broker is not None else "its address"


def on_lifespan(app: Application, enter: Callable[[], None]) -> None:
    """Call `enter` whenever the app's lifespan begins."""
    lifespan = app.lifespan_context

    def lifespan_context(*args: Any, **options: Any) -> Any:
        enter()
        return lifespan(*args, **options)

    app.lifespan_context = lifespan_context


def register(
    router: NatsRouter, subscriber: "PlainSubscriber", *, dependencies: Iterable[Any]
) -> None:
    """Add a subscriber to a router.

    Around `NatsRegistrator.subscriber`, which would have FastStream rewrite the bucket's
    stream.
    """
    Registrator.subscriber(router, subscriber)
    subscriber.add_call(parser_=None, decoder_=None, dependencies_=tuple(dependencies))


class PlainSubscriber(StreamSubscriber):
    """A FastStream subscriber that leaves receiving and acknowledging to its subclass.

    Args:
        router: Where it is registered.
        subject: What it listens to, whatever prefix the router gets.
        stream: The stream's name.
        specification: How AsyncAPI describes it.
        calls: Where its handlers are kept.
        parse: Makes FastStream's message of NATS's.
        decode: Makes the handler's argument of FastStream's message.
        no_reply: Not to answer requests.
    """

    def __init__(
        self,
        *,
        router: NatsRouter,
        subject: str,
        stream: str,
        specification: SubscriberSpecification[Any, Any],
        calls: "CallsCollection[Any]",
        parse: Callable[[Msg], Awaitable[NatsMessage]],
        decode: Callable[[Any], Awaitable[Any]],
        no_reply: bool,
    ) -> None:
        config = NatsSubscriberConfig(
            subject=subject,
            sub_config=ConsumerConfig(filter_subjects=[]),
            no_reply=no_reply,
            _outer_config=router.config,  # type: ignore[arg-type]
            _ack_policy=AckPolicy.MANUAL,
        )
        super().__init__(
            config, specification, calls, stream=JStream(stream, declare=False), queue=""
        )
        self._parser = parse
        self._decoder = decode

    @property
    def subject(self) -> Address:
        """The subject, whatever prefix the routers around it have."""
        return Address.literal(self._subject)

    @property
    def subject_label(self) -> str:
        """What logs show as the subject."""
        raise NotImplementedError

    @property
    def innermost_middlewares(self) -> Sequence[Any]:
        """What stands between FastStream's middlewares and the handler."""
        return ()

    @property
    def _broker_middlewares(self) -> Sequence[Any]:
        return (*super()._broker_middlewares, *self.innermost_middlewares)

    def _get_parser_and_decoder(
        self, item_parser: Any = None, item_decoder: Any = None
    ) -> tuple[Any, Any]:
        # Those of the broker are for messages; a bucket's metadata is ADR-20's.
        return (
            ParserComposition(item_parser, self._parser) if item_parser else self._parser,
            ParserComposition(item_decoder, self._decoder) if item_decoder else self._decoder,
        )

    @property
    def context(self) -> ContextRepo:
        """The broker's context."""
        return self._outer_config.context

    @property
    def graceful_seconds(self) -> float | None:
        """How long handlers may take to finish when the broker stops."""
        return self._outer_config.graceful_timeout

    def prepare(self) -> None:
        """Build the handlers' models, if a broker that started has not done so."""
        if any(call.parser is None for call in self.calls):
            self._build_fastdepends_model()

    def require_captures(self, handler: str, names: Sequence[str]) -> None:
        """Refuse a handler that asks for `Path()` values which no message can have.

        Args:
            handler: Its name.
            names: The values that it cannot do without.
        """

    def _build_fastdepends_model(self) -> None:
        if self._outer_config.fd_config.get_dependent is None:
            super()._build_fastdepends_model()
        else:
            self._build_without_fastapi()
        for call in self.calls:
            # A parser of the user's own may fill in whatever it likes.
            if call.item_parser is None:
                self.require_captures(call.name, _required_captures(call.dependant))

    def _build_without_fastapi(self) -> None:
        # FastAPI's router would resolve handlers as HTTP routes, with a request for a body;
        # a change has none. Its dependencies stay with its own subscribers.
        config = dataclasses.replace(
            self._outer_config.fd_config,
            use_fastdepends=True,
            serializer=FastDependsConfig().serializer,
            get_dependent=None,
            call_decorators=(),
        )
        for call in self.calls:
            parser, decoder = self._get_parser_and_decoder(call.item_parser, call.item_decoder)
            call._setup(
                parser=parser,
                decoder=decoder,
                config=config,
                broker_dependencies=(),
                _call_decorators=(),
            )
            call.handler.refresh(with_mock=False)

    async def start_late(self, *, in_memory: bool) -> None:
        """Start a subscriber of a broker that runs already."""
        if not in_memory:
            await self.start()
            return
        # What entering `TestNatsBroker` has done for the others.
        self._build_fastdepends_model()
        for call in self.calls:
            call.handler.set_test()
        self._post_start()

    async def is_wanted(self, message: Msg) -> bool:
        """Whether a handler's filter takes the message; one that fails is to be reported."""
        for call in self.calls.data:
            if call.filter is default_filter:
                return True
        parsed: dict[Any, Any] = {}
        for call in self.calls:
            try:
                if await call.is_suitable(message, parsed) is not None:
                    return True
            except Exception:  # noqa: BLE001 - `process_message` meets it again, and logs it
                return True
        return False

    async def as_message(self, message: Msg) -> NatsMessage:
        """What a handler would get as `NatsMessage`."""
        parser, decoder = self._get_parser_and_decoder()
        context = self._outer_config.context
        parsed = await process_msg(
            msg=message,
            middlewares=(
                middleware(message, context=context)
                for middleware in self._outer_config.broker_middlewares
            ),
            parser=parser,
            decoder=decoder,
        )
        return cast("NatsMessage", parsed)

    def require_no_handlers(self) -> None:
        """Handlers and iteration would take changes from each other."""
        if self.calls:
            msg = "A subscriber with handlers cannot be iterated, nor asked for one change."
            raise SetupError(msg)

    async def flush(self) -> None:
        """Return when the server has what was published."""
        if connected := self._outer_config.connection_state:
            # nats-py puts the PING before what waits to be sent, and sends all of it: only
            # the second PING comes after the messages.
            for _ in range(2):
                await connected.connection.flush()

    def get_log_context(self, message: Any) -> dict[str, str]:
        """What a log line says beside its text."""
        return self.build_log_context(
            message, subject=self.subject_label, stream=self.stream.name
        )

    def log(self, level: int, text: str) -> None:
        """Log with the broker's logger."""
        self._log(level, text, extra=self.get_log_context(None))


class Encoded(bytes):
    """A body that is encoded already; after `encode_body`, producers send it as it is."""

    __slots__ = ()


class _EncodedCodec:
    """A user's codec for bodies, but for those that are encoded already."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec

    async def encode(self, msg: Any, serializer: Any = None) -> tuple[bytes, str | None]:
        if isinstance(msg, Encoded):
            return msg, None
        encoded: tuple[bytes, str | None] = await self._codec.encode(msg, serializer)
        return encoded

    async def decode(self, msg: Any) -> Any:
        return await self._codec.decode(msg)


async def encode_body(broker: NatsBroker, body: Any) -> tuple[bytes, str | None]:
    """A body and its content type, as the broker's producers would send them."""
    config = broker.config.broker_config
    producers: tuple[Any, ...] = (config.producer, config.js_producer)
    for producer in producers:
        # `DefaultCodec` does not touch bytes; connecting sets the codec anew.
        if not isinstance(producer.codec, (DefaultCodec, _EncodedCodec)):
            producer.codec = _EncodedCodec(producer.codec)
    encoded: tuple[bytes, str | None] = await producers[0].codec.encode(
        body, config.fd_config._serializer
    )
    return encoded


def is_producer(call: Callable[..., Any]) -> bool:
    """Whether a publish middleware's `call_next` is the producer: FastStream binds others."""
    return not isinstance(call, partial)
