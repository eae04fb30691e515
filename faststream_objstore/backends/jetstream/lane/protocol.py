"""The NATS client protocol as an asyncio protocol that reads bodies into their destination.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from .headers import STATUS_LINE, Headers

__all__ = ("Destination", "LaneMessage", "LaneProtocol", "Receive")

# How much one `recv` reads while no large body is being received: many small messages, or
# several large bodies, which are then copied: from the processor's cache, that takes less time
# than another turn of the event loop for each of them.
_SCRATCH_BYTES = 512 * 1024
# No server sends a longer line.
_LINE_BYTES = 64 * 1024
# An incomplete body that is larger than this is received directly into its destination.
_LARGE_BYTES = 8 * 1024
# Bodies up to this size that have no destination are received into memory that is reused.
_SPARE_BYTES = 256 * 1024
# Commands are collected for one write up to this size.
_TOGETHER_BYTES = 1024 * 1024

_CRLF = b"\r\n"


class LaneMessage(NamedTuple):
    """A received message, with the attributes of nats-py's `Msg` that are used here.

    Attributes:
        subject: Its subject.
        reply: Its reply subject, or an empty string.
        data: Its body; a view of the destination if the listener has provided one.
        head: Its header block, if it has one.
    """

    subject: str
    reply: str
    data: bytes | memoryview
    head: bytes | None = None

    @property
    def headers(self) -> Headers | None:
        """Its headers, one value each; also `Status` and `Description` of a status line."""
        return None if self.head is None else Headers(self.head)


# A named tuple made by its class takes twice as long.
_message = tuple.__new__

Receive: TypeAlias = Callable[[Sequence[LaneMessage]], None]
"""Handles messages of a subscription that arrived together, in order.

