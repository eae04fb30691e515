"""Server-sent events: what browsers are told while the page is open."""

import asyncio
import json
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import anyio

MOST_WAITING = 100
"""Events that wait for one browser; a slower one is told to load the list instead."""
HEARTBEAT = 15.0
"""Seconds after which an idle stream sends something, so that proxies keep it open."""


def event(name: str, data: Any = None, *, number: int = 0) -> bytes:
    """One event as it is sent. JSON contains no raw line breaks."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


RELOAD = event("reload")


class _Browser:
    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.wake = asyncio.Event()

    def offer(self, frame: bytes) -> None:
        if len(self.waiting) >= MOST_WAITING:
            # The list is the state; the events only bring it up to date.
            self.waiting.clear()
            frame = RELOAD
        self.waiting.append(frame)
        self.wake.set()


class Live:
    """The browsers that are connected to this process."""

    def __init__(self) -> None:
        self._browsers: set[_Browser] = set()
        self._open = True

    @property
    def listening(self) -> int:
        """The number of browsers."""
        return len(self._browsers)

    def publish(self, frame: bytes) -> None:
        """Send to all of them; never waits for a slow one."""
        for browser in self._browsers:
            browser.offer(frame)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events for one browser, from now on until `close`."""
        browser = _Browser()
        self._browsers.add(browser)
        try:
            # Milliseconds until it reconnects after a lost connection.
            yield b"retry: 1000\n\n"
            while self._open:
                with anyio.move_on_after(HEARTBEAT):
                    await browser.wake.wait()
                browser.wake.clear()
                frames = b"".join(browser.waiting)
                browser.waiting.clear()
                if self._open:
                    yield frames or b": still here\n\n"
        finally:
            self._browsers.discard(browser)

    def close(self) -> None:
        """End all streams, which would otherwise keep an HTTP server from stopping."""
        self._open = False
        for browser in self._browsers:
            browser.wake.set()

    @asynccontextmanager
    async def until_signal(self) -> AsyncIterator[None]:
        """Close when the process is told to end.

        An ASGI server waits for open responses before it tells the app to shut down, and
        an event stream never ends by itself.
        """
        self._open = True
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        }

        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.close)
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) is handle:
                    signal.signal(number, handler)
