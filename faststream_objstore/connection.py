"""The buckets on one connection: a NATS server's, or a test's in memory."""

import weakref
from typing import TYPE_CHECKING

from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore._faststream import api_options, log_of
from faststream_objstore.backends.base import Backend, Server
from faststream_objstore.live import LiveObjects
from faststream_objstore.logs import Log, log_with

if TYPE_CHECKING:
    from faststream_objstore.backends.jetstream import JetStreamServer

__all__ = ("Binding",)

_DEFAULT_TIMEOUT = 10.0


class Binding:
    """The buckets on one connection.

    A test's fake producer is held weakly, so its buckets disappear with it.
    """

    def __init__(self, connection: object, broker: NatsBroker) -> None:
        self.backends: dict[str, Backend] = {}
        write = log_of(broker)
        self._log: Log = lambda level, text: write(level, text, None)
        self._broker = broker
        self._servers: dict[tuple[float, bool], JetStreamServer] = {}
        self.live: LiveObjects = LiveObjects(log_of(broker))
        self._connection = weakref.ref(connection, lambda _: self._forget())

    @property
    def in_memory(self) -> bool:
        """Whether this is test mode."""
        return not isinstance(self._connection(), Client)

    def _forget(self) -> None:
        self.backends.clear()
        self.live.clear()

    def is_of(self, connection: object) -> bool:
        """Whether it belongs to this connection."""
        return self._connection() is connection

    def keep(self, backend: Backend) -> None:
        """Remember a bucket's backend, whose messages then go to the broker's logger."""
        log_with(backend, self._log)
        self.backends[backend.bucket] = backend

    def server(self, timeout: float | None, *, lane: bool = True) -> Server:
        """Where the buckets are.

        Args:
            timeout: Seconds allowed for one step.
            lane: Whether a second connection may be opened for much traffic.
        """
        connection = self._connection()
        if not isinstance(connection, Client):
            # Only tests need it.
            from faststream_objstore.changes.inprocess import (  # noqa: PLC0415
                memory_server_of,
            )

            return memory_server_of(connection)
        prefix, usual = api_options(self._broker)
        seconds = timeout or usual or _DEFAULT_TIMEOUT
        key = seconds, lane
        if key not in self._servers:
            # Programs that never connect, such as one that prints the specification, and
            # tests in memory do not need it.
            from faststream_objstore.backends.jetstream import (  # noqa: PLC0415
                JetStreamServer,
            )

            server = JetStreamServer(connection, prefix=prefix, timeout=seconds, lane=lane)
            log_with(server.api, self._log)
            self._servers[key] = server
        return self._servers[key]
