"""Asking a JetStream consumer for messages, as many as there is room for."""

import asyncio
import json
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import (
    Connection,
    status_of,
    wait_for,
)
from faststream_objstore.backends.jetstream.pulling import PullRequests
from faststream_objstore.exceptions import ObjStoreError

__all__ = ("Puller",)

_NANOSECONDS = 1_000_000_000
_EXPIRES_SECONDS = 30
# How long a request for what is there already is kept, should another replica get it.
_AT_ONCE_SECONDS = 0.2
_HEARTBEAT_SECONDS = 5
# How late the server may say that a request has expired.
_GRACE_SECONDS = 5
_MISSED_SECONDS = 2.5 * _HEARTBEAT_SECONDS
# How soon a lost connection is noticed.
_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0

# What the server says, in lower case, when the consumer is not where it was.
_GONE = ("consumer deleted", "consumer is push", "leadership change", "shutdown")


class Puller:
    """Pull requests and their answers (ADR-13), over a subscription of its own.

    Args:
        connection: The NATS connection.
        bucket: The bucket that errors name.
        room: How many more to ask for, given how many are on their way, and whether there
            are some that would come at once.
        receive: Called with each message.

    Attributes:
        backlog: How many messages the server has ready, as far as is known; `receive` sets
            it, because the reply subject of a message says so.
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

    async def run(self, next_subject: str) -> str:
        """Keep as many messages asked for as there is room for.

        Returns:
            Why it cannot go on: the consumer is gone, or the connection was.
        """
        if self._subscription is None:
            self._subscription = await self._connection.subscribe(
                f"{self._inbox}.*", self._on_message, bucket=self._bucket
            )
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
        """How many more there is room for."""
        return self._room(self._requests.missing, self.backlog > 0)

    async def refill(self) -> None:
        """Ask for as many as there is room for."""
        wanted = self.wanted
        if wanted <= 0 or not self._next_subject or not self._connection.client.is_connected:
            return
        try:
            await self._ask(self._next_subject, wanted)
        except ObjStoreError as error:
            self._lost = str(error)
            self._stop_waiting()

    def wake(self) -> None:
        """There may be more room."""
        if self.wanted > 0:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def close(self) -> None:
        """End the subscription; messages that are under way are still received."""
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
            # More than there are free workers. Were it kept for long, what is put later
            # would wait here behind a slow handler.
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

    def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        # A message of the stream comes with its own subject, a status with the inbox's.
        if not message.subject.startswith(self._inbox):
            self._requests.settle_one()
            self._receive(message)
            return
        token = message.subject[len(self._inbox) + 1 :]
        status, headers = status_of(message), message.headers or {}
        if status == "100" or token not in self._requests:
            return
        described = headers.get("Description", "")
        # A request for what is there at once may end without saying how much it has missed.
        ended = status in {"404", "408"} or "Nats-Pending-Messages" in headers
        if ended and not any(one in described.lower() for one in _GONE):
            self._requests.end(token)
            self.backlog = 0
            self.wake()
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
            self._stop_waiting()
