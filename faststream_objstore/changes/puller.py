"""Asking a JetStream consumer for messages, as many as there are free workers."""

import asyncio
import itertools
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import (
    Connection,
    status_of,
    wait_for,
)

__all__ = ("Puller",)

_NANOSECONDS = 1_000_000_000
_EXPIRES_SECONDS = 30
_HEARTBEAT_SECONDS = 5
# How late the server may say that a request has expired.
_GRACE_SECONDS = 5
_MISSED_SECONDS = 2.5 * _HEARTBEAT_SECONDS
# How soon a lost connection is noticed.
_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0

_GONE = re.compile("consumer (deleted|is push)|leadership change|shutdown", re.IGNORECASE)


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
        free: How many messages could be begun at once.
        receive: Called with each message.
    """

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        *,
        free: Callable[[], int],
        receive: Callable[[Msg], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self._free = free
        self._receive = receive
        self._inbox = connection.client.new_inbox()
        self._subscription: Subscription | None = None
        self._tokens = itertools.count()
        self._requests: dict[str, _Request] = {}
        self._heard = 0.0
        self._lost: str | None = None
        self._wake: asyncio.Future[None] | None = None

    async def run(self, next_subject: str) -> str:
        """Keep as many messages asked for as there are free workers.

        Returns:
            Why it cannot go on: the consumer is gone, or the connection was.
        """
        if self._subscription is None:
            self._subscription = await self._connection.subscribe(
                f"{self._inbox}.*", self._on_message, bucket=self._bucket
            )
        loop = asyncio.get_running_loop()
        reconnects = self._connection.reconnects
        self._requests.clear()
        self._heard = loop.time()
        self._lost = None
        while self._lost is None:
            wake: asyncio.Future[None] = loop.create_future()
            self._wake = wake
            if self._connection.reconnects != reconnects:
                return "the connection was lost"
            if self._connection.client.is_closed:
                return "the connection is closed"
            self._forget_overdue()
            connected = self._connection.client.is_connected
            if connected and (wanted := self._free() - self._asked) > 0:
                await self._ask(next_subject, wanted)
            await wait_for(wake, _TICK_SECONDS)
            silent = loop.time() - self._heard
            if connected and self._asked and silent > _MISSED_SECONDS:
                return "the server has gone silent"
        return self._lost

    @property
    def _asked(self) -> int:
        return sum(request.missing for request in self._requests.values())

    def _forget_overdue(self) -> None:
        # A leader that dies takes its requests with it and may not say so; while others
        # are answered, nothing else tells.
        now = asyncio.get_running_loop().time()
        for token in [one for one, request in self._requests.items() if request.until < now]:
            del self._requests[token]

    def wake(self) -> None:
        """A worker is free again."""
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
        self._requests[token] = _Request(batch, now + _EXPIRES_SECONDS + _GRACE_SECONDS)
        await self._connection.publish(
            next_subject,
            json.dumps(
                {
                    "batch": batch,
                    "expires": _EXPIRES_SECONDS * _NANOSECONDS,
                    "idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS,
                }
            ).encode(),
            reply=f"{self._inbox}.{token}",
            bucket=self._bucket,
        )

    async def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        # A message of the stream comes with its own subject, a status with the inbox's.
        if not message.subject.startswith(self._inbox):
            self._settle_one()
            await self._receive(message)
            return
        token = message.subject[len(self._inbox) + 1 :]
        status, headers = status_of(message), message.headers or {}
        if status == "100" or token not in self._requests:
            return
        described = headers.get("Description", "")
        ended = status in {"404", "408", "409"} and "Nats-Pending-Messages" in headers
        if ended and not _GONE.search(described):
            del self._requests[token]
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
        self.wake()

    def _settle_one(self) -> None:
        # A message does not say whose answer it is; the server serves the oldest first.
        for token, request in self._requests.items():
            request.missing -= 1
            if not request.missing:
                del self._requests[token]
            return
