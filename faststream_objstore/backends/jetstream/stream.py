"""Messages in stream order, whatever happens to the connection in the meantime.

A consumer is used until its first failure: a lost connection, a restarted server, a gap. Then
a new one continues after the last message that was handed out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from typing_extensions import Self

from faststream_objstore.backends.base import Deliver, Room, StoredMessage
from faststream_objstore.backends.jetstream.api import AFTER_ALL, JetStreamAPI, reading
from faststream_objstore.backends.jetstream.ordered import OrderedConsumer
from faststream_objstore.backends.jetstream.snapshot import Snapshot
from faststream_objstore.backends.jetstream.waiting import retrieve
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.settling import run_to_completion
from faststream_objstore.wire import stream_name

__all__ = ("JetStreamMessages",)

# How often a waiting reader checks its connection and its consumer.
_TICK_SECONDS = 1.0
# A reader of existing messages should soon notice that counted ones were overwritten.
_SNAPSHOT_TICK_SECONDS = 0.05
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
# How long a server is silent, at least, that waits at a message that was overwritten.
_STALLED_SECONDS = 0.5

# How long a server may take to restart, or a cluster to elect a leader.
_PASSING = (StoreTimeoutError, NotConnectedError, JetStreamNotEnabledError, StoreAPIError)


class JetStreamMessages:
    """The `MessageStream` of a server.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        subject: What to read.
        deliver: Where to start.
        start_sequence: Start with the first match at or after it.
        follow: Wait for new messages.
        headers_only: Do not transfer the bodies.
        size: The bytes that are expected altogether, if known.
        window: Bytes that may be on their way or waiting to be read.
        expected: How many messages match, if known.
        timeout: Seconds that one message may take to arrive (unless following).
        snapshot: Makes the record of a walk over the newest messages, given the last
            sequence at its start.
    """

    def __init__(
        self,
        api: JetStreamAPI,
        bucket: str,
        subject: str | Sequence[str],
        *,
        deliver: Deliver,
        start_sequence: int | None,
        follow: bool,
        headers_only: bool,
        size: int | None,
        window: int | None = None,
        expected: int | None = None,
        timeout: float,
        snapshot: Callable[[int], Snapshot] | None = None,
    ) -> None:
        self.pending: int = 0
        self._api = api
        self._client = api.ordinary.client
        self._bucket = bucket
        self._subject = subject
        self._deliver = deliver
        self._start = start_sequence
        self._follow = follow
        self._headers_only = headers_only
        self._size = size
        self._window = window
        self._left: int | None = None
        self._room: Room | None = None
        self._expected = expected
        self._handed_out = 0
        self._timeout = timeout
        self._begin_snapshot = snapshot
        self._snapshot: Snapshot | None = None
        self._rest: deque[StoredMessage] = deque()

        self._consumer: OrderedConsumer | None = None
        self._created: str | None = None
        # Whether every message is the last of its subject, so that a walk over these needs no
        # list of them: of messages on its list, nats-server 2.15 waits for seconds at each
        # that was overwritten.
        self._rolled_up = False
        # How many messages there were when the walk began.
        self._counted = 0
        self._last = 0
        self._attempts = 0
        self._tick = _TICK_SECONDS if snapshot is None else _SNAPSHOT_TICK_SECONDS

    async def __aenter__(self) -> Self:
        try:
            if self._follow or self._deliver is Deliver.NEW:
                state = await self._api.state(self._bucket, timeout=self._timeout)
                self._created = state.created
                if self._deliver is Deliver.NEW:
                    # A sequence and not "new", so that a consumer that takes over before the
                    # first message starts at the same place.
                    self._start = state.last_sequence + 1
            await self._api.open_lane(size=self._size or 0)
            if self._begin_snapshot is not None:
                self._snapshot = await self._begun(self._begin_snapshot)
            elif (
                self._deliver is Deliver.LAST_PER_SUBJECT
                and isinstance(self._subject, str)
                and self._subject.endswith("*")
            ):
                await self._followed(self._subject)
            else:
                await self._first()
        except BaseException:
            await self._close()
            raise
        return self

    async def _followed(self, subject: str) -> None:
        # As in `_begun`.
        self._rolled_up = True
        counting = asyncio.ensure_future(
            self._api.count_subjects(self._bucket, subject, timeout=self._timeout)
        )
        counting.add_done_callback(retrieve)
        try:
            consumer = await self._first()
            if consumer.remaining > await counting:
                await self._listed(consumer)
        finally:
            counting.cancel()

    async def _begun(self, begin: Callable[[int], Snapshot]) -> Snapshot:
        # Both at the same time: what is stored between them is seen, or read at the end.
        verb = f"STREAM.INFO.{stream_name(self._bucket)}"
        # The server takes long to list the last messages, and much less to count the subjects.
        self._rolled_up = isinstance(self._subject, str)
        counted = {"subjects_filter": self._subject, "offset": AFTER_ALL}
        asking = asyncio.ensure_future(
            self._api.call(
                verb,
                counted if self._rolled_up else None,
                bucket=self._bucket,
                timeout=self._timeout,
            )
        )
        try:
            consumer = await self._first()
            info = await asking
            if self._rolled_up and consumer.remaining > info.get("total", 0):
                consumer = await self._listed(consumer)
        finally:
            asking.cancel()
        with reading(f"{self._api.prefix}.{verb}", self._bucket):
            snapshot = begin(info["state"]["last_seq"])
            # The leader has everything, and so does a server without replicas.
            leader = (info.get("cluster") or {}).get("leader")
            replicated = info["config"].get("num_replicas", 1) > 1
        snapshot.lagging = replicated and consumer.server != leader
        return snapshot

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoredMessage:
        consumer = await self._filled()
        if consumer is None:
            if not self._rest:
                raise StopAsyncIteration
            return self._rest.popleft()
        message = consumer.buffer.popleft()
        self._last = message.sequence
        self._handed_out += 1
        if self._snapshot is not None:
            self._snapshot.saw((message,))
        if self._left is not None:
            self._left -= 1
        return message

    def limit(self, count: int) -> None:
        """Stop after `count` messages; see `MessageStream`."""
        self._left = count
        if self._consumer is not None:
            self._consumer.limit = count

    def place(self, room: Room) -> bool:
        """Receive bodies into the caller's memory; see `MessageStream`."""
        self._room = room
        if self._consumer is not None:
            self._consumer.room = room
        return True

    async def take(self) -> list[StoredMessage]:
        """All messages that have arrived; see `MessageStream`."""
        consumer = await self._filled()
        if consumer is None:
            rest = list(self._rest)
            self._rest.clear()
            return rest
        await consumer.pull(taking=True)
        taken = list(consumer.buffer)
        consumer.buffer.clear()
        self._last = taken[-1].sequence
        self._handed_out += len(taken)
        if self._snapshot is not None:
            self._snapshot.saw(taken)
        if self._left is not None:
            self._left -= len(taken)
        return taken

    async def _filled(self) -> OrderedConsumer | None:
        """The consumer once it has a message; `None` at the end, or before the missed ones."""
        consumer = self._consumer
        if consumer is None:
            msg = "Enter the message stream (`async with`) before iterating over it."
            raise RuntimeError(msg)
        if self._left == 0 or self._rest:
            return None
        snapshot = self._snapshot
        if snapshot is not None and not consumer.buffer:
            if snapshot.finished:
                return None
            if snapshot.passed and consumer.remaining:
                await self._look_up_rest(snapshot)
                return None
        # Done before messages are taken, because what suspends here may be cancelled.
        if consumer.has_room:
            await consumer.pull()
        if not consumer.buffer:
            arrived = await self._arrival(consumer)
            if arrived is None:
                if snapshot is not None and (
                    snapshot.lagging
                    # Some were removed, or the server has lost some of those on its list: it
                    # takes one off before it finds that the request for it has expired.
                    or self._handed_out < self._counted
                ):
                    await self._look_up_rest(snapshot)
                return None
            consumer = arrived
        self._attempts = 0
        return consumer

    async def _look_up_rest(self, snapshot: Snapshot) -> None:
        rest = await snapshot.rest()
        if self._headers_only:
            rest = [one._replace(data=b"") for one in rest]
        self._rest.extend(rest[: self._left])

    async def _arrival(self, consumer: OrderedConsumer) -> OrderedConsumer | None:
        """Wait for a message; returns the consumer that has it, or `None` at the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not consumer.buffer:
            if not self._follow and consumer.remaining == 0:
                return None
            if self._client.is_closed or (
                not self._follow and loop.time() - max(began, consumer.asked) > self._timeout
            ):
                raise self._timed_out()
            if consumer.denied is not None:
                raise consumer.denied
            if consumer.broken:
                consumer = await self._resume(consumer, began)
                continue
            await consumer.pull()
            await consumer.wait(min(self._tick, self._timeout))
            if not consumer.buffer and not consumer.broken:
                await self._look_after(consumer)
        return consumer

    async def _look_after(self, consumer: OrderedConsumer) -> None:
        if not self._client.is_connected:
            return
        if self._follow:
            if consumer.missed_heartbeats:
                consumer.fault = "the server missed its heartbeats"
            if not (consumer.is_listed and consumer.remaining):
                return
        dry = consumer.dry
        try:
            if consumer.total is not None and isinstance(self._subject, str):
                # Messages that the leader no longer has will not arrive.
                stored = await self._api.count(
                    self._bucket, self._subject, timeout=self._timeout
                )
                if stored < (self._expected or 0):
                    consumer.total = None
            await consumer.recount()
        except PermissionDeniedError:
            raise
        except _PASSING as error:
            consumer.fault = str(error)
            return
        patience = _STALLED_SECONDS * (1 + self._attempts)
        if consumer.stalled and consumer.silent_seconds > patience:
            consumer.fault = "the server waits at a message that was overwritten"
        elif dry and consumer.remaining:
            # The server has messages but does not send them; avoid asking in a tight loop.
            await asyncio.sleep(_FIRST_PAUSE)

    async def _resume(self, consumer: OrderedConsumer, began: float) -> OrderedConsumer:
        """Create a consumer that continues after the last message."""
        loop = asyncio.get_running_loop()
        cause: Exception | None = None
        await run_to_completion(consumer.close(wait=False))
        while True:
            if self._client.is_closed or (
                not self._follow and loop.time() - began > self._timeout
            ):
                raise self._timed_out() from cause
            if self._attempts:
                pause = _FIRST_PAUSE * 2 ** min(self._attempts - 1, 8)
                await asyncio.sleep(min(pause, _LONGEST_PAUSE))
            self._attempts += 1
            if not self._client.is_connected:
                continue
            try:
                if self._follow:
                    await self._notice_recreation()
                return await self._open()
            except PermissionDeniedError:
                raise
            except _PASSING as error:
                cause = error
                if self._consumer is not None:
                    await run_to_completion(self._consumer.close(wait=False))

    async def _notice_recreation(self) -> None:
        state = await self._api.state(self._bucket, timeout=self._timeout)
        if state.created != self._created:
            # It is another stream, whose sequences are unrelated to the previous ones.
            msg = (
                f"Bucket '{self._bucket}' was deleted and made again while it was followed; "
                "watch it anew."
            )
            raise BucketNotFoundError(msg, bucket=self._bucket)

    async def _first(self) -> OrderedConsumer:
        """Create the first consumer, on a lane if there is much to read."""
        consumer = await self._open_anywhere()
        if not consumer.is_on_lane and await self._api.open_lane(messages=consumer.remaining):
            # Nothing has been delivered so far.
            await run_to_completion(consumer.close(wait=False))
            consumer = await self._open_anywhere()
        self._counted = consumer.remaining
        return consumer

    async def _listed(self, consumer: OrderedConsumer) -> OrderedConsumer:
        """A consumer in place of one that would deliver more than the last messages."""
        # Some subjects have older messages, which other clients leave, or there are new ones.
        self._rolled_up = False
        await run_to_completion(consumer.close(wait=False))
        return await self._open_anywhere()

    async def _open_anywhere(self) -> OrderedConsumer:
        """Create a consumer; again if its lane is lost before anything is requested on it."""
        while True:
            try:
                return await self._open()
            except NotConnectedError:
                lost = self._consumer
                if lost is None or not lost.is_on_lane or self._client.is_closed:
                    raise
                await run_to_completion(lost.close(wait=False))

    async def _open(self) -> OrderedConsumer:
        self._consumer = OrderedConsumer(
            self._api,
            self._bucket,
            self._subject,
            begin=self._begin(),
            follow=self._follow,
            headers_only=self._headers_only,
            limit=self._left,
            size=self._size,
            window=self._window,
            timeout=self._timeout,
            room=self._room,
            # Messages that were counted may have been overwritten, and stored again further
            # on.
            wait_for_more=self._begin_snapshot is not None,
        )
        await self._consumer.open()
        await self._compare(self._consumer)
        return self._consumer

    async def _compare(self, consumer: OrderedConsumer) -> None:
        """Ask the leader if a replica has a different number of messages than expected."""
        stored = consumer.remaining
        if self._expected is not None and isinstance(self._subject, str):
            rest = self._expected - self._handed_out
            if stored != rest:
                stored = await self._api.count(
                    self._bucket, self._subject, timeout=self._timeout
                )
                stored -= self._handed_out
                if consumer.remaining < stored:
                    consumer.wait_for_all(stored)
        if not self._handed_out:
            self.pending = stored

    def _begin(self) -> dict[str, Any]:
        # After a message, "last per subject" continues by sequence too: only the last
        # message of each subject exists, because metadata is rolled up.
        start = self._last + 1 if self._last else self._start
        if start:
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": start}
        if self._deliver is Deliver.LAST_PER_SUBJECT and not self._rolled_up:
            return {"deliver_policy": "last_per_subject"}
        return {"deliver_policy": "all"}

    def _timed_out(self) -> ObjStoreError:
        what = f"no message of {self._subject!r} came"
        return self._api.ordinary.timed_out(what, self._timeout, self._bucket)

    async def _close(self) -> None:
        if self._consumer is not None:
            await run_to_completion(self._consumer.close())
