"""Pulling messages from a JetStream consumer, limited by the available room."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.api import JetStreamAPI
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

# From so many messages at a time, requests go over a lane.
_LANE_BATCH = 64

# The server's description, in lower case, if the consumer is not where it was.
_GONE = ("consumer deleted", "consumer is push", "leadership change", "shutdown")


class _Channel:
    """A connection over which messages are requested, and what has not arrived over it yet.

    Args:
        connection: The connection.
        client: What acknowledges its messages.
    """

    __slots__ = ("client", "connection", "inbox", "requests", "subscription")

    def __init__(self, connection: Connection, client: Any) -> None:
        self.connection = connection
        self.client = client
        self.inbox: str = connection.client.new_inbox()
        self.requests = PullRequests()
        self.subscription: Subscription | None = None

    async def close(self) -> None:
        """End the subscription; messages that are on their way are still received."""
        subscription, self.subscription = self.subscription, None
        if subscription is not None:
            await self.connection.drain(subscription, _DRAIN_SECONDS)


class Puller:
    """Pull requests and their answers (ADR-13), over separate subscriptions.

    While there is a backlog that quick handlers take in large batches, these are requested
    over the lane, if there is one: its messages cost half as much. All that has been requested
    over one connection arrives before anything is requested over the other one, so the order
    is that of the stream. What was on its way over a lane that is lost is redelivered.

    Args:
        api: The requests to JetStream, and with them its connections.
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
        api: JetStreamAPI,
        bucket: str,
        *,
        room: Callable[[int, bool], int],
        receive: Callable[[Msg], None],
    ) -> None:
        self._api = api
        self._connection = api.ordinary
        self._bucket = bucket
        self.backlog: int = 0
        self._room = room
        self._receive = receive
        self._ordinary = _Channel(self._connection, self._connection.client)
        self._lane: _Channel | None = None
        # Whether requests wait until everything has arrived over the other connection.
        self._held = False
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
            next_subject, b"{", reply=f"{self._ordinary.inbox}.{_CHECK}", bucket=self._bucket
        )
        try:
            denied = await wait_for(self._checking, _CHECK_SECONDS)
        finally:
            self._checking = None
        if denied is not None:
            raise denied

    async def _subscribe(self, next_subject: str) -> None:
        channel = self._ordinary
        if channel.subscription is not None:
            return
        self._unwatch = [
            self._connection.watch(subject, self._denied, bucket=self._bucket)
            for subject in (f"{channel.inbox}.*", next_subject)
        ]
        await self._listen(channel)

    async def _listen(self, channel: _Channel) -> None:
        def receive(messages: Sequence[Msg]) -> None:
            self._heard = asyncio.get_running_loop().time()
            for message in messages:
                self._on_message(channel, message)

        channel.subscription = await channel.connection.subscribe(
            f"{channel.inbox}.*", receive, bucket=self._bucket
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
        await self._leave_lane()
        self._ordinary.requests.clear()
        self.backlog = 0
        self._held = False
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
            self._ordinary.requests.end_overdue(loop.time())
            if self._lane is not None:
                self._lane.requests.end_overdue(loop.time())
                if self._lane.connection.reconnects or not (
                    self.backlog or self._lane.requests
                ):
                    await self._leave_lane()
            self._held = False
            connected = self._connection.client.is_connected
            await self.refill()
            await wait_for(wake, _TICK_SECONDS)
            silent = loop.time() - self._heard
            if connected and self._awaited and silent > _MISSED_SECONDS:
                return "the server has gone silent"
        return self._lost

    @property
    def _awaited(self) -> int:
        """How many requested messages have not arrived yet."""
        lane = self._lane
        missing = self._ordinary.requests.missing
        return missing if lane is None else missing + lane.requests.missing

    @property
    def wanted(self) -> int:
        """How many more messages to request now."""
        return 0 if self._held else self._room(self._awaited, self.backlog > 0)

    async def refill(self) -> None:
        """Request as many messages as there is room for."""
        wanted = self.wanted
        if wanted <= 0 or not self._next_subject or not self._connection.client.is_connected:
            return
        channel = self._channel_for(wanted)
        if channel is None:
            self._held = True
            return
        try:
            await self._ask(channel, self._next_subject, wanted)
        except ObjStoreError as error:
            if channel is self._ordinary:
                self._lost = str(error)
            self._stop_waiting()

    def _channel_for(self, batch: int) -> _Channel | None:
        """Where to request them; `None` until all have arrived over the other connection."""
        lane = self._lane
        if lane is not None and lane.requests:
            return lane if self.backlog and not lane.connection.reconnects else None
        if batch >= _LANE_BATCH and self.backlog:
            connection = self._api.lane_soon(self.backlog)
            if connection is not None:
                if self._ordinary.requests:
                    return None
                if lane is None or lane.connection is not connection:
                    lane = self._lane = _Channel(
                        connection, _Acknowledging(connection, self._connection.client)
                    )
                return lane
        return self._ordinary

    async def _leave_lane(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.close()

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
        await self._leave_lane()
        await self._ordinary.close()

    async def _ask(self, channel: _Channel, next_subject: str, batch: int) -> None:
        if channel.subscription is None:
            await self._listen(channel)
        now = asyncio.get_running_loop().time()
        if not self._awaited:
            self._heard = now
        if self.backlog:
            # More than there are free workers. If such a request were kept for long, later
            # puts would wait here behind a slow handler.
            expires = _AT_ONCE_SECONDS
            how: dict[str, object] = {"no_wait": True}
        else:
            expires = _EXPIRES_SECONDS
            how = {"idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS}
        token = channel.requests.add(batch, now + expires + _GRACE_SECONDS)
        await channel.connection.publish(
            next_subject,
            json.dumps(
                {"batch": batch, "expires": round(expires * _NANOSECONDS), **how}
            ).encode(),
            reply=f"{channel.inbox}.{token}",
            bucket=self._bucket,
        )

    def _on_message(self, channel: _Channel, message: Msg) -> None:
        requests = channel.requests
        # A message from the stream has its own subject, a status has the inbox's subject.
        if not message.subject.startswith(channel.inbox):
            requests.settle()
            if channel is not self._ordinary:
                message = _LaneMsg(channel.client, message)
            self._receive(message)
            if self._held and not requests:
                self._answered()
            return
        token = message.subject[len(channel.inbox) + 1 :]
        if token == _CHECK:
            self._checked(None)
            return
        status, headers = status_of(message), message.headers or {}
        if status == "100" or token not in requests:
            return
        described = headers.get("Description", "")
        # A request for available messages may end without a report of how many are missing.
        ended = status in {"404", "408"} or "Nats-Pending-Messages" in headers
        if ended and not any(one in described.lower() for one in _GONE):
            requests.end(token)
            self.backlog = 0
            self._answered()
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
            self._stop_waiting()

    def _answered(self) -> None:
        self._held = False
        self.wake()


class _Acknowledging:
    """Stands in for the client of a lane's messages, which are acknowledged over the lane.

    A lane sends many acknowledgements in one write, and needs a third of the client's time for
    each. When it is lost, or cannot send more at once, the client takes its place.

    Args:
        lane: The lane.
        client: The client.
    """

    def __init__(self, lane: Connection, client: Client) -> None:
        self._lane = lane
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Publish; see `Client`."""
        if headers or reply or not self._lane.publish_now(subject, payload):
            await self._client.publish(subject, payload, reply, headers)


class _LaneMsg(Msg):
    """A message that has arrived over a lane.

    Args:
        client: What acknowledges it.
        message: The lane's message. Its headers are parsed when they are asked for.
    """

    def __init__(self, client: Any, message: Msg) -> None:
        self._client = client
        self.subject = message.subject
        self.reply = message.reply
        self.data = message.data
        self._received = message

    @property
    def headers(self) -> dict[str, str] | None:  # type: ignore[override]
        """Its headers."""
        return self._received.headers
