"""A NATS client as the backend uses it: guarded publishes, replies routed by token."""

import asyncio
import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.begun import BegunRequests
from faststream_objstore.backends.jetstream.budget import Budget, Share
from faststream_objstore.backends.jetstream.errors import REFUSALS, in_bucket
from faststream_objstore.backends.jetstream.permissions import Heard, hear_refusals
from faststream_objstore.backends.jetstream.replies import ReceiveAll, Reply, unsubscribe
from faststream_objstore.backends.jetstream.waiting import (
    REPEAT_SECONDS,
    Answer,
    LateReplies,
    Waiting,
)
from faststream_objstore.backends.jetstream.window import Losses, window_of
from faststream_objstore.exceptions import (
    NotConnectedError,
    PermissionDeniedError,
    StoreAPIError,
)

__all__ = ("Connection", "Destination", "status_of")

Destination = Callable[[int], "memoryview | None"]
# nats-py suspends inside `publish` only if more than 2 MiB (its default) are waiting to be
# sent, and while it is suspended it swallows a cancellation. Below half of that, `publish` is
# called directly; above, in a separate task.
_DIRECT_PUBLISH_BYTES = 1024 * 1024

# The server's wording: "message size exceeds maximum allowed".
_TOO_LARGE = 10054

# What readers may have requested on a link with a short round trip. Together with the next
# value, it is less than a third of the server's default `max_pending`, because others use the
# connection too. It keeps a 10 Gbit/s link with a round trip of 10 ms busy.
_UNDER_WAY_BYTES = 16 * 1024 * 1024
# Reserved for small reads, so that they do not queue behind large ones.
_SMALL_UNDER_WAY_BYTES = 4 * 1024 * 1024
_SMALL_BYTES = 1024 * 1024


def status_of(message: Msg) -> str | None:
    """The status of a message without data: `"503"`, `"404"`."""
    headers = message.headers
    return headers.get("Status") if headers else None


def _undo(undone: list[Callable[[], None]]) -> None:
    for undo in undone:
        undo()


