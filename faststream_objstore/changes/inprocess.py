"""Test mode: the in-memory buckets of a `TestNatsBroker`, and delivery in the process."""

import logging
from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from typing_extensions import Self

from faststream_objstore._faststream import fake_brokers, is_installed
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream.api import MARKER_REASON
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.changes.delivery import ChangeMessage
from faststream_objstore.changes.subscriber import ChangeSubscriber
from faststream_objstore.exceptions import BadObjectMetaError

__all__ = ("InProcessChange", "memory_server_of")

# A fake producer lives while its TestNatsBroker is entered, and so do its buckets.
_servers: "WeakKeyDictionary[object, MemoryServer]" = WeakKeyDictionary()


def memory_server_of(fake: object) -> MemoryServer:
    """The in-memory server for a fake producer; brokers entered together share it."""
    server = _servers.get(fake)
    if server is None:
        brokers = fake_brokers(fake)
        for other, known in _servers.items():
            if fake_brokers(other) is brokers and is_installed(other):
                server = known
                break
        else:
            server = MemoryServer()
            server.subscribe(partial(_deliver, server, brokers))
        _servers[fake] = server
    return server


async def _deliver(
    server: MemoryServer, brokers: Sequence[NatsBroker], bucket: str, message: StoredMessage
) -> None:
    if message.reason and not _is_in_use(server):
        # It has expired after the test.
        return
    subscribers = {
        subscriber
        for broker in brokers
        for subscriber in broker.subscribers
        if isinstance(subscriber, ChangeSubscriber) and subscriber.options.bucket == bucket
    }
    # FastStream keeps them in a set; tests rely on the order of declaration.
    for subscriber in sorted(subscribers, key=lambda one: one.number):
        if subscriber.calls:
            try:
                change = InProcessChange.of(message, bucket)
            except BadObjectMetaError as error:
                subscriber.log(logging.WARNING, f"{error} The change is skipped.")
            else:
                await subscriber.deliver(change)


def _is_in_use(server: MemoryServer) -> bool:
    return any(is_installed(fake) for fake, one in _servers.items() if one is server)


class InProcessChange(ChangeMessage):
    """A change in this process's memory; there is no server to acknowledge it to."""

    @classmethod
    def of(cls, stored: StoredMessage, bucket: str) -> Self:
        """Make the message that a server would deliver for a stored one.

        Raises:
            BadObjectMetaError: If its body is not an object's metadata.
        """
        receipt = Receipt(1, stored.sequence, stored.sequence, stored.time_ns)
        raw = Msg(
            None,  # type: ignore[arg-type]  # never used, see below
            subject=stored.subject,
            reply=receipt.reply(bucket),
            data=stored.data,
            headers={MARKER_REASON: stored.reason} if stored.reason else None,
        )
        return cls.read(raw, bucket)

    async def ack(self) -> None:
        """Nothing is sent."""
        self._ackd = True

    async def ack_sync(self, timeout: float = 1.0) -> Msg:  # noqa: ARG002
        """Nothing is sent."""
        self._ackd = True
        return self

    async def nak(self, delay: float | None = None) -> None:  # noqa: ARG002
        """Nothing is sent, and nothing is redelivered."""
        self._ackd = True

    async def term(self) -> None:
        """Nothing is sent."""
        self._ackd = True

    async def in_progress(self) -> None:
        """Nothing is sent."""
