"""FastStream's processing of one message, without its stacks of context managers.

It does what certain versions of FastStream and FastDepends do. With others, their own methods
are used.
"""
# ruff: noqa: SLF001 - that is what this package is for

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeGuard
from uuid import uuid4

import fast_depends.__about__
from fast_depends.core import CallModel
from faststream import __about__
from faststream._internal.configs.broker import ConfigComposition
from faststream._internal.context import ContextRepo
from faststream._internal.endpoint.subscriber.call_item import HandlerItem
from faststream._internal.endpoint.subscriber.utils import default_filter
from faststream._internal.logger.logger_proxy import EmptyLoggerObject
from faststream.exceptions import SubscriberNotFound
from faststream.middlewares.logging import CriticalLogMiddleware

# The class itself: what `faststream.nats` gives is `Annotated`, and slow to call.
from faststream.nats.message import NatsMessage
from faststream.nats.subscriber.usecases.stream_basic import StreamSubscriber
from faststream.response import Response, ensure_response
from nats.aio.msg import Msg

__all__ = ("IdentifiedMessage", "ProcessingSubscriber", "call_directly")

# Those of FastStream whose `process_message` does what the one below does, and those of
# FastDepends whose `CallModel.asolve` does what `_calling` does.
_KNOWN_VERSIONS = frozenset({"0.7.8"})
_KNOWN_DEPENDS = frozenset({"3.0.8", "3.0.9"})


class ProcessingSubscriber(StreamSubscriber):
    """A subscriber that processes a message with half of FastStream's overhead.

    The outcome is FastStream's: the same middlewares, context, filters, publishers and errors,
    in the same order.
    """

    @property
    def _has_known_base(self) -> bool:
        return __about__.__version__ in _KNOWN_VERSIONS

    @property
    def innermost_middlewares(self) -> Sequence[Any]:
        """The middlewares between FastStream's and the handler."""
        return ()

    @property
    def _broker_middlewares(self) -> Sequence[Any]:
        return (*super()._broker_middlewares, *self.innermost_middlewares)

    async def is_wanted(self, message: Any) -> bool:
        """Whether a handler's filter accepts the message; filters that fail are reported."""
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

    async def process_message(self, msg: Any) -> Response:
        """Run the handler that accepts a message, inside the middlewares."""
        if not self._has_known_base:
            return await super().process_message(msg)
        config: Any = self._outer_config
        while isinstance(config, ConfigComposition):
            config = config.broker_config
        context: ContextRepo = config.context
        logger = config.logger
        middlewares: list[Any] = []
        with self.lock:
            scope = [
                ("handler_", context.set_local("handler_", self)),
                ("logger", context.set_local("logger", logger.logger.logger)),
            ]
            for key, value in self._outer_config.extra_context.items():
                scope.append((key, context.set_local(key, value)))
            try:
                try:
                    # It writes log lines and does nothing else.
                    if type(logger.logger) is not EmptyLoggerObject:
                        middlewares.append(CriticalLogMiddleware(logger)(msg, context=context))
                        await middlewares[0].__aenter__()
                    for make in self._broker_middlewares:
                        middleware: Any = make(msg, context=context)
                        await middleware.__aenter__()
                        middlewares.append(middleware)
                    result = await self._call(msg, middlewares, context, scope)
                except BaseException as error:
                    left = await _leave(middlewares, error)
                    if left is error:
                        raise
                    if left is not None:
                        raise left  # noqa: B904 - a middleware's, which has its own cause
                    return ensure_response(None)
                left = await _leave(middlewares, None)
                if left is not None:
                    raise left
                return result
            finally:
                while scope:
                    context.reset_local(*scope.pop())

    async def _call(
        self, msg: Any, middlewares: list[Any], context: ContextRepo, scope: list[Any]
    ) -> Response:
        parsed: dict[Any, Any] = {}
        for call in self.calls.data:
            message = await call.is_suitable(msg, parsed)
            if message is None:
                continue
            log_context = self.get_log_context(message)
            scope.append(("log_context", context.set_local("log_context", log_context)))
            scope.append(("message", context.set_local("message", message)))
            result = ensure_response(
                await call.call(
                    message=message,
                    _extra_middlewares=_scopes(middlewares, "consume_scope"),
                )
            )
            publishers = call.handler._publishers
            if message.reply_to and not self._no_reply:
                publishers = [*self._make_response_publisher(message), *publishers]
            if publishers and not result.correlation_id:
                result.correlation_id = message.correlation_id
            for publisher in publishers:
                await publisher._publish(
                    result.as_publish_command(),
                    _extra_middlewares=_scopes(middlewares, "publish_scope"),
                )
            return result
        error = f"There is no suitable handler for {msg=}"
        raise SubscriberNotFound(error)


