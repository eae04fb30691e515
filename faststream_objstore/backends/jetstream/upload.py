"""Sending chunks to the stream: many at a time, each of them acknowledged."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg

from faststream_objstore.backends.base import WrongRevision
from faststream_objstore.backends.jetstream.api import JetStreamAPI, refusal
from faststream_objstore.backends.jetstream.connection import status_of
from faststream_objstore.backends.jetstream.window import LEAST_BYTES
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    BucketSealedError,
    NotConnectedError,
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
)
from faststream_objstore.logs import log
from faststream_objstore.settling import run_to_completion

__all__ = ("JetStreamUpload",)

# As many chunks may be unacknowledged as make a window of this size each; fewer larger ones.
_CHUNK_BYTES = 128 * 1024

# An abort waits at most this long for chunks in flight, whatever the timeout.
_ABORT_SECONDS = 5.0
# What a server has received from a lost connection counts as stored once this many purges in a
# row, with this pause between them, have found nothing.
_SETTLE_ROUNDS, _SETTLE_SECONDS = 2, 0.25
# How often a writer without a connection checks for one.
_LOOK_SECONDS = 0.1


class JetStreamUpload:
    """The `ChunkUpload` of a server.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        subject: The subject of the chunks.
        size: The bytes that are expected altogether, if known.
        ttl: Seconds after which the stream drops each chunk; 0 for never.
        timeout: Seconds without any acknowledgement before it gives up.
        replicated: Whether another leader may be elected in the meantime.
        purge: Removes the messages of a subject.
    """

    def __init__(
        self,
        api: JetStreamAPI,
        bucket: str,
        subject: str,
        *,
        size: int | None = None,
        ttl: int = 0,
        timeout: float,
        replicated: bool = False,
        purge: Callable[[str], Awaitable[int]],
    ) -> None:
        self._api = api
        self._connection = api.ordinary
        self._size = size
        self._headers = {"Nats-TTL": f"{ttl}s"} if ttl else None
        self._bucket = bucket
        self._subject = subject
        self._timeout = timeout
        self._purge = purge

        # A new leader acknowledges what it applies of the former one's messages, which may
        # have acknowledged them too: counted twice, they would hide others that were lost.
        self._acknowledged: set[bytes] | None = set() if replicated else None
        self._reply: str | None = None
        self._generation = 0
        self._window_bytes = LEAST_BYTES
        self._window = LEAST_BYTES // _CHUNK_BYTES
        self._largest = _CHUNK_BYTES
        # When the first chunk was sent, until the first acknowledgement.
        self._began: float | None = None
        self._sent = 0
        self._answered = 0
        self._refusals = 0
        self._heard = 0.0
        self._failure: ObjStoreError | None = None
        self._unheard = False
        self._draining = False
        self._goal = 0
        self._room: asyncio.Future[bool] | None = None

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send a chunk; wait while too many are unacknowledged."""
        size = len(chunk)
        if self._reply is None:
            expected = self._size or 0
            if expected > size and self._api.opens_lane(expected):
                await self._api.open_lane(size=expected)
            connection = self._connection = self._api.connection
            if not connection.has_replies:
                await connection.open_replies(bucket=self._bucket)
            self._reply = connection.add_route(
                self._receive, watched=(self._subject, self._bucket, self._denied)
            )
            self._generation = connection.generation
        connection = self._connection
        if not connection.client.is_connected:
            self._require_connection()
            # nats-py would keep only 2 MiB of what is published now.
            await self._until_connected()
        elif self._sent:
            self._require_connection()
        if self._unheard or self._failure is not None:
            await self._raise()
        if size > self._largest:
            self._largest = size
            self._fit_window()
        if self._sent - self._answered >= self._window:
            # Half a window at a time: fewer wake-ups, and larger writes to the socket.
            await self._wait_until(self._window // 2)
        if not self._sent and size != self._size:
            # More will follow, which depends on the round trip.
            self._began = asyncio.get_running_loop().time()
        # Counted first, because a cancelled publish may still be in progress.
        self._sent += 1
        subject, reply, headers = self._subject, self._reply, self._headers
        try:
            if not connection.publish_now(subject, chunk, reply, headers, self._bucket):
                await connection.publish(
                    subject, chunk, reply=reply, headers=headers, bucket=self._bucket
                )
        except ObjStoreError as error:
            self._sent -= 1
            if isinstance(error, NotConnectedError):
                # A lane that was lost while this waited for room is no reason to give up.
                self._require_connection()
            raise

    async def settle(self) -> None:
        """Wait until every chunk so far is acknowledged."""
        await self._wait_until(0)

    async def finish(self) -> None:
        """Wait until every chunk is acknowledged."""
        await self._wait_until(0)
        self._close()

    async def abort(self) -> None:
        """Remove what was stored, and what is still in flight; never raises."""
        if self._sent == 0:
            self._close()
            return
        await run_to_completion(self._remove())

    async def _remove(self) -> None:
        if isinstance(self._failure, BucketNotFoundError):
            # The chunks are gone with it; nothing answers those in flight.
            self._close()
            return
        try:
            try:
                # The server handles purges and chunks concurrently, so a purge could overtake
                # chunks that are still being stored.
                await self._drain(min(self._timeout, _ABORT_SECONDS))
            finally:
                self._close()
            if self._refusals < self._sent:
                await self._purge_all()
        except BucketNotFoundError:
            return  # and the chunks with it
        except Exception as error:  # noqa: BLE001 - an abort follows another error
            text = (
                f"Bucket '{self._bucket}': the chunks of an unfinished put stay on "
                f"'{self._subject}' ({error}); `ObjectStore.sweep` removes them."
            )
            log(self._api, logging.WARNING, text)

    async def _purge_all(self) -> None:
        await self._purge(self._subject)
        # The server may still be storing what it received from a lost lane, and a purge over
        # another connection overtakes that.
        rounds = _SETTLE_ROUNDS if self._has_lost_its_lane else 0
        while rounds:
            await asyncio.sleep(_SETTLE_SECONDS)
            purged = await self._purge(self._subject)
            rounds = _SETTLE_ROUNDS if purged else rounds - 1

    async def _drain(self, seconds: float) -> None:
        self._draining = True
        if self._sent > self._answered and not self._connection.client.is_closed:
            self._goal = 0
            loop = asyncio.get_running_loop()
            self._room = loop.create_future()
            await self._connection.answer(self._room, loop.time() + seconds, self._generation)

    @property
    def _failed(self) -> bool:
        return self._unheard or self._failure is not None

    async def _raise(self) -> None:
        if self._failure is None:
            self._failure = await self._api.why_no_responders(
                self._bucket, timeout=self._timeout
            )
        raise self._failure

    async def _wait_until(self, unanswered: int) -> None:
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        while not self._failed and self._sent - self._answered > unanswered:
            self._require_connection()
            deadline = max(began, self._heard) + self._timeout
            if deadline <= now:
                waiting = self._sent - self._answered
                chunks = "chunk was" if waiting == 1 else "chunks were"
                what = f"{waiting} {chunks} not acknowledged"
                raise self._connection.timed_out(what, self._timeout, self._bucket)
            self._goal = unanswered
            self._room = loop.create_future()
            await self._connection.answer(self._room, deadline, self._generation)
            now = loop.time()
        if self._failed:
            await self._raise()

    @property
    def _has_lost_its_lane(self) -> bool:
        """Whether it started on a lane that is gone; lanes never reconnect."""
        return self._connection is not self._api.ordinary and self._connection.client.is_closed

    def _require_connection(self) -> None:
        # What was unacknowledged when the connection was lost may or may not be stored, and no
        # answer will tell.
        if self._has_lost_its_lane or (
            self._sent and self._connection.reconnects > self._generation
        ):
            raise self._connection.lost("a chunk", self._bucket)

    async def _until_connected(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while not self._connection.client.is_connected:
            if self._connection.client.is_closed or loop.time() >= deadline:
                what = "the connection did not come back"
                raise self._connection.timed_out(what, self._timeout, self._bucket)
            await asyncio.sleep(_LOOK_SECONDS)
        self._require_connection()
        self._generation = self._connection.generation

    def _receive(self, message: Msg) -> None:
        if self._acknowledged is not None and message.data:
            # They differ by their sequences.
            if message.data in self._acknowledged:
                return
            if b'"error"' not in message.data:
                self._acknowledged.add(bytes(message.data))
        self._answered += 1
        if self._began is not None or self._answered < self._sent:
            self._heard = asyncio.get_running_loop().time()
        if self._began is not None:
            self._window_bytes = self._connection.window(self._heard - self._began)
            self._began = None
            self._fit_window()
        # Nearly always `{"stream":"OBJ_b","seq":42}`, of which nothing is needed.
        if not message.data or b'"error"' in message.data:
            self._refused(message)
        self._make_room()

    def _fit_window(self) -> None:
        self._window = max(1, self._window_bytes // self._largest)

    def _denied(self, error: PermissionDeniedError) -> None:
        # One for each chunk, instead of its acknowledgement.
        self._answered += 1
        self._refusals += 1
        self._failure = self._failure or error
        self._make_room()

    def _make_room(self) -> None:
        room = self._room
        if (
            room is not None
            and not room.done()
            and (
                self._sent - self._answered <= self._goal
                or (self._failed and not self._draining)
            )
        ):
            room.set_result(True)

    def _refused(self, message: Msg) -> None:
        if status_of(message) == "503":
            self._unheard = True
            return
        try:
            error = refusal(json.loads(message.data)["error"], self._bucket)
        except (ValueError, KeyError, TypeError):
            msg = f"Bucket '{self._bucket}': a chunk's acknowledgement cannot be read."
            error = StoreAPIError(msg, bucket=self._bucket)
        # Chunks are published without a condition, so this cannot happen; it must not go
        # unnoticed.
        if isinstance(error, WrongRevision):
            error = StoreAPIError(str(error), bucket=self._bucket)
        if isinstance(error, BucketSealedError):
            # It stores nothing, so there is nothing to remove, which it would not do either.
            self._refusals += 1
        self._failure = self._failure or error

    def _close(self) -> None:
        if self._reply is not None:
            self._connection.remove_route(self._reply)
            self._reply = None
