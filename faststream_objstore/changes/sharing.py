"""Changes that this process does not want, but that others with the same durable may want."""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from nats.aio.msg import Msg

from faststream_objstore import wire
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.backoff import Log
from faststream_objstore.changes import declarations
from faststream_objstore.changes.dead_letter import shortened
from faststream_objstore.changes.declarations import Declaration, Declarations
from faststream_objstore.changes.delivery import stored_of
from faststream_objstore.changes.durable import SETTLE_SECONDS, VERIFY_SECONDS, DurableConsumer
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.exceptions import BadObjectMetaError, ObjStoreError
from faststream_objstore.models import ObjectInfo

__all__ = ("Sharing",)

# How often, at most, the server is asked what others have declared.
_ASK_SECONDS = 0.05
_AGAIN_SECONDS = 1.0
_VERIFY_EVERY_SECONDS = 0.25
# A change that another process wants is redelivered after a quarter of a second, then half a
# second, and so on; deliveries are counted, so there must be few of them.
_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.25, 5.0
# Up to this many deliveries, a change that has killed its process each time is assumed to be
# shared.
_MOST_DELIVERIES = 500
_MOST_RETRIED = 1000


class Sharing:
    """Acknowledges changes that this process does not want, unless another declaration does.

    Args:
        consumer: The consumer on the server.
        options: What the subscriber wants.
        answer: Sends an acknowledgement for a message.
        finished: Called with the receipt of a change that will not be delivered again.
        log: Called with a level and a text.
    """

    def __init__(
        self,
        consumer: DurableConsumer,
        options: ChangeOptions,
        *,
        answer: Callable[[Msg, bytes], Awaitable[None]],
        finished: Callable[[Receipt], None],
        log: Log,
    ) -> None:
        self._consumer = consumer
        self._options = options
        self._answer = answer
        self._finished = finished
        self._log = log
        self._unwanted: list[tuple[Msg, Receipt]] = []
        self._deciding: list[tuple[Msg, Receipt]] = []
        self._some = asyncio.Event()
        self._known: set[Declaration] = set()
        self._shared_until = 0.0
        self._retried: dict[int, int] = {}

    @property
    def undecided(self) -> Iterator[Msg]:
        """The changes that are neither acknowledged nor given back yet."""
        return (message for message, _ in (*self._deciding, *self._unwanted))

    def learn(self, info: dict[str, Any]) -> Declarations:
        """Take over what other processes have recorded on the consumer."""
        declared = self._consumer.declared(info)
        self._shared_until = declared.shared_until
        others = declared.others
        for other, age in others.items():
            if other not in self._known:
                self._log(
                    logging.WARNING,
                    f"{self._options.title}: the durable {self._options.durable!r} is "
                    f"declared in two ways: as {declared.own} in this process, and as "
                    f"{shortened(str(other))} in another, last confirmed {age:.0f} s ago. "
                    "Changes that only that one wants are given back to it. Unless a "
                    "deployment is just changing the pattern, give each subscriber its own "
                    "durable name.",
                )
        self._known = set(others)
        return declared

    def attempt(self, receipt: Receipt) -> Receipt:
        """The receipt, counting only deliveries that were attempts, if others gave it back."""
        if receipt.time_ns / 1e9 > self._shared_until or receipt.deliveries > _MOST_DELIVERIES:
            return receipt
        return receipt._replace(deliveries=1 + self._retried.get(receipt.sequence, 0))

    def retried(self, receipt: Receipt) -> None:
        """Record that an attempt has failed."""
        if self._shared_until:
            self._retried[receipt.sequence] = receipt.deliveries
            if len(self._retried) > _MOST_RETRIED:
                del self._retried[next(iter(self._retried))]

    async def skip(self, message: Msg, receipt: Receipt) -> None:
        """Record a change that this process does not want."""
        if self._options.durable:
            self._unwanted.append((message, receipt))
            self._some.set()
        else:
            await self._answer(message, Msg.Ack.Ack)
            self._finished(receipt)

    def forget(self) -> None:
        """Drop everything: it belongs to a bucket that is gone."""
        self._unwanted, self._deciding = [], []
        self._retried.clear()

    async def run(self) -> None:
        """Answer the changes that are not wanted here."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            await asyncio.sleep(max(0.0, self._consumer.settled_at - loop.time()))
            try:
                await self.decide()
            except ObjStoreError:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await asyncio.sleep(_ASK_SECONDS)

    async def decide_at_last(self) -> None:
        """Answer the remaining changes; in case of doubt they are delivered again.

        Raises:
            ObjStoreError: As for `decide`.
        """
        if not self._unwanted:
            return
        unsettled = self._consumer.settled_at - asyncio.get_running_loop().time()
        if unsettled <= SETTLE_SECONDS:
            await asyncio.sleep(max(0.0, unsettled))
            await self.decide()
            return
        for message in self.undecided:
            await self._answer(message, Msg.Ack.Nak)

    async def decide(self) -> None:
        """Acknowledge what nobody wants, and give back what another process wants.

        Raises:
            ObjStoreError: If it is not known who wants what; then nothing is answered.
        """
        # A declaration that another process made before a change is included in a response
        # that was requested after the change arrived.
        self._deciding, self._unwanted = self._unwanted, []
        self._some.clear()
        if not self._deciding:
            return
        try:
            info = await self._consumer.info()
        except BaseException:
            self._unwanted[:0] = self._deciding
            self._deciding = []
            self._some.set()
            raise
        if info is not None:
            await self._answer_for(self._deciding, self.learn(info))
        # Without a consumer nothing can be answered; a new one delivers them again.
        self._deciding = []

    async def _answer_for(
        self, unwanted: list[tuple[Msg, Receipt]], declared: Declarations
    ) -> None:
        others, silent = declared.others, declared.silent
        lost: dict[Declaration, list[str]] = {}
        for message, receipt in unwanted:
            info = self._read(message, receipt) if others or silent else None
            if info and any(other.wants(info) for other in others):
                await self._give_back(message)
                continue
            if info:
                made = receipt.time_ns / 1e9
                for other, until in silent.items():
                    if made <= until and other.wants(info):
                        lost.setdefault(other, []).append(info.name)
            await self._answer(message, Msg.Ack.Ack)
            self._finished(receipt)
        for other, names in lost.items():
            count = "1 change" if len(names) == 1 else f"{len(names)} changes"
            self._log(
                logging.WARNING,
                f"{self._options.title}: acknowledged without being handled: {count} that "
                f"only {shortened(str(other))} wanted, the first one of "
                f"{shortened(names[0])!r}; no process with that declaration of "
                f"the durable {self._options.durable!r} has been heard of for "
                f"{declarations.SILENT_SECONDS:g} s; this one has declared {declared.own}.",
            )

    def _read(self, message: Msg, receipt: Receipt) -> ObjectInfo | None:
        try:
            return wire.info_of(stored_of(message, receipt), self._options.bucket)[0]
        except BadObjectMetaError:
            return None

    async def _give_back(self, message: Msg) -> None:
        deliveries = Receipt.of(message.reply).deliveries
        # The server serves its clients in turn: with equal delays, two changes could each be
        # redelivered to the wrong one of two processes, over and over.
        spread = random.uniform(0.5, 1.5)  # noqa: S311
        delay = spread * min(deliveries * _DELAY_SECONDS, _LONGEST_DELAY_SECONDS)
        how = json.dumps({"delay": round(delay * 1e9)})
        await self._answer(message, Msg.Ack.Nak + b" " + how.encode())

    async def keep_alive(self, learn: Callable[[dict[str, Any]], None]) -> None:
        """Confirm regularly that this declaration is alive.

        Args:
            learn: Called with the server's information about the consumer.
        """
        wrote = self._consumer.wrote
        while True:
            if self._options.durable:
                await self._verify()
            wrote.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wrote.wait(), declarations.CONFIRM_SECONDS)
                continue
            await self._confirm(declarations.CONFIRM_SECONDS / 2, learn)

    async def _verify(self) -> None:
        # Another process may have read before this one wrote, and written afterwards.
        loop = asyncio.get_running_loop()
        while loop.time() < self._consumer.written_at + VERIFY_SECONDS:
            await asyncio.sleep(_VERIFY_EVERY_SECONDS)
            await self._confirm(declarations.SILENT_SECONDS / 2)

    async def _confirm(
        self, at_latest: float, learn: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        try:
            info = await self._consumer.confirm(at_latest=at_latest)
        except ObjStoreError:
            # If the consumer is gone, the loop recreates it and reports that.
            return
        if info is not None:
            self.learn(info)
            if learn is not None:
                learn(info)
