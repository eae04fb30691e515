"""Serving an application over HTTP until the program is told to end."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

__all__ = ("listen", "serve_until_told")


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind a port of every address that a host has.

    Args:
        host: A name, or an address.
        port: The port; 0 for a free one.

    Raises:
        OSError: If one of them cannot be bound; it says which.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if port == 0 and sockets:
                # A name such as localhost has several addresses; each would get another port.
                break
            sockets.append(one := socket.socket(family, kind, protocol))
            if sys.platform != "win32":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # The same port of the other family may be one of the others.
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError as error:
        for one in sockets:
            one.close()
        why = error.strerror or error
        msg = f"Cannot listen on port {port} of {host}: {why}; give another --port or --host."
        raise OSError(msg) from error
    return sockets


class _Server(uvicorn.Server):
    """uvicorn's, with signals left to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    def cut(self) -> int:
        """Close all connections at once; how many there were."""
        connections: list[Any] = list(self.server_state.connections)
        for one in connections:
            one.transport.abort()
        return len(connections)


async def serve_until_told(app: Any, sockets: list[socket.socket], *, grace: float) -> None:
    """Serve until SIGINT or SIGTERM, and let requests that are under way end.

    Those that have not ended in time, or at a second signal, are cut off: an upload stores
    nothing then.

    Args:
        app: An ASGI application.
        sockets: Where to listen; they are closed at the end.
        grace: Seconds that requests have when the program is told to end.
    """
    server = _Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.ensure_future(server.serve(sockets))
    told = asyncio.Event()

    def end() -> None:
        if told.is_set():
            server.cut()
        server.should_exit = True
        told.set()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, end)
        loop.add_signal_handler(signal.SIGTERM, end)
    waiting = asyncio.ensure_future(told.wait())
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        address = sockets[0].getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        print(f"http://{shown}:{address[1]}/", flush=True)
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({serving}, timeout=grace)
        if not serving.done() and (count := server.cut()):
            print(f"{count} connections were cut off after {grace:g} s", file=sys.stderr)
        await serving
    finally:
        waiting.cancel()
        serving.cancel()
