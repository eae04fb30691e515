"""Test mode: the buckets of one `TestNatsBroker`, and delivery within the process."""

from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

from faststream.nats import NatsBroker

from faststream_objstore._faststream import fake_brokers, is_installed
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.changes.subscriber import ChangeSubscriber

__all__ = ("memory_server_of",)

# A fake producer lives as long as its TestNatsBroker is entered, and so do its buckets.
_servers: "WeakKeyDictionary[object, MemoryServer]" = WeakKeyDictionary()


def memory_server_of(fake: object) -> MemoryServer:
    """The memory that serves a test's fake producer; brokers entered together share it."""
    server = _servers.get(fake)
    if server is None:
        brokers = fake_brokers(fake)
        for other, known in _servers.items():
            if fake_brokers(other) is brokers and is_installed(other):
                server = known
                break
        else:
            server = MemoryServer()
            server.subscribe(partial(_deliver, brokers))
        _servers[fake] = server
    return server


async def _deliver(brokers: Sequence[NatsBroker], bucket: str, message: StoredMessage) -> None:
    subscribers = {
        subscriber
        for broker in brokers
        for subscriber in broker.subscribers
        if isinstance(subscriber, ChangeSubscriber) and subscriber.options.bucket == bucket
    }
    # FastStream keeps them in a set; a test wants the order of their declaration.
    for subscriber in sorted(subscribers, key=lambda one: one.number):
        if subscriber.calls:
            await subscriber.deliver(message)
