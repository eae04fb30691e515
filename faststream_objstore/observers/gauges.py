"""The values of gauges, read when they are collected, from any thread."""

import asyncio
import concurrent.futures
import time

from faststream_objstore.standing import Standing, Standings

__all__ = ("Gauges",)

# A collector waits slightly longer than the reading may take.
_SLACK = 1.0
# OpenTelemetry asks for each gauge separately.
_FRESH = 0.5


class Gauges:
    """The state of the buckets of one `Buckets`, for collectors that cannot await.

    Args:
        standings: Reads the state on the loop that is running now.
        timeout: Seconds that NATS may take.
    """

    def __init__(self, standings: Standings, *, timeout: float) -> None:
        self.standings = standings
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._last = Standing()
        self._read_at = -_FRESH
        self._reading: asyncio.Task[Standing] | None = None

    async def refresh(self) -> Standing:
        """Read it now."""
        self._last = await self.standings.read(timeout=self._timeout)
        self._read_at = time.monotonic()
        return self._last

    def collect(self) -> Standing:
        """The state of the buckets.

        From another thread, the current state. On the event loop, which cannot wait for
        itself, the last known state; this also starts a reading, so it is that of the last
        collection or a later one.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            if self._reading is None or self._reading.done():
                self._reading = running.create_task(self.refresh())
        elif self._loop.is_running() and time.monotonic() > self._read_at + _FRESH:
            asked = asyncio.run_coroutine_threadsafe(self.refresh(), self._loop)
            try:
                return asked.result(self._timeout + _SLACK)
            except concurrent.futures.TimeoutError:
                asked.cancel()
        return self._last
