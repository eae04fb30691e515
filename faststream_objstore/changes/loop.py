"""The loop of one change subscriber: pull, hand over, and restart after a loss."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

import nats.errors
from nats.aio.msg import Msg

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.backoff import Backoff, Log
from faststream_objstore.changes.durable import DurableConsumer
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.outcome import Outcome
from faststream_objstore.changes.prefetch import Prefetch
from faststream_objstore.changes.puller import Puller
from faststream_objstore.changes.renewal import Renewal
from faststream_objstore.changes.sharing import Sharing
from faststream_objstore.exceptions import ObjStoreError

__all__ = ("ChangeLoop",)

# How long all handlers may take before what waits behind them is given back. Far longer than
# changes are meant to wait, so that a short standstill of the process does not count.
_PATIENCE_SECONDS = 0.25
_MOST_RETURNED = 1000
# How long handlers that do not suspend may occupy the event loop.
_TURN_SECONDS = 0.01

_T = TypeVar("_T")

_Key = tuple[int, int]
"""A message's sequence and its time: a bucket that is created again counts from 1, too."""

Handle = Callable[[Msg, Receipt, bool], Awaitable[Outcome]]
"""Handles a message, and acknowledges it unless it is skipped."""


class ChangeLoop:
    """Receives the changes of a bucket and runs `handle` for each.

    At most `max_workers` run at a time, and never two for the same object. While handlers are
    fast, further changes wait here; changes that a slow handler holds up are given back.

    Args:
        server: Where the bucket is.
        options: What the subscriber wants.
        handle: Called with a message, its receipt, and whether the message belongs to the
            state that `replay=True` starts with.
        log: Called with a level and a text.
        prefetch: Whether changes may wait here.
        handler: The handler's name, for logs.
        follows: Whether it also needs deletions, whatever its event.
    """

    def __init__(
        self,
        server: JetStreamServer,
        options: ChangeOptions,
        *,
        handle: Handle,
        log: Log,
        prefetch: bool = True,
        handler: str = "the caller of get_one",
        follows: bool = False,
    ) -> None:
        self._options = options
        self._title = options.title
        self._handle = handle
        self._log = log
        self._connection = server.api.ordinary
        self._client = server.client
        self._on_server = DurableConsumer(server, options, follows=follows)
        self._position = _Position()
        self._sharing = Sharing(
            self._on_server,
            options,
            answer=self._answer,
            finished=self._position.finished,
            log=log,
        )
        self._puller = Puller(
            server.api, options.bucket, room=self._room, receive=self._receive
        )
        self._prefetch = Prefetch(options.max_workers) if prefetch else None
        self._renewal = Renewal(
            options,
            held=self._held,
            begun=lambda: self._begun,
            running=lambda: len(self._working),
            answer=self._answer,
            log=log,
            handler=handler,
        )
        self._waiting: dict[_Key, tuple[Msg, Receipt]] = {}
        self._working: dict[_Key, Msg] = {}
        self._objects: set[str] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._begun = 0
        self._behind = asyncio.Event()
        self._returned: dict[int, int] = {}
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        self._context = contextvars.copy_context()
        self._backoff = Backoff(
            log,
            lost=f"{self._title}: not receiving changes",
            back=f"{self._title}: receiving changes again",
        )

    async def start(self) -> None:
        """Create the consumer and start pulling; raises as `DurableConsumer.ensure` does.

        Raises:
            PermissionDeniedError: If the server refuses this user a required permission.
        """
        await self._ensure()
        try:
            await self._puller.open(
                self._on_server.next_subject, self._on_server.unused_ack_subject
            )
        except BaseException:
            await self.stop(None)
            raise
        self._background = [
            asyncio.create_task(work, name=f"{self._title}: {what}")
            for what, work in (
                ("pull", self._run()),
                ("renew", self._renewal.run()),
                ("share", self._share()),
                ("declare", self._sharing.keep_alive(self._refreshed)),
                ("skip", self._sharing.run()),
            )
        ]

    @property
    def running(self) -> bool:
        """Whether it continues to receive, if necessary after a loss."""
        return not self._stopping and bool(self._background) and not self._background[0].done()

    def begin_no_more(self) -> None:
        """Start nothing more; `stop` must follow."""
        self._stopping = True

    async def stop(self, timeout: float | None) -> None:
        """Let the running handlers finish, and give back everything else.

        Args:
            timeout: Seconds that the handlers have; they are then cancelled.
        """
        self._stopping = True
        pull, others = self._background[:1], self._background[1:]
        await _cancel(*pull)
        await self._give_back()
        await self._puller.close()
        # What was still on its way.
        await self._give_back()
        workers = tuple(self._workers)
        if workers and timeout:
            await asyncio.wait(workers, timeout=timeout)
        await _cancel(*workers)
        await _cancel(*others)
        with contextlib.suppress(ObjStoreError):
            if self._client.is_connected:
                await self._sharing.decide_at_last()
        if not self._options.durable and self._client.is_connected:
            # With a durable it stays; otherwise the server would remove it later by itself.
            with contextlib.suppress(ObjStoreError):
                await self._on_server.delete()

    def _room(self, asked: int, backlog: bool) -> int:
        workers = self._options.max_workers
        held = len(self._waiting) + len(self._working) + asked
        ahead = self._prefetch.size if backlog and self._prefetch else 0
        if held > workers + ahead // 2:
            # Request half of them at a time, not one at a time.
            return 0
        return workers + ahead - held

    async def _ensure(self) -> None:
        stream = self._on_server.created
        info, made_now = await self._on_server.ensure(self._position.resume_at)
        if stream not in {None, self._on_server.created}:
            self._forget()
        self._position.learn(info, made_now=made_now)
        if self._options.durable:
            self._sharing.learn(info)

    async def _run(self) -> None:
        made = True
        while True:
            self._backoff.begin()
            try:
                if not made:
                    await self._ensure()
                    self._backoff.succeeded()
                lost = await self._puller.run(self._on_server.next_subject)
            except (ObjStoreError, nats.errors.Error, OSError) as error:
                lost = str(error)
            except Exception as error:  # noqa: BLE001 - the loop survives any error
                lost = repr(error)
            made = False
            # They are redelivered; a recreated bucket may deliver different ones.
            await self._give_back()
            if self._client.is_closed:
                self._log(
                    logging.ERROR,
                    f"{self._title}: no more changes: nats-py has given up on the "
                    "connection. Restart the service, or have NatsBroker("
                    "max_reconnect_attempts=-1) never give up.",
                )
                return
            self._backoff.failed(lost)
            await self._backoff.pause()

    def _forget(self) -> None:
        """Acknowledge nothing from a bucket that is gone: another one has its sequences."""
        for message in self._working.values():
            message._ackd = True  # noqa: SLF001 - what nats-py goes by
        self._waiting.clear()
        self._returned.clear()
        self._sharing.forget()

    def _receive(self, message: Msg) -> None:
        try:
            receipt = Receipt.of(message.reply)
        except ValueError as error:
            self._log(logging.WARNING, f"{self._title}: skipped a message: {error}")
            return
        self._position.received(receipt)
        self._puller.backlog = receipt.pending
        sequence = receipt.sequence
        key = sequence, receipt.time_ns
        if key in self._working or key in self._waiting:
            # Redelivered before its handler had finished; the handler's answer counts.
            return
        if receipt.deliveries > 1 and (returned := self._returned.get(sequence)):
            # That delivery was not an attempt.
            receipt = receipt._replace(deliveries=max(1, receipt.deliveries - returned))
        if receipt.deliveries > 1:
            receipt = self._sharing.attempt(receipt)
        self._waiting[key] = message, receipt
        self._begin()

    def _begin(self) -> None:
        while len(self._workers) < self._options.max_workers and (first := self._next()):
            # A lane calls this in the context of whatever has opened it.
            worker = self._context.run(
                asyncio.create_task, self._work(first), name=self._title
            )
            self._workers.add(worker)
            worker.add_done_callback(self._ended)
        if self._waiting:
            self._behind.set()

    def _next(self) -> tuple[Msg, Receipt] | None:
        """Take the first change that may begin."""
        if self._stopping:
            return None
        for key, (message, receipt) in self._waiting.items():
            if message.subject not in self._objects:
                del self._waiting[key]
                self._working[key] = message
                self._objects.add(message.subject)
                self._begun += 1
                return message, receipt
        return None

    async def _work(self, following: tuple[Msg, Receipt] | None) -> None:
        # One task for all that are waiting: messages whose handlers do not suspend are
        # acknowledged in one packet, together with the next request. Separate tasks would
        # send one packet each.
        loop = asyncio.get_running_loop()
        turn = began = loop.time()
        while following:
            message, receipt = following
            try:
                await _InOwnContext(self._handle_one(message, receipt))
            finally:
                del self._working[receipt.sequence, receipt.time_ns]
                self._objects.discard(message.subject)
            ended = loop.time()
            if self._prefetch:
                self._prefetch.took(ended - began, len(message.data))
            more = self._puller.wanted > 0
            if more:
                await self._puller.refill()
            if more or ended - turn > _TURN_SECONDS:
                await asyncio.sleep(0)
                ended = turn = loop.time()
            began = ended
            following = self._next()

    def _ended(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        self._begin()
        self._puller.wake()

    async def _handle_one(self, message: Msg, receipt: Receipt) -> None:
        try:
            replayed = receipt.sequence <= self._on_server.replayed_until
            if (
                replayed
                and self._on_server.older
                and await self._on_server.is_replaced(message.subject, receipt.sequence)
            ):
                await self._answer(message, Msg.Ack.Ack)
                self._position.finished(receipt)
                return
            stream = self._on_server.created
            outcome = await self._handle(message, receipt, replayed)
            if stream != self._on_server.created:
                # Its sequence is another message's now.
                return
            if outcome is Outcome.RETRIED:
                self._sharing.retried(receipt)
            elif outcome is Outcome.SKIPPED:
                await self._sharing.skip(message, receipt)
            else:
                self._position.finished(receipt)
                if self._returned:
                    self._returned.pop(receipt.sequence, None)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            # It could not be acknowledged, so it will be redelivered.
            self._log(
                logging.WARNING,
                f"{self._title}: revision {receipt.sequence} was not acknowledged, "
                f"so it will be redelivered: {error!r}",
            )

    async def _share(self) -> None:
        while True:
            await self._behind.wait()
            begun = self._begun
            await asyncio.sleep(_PATIENCE_SECONDS)
            if not self._waiting:
                self._behind.clear()
            elif self._begun == begun and len(self._working) == self._options.max_workers:
                if self._prefetch:
                    self._prefetch.too_slow()
                await self._give_back()

    async def _give_back(self) -> None:
        """Give back what has not begun; it is redelivered, which is not an attempt."""
        for key in tuple(self._waiting):
            # What is not given back yet stays here, in case this is cancelled.
            if key in self._waiting:
                message, _ = self._waiting.pop(key)
                self._returned[key[0]] = self._returned.get(key[0], 0) + 1
                await self._answer(message, Msg.Ack.Nak)
        while len(self._returned) > _MOST_RETURNED:
            # Other replicas have handled these.
            del self._returned[next(iter(self._returned))]

    async def _answer(self, message: Msg, answer: bytes) -> None:
        with contextlib.suppress(ObjStoreError):
            await self._connection.publish(message.reply, answer, bucket=self._options.bucket)

    def _held(self) -> Iterator[Msg]:
        """What the server must not deliver again, because it is handled or waits here."""
        for message in self._working.values():
            if not message.is_acked:
                yield message
        for message, _ in self._waiting.values():
            yield message
        yield from self._sharing.undecided

    def _refreshed(self, info: dict[str, Any]) -> None:
        # The progress of all replicas together.
        if not self._position.complete:
            self._position.learn(info, made_now=False)


class _Position:
    """The progress of a consumer, in case the server loses it.

    As long as every delivery came to this process, its own record is exact. If other
    replicas share the consumer, it is not known here what they have not finished, so the
    server's acknowledgement floor is the safe choice: changes may arrive late or twice, but
    none is lost.
    """

    def __init__(self) -> None:
        self.complete: bool = False
        """Whether every delivery came to this process."""
        self._floor = 0
        self._last = 0
        self._consumer_sequence = 0
        self._unfinished: set[int] = set()

    def learn(self, info: dict[str, Any], *, made_now: bool) -> None:
        """Take over the server's information about the consumer."""
        delivered = info["delivered"]
        if made_now:
            self._consumer_sequence = 0
            self._unfinished.clear()
        self._floor = info["ack_floor"]["stream_seq"]
        self.complete = (
            not info["num_ack_pending"]
            and delivered["consumer_seq"] >= self._consumer_sequence
        )
        if self.complete:
            self._last = delivered["stream_seq"]
            self._consumer_sequence = delivered["consumer_seq"]
            self._unfinished = {one for one in self._unfinished if one > self._last}

    def received(self, receipt: Receipt) -> None:
        """Record that a message has arrived."""
        if receipt.consumer_sequence > self._consumer_sequence:
            if receipt.consumer_sequence > self._consumer_sequence + 1:
                self.complete = False
            self._consumer_sequence = receipt.consumer_sequence
        self._last = max(self._last, receipt.sequence)
        self._unfinished.add(receipt.sequence)

    def finished(self, receipt: Receipt) -> None:
        """Record that a message will not be redelivered."""
        self._unfinished.discard(receipt.sequence)

    @property
    def resume_at(self) -> int:
        """The first sequence that a new consumer must deliver."""
        if self.complete:
            return min(self._unfinished, default=self._last + 1)
        return self._floor + 1


class _InOwnContext(Generic[_T]):
    """Awaits a coroutine in a copy of the current context, as a separate task would.

    Args:
        work: The coroutine.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        """Run each step of the coroutine in that context."""
        run = contextvars.copy_context().run
        step, given = self._work.send, None
        try:
            while True:
                awaited = run(step, given)
                step = self._work.send
                try:
                    given = yield awaited
                except BaseException as error:  # noqa: BLE001 - a cancellation, most likely
                    step, given = self._work.throw, error
        except StopIteration as done:
            result: _T = done.value
            return result


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
