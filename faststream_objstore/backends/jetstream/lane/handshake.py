"""A second connection with the options of a nats-py client, taken over after the handshake.

This is the only module that touches nats-py's private attributes. If it finds them to differ
from what it expects, it raises `LaneUnavailable`, and everything then uses the client itself.
"""
# ruff: noqa: SLF001 - that is what this module is for

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport

__all__ = ("Established", "LaneUnavailable", "shake_hands", "tell_user", "when_closed")

# The options that identify the client, and say where it connects.
_COPIED = (
    "_auth_configured",
    "_inbox_prefix",
    "_nkeys_seed",
    "_nkeys_seed_str",
    "_public_nkey",
    "_signature_cb",
    "_user_credentials",
    "_user_jwt_cb",
    "options",
)
_TASKS = ("_reading_task", "_ping_interval_task", "_flusher_task")


class LaneUnavailable(Exception):  # noqa: N818 - a signal for the backend, never a user's error
    """A second connection is not possible; the message says why."""


class Established(NamedTuple):
    """A connection after its handshake.

    Attributes:
        transport: asyncio's transport, with TLS if the server requires it.
        received: What the server has sent after the handshake.
        info: The server's `INFO`.
        keep: Objects that must live as long as the transport.
    """

    transport: asyncio.WriteTransport
    received: bytes
    info: dict[str, Any]
    keep: object


async def shake_hands(client: Client) -> Established:
    """Connect to the server that a client is connected to, with that client's options.

    Raises:
        LaneUnavailable: If the server refuses, or if nats-py differs from what is known here.
    """
    try:
        second = _twin(client)
    except (AttributeError, TypeError, KeyError) as error:
        msg = f"this nats-py keeps its options elsewhere: {error!r}"
        raise LaneUnavailable(msg) from error
    try:
        await second._connect_to_server(second._server_pool[0])
        await second._process_connect_init()
        # They have been created, but have not started to run.
        for name in _TASKS:
            getattr(second, name).cancel()
        return _taken_over(second)
    except (nats.errors.Error, OSError, asyncio.TimeoutError, ValueError) as error:
        _close(second)
        msg = f"no second connection: {error!r}"
        raise LaneUnavailable(msg) from error
    except (AttributeError, TypeError, KeyError) as error:
        _close(second)
        msg = f"this nats-py is made otherwise: {error!r}"
        raise LaneUnavailable(msg) from error
    except BaseException:
        _close(second)
        raise


def _twin(client: Client) -> Client:
    server = client._current_server
    if server is None or server.uri.scheme not in {"nats", "tls"}:
        scheme = "nothing" if server is None else server.uri.scheme
        msg = f"the client is connected by {scheme}"
        raise LaneUnavailable(msg)
    twin = Client()
    for name in _COPIED:
        setattr(twin, name, getattr(client, name))
    twin.options = {**client.options, "allow_reconnect": False, "verbose": False}
    twin._current_server = Srv(
        uri=server.uri, tls_name=server.tls_name, server_version=server.server_version
    )
    twin._server_pool = [twin._current_server]
    # The client itself handles what the server says about itself; do not report it twice.
    twin._flush_queue = asyncio.Queue()
    twin._error_cb = _ignore
    return twin


def when_closed(client: Client, close: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """Call a function when a client is closed, before the user's own callback."""
    usual = client._closed_cb

    async def closed_cb() -> None:
        if (call := close()) is not None:
            call()
        if usual is not None:
            await usual()

    client._closed_cb = closed_cb


def tell_user(client: Client, error: Exception) -> "asyncio.Future[None]":
    """Call the error callback that the user gave a client."""
    return asyncio.ensure_future(client._error_cb(error))


async def _ignore(error: Exception) -> None:
    """Keep the client's callbacks out of the second connection."""


def _taken_over(second: Client) -> Established:
    carrier = second._transport
    if not isinstance(carrier, TcpTransport) or not second.is_connected:
        msg = f"the connection is a {type(carrier).__name__}"
        raise LaneUnavailable(msg)
    writer, reader = carrier._io_writer, carrier._io_reader
    if writer is None or reader is None:
        msg = "the connection has no stream"
        raise LaneUnavailable(msg)
    transport = writer.transport
    if not hasattr(transport, "set_protocol"):
        msg = f"a {type(transport).__name__} cannot change its protocol"
        raise LaneUnavailable(msg)
    received = bytes(reader._buffer)  # type: ignore[attr-defined]
    return Established(transport, received, dict(second._server_info), second)


def _close(second: Client) -> None:
    for name in _TASKS:
        task = getattr(second, name, None)
        if task is not None:
            task.cancel()
    if second._transport:
        second._transport.close()  # type: ignore[no-untyped-call]
