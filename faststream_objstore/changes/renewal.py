"""Signs of life for changes that are handled or wait here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

from nats.aio.msg import Msg

from faststream_objstore.backoff import Log
from faststream_objstore.changes.options import ChangeOptions

__all__ = ("Renewal",)


class Renewal:
    """Renews `ack_wait`, so that no other replica gets what is still held here.

    Args:
        options: What the subscriber wants.
        held: The messages that are to be renewed.
        begun: How many handlers have begun so far.
        running: How many of them have not finished.
        answer: Sends an acknowledgement for a message.
        log: Called with a level and a text.
        handler: The handler's name, for logs.
    """

    def __init__(
        self,
        options: ChangeOptions,
        *,
        held: Callable[[], Iterator[Msg]],
        begun: Callable[[], int],
        running: Callable[[], int],
        answer: Callable[[Msg, bytes], Awaitable[None]],
        log: Log,
        handler: str,
    ) -> None:
        self._title = options.title
        self._seconds = options.ack_seconds
        self._held = held
        self._answer = answer
        self._log = log
        self._handler = handler
        self._begun = begun
        self._running = running

    async def run(self) -> None:
        """Renew three times within `ack_wait`."""
        loop = asyncio.get_running_loop()
        every = self._seconds / 3
        while True:
            begun, due = self._begun(), loop.time() + every
            await asyncio.sleep(every)
            late = loop.time() - due
            if late > every and (self._running() or self._begun() != begun):
                self._tell_late(late)
            for message in tuple(self._held()):
                await self._answer(message, Msg.Ack.Progress)

    def _tell_late(self, seconds: float) -> None:
        self._log(
            logging.WARNING,
            f"{self._title}: the event loop was blocked for {seconds:.1f} s while "
            f"{self._handler} was running, so its change could not be renewed in time and may "
            f"be handled twice (ack_wait is {self._seconds:g} s). Long work "
            "without awaiting belongs in a `def` handler, which FastStream runs in a thread, "
            "or in `asyncio.to_thread`.",
        )
