"""Asking a JetStream consumer for messages, as many as there are free workers."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

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
_MISSED_SECONDS = 2.5 * _HEARTBEAT_SECONDS
# How soon a lost connection is noticed.
_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0

_GONE = re.compile("consumer (deleted|is push)|leadership change|shutdown", re.IGNORECASE)


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
        self._session = 0
        self._asked = 0
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
        self._session += 1
        self._asked = 0
        self._heard = loop.time()
        self._lost = None
        while self._lost is None:
            wake: asyncio.Future[None] = loop.create_future()
            self._wake = wake
            if self._connection.reconnects != reconnects:
                return "the connection was lost"
            connected = self._connection.client.is_connected
            if connected and (wanted := self._free() - self._asked) > 0:
                await self._ask(next_subject, wanted)
            await wait_for(wake, _TICK_SECONDS)
            silent = loop.time() - self._heard
            if connected and self._asked and silent > _MISSED_SECONDS:
                return "the server has gone silent"
        return self._lost

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
        if not self._asked:
            self._heard = asyncio.get_running_loop().time()
        self._asked += batch
        await self._connection.publish(
            next_subject,
            json.dumps(
                {
                    "batch": batch,
                    "expires": _EXPIRES_SECONDS * _NANOSECONDS,
                    "idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS,
                }
            ).encode(),
            reply=f"{self._inbox}.{self._session}",
            bucket=self._bucket,
        )

    async def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        # A message of the stream comes with its own subject, a status with the inbox's.
        if not message.subject.startswith(self._inbox):
            self._asked = max(0, self._asked - 1)
            await self._receive(message)
            return
        if message.subject != f"{self._inbox}.{self._session}":
            return
        status, headers = status_of(message), message.headers or {}
        if status == "100":
            return
        described = headers.get("Description", "")
        pending = headers.get("Nats-Pending-Messages")
        if (
            status in {"404", "408", "409"}
            and pending is not None
            and not _GONE.search(described)
        ):
            self._asked = max(0, self._asked - int(pending))
        else:
            self._lost = f"{status} {described or 'no responders'}".strip()
        self.wake()
