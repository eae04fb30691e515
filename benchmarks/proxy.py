"""A TCP proxy that delays: `python -m benchmarks.proxy HOST PORT SECONDS`.

Each piece that arrives leaves `SECONDS` later, whatever is still on its way before it: a
long line, and not a narrow one. Threads, because an event loop's clock is too coarse for a
delay of milliseconds. It prints the port it listens on; after that, each line on standard
input is answered by the bytes that have passed, as JSON.
"""

import contextlib
import json
import queue
import socket
import sys
import threading
import time

_PIECE = 256 * 1024
# Pieces that may be on their way: more than 10 Gbit/s fill in 5 ms.
_PIECES = 1024


class _Line:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self._source = source
        self._target = target
        self._delay = delay
        self._pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(_PIECES)
        self.passed = 0
        for work in (self._receive, self._send):
            threading.Thread(target=work, daemon=True).start()

    def _receive(self) -> None:
        piece = b"."
        while piece:
            try:
                piece = self._source.recv(_PIECE)
            except OSError:
                piece = b""
            self._pieces.put((time.monotonic() + self._delay, piece))

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = self._pieces.get()
                if not piece:
                    break
                if (early := due - time.monotonic()) > 0:
                    time.sleep(early)
                self._target.sendall(piece)
                self.passed += len(piece)
        for each in (self._target, self._source):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _accept(
    listener: socket.socket, server: tuple[str, int], delay: float, lines: list[list[_Line]]
) -> None:
    while True:
        client, _ = listener.accept()
        onward = socket.create_connection(server)
        for each in (client, onward):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines.append([_Line(client, onward, delay), _Line(onward, client, delay)])


def main(host: str, port: int, delay: float) -> None:
    """Serve until standard input ends."""
    lines: list[list[_Line]] = []
    listener = socket.create_server(("127.0.0.1", 0))
    arguments = (listener, (host, port), delay, lines)
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for _ in sys.stdin:
        there, back = (sum(pair[i].passed for pair in lines) for i in (0, 1))
        print(json.dumps({"to_server": there, "to_client": back}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
