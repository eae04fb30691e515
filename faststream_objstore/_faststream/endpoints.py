"""The base class of the subscribers that run on changes."""
# ruff: noqa: SLF001 - that is what this package is for

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from faststream._internal.broker.registrator import Registrator
from faststream._internal.context import ContextRepo
from faststream._internal.di import FastDependsConfig
from faststream._internal.endpoint.subscriber import SubscriberSpecification
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.endpoint.utils import ParserComposition, process_msg
from faststream._internal.utils.path import Address
from faststream.exceptions import SetupError
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsMessage, NatsRouter
from faststream.nats.subscriber.config import (
    NatsSubscriberConfig,
)
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from faststream_objstore._faststream.introspection import required_captures
from faststream_objstore._faststream.processing import ProcessingSubscriber, call_directly

__all__ = (
    "PlainSubscriber",
    "register",
)


def register(
    router: NatsRouter, subscriber: "PlainSubscriber", *, dependencies: Iterable[Any]
) -> None:
    """Add a subscriber to a router.

    It bypasses `NatsRegistrator.subscriber`, because FastStream would then rewrite the
    bucket's stream.
    """
    Registrator.subscriber(router, subscriber)
    subscriber.add_call(parser_=None, decoder_=None, dependencies_=tuple(dependencies))


class PlainSubscriber(ProcessingSubscriber):
    """A FastStream subscriber whose subclass receives and acknowledges.

    Args:
        router: Where it is registered.
        subject: Its subject, independent of the router's prefix.
        stream: The stream's name.
        specification: How AsyncAPI describes it.
        calls: The collection of its handlers.
        parse: Converts a NATS message to FastStream's message.
        decode: Converts FastStream's message to the handler's argument.
        no_reply: Do not answer requests.
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
        """The subject, independent of the prefixes of its routers."""
        return Address.literal(self._subject)

    @property
    def subject_label(self) -> str:
        """The subject that logs show."""
        raise NotImplementedError

    def _get_parser_and_decoder(
        self, item_parser: Any = None, item_decoder: Any = None
    ) -> tuple[Any, Any]:
        # The broker's are for messages, while a bucket's metadata has ADR-20's format.
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

    @property
    def object_publishers(self) -> list[Any]:
        """The publishers of its handlers that store objects."""
        return [
            publisher
            for call in self.calls
            for publisher in call.handler._publishers
            if getattr(publisher, "stores_objects", False)
        ]

    @property
    def makes_objects_only(self) -> bool:
        """Whether the objects that they make are all that its handlers are for."""
        for call in self.calls:
            publishers = call.handler._publishers
            if not publishers or not all(
                getattr(one, "stores_objects", False) for one in publishers
            ):
                return False
        return bool(self.calls)

    def prepare(self) -> None:
        """Build the handlers' models, unless a broker's start has already done so."""
        if any(call.parser is None for call in self.calls):
            self._build_fastdepends_model()

    @property
    def captures(self) -> Sequence[str]:
        """The names of the `Path()` values that its messages have."""
        raise NotImplementedError

    def require_captures(self, handler: str, names: Sequence[str]) -> None:
        """Refuse a handler that requires `Path()` values that no message can have.

        Args:
            handler: Its name.
            names: The values that it requires.
        """

    def _build_fastdepends_model(self) -> None:
        config = self._outer_config.fd_config
        if config.get_dependent is None:
            super()._build_fastdepends_model()
        else:
            self._build_without_fastapi()
        for call in self.calls:
            if config.use_fastdepends or config.get_dependent is not None:
                call_directly(call)
            # A user's own parser may supply any value.
            if call.item_parser is None:
                self.require_captures(call.name, required_captures(call.dependant))

    def _build_without_fastapi(self) -> None:
        # FastAPI's router would treat handlers as HTTP routes, with a request for a body,
        # which a change does not have. Its dependencies still apply to its own subscribers.
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
        """Start a subscriber of a broker that is already running."""
        if not in_memory:
            await self.start()
            return
        # What `TestNatsBroker` did for the other subscribers when it was entered.
        self._build_fastdepends_model()
        for call in self.calls:
            call.handler.set_test()
        self._post_start()

    async def as_message(self, message: Msg) -> NatsMessage:
        """What a handler would receive as `NatsMessage`."""
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
        """Not supported: handlers and iteration would take changes from each other."""
        if self.calls:
            msg = "A subscriber with handlers cannot be iterated, nor asked for one change."
            raise SetupError(msg)

    async def flush(self) -> None:
        """Return when the server has received what was published."""
        if connected := self._outer_config.connection_state:
            # nats-py puts the PING before the data that waits to be sent, and sends all of
            # it: only the second PING follows the messages.
            for _ in range(2):
                await connected.connection.flush()

    def get_log_context(self, message: Any) -> dict[str, str]:
        """The fields of a log line besides its text."""
        return self.build_log_context(
            message, subject=self.subject_label, stream=self.stream.name
        )

    def log(self, level: int, text: str) -> None:
        """Log with the broker's logger."""
        self._log(level, text, extra=self.get_log_context(None))
