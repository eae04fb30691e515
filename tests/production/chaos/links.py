"""The links between the servers of a cluster: TCP proxies that can be cut and slowed down."""

import asyncio
import contextlib

HOST = "127.0.0.1"


class Link:
    """What one server dials to reach another.

    Args:
        target: The port that it leads to.
        delay: Seconds that each piece takes from one end to the other while all is well.

    Attributes:
        delay: The same, now.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.delay = delay
        self._usual_delay = delay
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Reset the connections, and refuse new ones."""
        self._refusing = True
        for task in self._tasks:
            task.cancel()

    def stall(self) -> None:
        """Let nothing through; both ends believe that they are connected."""
        self._open.clear()

    def heal(self) -> None:
        """Be a good link again; what was stalled goes on its way."""
        self._refusing = False
        self.delay = self._usual_delay
        self._open.set()

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._refusing:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    there, back = await asyncio.open_connection(HOST, self._target)
                    await self._join((reader, writer), (there, back))
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        ways = [
            asyncio.create_task(self._carry(near[0], far[1])),
            asyncio.create_task(self._carry(far[0], near[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            far[1].transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pieces in order, each after the delay."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            while piece := await reader.read(65_536):
                pieces.put_nowait((loop.time(), piece))
            pieces.put_nowait((loop.time(), b""))

        receiving = asyncio.create_task(receive())
        try:
            while True:
                came, piece = await pieces.get()
                await self._open.wait()
                await asyncio.sleep(max(0.0, came + self.delay - loop.time()))
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
