"""`ClaimCheckMiddleware`: large message bodies travel through a bucket."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from copy import copy
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from faststream import BaseMiddleware, ContextRepo, StreamMessage
from faststream.nats import NatsPublishCommand
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore._faststream import (
    Encoded,
    connection_of,
    encode_body,
    headers_size,
    is_producer,
)
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.middlewares.claims import HEADER, Claims, Reference
from faststream_objstore.store.expiry import life_of
from faststream_objstore.wire import metadata_subject

__all__ = ("ClaimCheckMiddleware",)

# How long bodies live where nothing else is said.
_LIFE = timedelta(days=1)
# nats-server's default, which `TestNatsBroker` has too.
_DEFAULT_MAX_PAYLOAD = 1024 * 1024
# Left for headers below `max_payload`, since middlewares behind this one add theirs: 16 KiB,
# or a quarter of a small limit.
_HEADER_ROOM = 16 * 1024
# The reference itself, and what a producer may add (`Nats-Schedule`).
_REFERENCE_BYTES = 1024
# The bodies of one batch that are fetched at a time.
_CONCURRENT_READS = 8
# After these errors the message may have arrived all the same.
_UNDECIDED = (asyncio.CancelledError, asyncio.TimeoutError, TimeoutError)


class ClaimCheckMiddleware:
    """Sends large message bodies through a bucket, transparently for handlers.

    A body of more than `threshold` bytes, once encoded, is stored in the bucket, and an empty
    message with all its headers and an `Objstore-Ref` header is sent instead. The receiver
    restores the body before any other part of FastStream sees the message. Add the
    middleware to every broker that publishes to or consumes from the subjects.

    Put it last among middlewares that change bodies: those after it see the empty message.

    Args:
        bucket: The bucket, attached to a `Buckets` of the same broker.
        threshold: The largest body, in bytes, that stays in its message. If not given, half
            of the server's `max_payload`. It is capped to leave room for headers: 16 KiB
            below `max_payload`, or at three quarters of a small `max_payload`.
        prefix: The prefix of the objects' names.
        delete_after: With `"ack"`, an object is deleted when its message is acknowledged, or
            handled if there is nothing to acknowledge (core NATS, replies); use it for
            messages with a single consumer. Otherwise objects expire with the bucket's `ttl`.
        ttl: How long a body lives, in a bucket with `object_ttl`: longer than any message may
            wait. If not given, as long as the bucket's `ttl` says; a day, if the bucket has
            only `object_ttl`, and bodies are not deleted otherwise.

    Raises:
        InvalidOptionError: If an option is invalid, or if it decides how long bodies live in a
            bucket that follows another one.
        InvalidObjectNameError: If the prefix is not a valid start of an object's name.

    Example:
        ```python
        claims = Bucket("claims", ttl=timedelta(days=1))
        broker = NatsBroker(middlewares=[ClaimCheckMiddleware(claims)])
        buckets = Buckets(broker, claims)
        ```
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        threshold: int | None = None,
        prefix: str = "claims/",
        delete_after: Literal["ack"] | None = None,
        ttl: timedelta | float | None = None,
    ) -> None:
        if not isinstance(bucket, Bucket):
            msg = f"ClaimCheckMiddleware takes a Bucket, got {bucket!r}."
            raise InvalidOptionError(msg)
        if threshold is not None and (type(threshold) is not int or threshold < 0):
            msg = (
                f"Bucket '{bucket.name}': threshold must be a number of bytes, got "
                f"{threshold!r}."
            )
            raise InvalidOptionError(msg, bucket=bucket.name)
        if delete_after not in {None, "ack"}:
            msg = (
                f"Bucket '{bucket.name}': delete_after must be 'ack' or None, got "
                f"{delete_after!r}."
            )
            raise InvalidOptionError(msg, bucket=bucket.name)
        if prefix != "":
            metadata_subject(bucket.name, prefix)
        life = life_of(bucket.name, prefix, ttl)
        object_ttl = bucket.config.object_ttl
        follows = bool(bucket.config.origins)
        if follows and (life is not None or delete_after is not None):
            msg = (
                f"Bucket '{bucket.name}' follows another one, and bodies are only read from "
                "it: leave ttl and delete_after out, and give them to the "
                "ClaimCheckMiddleware of the service that publishes."
            )
            raise InvalidOptionError(msg, bucket=bucket.name)
        if life is not None and bucket.declare and not object_ttl:
            msg = (
                f"Bucket '{bucket.name}': the ttl of a ClaimCheckMiddleware takes a bucket "
                f"with object_ttl; declare Bucket('{bucket.name}', object_ttl=True), which "
                "takes nats-server 2.11, or give the bucket a ttl."
            )
            raise InvalidOptionError(msg, bucket=bucket.name)
        settled = delete_after or life or bucket.config.ttl or follows
        if bucket.declare and not settled:
            if not object_ttl:
                warnings.warn(
                    f"Bucket '{bucket.name}' keeps the bodies of messages for ever: give it a "
                    "ttl, or the ClaimCheckMiddleware delete_after='ack' or, in a bucket with "
                    "object_ttl, a ttl.",
                    stacklevel=2,
                )
            elif isinstance(object_ttl, timedelta):
                life = max(_LIFE, object_ttl)
        self._claims = Claims(bucket, prefix, ttl=life)
        self._threshold = threshold
        self._deletes = delete_after == "ack"
        # Bodies that are being sent and that no consumer in this process has read yet.
        self._unread: set[str] = set()

    def __call__(
        self, msg: Any | None, /, *, context: ContextRepo
    ) -> "BaseMiddleware[NatsPublishCommand, Any]":
        """Make the middleware of one message; called by FastStream."""
        return _ClaimCheck(self, msg, context=context)

    def threshold(self) -> int:
        """The largest body that stays in its message, with the current server's limit."""
        limit = self._limit()
        if self._threshold is None:
            return limit // 2
        return min(self._threshold, limit - min(_HEADER_ROOM, limit // 4))

    def _limit(self) -> int:
        client = connection_of(self._claims.broker)
        return client.max_payload if isinstance(client, Client) else _DEFAULT_MAX_PAYLOAD

    async def publish(
        self,
        call_next: Callable[[NatsPublishCommand], Awaitable[Any]],
        command: NatsPublishCommand,
    ) -> Any:
        """Publish a message, its body through the bucket if it is large."""
        # $JS, $KV, $O, $SYS: the server itself reads these and does not know references.
        if command.destination.startswith("$"):
            return await call_next(command)

        body, content_type = await encode_body(self._claims.broker, command.body)
        # The caller's command stays as it is: middlewares around this one look at it.
        encoded = copy(command)
        encoded.headers = {"content-type": content_type or "", **command.headers}
        limit = self._limit()
        headers = headers_size(encoded.headers_to_publish(js=True))
        if headers + _REFERENCE_BYTES > limit:
            msg = (
                f"Bucket '{self._claims.bucket}': a message to {command.destination!r} has "
                f"{headers} bytes of headers, which leave no room within the server's "
                f"max_payload, {limit}. Only bodies go through the bucket; send smaller "
                "headers."
            )
            raise InvalidOptionError(msg, bucket=self._claims.bucket)
        if len(body) <= self.threshold() and len(body) + headers <= limit:
            if not is_producer(call_next):
                # Middlewares after this one may want the body itself.
                return await call_next(command)
            encoded.body = Encoded(body)
            return await call_next(encoded)

        reference = await self._claims.put(
            body,
            content_type=encoded.headers["content-type"],
            correlation_id=command.correlation_id,
        )
        encoded.body = Encoded(b"")
        encoded.headers[HEADER] = reference.header()
        return await self._publish_reference(call_next, encoded, reference.name)

    async def _publish_reference(
        self,
        call_next: Callable[[NatsPublishCommand], Awaitable[Any]],
        command: NatsPublishCommand,
        name: str,
    ) -> Any:
        self._unread.add(name)
        try:
            result = await call_next(command)
            if getattr(result, "duplicate", None):
                # The stream has the message already, with a body of its own.
                await self._claims.delete(name)
        except _UNDECIDED:
            raise
        except BaseException:
            # With `TestNatsBroker` a handler that read it may have failed.
            if name in self._unread:
                await self._claims.delete(name)
            raise
        finally:
            self._unread.discard(name)
        return result

    async def restore(self, messages: list[Msg]) -> "list[_Held]":
        """Restore the bodies of messages, in place; messages without a reference are left.

        Returns:
            The bodies to delete after acknowledgement.

        Raises:
            InvalidClaimError, ClaimNotFoundError: If a body cannot be restored.
        """
        limit = asyncio.Semaphore(_CONCURRENT_READS)

        async def restore(message: Msg) -> "_Held":
            async with limit:
                return await self._restore(message)

        done = await asyncio.gather(
            *(restore(message) for message in messages if _has_reference(message)),
            # So that no task continues after the first failure.
            return_exceptions=True,
        )
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return [one for one in done if isinstance(one, _Held)] if self._deletes else []

    async def _restore(self, message: Msg) -> "_Held":
        headers = dict(message.headers or {})
        reference, body = await self._claims.read(headers.pop(HEADER), body=message.data)
        message.data = body
        # Otherwise a handler that replies with the headers it received would pass it on.
        message.headers = headers
        self._unread.discard(reference.name)
        held = _Held(self._claims, reference)
        if self._deletes:
            held.delete_after_ack_of(message)
        return held


class _ClaimCheck(BaseMiddleware[NatsPublishCommand, Any]):
    """The middleware of one message."""

    __slots__ = ("_check", "_held")

    def __init__(
        self, check: ClaimCheckMiddleware, msg: Any | None, /, *, context: ContextRepo
    ) -> None:
        super().__init__(msg, context=context)
        self._check = check
        self._held: list[_Held] = []

    async def on_receive(self) -> None:
        # Also watches of key-value buckets and of nats-py's object stores come here.
        received = self.msg if isinstance(self.msg, list) else [self.msg]
        self._held = await self._check.restore([one for one in received if _is_plain(one)])

    async def consume_scope(
        self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]
    ) -> Any:
        # What has no acknowledgement (core NATS, replies) is marked as acknowledged when
        # FastStream parses it.
        raw = msg.raw_message
        unacknowledged = isinstance(raw, Msg) and raw.is_acked
        result = await call_next(msg)
        if unacknowledged:
            for held in self._held:
                await held.delete()
        return result

    async def publish_scope(
        self,
        call_next: Callable[[NatsPublishCommand], Awaitable[Any]],
        cmd: NatsPublishCommand,
    ) -> Any:
        return await self._check.publish(call_next, cmd)


class _Held:
    """A body to delete, at most once."""

    __slots__ = ("_claims", "_name")

    def __init__(self, claims: Claims, reference: Reference) -> None:
        self._claims = claims
        self._name: str | None = reference.name

    async def delete(self) -> None:
        name, self._name = self._name, None
        if name is not None:
            await self._claims.delete(name)

    def delete_after_ack_of(self, message: Msg) -> None:
        # On NATS's message, because whoever acknowledges does so there at last: a policy,
        # a handler, a batch, the caller of `get_one`.
        for name in ("ack", "ack_sync"):
            setattr(message, name, partial(self._acknowledge, getattr(message, name)))

    async def _acknowledge(
        self, ack: Callable[..., Awaitable[Any]], *args: Any, **kw: Any
    ) -> Any:
        result = await ack(*args, **kw)
        await self.delete()
        return result


def _is_plain(message: Any) -> bool:
    """Whether it is a service's message, not one of a bucket or of the server."""
    return isinstance(message, Msg) and not message.subject.startswith("$")


def _has_reference(message: Msg) -> bool:
    return message.headers is not None and HEADER in message.headers
