"""Bodies as the broker encodes them."""
# ruff: noqa: SLF001 - that is what this package is for

from collections.abc import Callable
from functools import partial
from typing import Any

from faststream._internal.parser import DefaultCodec
from faststream.nats import NatsBroker

__all__ = (
    "Encoded",
    "encode_body",
    "is_producer",
)


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
