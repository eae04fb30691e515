"""The base class of the publishers whose results are objects."""
# ruff: noqa: SLF001 - that is what this package is for

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any, TypeVar

from fast_depends.utils import (
    get_typed_signature,
    is_async_gen_callable,
    is_coroutine_callable,
    is_gen_callable,
    run_in_threadpool,
)
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.call_wrapper import HandlerCallWrapper
from faststream._internal.testing.calls import CallRecorder, RecordedCall
from faststream._internal.utils.path import Address
from faststream.message import StreamMessage, decode_message, encode_message
from faststream.nats import NatsBroker, NatsPublishCommand, NatsRouter
from faststream.nats.publisher.config import NatsPublisherConfig
from faststream.nats.publisher.specification import NatsPublisherSpecification
from faststream.nats.publisher.usecase import LogicPublisher
from typing_extensions import ParamSpec

from faststream_objstore._faststream.endpoints import PlainSubscriber

__all__ = (
    "PlainPublisher",
    "PublishedBy",
    "addressed_captures",
    "published_by",
    "publishers_of",
    "register_publisher",
)

_TAKEN_OVER = "_objstore_taken_over"

P = ParamSpec("P")
T = TypeVar("T")
Send = Callable[[Any], Awaitable[Any]]
Results = Callable[["HandlerCallWrapper[..., Any]", Any], Awaitable[Any]]


def register_publisher(router: NatsRouter, publisher: "PlainPublisher") -> None:
    """Add a publisher to a router."""
    Registrator.publisher(router, publisher)


class PlainPublisher(LogicPublisher):
    """A FastStream publisher whose subclass sends.

    Args:
        router: Where it is registered.
        destination: The subject that middlewares see, independent of the router's prefix.
        specification: How AsyncAPI describes it.
        headers: Headers of each message.
    """

    # How `PlainSubscriber` distinguishes them from publishers of messages.
    stores_objects = True
    follow: bool
    """Whether results are deleted with their sources."""

    def __init__(
        self,
        *,
        router: NatsRouter,
        destination: str,
        specification: NatsPublisherSpecification,
        headers: dict[str, str],
    ) -> None:
        config = NatsPublisherConfig(
            subject=destination,
            reply_to="",
            headers=headers,
            stream=None,
            timeout=None,
            _outer_config=router.config,  # type: ignore[arg-type]
        )
        super().__init__(config, specification)
        self._handlers: list[HandlerCallWrapper[..., Any]] = []

    @property
    def subject(self) -> Address:
        """The destination, independent of the prefixes of its routers."""
        return Address.literal(self._subject)

    def current(self) -> tuple[Any, Any]:
        """The subscriber and the message of the running handler; `None` for both if none runs.

        Their broker may differ from the one to which the publisher's bucket is attached.
        """
        for handler in self._handlers:
            for subscriber in handler._subscribers:
                context = subscriber._outer_config.context
                if context.get_local("handler_") is subscriber:
                    return subscriber, context.get_local("message")
        return None, None

    def is_answered_in_json(self) -> bool:
        """Whether the handler's return value is converted to JSON first, as FastAPI does."""
        subscriber, _ = self.current()
        return (
            not isinstance(subscriber, PlainSubscriber)
            and subscriber._outer_config.fd_config.get_dependent is not None
        )

    def mark_taken_over(self) -> None:
        """Record on the current message that its result has been handled."""
        # On the message, because the result may be replaced, for instance by FastAPI's JSON.
        vars(self.current()[1])[_TAKEN_OVER] = True

    def is_taken_over(self) -> bool:
        """Whether the result of the current message has been handled."""
        return getattr(self.current()[1], _TAKEN_OVER, False)

    def new_correlation_id(self) -> str:
        """What a message gets that belongs to no other."""
        return str(self._outer_config.id_generator())

    def __call__(self, func: Callable[P, T]) -> "HandlerCallWrapper[P, T]":
        """Decorate a function, so that its return value is stored."""
        handler = super().__call__(func)
        self._handlers.append(handler)
        written = _written(handler)
        self.specification.calls[-1] = written
        if not isinstance(handler, _Intercepted):
            handler.__class__ = _intercepted(type(handler))
            handler._declared_call = _within_the_call(handler, written, self.take_over)
        return handler

    async def take_over(self, handler: "HandlerCallWrapper[..., Any]", result: Any) -> Any:
        """Receive a function's result while its dependencies are still open.

        Args:
            handler: The function, as FastStream wraps it.
            result: Its return value.

        Returns:
            What FastStream receives as its result.
        """
        raise NotImplementedError

    async def follow_deletion(self, change: Any, backend: Any) -> None:
        """Delete the result of a source that was deleted.

        Args:
            change: The deletion.
            backend: The source's bucket.
        """
        raise NotImplementedError

    async def is_done(self, change: Any, backend: Any) -> bool:
        """Whether the result of this very change already exists.

        Args:
            change: The change.
            backend: The source's bucket.
        """
        raise NotImplementedError

    async def through_middlewares(
        self, command: NatsPublishCommand, send: Send, middlewares: Iterable[Any]
    ) -> Any:
        """Call `send` with the command, inside `publish_scope` of each middleware.

        Args:
            command: The command to publish.
            send: Called by the innermost middleware.
            middlewares: Those of a subscriber's message; if empty, the broker's.
        """
        return await self._basic_publish(
            command,
            producer=_Sender(send),  # type: ignore[arg-type]
            _extra_middlewares=middlewares,
        )

    def set_test(self, *, recorder: CallRecorder | None = None, with_fake: bool) -> None:  # noqa: ARG002
        """The recorder of stored results, as `mock`.

        A recorder that FastStream passes in belongs to a subscriber to the destination,
        which gets no messages and is shared by the publishers of a bucket.
        """
        super().set_test(recorder=None, with_fake=with_fake)

    def record(self, returned: Any, command: NatsPublishCommand) -> None:
        """Record a stored result in `mock` and for the assertions."""
        if not self.is_test:
            return
        body, content_type = b"", None
        if isinstance(returned, (bytes, str)):
            body, content_type = encode_message(returned, None)
        else:
            try:
                serializer = self._outer_config.fd_config._serializer
                body, content_type = encode_message(returned, serializer)
            except (TypeError, ValueError):
                # A stream has no body to compare.
                pass
        message: StreamMessage[Any] = StreamMessage(
            None,
            body=body,
            headers=dict(command.headers),
            content_type=content_type,
            correlation_id=command.correlation_id,
            path=getattr(self.current()[1], "path", {}),
        )
        message.set_decoder(_decode)
        self._recorder.calls.append(RecordedCall(message, self._outer_config.context.context))
        self._recorder.mock(returned)