Called inside the event loop's read, so it must not block.
"""

Destination: TypeAlias = Callable[[int], "memoryview | None"]
"""Provides memory for the next body, given its size; `None` for new `bytes`."""


class LaneProtocol(asyncio.BufferedProtocol):
    """Parses what a server sends, and writes what a client sends, with backpressure.

    Args:
        opened: Bytes that were received before this protocol took over.
        on_error: Called with the text of each `-ERR`.
        on_info: Called with each `INFO`.
        on_lost: Called once, when the connection is lost.
    """

    def __init__(
        self,
        *,
        on_error: Callable[[str], None],
        on_info: Callable[[dict[str, Any]], None],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        self.listeners: dict[str, tuple[Receive, Destination | None]] = {}
        """The listeners, by subscription id."""
        self.pongs: list[asyncio.Future[None]] = []
        """The waiters for a `PONG`, in order."""
        self._on_error = on_error
        self._on_info = on_info
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self.paused: asyncio.Future[None] | None = None
        """What to await (shielded) before writing more."""
        self.is_lost: bool = False
        """Whether the connection is lost, or being closed."""
        self.reads: int = 0
        """How often something has arrived."""
        # Commands that are sent together at the end of this turn of the event loop, and their
        # size.
        self._unsent: list[bytes | memoryview] = []
        self._unsent_bytes = 0
        # Whether one of them is too large to be copied.
        self._unsent_large = False
        # Whether the next small command is sent at once. It is after a message that arrived
        # alone, which usually wakes one task; many messages wake many, whose commands follow.
        self._at_once = True

        self._scratch = bytearray(_SCRATCH_BYTES)
        self._window = memoryview(self._scratch)
        self._spare = bytearray()
        # The received bytes that are not parsed yet: from here, up to there.
        self._start = self._end = 0
        # The message whose body is being received: subscription, subject, reply, length of its
        # headers, and total length.
        self._under_way: tuple[str, str, str, int, int] | None = None
        self._body: memoryview | None = None
        self._filled = 0
        # Whether the body is received into the listener's destination.
        self._placed = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start; `attach` is for a transport that had another protocol before."""
        self.attach(transport)

    def attach(self, transport: asyncio.BaseTransport, received: bytes = b"") -> None:
        """Take over a transport, with what its previous protocol had already received."""
        self._transport = transport  # type: ignore[assignment]
        for offset in range(0, len(received), _SCRATCH_BYTES):
            piece = memoryview(received)[offset : offset + _SCRATCH_BYTES]
            while piece:
                room = memoryview(self.get_buffer(len(piece)))
                count = min(len(room), len(piece))
                room[:count] = piece[:count]
                self.buffer_updated(count)
                piece = piece[count:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all waiters."""
        self.is_lost = True
        self._body = None
        self._unsent = []
        if self.paused is not None and not self.paused.done():
            self.paused.set_result(None)
        for pong in self.pongs:
            if not pong.done():
                pong.cancel()
        self._on_lost(exc)

    def eof_received(self) -> bool:
        """The server has closed the connection, so close it here too."""
        return False

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if self.paused is None:
            self.paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        resumed, self.paused = self.paused, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    # Writing

    def write(self, data: bytes, *, with_next: bool = False) -> None:
        """Send a command: at once, or with the others of this turn of the event loop.

        Args:
            data: The command.
            with_next: Whether another command is about to follow.
        """
        if not self._at_once or with_next or self._transport is None:
            self._add((data,), len(data))
            return
        self._at_once = False
        if self._unsent:
            self._add((data,), len(data))
            self._send()
        elif not (self.is_lost or self._transport.is_closing()):
            self._transport.write(data)

    def write_body(self, command: bytes, body: bytes | memoryview) -> None:
        """Send a command with a large body; without copying it from Python 3.12 on.

        The memory of the body must not change until it has been sent.
        """
        self._unsent_large = True
        self._add((command, body, _CRLF), len(command) + len(body) + 2)

    def _add(self, pieces: tuple[bytes | memoryview, ...], size: int) -> None:
        if self._transport is None or self.is_lost:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.extend(pieces)
        self._unsent_bytes += size
        if self._unsent_bytes >= _TOGETHER_BYTES:
            self._send()

    def _send(self) -> None:
        """Hand over to the transport what was written in this turn."""
        unsent, transport = self._unsent, self._transport
        # From Python 3.12 on, `writelines` of a transport that is closing would watch the
        # number of its socket, which may be another one's by now.
        if unsent and transport is not None and not transport.is_closing():
            if self._unsent_large:
                transport.writelines(unsent)
            else:
                transport.write(b"".join(unsent))
        self._unsent, self._unsent_bytes, self._unsent_large = [], 0, False

    def close(self) -> None:
        """Close the connection after everything written has been sent."""
        if self._transport is not None:
            self._send()
            self.is_lost = True
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self.is_lost = True
            self._transport.abort()

    # Reading

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go: the destination of the body that is being received."""
        if self._body is not None:
            return self._body[self._filled :]
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == _SCRATCH_BYTES:
            left = self._end - self._start
            self._window[:left] = bytes(self._window[self._start : self._end])
            self._start, self._end = 0, left
        return self._window[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the received bytes."""
        self.reads += 1
        if self._body is not None:
            self._filled += nbytes
            if self._filled == len(self._body):
                self._deliver()
            return
        self._end += nbytes
        try:
            self._parse()
        except (ValueError, IndexError) as error:
            line = bytes(self._window[self._start : min(self._end, self._start + 200)])
            self._start = self._end = 0
            self._on_error(f"cannot parse what the server sends ({error}): {line!r}")
            self.abort()

    def _parse(self) -> None:
        scratch, window = self._scratch, self._window
        first_begin = self._start
        # What is there from the first small body on: slices of `bytes` are cheaper.
        copied, first_body = b"", 0
        # Messages of one subscription that follow one another are handed over together.
        of = ""
        arrived: list[LaneMessage] = []
        try:
            while not self.is_lost:
                if self._under_way is not None and not self._parse_body():
                    return
                begin, end = self._start, self._end
                at = scratch.find(_CRLF, begin, end)
                if at < 0:
                    if end - begin >= _LINE_BYTES:
                        msg = "a line without an end"
                        raise ValueError(msg)
                    return
                body = self._start = at + 2
                first = scratch[begin] if at > begin else 0
                if copied:
                    line: bytes | bytearray = copied[begin - first_body : at - first_body]
                else:
                    line = scratch[begin:at]
                if first == 77:  # MSG
                    parts = line.decode().split(" ")
                    if len(parts) == 4:
                        _, subject, sid, length = parts
                        reply = ""
                    else:
                        _, subject, sid, reply, length = parts
                    head, size = 0, int(length)
                elif first == 72:  # HMSG
                    parts = line.decode().split(" ")
                    if len(parts) == 5:
                        _, subject, sid, header_length, length = parts
                        reply = ""
                    else:
                        _, subject, sid, reply, header_length, length = parts
                    head, size = int(header_length), int(length)
                else:
                    if at > begin:
                        arrived = self._hand_over(of, arrived)
                        self._command(bytes(line))
                    continue
                if sid != of:
                    arrived = self._hand_over(of, arrived)
                    of = sid
                if size > _LARGE_BYTES or end - body < size + 2:
                    arrived = self._hand_over(of, arrived)
                    self._under_way = (sid, subject, reply, head, size)
                    continue
                # Nearly all messages are small and completely there.
                self._start = body + size + 2
                self._at_once = begin == first_begin and self._start == end
                if not copied:
                    first_body, copied = body, bytes(window[body:end])
                at = body - first_body
                block = copied[at : at + head] if head else None
                if block is not None and not block.startswith(STATUS_LINE):
                    _require_head(block)
                data = copied[at + head : at + size]
                arrived.append(_message(LaneMessage, (subject, reply, data, block)))
        finally:
            self._hand_over(of, arrived)

    def _hand_over(self, sid: str, messages: list[LaneMessage]) -> list[LaneMessage]:
        """Give messages to the listener of a subscription; returns an empty list."""
        if not messages:
            return messages
        self.listeners.get(sid, _NOBODY)[0](messages)
        return []

    def _parse_body(self) -> bool:
        """Whether the body is complete, so that parsing can continue."""
        assert self._under_way is not None  # noqa: S101
        sid, subject, reply, head, size = self._under_way
        there = self._end - self._start
        if self._filled:
            # It was received in place; only its end marker is missing.
            if there < 2:
                return False
            self._start += 2
            self._under_way = None
            self._filled = 0
            return True
        receive, destination = self.listeners.get(sid, _NOBODY)
        if there >= size + 2:
            begin = self._start
            self._start += size + 2
            self._under_way = None
            block = None
            if head:
                block = _require_head(bytes(self._window[begin : begin + head]))
                begin += head
                size -= head
            body: bytes | memoryview = self._window[begin : begin + size]
            into = destination(size) if destination and size > _LARGE_BYTES else None
            if into is None:
                body = bytes(body)
            else:
                into[:] = body
                body = into
            receive((LaneMessage(subject, reply, body, block),))
            return True
        if size <= _LARGE_BYTES or there < head:
            return False
        # The rest is received directly into its destination.
        into = destination(size) if destination and not head else None
        self._placed = into is not None
        body = self._spare_of(size) if into is None else into
        have = min(there, size)
        body[:have] = self._window[self._start : self._start + have]
        self._start += have
        self._filled = have
        if have == size:
            self._body = body
            self._deliver()
            return self._parse_body()
        self._body = body
        return False

    def _spare_of(self, size: int) -> memoryview:
        """Memory for a body that is copied when it is complete; the same for all of them."""
        if size > _SPARE_BYTES:
            return memoryview(bytearray(size))
        if len(self._spare) < size:
            self._spare = bytearray(_SPARE_BYTES)
        return memoryview(self._spare)[:size]

    def _deliver(self) -> None:
        """Hand over the body that was received in place."""
        assert self._under_way is not None  # noqa: S101
        sid, subject, reply, head, _ = self._under_way
        body, self._body = self._body, None
        receive, _ = self.listeners.get(sid, _NOBODY)
        if body is None:
            return
        block = _require_head(bytes(body[:head])) if head else None
        data = body if self._placed else bytes(body[head:])
        receive((LaneMessage(subject, reply, data, block),))

    def _command(self, line: bytes) -> None:
        if line == b"PING":
            self._unsent.append(b"PONG\r\n")
            self._send()
        elif line == b"PONG":
            if self.pongs:
                pong = self.pongs.pop(0)
                if not pong.done():
                    pong.set_result(None)
        elif line.startswith(b"INFO "):
            self._on_info(json.loads(line[5:]))
        elif line.startswith(b"-ERR"):
            self._on_error(line[4:].strip().strip(b"'").decode(errors="replace"))
        elif line != b"+OK":
            msg = f"unknown command {line[:60]!r}"
            raise ValueError(msg)


def _drop(messages: Sequence[LaneMessage]) -> None:
    """What arrives after an UNSUB was sent."""


_NOBODY: tuple[Receive, Destination | None] = (_drop, None)


def _require_head(raw: bytes) -> bytes:
    if not Headers.begin(raw):
        msg = "a header block without NATS/1.0"
        raise ValueError(msg)
    return raw
