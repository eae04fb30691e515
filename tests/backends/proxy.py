"""Something between a client and a server that holds back what the server sends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from faststream_objstore.testing import NatsServer

P = TypeVar("P", bound="Proxy")


class Proxy:
    """Hands on bytes; `stall` holds back the server's, `cut` ends the connections.

    With a `delay`, in seconds, what the server sends arrives so much later.

    Connections that are made after a `stall` are not held back.
    """

    def __init__(self, server: NatsServer) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._open: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.delay = 0.0
        self.passed = 0
        """How many bytes of the server's have been handed on."""
        self.down = False
        """Whether nobody can connect."""

    async def serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        far, ask = await asyncio.open_connection("127.0.0.1", self._port)
        if self.down:
            answer.close()
            ask.close()
            return
        go = asyncio.Event()
        go.set()
        self._open[answer], self._open[ask] = go, go
        for one in (self._hand_on(near, ask, None), self._hand_on(far, answer, go)):
            task = asyncio.ensure_future(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hand_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        go: asyncio.Event | None,
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        late = asyncio.ensure_future(self._hand_on_late(line, sink, go)) if go else None
        try:
            while data := await source.read(65536):
                if go is None:
                    sink.write(data)
                    await sink.drain()
                elif self.delay or not line.empty():
                    line.put_nowait((asyncio.get_running_loop().time() + self.delay, data))
                else:
                    await self._hand_on_one(data, sink, go)
        except OSError:
            pass
        finally:
            if late is not None:
                late.cancel()
            sink.close()

    async def _hand_on_one(
        self, data: bytes, sink: asyncio.StreamWriter, go: asyncio.Event
    ) -> None:
        await go.wait()
        sink.write(data)
        self.passed += len(data)
        await sink.drain()

    async def _hand_on_late(
        self,
        line: "asyncio.Queue[tuple[float, bytes]]",
        sink: asyncio.StreamWriter,
        go: asyncio.Event,
    ) -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._hand_on_one(data, sink, go)

    def stall(self, *, newest: bool = False) -> None:
        """Hold back what the server sends, on all connections or on the newest one."""
        every = list(self._open.values())
        for go in every[-1:] if newest else every:
            go.clear()

    def go_on(self) -> None:
        for go in self._open.values():
            go.set()

    def cut(self) -> None:
        for writer in self._open:
            writer.close()
        self._open.clear()

    async def stop(self) -> None:
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()


@asynccontextmanager
async def between(server: NatsServer) -> AsyncIterator[Proxy]:
    async with serving(Proxy(server)) as proxy:
        yield proxy


@asynccontextmanager
async def serving(proxy: P) -> AsyncIterator[P]:
    """Let a proxy listen, at its `url`."""
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.stop()