class Connection(BegunRequests):
    """A NATS client; replies come over one wildcard subscription, routed by token.

    nats-py's own `request` creates a NUID, a task and three closures for each call. Here a
    request has one future, and all waiting requests share one timer.

    Use `Connection.of`: everything that uses a client shares one connection, including what
    it needs on the server. That is removed when the connection is no longer referenced.

    Args:
        client: A connected client.
    """

    _known: ClassVar["weakref.WeakKeyDictionary[Client, weakref.ref[Connection]]"] = (
        weakref.WeakKeyDictionary()
    )

    @classmethod
    def of(cls, client: Client) -> "Connection":
        """The connection of this client, created if there is none."""
        known = cls._known.get(client)
        connection = known() if known is not None else None
        if connection is None or connection.is_stale:
            connection = cls(client)
            cls._known[client] = weakref.ref(connection)
        return connection

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        reconnects = self._counting_reconnects(client)
        self._large = Budget(_UNDER_WAY_BYTES, reconnects)
        self._small = Budget(_SMALL_UNDER_WAY_BYTES, reconnects)
        self._round_trip, self._round_trip_of = math.inf, 0
        self.losses: Losses = Losses()
        self._large_singles, self._small_singles = self._large.share(), self._small.share()
        self._waiting = Waiting(client)
        self.answer: Answer = self._waiting.answer
        # Before the subscription, if there is one.
        self._undone.append(self._hear_refusals(weakref.WeakMethod(self._refused_subject)))
        weakref.finalize(self, _undo, self._undone).atexit = False

    @staticmethod
    def _counting_reconnects(client: Client) -> Callable[[], int]:
        """A function that returns `reconnects`, without this object."""
        return lambda: client.stats["reconnects"]

    def _hear_refusals(self, heard: "weakref.WeakMethod[Heard]") -> Callable[[], None]:
        return hear_refusals(self.client, heard)

    def share(self, size: int | None) -> Share:
        """The account for what one reader may have requested.

        Args:
            size: The bytes that it expects altogether; `None` if unknown.
        """
        small = size is not None and size <= _SMALL_BYTES
        return (self._small if small else self._large).share()

    def window(self, seconds: float) -> int:
        """How many bytes a transfer may have in flight on this link; see `window_of`.

        The shortest round trip of a connection counts: servers and clients may be busy.

        Args:
            seconds: The time between a request and its answer, just measured.
        """
        now = asyncio.get_running_loop().time()
        if self._round_trip_of != (reconnects := self.reconnects):
            self._round_trip_of, self._round_trip = reconnects, math.inf
            self.losses.lost(now)
        else:
            self.losses.kept(now)
        self._round_trip = min(self._round_trip, seconds)
        halvings = self.losses.halvings
        window = window_of(self._round_trip) >> halvings
        # What a link holds, the server has sent, and no longer counts.
        self._large.size = max(_UNDER_WAY_BYTES >> halvings, window + window // 2)
        return window

    def singles(self, size: int) -> Share:
        """The account that all reads of a single message share.

        Args:
            size: The size of the message in bytes.
        """
        return self._small_singles if size <= _SMALL_BYTES else self._large_singles

    @property
    def reply_length(self) -> int:
        """The number of bytes available for a reply subject."""
        return len(self._inbox) + 20

    @property
    def reconnects(self) -> int:
        """How often the client has lost its connection and found a new one."""
        return self.client.stats["reconnects"]

    @property
    def generation(self) -> int:
        """Counts connections: what is published now goes out on this one."""
        # Without a connection, nats-py keeps the message for the next one.
        return self.reconnects + (not self.client.is_connected)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        timeout: float,
        bucket: str | None = None,
        headers: dict[str, str] | None = None,
        resend: bool = True,
        repeat: bool = False,
        late: LateReplies | None = None,
    ) -> Msg:
        """Publish, and return the first reply; "no responders" counts as a reply.

        Args:
            subject: The subject to publish to.
            payload: The body.
            timeout: Seconds for everything together.
            bucket: The bucket that errors name.
            headers: The headers.
            resend: Publish again if the connection is lost in the meantime.
            repeat: Publish again while there is no reply, at growing intervals: for what only
                reads. A server that is killed, or that is elected just now, answers nothing.
            late: Takes the replies after the first one.

        Raises:
            NotConnectedError: If the connection is closed.
            ConnectionLostError: If it is lost in the meantime, without `resend`.
            PermissionDeniedError: If the server refuses the subject.
            StoreTimeoutError: If no reply arrives in time.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + timeout
        waiting = self._waiting
        patience = REPEAT_SECONDS if repeat else timeout
        token = ""
        try:
            if self._subscription is None:
                await self.open_replies(bucket=bucket)
                now = loop.time()
            while True:
                future: Reply = loop.create_future()
                # The first reply counts, whichever of the repeated requests it answers.
                token = token if repeat and token else str(next(self._tokens))
                self._replies[token] = future, subject, bucket
                if late is not None:
                    self._routes[token] = late.hear
                    late.ends.append(partial(self._routes.pop, token, None))
                generation = self.generation
                try:
                    reply = self._inbox + token
                    if not self.publish_now(subject, payload, reply, headers, bucket):
                        await self.publish(
                            subject, payload, reply=reply, headers=headers, bucket=bucket
                        )
                        now = loop.time()
                    waiting.add(future, min(deadline, now + patience), generation)
                    message = await future
                finally:
                    self._replies.pop(token, None)
                    waiting.remove(future)
                if message is not None:
                    if isinstance(message, PermissionDeniedError):
                        raise message
                    return message
                now = loop.time()
                if repeat and now < deadline:
                    patience *= 2
                    continue
                if self.reconnects == generation or now >= deadline:
                    raise self.timed_out(f"no answer to {subject!r}", timeout, bucket)
                if not resend:
                    raise self.lost("the answer to a message", bucket)
        except NotConnectedError:
            other = self._substitute()
            if other is None:
                raise
            # The message was not sent, or it may be sent again.
            return await other.request(
                subject,
                payload,
                timeout=max(0.0, deadline - loop.time()),
                bucket=bucket,
                headers=headers,
                resend=resend,
                repeat=repeat,
                late=late,
            )

    def _substitute(self) -> "Connection | None":
        """The connection that takes over the requests of this one when it is lost."""
        return None

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
        bucket: str | None = None,
    ) -> None:
        """Publish; the payload may be reused as soon as this returns.

        Raises:
            NotConnectedError: If the connection is closed, or down with a full buffer.
            StoreAPIError: If the message is larger than the server's `max_payload`.
        """
        client = self.client
        size = self._size_of(payload, headers, bucket)
        try:
            # nats-py declares `bytes`, but only takes the length and concatenates.
            sending = client.publish(subject, payload, reply, headers)  # type: ignore[arg-type]
            if client.pending_data_size + size < _DIRECT_PUBLISH_BYTES:
                await sending
            else:
                await asyncio.shield(asyncio.ensure_future(sending))
        except REFUSALS as error:
            raise self._refused(error, bucket) from error

    def publish_now(
        self,
        subject: str,  # noqa: ARG002 - for a lane
        payload: bytes | bytearray | memoryview,  # noqa: ARG002
        reply: str = "",  # noqa: ARG002
        headers: dict[str, str] | None = None,  # noqa: ARG002
        bucket: str | None = None,  # noqa: ARG002
    ) -> bool:
        """Publish as `publish` does if that needs no waiting; returns whether it did."""
        return False

    def _size_of(
        self,
        payload: bytes | bytearray | memoryview,
        headers: dict[str, str] | None,
        bucket: str | None,
    ) -> int:
        """The size of a message in bytes.

        Raises:
            StoreAPIError: If it is more than the server's `max_payload`.
        """
        size = len(payload)
        if headers:
            # "NATS/1.0\r\n", "key: value\r\n" and "\r\n".
            size += 12
            for key, value in headers.items():
                size += len(key) + len(value) + 4
        limit = self.client.max_payload
        if size > limit:
            # nats-py does not count the headers, and the server would close the connection.
            msg = (
                f"{in_bucket(bucket)}a message of {size} bytes, headers included, is more "
                f"than the server's max_payload, {limit}."
            )
            raise StoreAPIError(msg, bucket=bucket, code=400, err_code=_TOO_LARGE)
        return size

    async def subscribe(
        self,
        subject: str,
        receive: ReceiveAll,
        *,
        destination: Destination | None = None,  # noqa: ARG002 - for a lane
        bucket: str | None = None,
    ) -> Subscription:
        """Subscribe without nats-py's limits, beyond which it silently drops messages.

        Args:
            subject: The subject, wildcards allowed.
            receive: Called with the messages that arrive together, in order.
            destination: Provides the memory for the next body; its message then has a
                `memoryview` as `data`. This is a hint, which a nats-py client cannot use.
            bucket: The bucket that errors name.

        Raises:
            NotConnectedError: If the connection is closed, or was never opened.
        """
        client = self.client
        if not (client.is_connected or client.is_reconnecting):
            msg = "the client is not connected"
            raise self._not_connected(msg, bucket)

        async def call(message: Msg) -> None:
            receive((message,))

        try:
            return await client.subscribe(
                subject, cb=call, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except REFUSALS as error:
            raise self._refused(error, bucket) from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription; does nothing if the connection is gone."""
        await unsubscribe(subscription)

    async def drain(self, subscription: Subscription, seconds: float) -> None:
        """Remove a subscription; messages that are on their way are still received.

        Args:
            subscription: The subscription.
            seconds: How long to wait for them.
        """
        if self.client.is_connected:
            draining = asyncio.ensure_future(
                subscription.drain()  # type: ignore[no-untyped-call]
            )
            await asyncio.wait((draining,), timeout=seconds)
            if draining.done() and not draining.cancelled() and not draining.exception():
                return
            draining.cancel()
        await self.unsubscribe(subscription)
