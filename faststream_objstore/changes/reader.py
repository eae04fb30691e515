"""Changes one at a time, for a subscriber that has no handler."""

import asyncio
from collections.abc import Callable

from nats.aio.msg import Msg

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.backends.jetstream.waiting import wait_for
from faststream_objstore.changes.delivery import ChangeMessage, set_aside
from faststream_objstore.changes.loop import ChangeLoop
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.outcome import Outcome
from faststream_objstore.exceptions import BadObjectMetaError

__all__ = ("ChangeReader",)


class ChangeReader:
    """Hands each change to the next caller of `next`, who acknowledges it.

    Args:
        server: The server of the bucket.
        options: The subscriber's options.
        log: Called with a level and a message.
    """

    def __init__(
        self,
        server: JetStreamServer,
        options: ChangeOptions,
        *,
        log: Callable[[int, str], None],
    ) -> None:
        self._options = options
        self._loop = ChangeLoop(server, options, handle=self._handle, log=log, prefetch=False)
        self._waiting: list[asyncio.Future[ChangeMessage | None]] = []
        self._asked = asyncio.Event()

    async def start(self) -> None:
        """Create the consumer and start pulling."""
        await self._loop.start()

    async def stop(self) -> None:
        """Stop, and give back the changes that nobody has taken."""
        await self._loop.stop(None)

    async def next(self, timeout: float | None) -> ChangeMessage | None:
        """Wait for the next change; `None` after `timeout` seconds."""
        future: asyncio.Future[ChangeMessage | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append(future)
        self._asked.set()
        try:
            return await (future if timeout is None else wait_for(future, timeout))
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    async def _handle(self, raw: Msg, receipt: Receipt, replayed: bool) -> Outcome:
        try:
            change = ChangeMessage.read(raw, self._options.bucket, receipt)
        except BadObjectMetaError:
            await raw.ack()
            return Outcome.PASSED_OVER
        change.replayed = replayed
        if not change.is_wanted(self._options):
            return Outcome.SKIPPED
        if await set_aside(change):
            return Outcome.RETRIED
        try:
            while True:
                while self._waiting:
                    future = self._waiting.pop(0)
                    if not future.done():
                        future.set_result(change)
                        return Outcome.HANDLED
                self._asked.clear()
                await self._asked.wait()
        except asyncio.CancelledError:
            await change.nak()
            raise
