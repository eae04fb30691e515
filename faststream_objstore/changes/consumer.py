"""The loop of one change subscriber: pull, hand over, and start again after a loss."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.msg import Msg

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.changes.message import Receipt
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.puller import Puller
from faststream_objstore.changes.server_consumer import ServerConsumer
from faststream_objstore.errors import ObjStoreError

__all__ = ("ChangeConsumer",)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_REFRESH_SECONDS = 30.0

Deliver = Callable[[Msg, Receipt, bool], Awaitable[bool]]
"""Handles a message and acknowledges it; whether it will not be delivered again."""


class ChangeConsumer:
    """Receives the changes of a bucket and runs `deliver` for each.

    Not more than `max_workers` at a time, and never two of one object.

    Args:
        server: Where the bucket is.
        options: What the subscriber wants.
        deliver: Called with a message, its receipt, and whether the message is of the
            state that `replay=True` begins with.
        log: Called with a level and a text.
    """

    def __init__(
        self,
        server: JetStreamServer,
        options: ChangeOptions,
        *,
        deliver: Deliver,
        log: Callable[[int, str], None],
    ) -> None:
        self._options = options
        self._deliver = deliver
        self._log = log
        self._client = server.client
        self._on_server = ServerConsumer(server, options)
        self._puller = Puller(
            server.api.connection, options.bucket, free=self._free, receive=self._receive
        )
        self._workers = asyncio.Semaphore(options.max_workers)
        self._in_hand: dict[int, tuple[Msg, asyncio.Task[None]]] = {}
        self._begun: set[int] = set()
        self._newest: dict[str, asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        self._trouble: str | None = None

    async def start(self) -> None:
        """Make the consumer and begin to pull; raises as `ServerConsumer.ensure`."""
        await self._on_server.ensure()
        self._background = [
            asyncio.create_task(work, name=f"{self._options.title}: {what}")
            for what, work in (
                ("pull", self._run()),
                ("renew", self._renew()),
                ("refresh", self._refresh()),
            )
        ]

    async def stop(self, timeout: float | None) -> None:
        """Let the handlers that run finish, and give back everything else.

        Args:
            timeout: Seconds for the handlers, which are cancelled then.
        """
        self._stopping = True
        pull, others = self._background[:1], self._background[1:]
        await _cancel(*pull)
        await self._puller.close()
        tasks = {task for _, task in self._in_hand.values()}
        for sequence, (_, task) in self._in_hand.items():
            if sequence not in self._begun:
                task.cancel()
        if tasks and timeout:
            await asyncio.wait(tasks, timeout=timeout)
        await _cancel(*tasks)
        await _cancel(*others)
        if not self._options.durable and self._client.is_connected:
            # Otherwise the server removes it by itself.
            with contextlib.suppress(ObjStoreError):
                await self._on_server.delete()

    def _free(self) -> int:
        return self._options.max_workers - len(self._in_hand)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        made = True
        while True:
            began = loop.time()
            try:
                if not made:
                    await self._on_server.ensure()
                    self._report(None)
                lost = await self._puller.run(self._on_server.next_subject)
            except (ObjStoreError, nats.errors.Error, OSError) as error:
                lost = str(error)
            except Exception as error:  # noqa: BLE001 - the loop outlives a surprise
                lost = repr(error)
            made = False
            if self._client.is_closed:
                self._log(
                    logging.ERROR,
                    f"{self._options.title}: no more changes: nats-py has given up on the "
                    "connection. Restart the service, or have NatsBroker("
                    "max_reconnect_attempts=-1) never give up.",
                )
                return
            self._report(lost)
            if loop.time() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _report(self, trouble: str | None) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        title = self._options.title
        if trouble is None:
            self._log(logging.INFO, f"{title}: receives changes again")
        else:
            self._log(logging.WARNING, f"{title}: no changes for now, trying again: {trouble}")

    async def _receive(self, message: Msg) -> None:
        if self._stopping:
            await message.nak()
            return
        try:
            receipt = Receipt.of(message.reply)
        except ValueError as error:
            self._log(logging.WARNING, f"{self._options.title}: passed over: {error}")
            return
        self._on_server.position.received(receipt)
        if receipt.sequence in self._in_hand:
            # Delivered again before its handler was done; that one's answer counts.
            return
        subject = message.subject
        task = asyncio.create_task(
            self._work(message, receipt, self._newest.get(subject)),
            name=f"{self._options.title}: {receipt.sequence}",
        )
        self._newest[subject] = task
        self._in_hand[receipt.sequence] = message, task

        def finished(_: object) -> None:
            del self._in_hand[receipt.sequence]
            self._begun.discard(receipt.sequence)
            if self._newest.get(subject) is task:
                del self._newest[subject]
            self._puller.wake()

        task.add_done_callback(finished)

    async def _work(
        self, message: Msg, receipt: Receipt, previous: "asyncio.Task[None] | None"
    ) -> None:
        try:
            if previous is not None:
                await asyncio.wait((previous,))
            await self._workers.acquire()
        except asyncio.CancelledError:
            with contextlib.suppress(nats.errors.Error):
                await message.nak()
            raise
        try:
            self._begun.add(receipt.sequence)
            replayed = self._on_server.was_there_before(receipt)
            if await self._deliver(message, receipt, replayed):
                self._on_server.position.finished(receipt)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            # It could not be acknowledged, so it will be delivered again.
            self._log(
                logging.WARNING,
                f"{self._options.title}: revision {receipt.sequence} was not acknowledged, "
                f"so it will come again: {error!r}",
            )
        finally:
            self._workers.release()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._options.ack_seconds / 3)
            with contextlib.suppress(nats.errors.Error):
                for message, _ in tuple(self._in_hand.values()):
                    await message.in_progress()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            with contextlib.suppress(ObjStoreError):
                await self._on_server.refresh()


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
