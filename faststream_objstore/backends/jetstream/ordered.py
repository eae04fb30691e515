"""One ephemeral ordered consumer, from its creation to its first failure."""

import asyncio
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.nuid import NUID

from faststream_objstore.backends.base import Room, StoredMessage
from faststream_objstore.backends.jetstream.api import (
    CONSUMER_NOT_FOUND,
    MARKER_REASON,
    JetStreamAPI,
    reading,
)
from faststream_objstore.backends.jetstream.connection import status_of
from faststream_objstore.backends.jetstream.pulling import PullRequests
from faststream_objstore.backends.jetstream.receipt import Receipts
from faststream_objstore.backends.jetstream.waiting import wait_for
from faststream_objstore.backends.jetstream.window import LEAST_BYTES
from faststream_objstore.exceptions import (
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
)
from faststream_objstore.settling import run_to_completion
from faststream_objstore.wire import stream_name

__all__ = ("OrderedConsumer",)

_LOGGER = logging.getLogger("faststream_objstore")
_NUID = NUID()
# A named tuple made by its class takes twice as long.
_stored_message = tuple.__new__
_SECOND = 1_000_000_000

# How many messages may have been requested and not yet consumed, however small they are.
_WINDOW_MESSAGES = 2048
# The cost of a message besides its body.
_OVERHEAD_BYTES = 512

# The share of what has arrived is released together, at the latest after so much.
_SETTLED_BYTES = 64 * 1024
_SETTLED_MESSAGES = 32

# The server removes a consumer that nobody pulls from, such as that of a killed client.
_INACTIVE_SECONDS = 30
_EXPIRES_SECONDS = 30
# Two missed heartbeats reveal what the server does not report: a request that reached its
# consumer at the moment of its deletion gets no answer.
_HEARTBEAT_SECONDS = 2
_CLOSE_SECONDS = 5.0


