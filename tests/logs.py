"""What a logger says, to be waited for."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from tests.changes.support import soon

__all__ = ("Heard", "heard")


class Heard(logging.Handler):
    """The messages of a logger, in order; they may come from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self._loop.call_soon_threadsafe(self._more.set)

    async def wait_for(self, text: str) -> str:
        """The first message with this text, which may come yet."""

        async def first() -> str:
            while True:
                self._more.clear()
                for one in self.messages:
                    if text in one:
                        return one
                await self._more.wait()

        return await soon(first())


@contextlib.contextmanager
def heard(name: str) -> Iterator[Heard]:
    """Listen to the logger of this name within a block."""
    handler = Heard()
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
