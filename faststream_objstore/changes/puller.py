"""Asking a JetStream consumer for messages, as many as there is room for."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import (
    Connection,
    status_of,
    wait_for,
)
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


@dataclass(slots=True)
class _Request:
    """A pull request that is not answered in full.

    Attributes:
        missing: Messages still to come.
        until: When the server has surely forgotten it, by the loop's clock.
    """

    missing: int
    until: float


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
        self._tokens = itertools.count()
        self._requests: dict[str, _Request] = {}
        self._asked = 0
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
        self._asked = 0
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
            self._forget_overdue()
            connected = self._connection.client.is_connected
            await self.refill()
            await wait_for(wake, _TICK_SECONDS)
            silent = loop.time() - self._heard
            if connected and self._asked and silent > _MISSED_SECONDS:
                return "the server has gone silent"
        return self._lost

    def _forget_overdue(self) -> None:
        # A leader that dies takes its requests with it and may not say so; while others
        # are answered, nothing else tells.
        now = asyncio.get_running_loop().time()
        for token in [one for one, request in self._requests.items() if request.until < now]:
            self._forget(token)

    def _forget(self, token: str) -> None:
        self._asked -= self._requests.pop(token).missing

    @property
    def wanted(self) -> int:
        """How many more there is room for."""
        return self._room(self._asked, self.backlog > 0)

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
        token = str(next(self._tokens))
        if self.backlog:
            # More than there are free workers. Were it kept for long, what is put later
            # would wait here behind a slow handler.
            expires = _AT_ONCE_SECONDS
            how: dict[str, object] = {"no_wait": True}
        else:
            expires = _EXPIRES_SECONDS
            how = {"idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS}
        self._asked += batch
        self._requests[token] = _Request(batch, now + expires + _GRACE_SECONDS)
        await self._connection.publish(
            next_subject,
            json.dumps(
                {"batch": batch, "expires": round(expires * _NANOSECONDS), **how}
            ).encode(),
            reply=f"{self._inbox}.{token}",
            bucket=self._bucket,
        )

    async def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        # A message of the stream comes with its own subject, a status with the inbox's.
        if not message.subject.startswith(self._inbox):
            self._settle_one()
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
            self._forget(token)
            self.backlog = 0
            self.wake()
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
            self._stop_waiting()

    def _settle_one(self) -> None:
        # A message does not say whose answer it is; the server serves the oldest first.
        for token, request in self._requests.items():
            request.missing -= 1
            self._asked -= 1
            if not request.missing:
                del self._requests[token]
            return