class OrderedConsumer:
    """An ordered consumer without acknowledgements, which pulls within a window.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        subject: What to read.
        begin: The consumer's `deliver_policy`, and the settings that belong to it.
        follow: Wait for new messages; otherwise stop after the pending ones.
        headers_only: Do not transfer the bodies.
        limit: Request at most this many messages.
        size: The bytes that are expected altogether, if known.
        window: Bytes that may have been requested and not yet consumed: this limits the memory
            of a reader, and keeps the socket busy. By default, what the link needs.
        timeout: Seconds for one request.
        room: Where bodies are received, if not into the messages.
        wait_for_more: Let requests wait for what is stored in the meantime.
    """

    def __init__(
        self,
        api: JetStreamAPI,
        bucket: str,
        subject: str | Sequence[str],
        *,
        begin: dict[str, Any],
        follow: bool,
        headers_only: bool,
        limit: int | None,
        size: int | None,
        window: int | None = None,
        timeout: float,
        room: Room | None = None,
        wait_for_more: bool = False,
    ) -> None:
        self._api = api
        self._connection = api.connection
        self._bucket = bucket
        self._follow = follow
        self._wait_for_more = wait_for_more
        self._headers_only = headers_only
        self._timeout = timeout
        self._id = f"{stream_name(bucket)}.objstore-{_NUID.next().decode()}"
        self._next = f"{api.prefix}.CONSUMER.MSG.NEXT.{self._id}"
        self._config: dict[str, Any] = {
            "name": self._id.partition(".")[2],
            **_filter(subject),
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE_SECONDS * _SECOND,
            **begin,
        }
        if headers_only:
            self._config["headers_only"] = True

        self.room = room
        """Where bodies are received, if not into the messages."""
        self.limit = limit
        """The maximum number of messages to request."""
        self.buffer: deque[StoredMessage] = deque()
        """The number of messages that have arrived."""
        self.remaining: int = 0
        """The number of matching messages that have not arrived."""
        self.total: int | None = None
        """How many it will have delivered once its replica, if it lags, has all of them."""
        self.server: str | None = None
        """The server that it reads from, in a cluster."""
        self.fault: str | None = None
        """Why no more messages will arrive."""
        self.denied: PermissionDeniedError | None = None
        """What the server refuses this user; another consumer would be refused too."""
        self.dry: bool = False
        """Whether the server had fewer messages than requested."""
        self.stalled: bool = False
        """Whether the server, at the last recount, did not send what was requested."""
        self.asked: float = 0.0
        """When messages were last requested, by the loop's clock."""
        self.heard: float = 0.0
        """When the server last sent anything, by the loop's clock."""

        self._inbox = self._connection.client.new_inbox()
        self._subscription: Subscription | None = None
        self._unwatch: list[Callable[[], None]] = []
        self._creating: asyncio.Task[None] | None = None
        self._reconnects = 0
        self._delivered = 0
        self._largest = 0
        self._receipts = Receipts()
        self._fixed_window = window
        self._window_bytes = window or LEAST_BYTES
        self._window = self._first_window
        self._requests = PullRequests()
        self._share = self._connection.share(size)
        self._size = size
        # What has arrived since a part of the share was last released.
        self._settled = self._settled_bytes = 0
        self._wake: asyncio.Future[bool] | None = None
        self._clock = time.monotonic

    async def open(self) -> None:
        """Create the consumer.

        Raises:
            BucketNotFoundError: If there is no stream.
            PermissionDeniedError: If the server refuses this user a required permission.
        """
        self._reconnects = self._connection.reconnects
        self._clock = asyncio.get_running_loop().time
        self._unwatch = [
            self._connection.watch(subject, self._deny, bucket=self._bucket)
            for subject in (self._inbox + ".*", self._next)
        ]
        await run_to_completion(self._subscribe())
        self._creating = asyncio.ensure_future(self._create())
        await asyncio.shield(self._creating)
        if self.denied is not None:
            raise self.denied

    def _deny(self, error: PermissionDeniedError) -> None:
        self.denied = error
        self.fault = str(error)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(True)

    async def _create(self) -> None:
        asked = self._clock()
        answer = await self._api.call(
            f"CONSUMER.CREATE.{self._id}",
            {
                "stream_name": stream_name(self._bucket),
                "config": self._config,
                "action": "create",
            },
            bucket=self._bucket,
            timeout=self._timeout,
        )
        with reading(f"{self._api.prefix}.CONSUMER.CREATE.{self._id}", self._bucket):
            self.remaining = int(answer.get("num_pending", 0))
            self.server = (answer.get("cluster") or {}).get("leader")
        self.heard = self._clock()
        if self._fixed_window is None:
            self._window_bytes = self._connection.window(self.heard - asked)
            self._window = self._first_window

    @property
    def _first_window(self) -> int:
        # The only known bound of the bodies' size before one arrives: the server's limit.
        return max(1, min(64, self._window_bytes // self._connection.client.max_payload))

    async def _subscribe(self) -> None:
        self._subscription = await self._connection.subscribe(
            self._inbox + ".*",
            self._receive,
            destination=self._destination,
            bucket=self._bucket,
        )

    async def close(self, *, wait: bool = True) -> None:
        """Remove the consumer and the subscription.

        Args:
            wait: Wait until the server has done it; otherwise it is only told.
        """
        self._share.release(self._share.size)
        while self._unwatch:
            self._unwatch.pop()()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._connection.unsubscribe(subscription)
        creating, self._creating = self._creating, None
        if creating is None:
            return
        wait = wait and self._connection.client.is_connected
        seconds = min(self._timeout, _CLOSE_SECONDS)
        if not creating.done() and wait:
            # The server may handle a deletion before a creation that was requested earlier.
            await asyncio.wait((creating,), timeout=seconds)
        creating.cancel()
        verb = f"CONSUMER.DELETE.{self._id}"
        try:
            if wait:
                await self._api.call(verb, bucket=self._bucket, timeout=seconds)
            else:
                await self._connection.publish(
                    f"{self._api.prefix}.{verb}", bucket=self._bucket
                )
        except ObjStoreError as error:
            # It is gone already, or goes after `_INACTIVE_SECONDS`.
            _LOGGER.debug("The consumer %s was not deleted: %s", self._id, error)

    @property
    def is_on_lane(self) -> bool:
        """Whether it uses another connection than the ordinary one."""
        return self._connection is not self._api.ordinary

    @property
    def is_listed(self) -> bool:
        """Whether the server goes by a list of the last messages of each subject."""
        return bool(self._config["deliver_policy"] == "last_per_subject")

    @property
    def broken(self) -> bool:
        """Whether nothing more will arrive; requests do not survive a new connection."""
        return self.fault is not None or self._connection.reconnects != self._reconnects

    @property
    def silent_seconds(self) -> float:
        """How long the server has been silent although there are open requests."""
        return asyncio.get_running_loop().time() - self.heard

    @property
    def missed_heartbeats(self) -> bool:
        """Whether a following consumer has missed two heartbeats."""
        return self._follow and self.silent_seconds > 2 * _HEARTBEAT_SECONDS + 1

    @property
    def has_room(self) -> bool:
        """Whether half of the window is free."""
        return self._requests.missing + len(self.buffer) <= self._window // 2

    async def pull(self, *, taking: bool = False) -> None:
        """Request more if half of the window is free.

        Args:
            taking: Whether the buffer is about to be emptied.
        """
        waiting = self._requests.missing + (0 if taking else len(self.buffer))
        if waiting > self._window // 2 or self.fault is not None:
            return
        count = self._window - waiting
        request: dict[str, Any]
        if self._follow:
            request = {
                "expires": int(_EXPIRES_SECONDS * _SECOND),
                "idle_heartbeat": int(_HEARTBEAT_SECONDS * _SECOND),
            }
        else:
            wanted = self.remaining
            if self.limit is not None:
                wanted = min(wanted, self.limit - self._delivered)
            count = min(count, wanted - self._requests.missing)
            if count <= 0:
                return
            request = {"no_wait": True}
            if self._wait_for_more or self.total is not None:
                request = {"expires": int(self._timeout * _SECOND)}
            if not await self._reserve(count):
                return
        if not self._requests.missing:
            self.heard = asyncio.get_running_loop().time()
        self.dry = False
        self.asked = self._clock()
        # Requests without an answer end with the consumer, which misses its heartbeats.
        token = self._requests.add(count, math.inf)
        try:
            await self._connection.publish(
                self._next,
                json.dumps(request | {"batch": count}).encode(),
                reply=f"{self._inbox}.{token}",
                bucket=self._bucket,
            )
        except ObjStoreError as error:
            self.fault = str(error)

    async def _reserve(self, count: int) -> bool:
        """Whether that many may be requested now; waits if nothing else would arrive."""
        self._release_settled()
        size = count * (self._largest or self._connection.client.max_payload)
        if self._size is not None:
            size = min(size, self._size + count * _OVERHEAD_BYTES)
        if not self._share.take(size):
            if self._requests.missing or self.buffer:
                return False
            if not await self._share.acquire(size, self._timeout):
                raise self._connection.held_up(self._timeout, self._bucket)
        return True

    async def wait(self, seconds: float) -> None:
        """Wait until something arrives or fails, or until the timeout."""
        if self.buffer or self.fault is not None or self.dry:
            return
        self._wake = asyncio.get_running_loop().create_future()
        await wait_for(self._wake, seconds)

    async def recount(self) -> None:
        """Ask the server what remains: messages may have been removed in the meantime."""
        outstanding = self._requests.missing
        try:
            info = await self._api.call(
                f"CONSUMER.INFO.{self._id}", bucket=self._bucket, timeout=self._timeout
            )
        except StoreAPIError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise
            self.fault = str(error)
            return
        # Otherwise messages are on their way, and they report what remains.
        with reading(f"{self._api.prefix}.CONSUMER.INFO.{self._id}", self._bucket):
            delivered, pending = info["delivered"]["consumer_seq"], int(info["num_pending"])
            waiting = int(info.get("num_waiting", 0))
        asked = bool(outstanding and waiting) and self._requests.missing == outstanding
        self.stalled = (
            self.is_listed and asked and pending > 0 and delivered == self._delivered
        )
        if delivered == self._delivered and (outstanding == 0 or pending == 0):
            self.remaining = self._left(pending)

    def wait_for_all(self, total: int) -> None:
        """Note a lagging replica: more will arrive than it reports until it has these."""
        self.total = total
        self.remaining = self._left(0)

    def _left(self, pending: int) -> int:
        if self.total is None:
            return pending
        return max(pending, self.total - self._delivered)

    def _receive(self, messages: Sequence[Msg]) -> None:
        self.heard = self._share.heard = self._clock()
        count = size = 0
        for message in messages:
            if message.reply:
                if self.fault is None:
                    size += self._take(message)
                    count += 1
            else:
                self._settle(count, size)
                count = size = 0
                self._heed(message)
        self._settle(count, size)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(True)

    def _take(self, message: Msg) -> int:
        """Keep a message for the reader; returns the size of its body."""
        data = message.data
        length = len(data)
        try:
            sequence, delivered, time_ns, pending = self._receipts.read(message.reply)
            size = (
                int((message.headers or {})["Nats-Msg-Size"]) if self._headers_only else length
            )
        except (ValueError, KeyError):
            self.fault = f"the message's reply subject {message.reply!r} cannot be read"
            return 0
        if delivered != self._delivered + 1:
            self.fault = f"message {self._delivered + 1} of the consumer is missing"
            return 0
        self._delivered = delivered
        self.remaining = pending if self.total is None else self._left(pending)
        if self.room is not None:
            data = self._put_into(self.room, data)
        reason = ""
        if not length and (headers := message.headers):
            reason = headers.get(MARKER_REASON, "")
        fields = (message.subject, data, sequence, time_ns, pending, size, reason)
        self.buffer.append(_stored_message(StoredMessage, fields))
        weight = length + _OVERHEAD_BYTES
        if weight > self._largest:
            self._largest = weight
            self._window = max(2, min(_WINDOW_MESSAGES, self._window_bytes // weight))
        return length

    def _destination(self, size: int) -> memoryview | None:
        """Where to receive the body of the next message."""
        if self.room is None or self.fault is not None:
            return None
        return self.room.reserve(size)

    def _put_into(self, room: Room, data: bytes | memoryview) -> bytes:
        """The body, if there was no room for it."""
        if not isinstance(data, memoryview):
            view = room.reserve(len(data))
            if view is None:
                return data
            view[:] = data
        room.commit(len(data))
        return b""

    def _settle(self, count: int, size: int) -> None:
        """Count messages that have arrived, and the bytes of their bodies."""
        self._requests.settle(count)
        self._settled += count
        self._settled_bytes += size
        if self._settled_bytes >= _SETTLED_BYTES or self._settled >= _SETTLED_MESSAGES:
            self._release_settled()

    def _release_settled(self) -> None:
        """Release the part of the share that belongs to what has arrived."""
        count, self._settled, self._settled_bytes = self._settled, 0, 0
        if count:
            share = self._share
            share.release(share.size * count // (self._requests.missing + count))

    def _heed(self, message: Msg) -> None:
        status = status_of(message)
        headers = message.headers or {}
        if status == "100":
            return
        if status in {"404", "408"}:
            token = message.subject.rpartition(".")[2]
            self._release_settled()
            outstanding = self._requests.missing
            count = self._requests.end(token)
            self._share.release(self._share.size * count // (outstanding or 1))
            self.dry = not self._requests.missing
        else:
            said = headers.get("Description", "").strip()
            self.fault = f"the server ended the request: {status} {said}"
            self._share.release(self._share.size)


def _filter(subject: str | Sequence[str]) -> dict[str, Any]:
    if isinstance(subject, str):
        return {"filter_subject": subject}
    return {"filter_subjects": list(subject)}
