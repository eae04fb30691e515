"""Test mode on a broker that is in use: only for the task that entered it.

FastStream's AsyncAPI page enters `TestNatsBroker` on the live broker for each dry run, and
`TestNatsBroker` replaces parts of the broker for the whole process. They are restored at once,
and the entry is remembered in a context variable, which the tasks that it starts inherit: a
`TaskProducer` sends messages of those tasks to the test, and all others to the server.
"""
# ruff: noqa: SLF001 - that is what this package is for

import contextvars
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from faststream.exceptions import SetupError
from faststream.nats import NatsBroker
from faststream.nats.publisher.producer import NatsFastProducer
from nats.aio.client import Client

__all__ = ("DryRun", "TaskProducer", "dry_run_of", "fake_producer", "serve_tasks")


class DryRun:
    """One entry of `TestNatsBroker` on a broker that is in use.

    Args:
        broker: The broker, in the state that `TestNatsBroker` has just brought it into.
        fake: The test's producer.
    """

    def __init__(self, broker: NatsBroker, fake: Any) -> None:
        # However the test ends, its producer is dropped, and then this is over too.
        self._fake = weakref.ref(fake)
        self._broker = weakref.ref(broker)
        self._running = [(one, one.running) for one in broker.subscribers]
        self._left = False
        self.start: Callable[[], Awaitable[None]] = broker.start

    @property
    def fake(self) -> Any | None:
        """The test's producer, until the test ends."""
        return None if self._left else self._fake()

    def is_on(self, broker: NatsBroker) -> bool:
        """Whether it is on this broker, and not over."""
        return self._broker() is broker and self.fake is not None

    def enter(self) -> None:
        """Make it visible to this task and to those that it starts, from now on."""
        _entered.set((*(one for one in _entered.get() if one.fake is not None), self))

    def leave(self) -> None:
        """End it, and resume the server's subscribers, which the test had stopped."""
        self._left = True
        for subscriber, running in self._running:
            subscriber.running = running


_entered: contextvars.ContextVar[tuple[DryRun, ...]] = contextvars.ContextVar(
    "faststream_objstore_dry_runs", default=()
)


def dry_run_of(broker: NatsBroker) -> DryRun | None:
    """The dry run that this task is in, on a broker that is in use."""
    entered = _entered.get()
    if not entered:
        return None
    for dry_run in reversed(entered):
        if dry_run.is_on(broker):
            return dry_run
    return None


def fake_producer(broker: NatsBroker) -> Any | None:
    """The producer of a test that was entered on the broker, or `None`."""
    # Not imported here: that takes long, and a test has already imported it.
    testing = sys.modules.get("faststream.nats.testing")
    producer: object = broker.config.broker_config.producer
    if (
        testing is not None
        and isinstance(producer, testing.FakeProducer)
        # A failed test leaves its fake producer behind, but not the other patches.
        and "_connect" in vars(broker)
    ):
        fake: object = producer
        return fake
    return None


class TaskProducer(NatsFastProducer):
    """Sends a task's messages to the test that it is in, and all others to the server.

    Args:
        broker: The broker that it belongs to.
        producer: The producer that sends to the server.
    """

    def __init__(self, broker: NatsBroker, producer: Any) -> None:
        self._broker = weakref.ref(broker)
        self._producer = producer

    def _current(self) -> Any:
        broker = self._broker()
        dry_run = None if broker is None else dry_run_of(broker)
        return self._producer if dry_run is None else dry_run.fake

    @property
    def _parser(self) -> Any:  # type: ignore[override]
        return self._current()._parser

    @property
    def _decoder(self) -> Any:  # type: ignore[override]
        return self._current()._decoder

    @property
    def codec(self) -> Any:
        """How bodies are encoded."""
        return self._producer.codec

    @codec.setter
    def codec(self, codec: Any) -> None:
        self._producer.codec = codec

    def connect(self, connection: Any, serializer: Any, codec: Any = None) -> None:
        """Send to this connection from now on."""
        self._producer.connect(connection, serializer=serializer, codec=codec)

    def disconnect(self) -> None:
        """Send no more."""
        self._producer.disconnect()

    async def publish(self, cmd: Any) -> Any:
        """Publish a message.

        Raises:
            SetupError: If the destination is the channel of a change subscriber.
        """
        _require_subject(cmd.destination)
        return await self._current().publish(cmd)

    async def request(self, cmd: Any) -> Any:
        """Publish a message, and wait for the answer.

        Raises:
            SetupError: If the destination is the channel of a change subscriber.
        """
        _require_subject(cmd.destination)
        return await self._current().request(cmd)


def serve_tasks(broker: NatsBroker, connection: Client, logger: Any, **methods: Any) -> None:
    """Undo what `TestNatsBroker` did to a broker in use, except for the handlers' mocks.

    Args:
        broker: The broker.
        connection: The connection that it uses.
        logger: Its logger.
        **methods: Its methods as they are outside of tests.
    """
    broker._connection = connection
    broker.config.logger.logger = logger
    for name, method in methods.items():
        setattr(broker, name, method)
    for name in ("_connect", "ping"):
        setattr(broker, name, getattr(type(broker), name).__get__(broker))


def _require_subject(destination: str) -> None:
    # The channels of change subscribers have spaces, which no subject can have.
    if any(one.isspace() for one in destination):
        msg = (
            f"{destination!r} is not a NATS subject, so nothing can be published to it. The "
            "channel of a bucket's changes takes no messages: put an object into the bucket "
            "and its handlers are called, also under TestNatsBroker, in memory."
        )
        raise SetupError(msg)
