"""Bodies as the broker encodes them."""
# ruff: noqa: SLF001 - that is what this package is for

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from faststream._internal.parser import DefaultCodec
from faststream.nats import NatsBroker, NatsPublishCommand
from faststream.response.publish_type import PublishType

__all__ = (
    "Encoded",
    "MessageTooLargeError",
    "encode_body",
    "headers_size",
    "is_producer",
    "publish_measured",
)


class Encoded(bytes):
    """A body that is already encoded; after `encode_body`, producers send it unchanged."""

    __slots__ = ()


class _EncodedCodec:
    """A user's codec for bodies, which skips those that are already encoded."""

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
        # `DefaultCodec` does not change bytes; connecting sets the codec again.
        if not isinstance(producer.codec, (DefaultCodec, _EncodedCodec)):
            producer.codec = _EncodedCodec(producer.codec)
    encoded: tuple[bytes, str | None] = await producers[0].codec.encode(
        body, config.fd_config._serializer
    )
    return encoded


def is_producer(call: Callable[..., Any]) -> bool:
    """Whether a middleware's `call_next` is the producer; FastStream binds other callables."""
    return not isinstance(call, partial)


def headers_size(headers: Mapping[str, str]) -> int:
    """The size of headers in a message, in bytes: they count against `max_payload` too."""
    # "NATS/1.0\r\n", "key: value\r\n" and "\r\n".
    return 12 + sum(
        len(str(key).encode()) + len(str(value).encode()) + 4 for key, value in headers.items()
    )


class MessageTooLargeError(Exception):
    """A message is larger than the server accepts.

    Attributes:
        excess: The number of bytes above the limit.
    """

    def __init__(self, excess: int) -> None:
        super().__init__(f"the message is {excess} bytes larger than the server's max_payload")
        self.excess = excess


class _Measured:
    """A producer that refuses messages for which the server would close the connection.

    nats-py compares only the body with `max_payload`, but the server counts the headers too,
    and only here is it known what middlewares have added.

    Args:
        broker: The broker that it belongs to.
        producer: The producer that sends the messages.
        limit: The server's `max_payload`.
    """

    def __init__(self, broker: NatsBroker, producer: Any, limit: int) -> None:
        self._broker = broker
        self._producer = producer
        self._limit = limit

    async def publish(self, command: NatsPublishCommand) -> Any:
        """Publish the message unless it is too large.

        Raises:
            MessageTooLargeError: If it is.
        """
        body, content_type = await encode_body(self._broker, command.body)
        headers = {"content-type": content_type or "", **command.headers_to_publish(js=True)}
        excess = len(body) + headers_size(headers) - self._limit
        if excess > 0:
            raise MessageTooLargeError(excess)
        return await self._producer.publish(command)


async def publish_measured(
    broker: NatsBroker, producer: Any, limit: int, body: Any, subject: str
) -> None:
    """Publish through the broker's middlewares.

    Raises:
        MessageTooLargeError: If it is larger than the server accepts, headers included.
    """
    command = NatsPublishCommand(
        body,
        subject=subject,
        correlation_id=broker.config.id_generator(),
        _publish_type=PublishType.PUBLISH,
    )
    measured: Any = _Measured(broker, producer, limit)
    await broker._basic_publish(command, producer=measured)