def _scopes(middlewares: list[Any], scope: str) -> Iterator[Any]:
    for middleware in reversed(middlewares):
        yield getattr(middleware, scope)


async def _leave(middlewares: list[Any], error: BaseException | None) -> BaseException | None:
    """Exit the middlewares as an `AsyncExitStack` does; returns the error that is left."""
    while middlewares:
        middleware = middlewares.pop()
        try:
            if error is None:
                await middleware.__aexit__(None, None, None)
            elif await middleware.__aexit__(type(error), error, error.__traceback__):
                error = None
        except BaseException as raised:  # noqa: BLE001 - the next one may suppress it
            error = raised
    return error


class _Later:
    """Takes the place of a correlation id that nobody has asked for yet."""


_LATER: Any = _Later()


class IdentifiedMessage(NatsMessage):
    """A `NatsMessage` that makes its correlation id, if it has none, when it is asked for it.

    Args:
        raw_message: The message as delivered.
        body: Its body.
        path: What the subject's pattern captured.
        headers: Its headers.
        correlation_id: The id, if it is known.
        message_id: Its own id.
    """

    _correlation_id: str

    def __init__(
        self,
        raw_message: Msg,
        body: bytes,
        *,
        path: dict[str, str],
        headers: dict[str, str],
        correlation_id: str | None,
        message_id: str,
    ) -> None:
        super().__init__(
            raw_message,
            body,
            path=path,
            headers=headers,
            correlation_id=correlation_id or _LATER,
            message_id=message_id,
        )

    @property
    def correlation_id(self) -> str:
        """What this message has in common with its cause and its consequences."""
        if self._correlation_id is _LATER:
            self._correlation_id = str(uuid4())
        return self._correlation_id

    @correlation_id.setter
    def correlation_id(self, value: str) -> None:
        self._correlation_id = value


def call_directly(item: HandlerItem[Any]) -> None:
    """Spare a handler that asks for nothing but its message's body a third of its call.

    It is validated as FastDepends does, and so is what the handler returns. FastDepends would
    besides open an exit stack, look for dependencies and find out, each time, whether the
    handler is a coroutine function.
    """
    model = item.dependant
    if fast_depends.__about__.__version__ in _KNOWN_DEPENDS and _is_plain(model):
        item.handler._wrapped_call = _calling(model)


def _is_plain(model: object) -> TypeGuard[CallModel]:
    return (
        isinstance(model, CallModel)
        and model.serializer is not None
        and len(model.params) == 1
        and len(model.keyword_args) + len(model.positional_args) == 1
        and inspect.iscoroutinefunction(model.call)
        and not (
            model.is_generator
            or model.args_name
            or model.kwargs_name
            or model.dependencies
            or model.extra_dependencies
            or model.custom_fields
        )
    )


def _calling(model: CallModel) -> Callable[[Any], Awaitable[Any]]:
    [name] = (*model.keyword_args, *model.positional_args)
    call, serializer = model.call, model.serializer
    assert serializer is not None  # noqa: S101 - see `_is_plain`

    async def decode_and_call(message: Any) -> Any:
        given = {name: await message.decode()}
        given.update(serializer(given))
        return serializer.response(await call(**{name: given[name]}))

    return decode_and_call