async def _decode(message: StreamMessage[Any]) -> Any:
    return decode_message(message)


class _Sender:
    """What FastStream uses as a producer."""

    def __init__(self, send: Send) -> None:
        self.publish = send


class _Intercepted:
    """Marks handlers whose results are handled before their dependencies are closed."""

    __slots__ = ()


def _intercepted(kind: "type[HandlerCallWrapper[..., Any]]") -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        # When called directly, as in a unit test, it is the original function.
        return self._declared_call.__wrapped__(*args, **kwargs)

    # The same layout, so that an instance can become one.
    return type(kind.__name__, (kind, _Intercepted), {"__slots__": (), "__call__": call})


def _written(handler: "HandlerCallWrapper[..., Any]") -> Callable[..., Any]:
    """The function of a handler as its author wrote it."""
    call = handler._declared_call
    return call.__wrapped__ if isinstance(handler, _Intercepted) else call  # type: ignore[attr-defined]


def _within_the_call(
    handler: "HandlerCallWrapper[..., Any]", func: Callable[..., Any], results: Results
) -> Callable[..., Any]:
    """The function, which also calls `results` with its return value.

    FastDepends closes dependencies when this returns. A generator has not started by then, so
    its content is read here.
    """

    @wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if is_coroutine_callable(func):
            result = await func(*args, **kwargs)
        elif is_async_gen_callable(func):
            result = func(*args, **kwargs)
        elif is_gen_callable(func):
            result = _in_threads(func(*args, **kwargs))
        else:
            result = await run_in_threadpool(partial(func, *args, **kwargs))
        return await results(handler, result)

    if not _casts(func):
        call.__signature__ = inspect.signature(func).replace(  # type: ignore[attr-defined]
            return_annotation=inspect.Signature.empty
        )
    return call


def _casts(func: Callable[..., Any]) -> bool:
    """Whether FastDepends can cast the result to the annotated return type."""
    # Imported late: it needs what this module defines nothing of.
    from faststream_objstore._faststream.annotations import can_cast  # noqa: PLC0415

    if is_gen_callable(func) or is_async_gen_callable(func):
        return False
    _, annotation = get_typed_signature(func)
    return can_cast(annotation)


async def _in_threads(pieces: Iterator[Any]) -> AsyncIterator[Any]:
    """The generator of a sync function, whose steps may block."""
    end = object()
    try:
        while (piece := await asyncio.to_thread(next, pieces, end)) is not end:
            yield piece
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def publishers_of(handler: "HandlerCallWrapper[..., Any]") -> list[Any]:
    """All publishers of a handler, in the order in which they receive its result."""
    return list(handler._publishers)


class PublishedBy:
    """One handler of a subscriber, with its publishers.

    Attributes:
        subscriber: The subscriber.
        name: The handler's name, for errors.
        publishers: All of its publishers.
        parses: Whether the handler uses a user's own parser.
    """

    __slots__ = ("name", "parses", "publishers", "subscriber")

    def __init__(self, subscriber: Any, call: Any) -> None:
        self.subscriber = subscriber
        self.name: str = call.name
        self.publishers: list[Any] = publishers_of(call.handler)
        self.parses: bool = (
            call.item_parser is not None or subscriber._call_options.parser is not None
        )


def published_by(broker: NatsBroker) -> list[PublishedBy]:
    """The handlers of a broker."""
    return [
        PublishedBy(subscriber, call)
        for subscriber in broker.subscribers
        for call in subscriber.calls
    ]


def addressed_captures(subscriber: Any) -> list[str]:
    """The names of the `Path()` values in the subject of a NATS subscriber."""
    address = getattr(subscriber, "subject", None)
    regex = address.regex if isinstance(address, Address) else None
    return [] if regex is None else list(regex.groupindex)
