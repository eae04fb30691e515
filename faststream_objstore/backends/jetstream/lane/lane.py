"""A second connection for much traffic, which stands in for a nats-py client."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.nuid import NUID

from .handshake import shake_hands, tell_user
from .protocol import Destination, LaneProtocol, Receive

__all__ = ("Lane",)

_nuid = NUID()
# Above this, asyncio's transport tells writers to pause.
_HIGH_WATER = 2 * 1024 * 1024
_CRLF = b"\r\n"
_OPEN, _LOST = {"reconnects": 0}, {"reconnects": 1}


class Lane:
    """A connection that reads bodies into their destination and writes them without copying.

    It has the members of a nats-py `Client` that `Connection` uses. It never reconnects: once
    lost it is closed, and a new one is opened for the next transfer.
    """

    def __init__(self, client: Client) -> None:
        self._protocol = LaneProtocol(
            on_error=self._on_error, on_info=self._on_info, on_lost=self._on_lost
        )
        self._inbox_prefix = client.new_inbox().rpartition(".")[0]
        self._client = client
        self._telling: set[asyncio.Future[None]] = set()
        self._keep: object = None
        self._sids = 0
        self.max_payload: int = client.max_payload
        self.last_error: Exception | None = None
        self.retired: bool = False
        """Whether the server has asked its clients to leave (lame duck)."""
        self._lost_listeners: list[Callable[[], None]] = []
        self.error_listeners: list[Callable[[Exception], bool]] = []
        """Called with each error that the server reports; the user is told of it too, unless
        one of them returns true."""

    @classmethod
    async def open(cls, client: Client) -> "Lane":
        """Connect as `client` did.

        Raises:
            LaneUnavailable: If there is no second connection to be had.
        """
        lane = cls(client)
        established = await shake_hands(client)
        lane._keep = established.keep
        lane.max_payload = established.info.get("max_payload", client.max_payload)
        transport = established.transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(lane._protocol)
        lane._protocol.attach(transport, established.received)
        return lane

    def when_lost(self, call: Callable[[], None]) -> None:
        """Call a function when the connection is lost."""
        self._lost_listeners.append(call)

    @property
    def listening(self) -> int:
        """The number of subscriptions."""
        return len(self._protocol.listeners)

    @property
    def stats(self) -> dict[str, int]:
        """Like nats-py's; the loss counts as a reconnect, which ends pending requests."""
        return _LOST if self._protocol.is_lost else _OPEN

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent and received."""
        return not self._protocol.is_lost

    @property
    def is_closed(self) -> bool:
        """Whether it is permanently closed."""
        return self._protocol.is_lost

    @property
    def is_reconnecting(self) -> bool:
        """Always false: see `is_closed`."""
        return False

    @property
    def pending_data_size(self) -> int:
        """The bytes waiting to be sent; here, whether a message would have to wait."""
        return 0 if self._protocol.paused is None else _HIGH_WATER

    def new_inbox(self) -> str:
        """A unique subject for replies, with the client's prefix."""
        return f"{self._inbox_prefix}.{_nuid.next().decode()}"

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message when there is room; see `send`."""
        protocol = self._protocol
        while protocol.paused is not None and not protocol.is_lost:
            await asyncio.shield(protocol.paused)
        self.send(subject, payload, reply, headers)

    def send(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        reply: str,
        headers: Mapping[str, str] | None,
        *,
        with_next: bool = False,
    ) -> None:
        """Send a message, whether there is room for it or not.

        The payload may be reused at once unless it is `bytes`, or a view of `bytes`.

        Args:
            subject: The subject.
            payload: The body.
            reply: The reply subject, or an empty string.
            headers: The headers.
            with_next: Whether another message is about to follow; for small ones.

        Raises:
            nats.errors.ConnectionClosedError: If the lane is lost.
        """
        protocol = self._protocol
        if protocol.is_lost:
            raise nats.errors.ConnectionClosedError
        size = len(payload)
        if headers:
            lines = "".join([f"{key}: {value}\r\n" for key, value in headers.items()])
            block = f"NATS/1.0\r\n{lines}\r\n"
            head = len(block) if block.isascii() else len(block.encode())
            command = f"HPUB {subject} {reply} {head} {head + size}\r\n{block}".encode()
        else:
            command = f"PUB {subject} {reply} {size}\r\n".encode()
        if size < _SMALL_BYTES:
            protocol.write(b"".join((command, payload, _CRLF)), with_next=with_next)
        else:
            protocol.write_body(command, _lasting(payload))

    def listen(
        self, subject: str, receive: Receive, destination: Destination | None = None
    ) -> str:
        """Subscribe; returns the subscription's id, for `unlisten`.

        Raises:
            nats.errors.ConnectionClosedError: If the lane is lost.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._sids += 1
        sid = str(self._sids)
        self._protocol.listeners[sid] = (receive, destination)
        self._protocol.write(f"SUB {subject} {sid}\r\n".encode())
        return sid

    def unlisten(self, sid: str) -> None:
        """Unsubscribe; messages that still arrive are dropped."""
        if self._protocol.listeners.pop(sid, None) is not None:
            self._protocol.write(f"UNSUB {sid}\r\n".encode())

    async def drain(self, sid: str, seconds: float) -> None:
        """Unsubscribe; messages that the server has sent before are still received.

        Args:
            sid: The subscription's id.
            seconds: How long to wait for them.
        """
        protocol = self._protocol
        if not protocol.is_lost:
            pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            protocol.pongs.append(pong)
            protocol.write(f"UNSUB {sid}\r\nPING\r\n".encode())
            await asyncio.wait((pong,), timeout=seconds)
        protocol.listeners.pop(sid, None)

    async def flush(self) -> None:
        """Return when the server has received what was sent.

        Raises:
            asyncio.CancelledError: If the lane is lost in the meantime.
        """
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol.pongs.append(pong)
        self._protocol.write(b"PING\r\n")
        await pong

    @property
    def reads(self) -> int:
        """How often something has arrived."""
        return self._protocol.reads

    def ping(self) -> None:
        """Have the server send something."""
        self._protocol.pongs.append(asyncio.get_running_loop().create_future())
        self._protocol.write(b"PING\r\n")

    def close(self) -> None:
        """End the connection."""
        self._protocol.close()

    def abort(self) -> None:
        """End the connection without sending what is left; work on it goes on elsewhere."""
        self._protocol.abort()

    def _on_error(self, text: str) -> None:
        self.last_error = nats.errors.Error(f"nats: {text}")
        # Begun first, so that the user is told before a request fails.
        telling = tell_user(self._client, self.last_error)
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        heard = [listener(self.last_error) for listener in tuple(self.error_listeners)]
        if any(heard):
            telling.cancel()

    def _on_info(self, info: dict[str, Any]) -> None:
        self.retired = self.retired or bool(info.get("ldm"))
        self.max_payload = info.get("max_payload", self.max_payload)

    def _on_lost(self, error: Exception | None) -> None:
        self.last_error = error or self.last_error
        self._keep = None
        for call in self._lost_listeners:
            call()


# Up to this size, a copy is cheaper than another piece for the transport.
_SMALL_BYTES = 8 * 1024


def _lasting(payload: bytes | bytearray | memoryview) -> bytes | memoryview:
    """The payload in memory that does not change while the transport still holds it."""
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, memoryview) and isinstance(payload.obj, bytes):
        return payload
    return bytes(payload)
