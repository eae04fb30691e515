"""Pulling messages from a JetStream consumer, limited by the available room."""

import asyncio
import json
from collections.abc import Callable, Sequence

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import Connection, status_of
from faststream_objstore.backends.jetstream.pulling import PullRequests
from faststream_objstore.backends.jetstream.waiting import wait_for
from faststream_objstore.exceptions import ObjStoreError, PermissionDeniedError

__all__ = ("Puller",)

_NANOSECONDS = 1_000_000_000
_EXPIRES_SECONDS = 30
# How long a request for available messages is kept, in case another replica gets them.
_AT_ONCE_SECONDS = 0.2
_HEARTBEAT_SECONDS = 5
# How late the server may report that a request has expired.
_GRACE_SECONDS = 5
_MISSED_SECONDS = 2.5 * _HEARTBEAT_SECONDS
# How soon a lost connection is noticed.
_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0
# A consumer that is just being moved to another server may not answer.
_CHECK_SECONDS = 2.0
_CHECK = "check"

# The server's description, in lower case, if the consumer is not where it was.
_GONE = ("consumer deleted", "consumer is push", "leadership change", "shutdown")


class Puller:
    """Pull requests and their answers (ADR-13), over a separate subscription.

    Args:
        connection: The NATS connection.
        bucket: The bucket that errors name.
        room: How many more to request, given how many are on their way, and whether some
            are available at once.
        receive: Called with each message.

    Attributes:
        backlog: How many messages the server has ready, as far as is known; set by `receive`,
            which learns it from a message's reply subject.
    """

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        *,
        room: Callable[[int, bool], int],
        receive: Callable[[Msg], None],
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self.backlog: int = 0
        self._room = room
        self._receive = receive
        self._inbox = connection.client.new_inbox()
        self._subscription: Subscription | None = None
        self._requests = PullRequests()
        self._heard = 0.0
        self._lost: str | None = None
        self._wake: asyncio.Future[None] | None = None
        self._next_subject: str | None = None
        self._unwatch: list[Callable[[], None]] = []
        self._checking: asyncio.Future[PermissionDeniedError | None] | None = None

    async def open(self, next_subject: str, ack_subject: str | None = None) -> None:
        """Subscribe, and check that messages may be requested and acknowledged.

        None are requested yet.

        Args:
            next_subject: The subject for pull requests.
            ack_subject: That of the acknowledgement of a message that was never delivered, if
                it is known.

        Raises:
            PermissionDeniedError: If the server refuses this user any of these.
        """
        await self._subscribe(next_subject)
        self._checking = asyncio.get_running_loop().create_future()
        if ack_subject is not None:
            # The server handles it before the request that follows, and nothing comes of it.
            self._unwatch.append(
                self._connection.watch(ack_subject, self._denied, bucket=self._bucket)
            )
            await self._connection.publish(ack_subject, Msg.Ack.Progress, bucket=self._bucket)
        # Malformed JSON is answered at once with status 400, and consumes no message. (Text
        # that is not JSON at all would request one message.)
        await self._connection.publish(
            next_subject, b"{", reply=f"{self._inbox}.{_CHECK}", bucket=self._bucket
        )
        try:
            denied = await wait_for(self._checking, _CHECK_SECONDS)
        finally:
            self._checking = None
        if denied is not None:
            raise denied

    async def _subscribe(self, next_subject: str) -> None:
        if self._subscription is not None:
            return
        self._unwatch = [
            self._connection.watch(subject, self._denied, bucket=self._bucket)
            for subject in (f"{self._inbox}.*", next_subject)
        ]
        self._subscription = await self._connection.subscribe(
            f"{self._inbox}.*", self._on_messages, bucket=self._bucket
        )

    def _denied(self, error: PermissionDeniedError) -> None:
        self._lost = str(error)
        self._stop_waiting()
        self._checked(error)

    def _checked(self, denied: PermissionDeniedError | None) -> None:
        if self._checking is not None and not self._checking.done():
            self._checking.set_result(denied)

    async def run(self, next_subject: str) -> str:
        """Keep requesting as many messages as there is room for.

        Returns:
            Why it cannot continue: the consumer is gone, or the connection was lost.
        """
        await self._subscribe(next_subject)
        self._requests.clear()
        self.backlog = 0
        self._lost = None
        self._next_subject = next_subject
        try:
            return await self._run()
        finally:
            self._next_subject = None

    async def _run(self) -> str:
        loop = asyncio.get_running_loop()
        reconnects = self._connection.reconnects
        self._heard = loop.time()
        while self._lost is None:
            wake: asyncio.Future[None] = loop.create_future()
            self._wake = wake
            if self._connection.reconnects != reconnects:
                return "the connection was lost"
            if self._connection.client.is_closed:
                return "the connection is closed"
            self._requests.end_overdue(loop.time())
            connected = self._connection.client.is_connected
            await self.refill()
            await wait_for(wake, _TICK_SECONDS)
            silent = loop.time() - self._heard
            if connected and self._requests and silent > _MISSED_SECONDS:
                return "the server has gone silent"
        return self._lost

    @property
    def wanted(self) -> int:
        """How many more messages there is room for."""
        return self._room(self._requests.missing, self.backlog > 0)

    async def refill(self) -> None:
        """Request as many messages as there is room for."""
        wanted = self.wanted
        if wanted <= 0 or not self._next_subject or not self._connection.client.is_connected:
            return
        try:
            await self._ask(self._next_subject, wanted)
        except ObjStoreError as error:
            self._lost = str(error)
            self._stop_waiting()

    def wake(self) -> None:
        """Check again, because there may be more room."""
        if self.wanted > 0:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def close(self) -> None:
        """End the subscription; messages that are on their way are still received."""
        while self._unwatch:
            self._unwatch.pop()()
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        if self._connection.client.is_connected:
            draining = asyncio.ensure_future(
                subscription.drain()  # type: ignore[no-untyped-call]
            )
            await asyncio.wait((draining,), timeout=_DRAIN_SECONDS)
            if draining.done() and not draining.cancelled() and not draining.exception():
                return
            draining.cancel()
        await self._connection.unsubscribe(subscription)

    async def _ask(self, next_subject: str, batch: int) -> None:
        now = asyncio.get_running_loop().time()
        if not self._requests:
            self._heard = now
        if self.backlog:
            # More than there are free workers. If such a request were kept for long, later
            # puts would wait here behind a slow handler.
            expires = _AT_ONCE_SECONDS
            how: dict[str, object] = {"no_wait": True}
        else:
            expires = _EXPIRES_SECONDS
            how = {"idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS}
        token = self._requests.add(batch, now + expires + _GRACE_SECONDS)
        await self._connection.publish(
            next_subject,
            json.dumps(
                {"batch": batch, "expires": round(expires * _NANOSECONDS), **how}
            ).encode(),
            reply=f"{self._inbox}.{token}",
            bucket=self._bucket,
        )

    def _on_messages(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            self._on_message(message)

    def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        # A message from the stream has its own subject, a status has the inbox's subject.
        if not message.subject.startswith(self._inbox):
            self._requests.settle()
            self._receive(message)
            return
        token = message.subject[len(self._inbox) + 1 :]
        if token == _CHECK:
            self._checked(None)
            return
        status, headers = status_of(message), message.headers or {}
        if status == "100" or token not in self._requests:
            return
        described = headers.get("Description", "")
        # A request for available messages may end without a report of how many are missing.
        ended = status in {"404", "408"} or "Nats-Pending-Messages" in headers
        if ended and not any(one in described.lower() for one in _GONE):
            self._requests.end(token)
            self.backlog = 0
            self.wake()
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
            self._stop_waiting()
