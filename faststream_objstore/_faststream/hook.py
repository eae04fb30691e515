"""Additional steps when a broker connects, starts and stops."""
# ruff: noqa: SLF001 - that is what this package is for

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import nats.errors
from faststream._internal.application import Application
from faststream._internal.logger.logger_proxy import RealLoggerObject
from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore._faststream.dry_run import (
    DryRun,
    TaskProducer,
    dry_run_of,
    fake_producer,
    serve_tasks,
)
from faststream_objstore.exceptions import ServerUnreachableError

__all__ = (
    "BrokerHook",
    "Extension",
    "on_lifespan",
)

_HOOK = "_faststream_objstore_hook"
# The pause between warnings that no server answers; it doubles each time.
_SILENT_SECONDS, _LONGEST_SILENCE = 3.0, 60.0

_logger = logging.getLogger("faststream_objstore")


class Extension(Protocol):
    """A participant in a broker's steps."""

    async def on_connect(self) -> None:
        """Run when the broker has a connection, under the hook's lock."""

    async def on_start(self) -> None:
        """Run before the broker's subscribers start."""

    async def on_stop(self) -> None:
        """Run before the broker stops."""


class BrokerHook:
    """Runs steps when a broker has connected: `broker.connect()` is called in every mode.

    On a server, also before the broker's subscribers start, and before they stop.

    Args:
        broker: The broker; these methods are replaced on the instance.
    """

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = weakref.ref(broker)
        self._connect = broker.connect
        self._start = broker.start
        self._stop = broker.stop
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            weakref.WeakKeyDictionary()
        )
        self._extensions: list[Extension] = []
        self._producers: tuple[TaskProducer, ...] = ()
        connected = broker._connection
        self._live: Client | None = connected if isinstance(connected, Client) else None
        self._logger: Any = broker.config.logger.logger
        if self._live is not None:
            self._serve_tasks(broker)
        broker.connect = self.connect  # type: ignore[method-assign]
        broker.start = self.start  # type: ignore[method-assign]
        broker.stop = self.stop  # type: ignore[method-assign]

    @classmethod
    def of(cls, broker: NatsBroker) -> "BrokerHook":
        """The broker's hook, created at the first call."""
        hook: BrokerHook | None = vars(broker).get(_HOOK)
        if hook is None:
            hook = cls(broker)
            setattr(broker, _HOOK, hook)
        return hook

    @staticmethod
    def attached_to(broker: NatsBroker) -> list[Extension]:
        """What was added to the broker's hook, in order."""
        hook: BrokerHook | None = vars(broker).get(_HOOK)
        return [] if hook is None else list(hook._extensions)

    def add(self, extension: Extension) -> None:
        """Run `on_connect`, `on_start` and `on_stop` with the broker's own steps."""
        if extension not in self._extensions:
            self._extensions.append(extension)

    def discard(self, extension: object) -> None:
        """Undo `add`."""
        if extension in self._extensions:
            self._extensions.remove(extension)

    @property
    def lock(self) -> asyncio.Lock:
        """The lock held while connecting or binding; each test may use a loop of its own."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def connect(self) -> Client:
        """`broker.connect()`, then the participants' steps; closed again if one fails."""
        if (live := self._enter_dry_run()) is not None:
            async with self.lock:
                for extension in tuple(self._extensions):
                    await extension.on_connect()
            return live
        async with self.lock:
            connection = await self._reach()
            broker = self._broker()
            if broker is not None and isinstance(connection, Client):
                self._live, self._logger = connection, broker.config.logger.logger
                self._serve_tasks(broker)
            try:
                for extension in tuple(self._extensions):
                    await extension.on_connect()
            except BaseException:
                if broker is not None:
                    # The user has to see the first error.
                    with contextlib.suppress(Exception):
                        await broker.stop()
                raise
            return connection

    async def start(self) -> None:
        """`broker.start()`, after what subscribers depend on; stopped again if it fails."""
        broker = self._broker()
        if broker is not None:
            if (dry_run := dry_run_of(broker)) is not None:
                await dry_run.start()
                return
            was_running = broker.running
            await broker.connect()
            try:
                for extension in tuple(self._extensions):
                    await extension.on_start()
            except BaseException:
                if not was_running:
                    with contextlib.suppress(Exception):
                        await broker.stop()
                raise
        await self._start()

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """`broker.stop()`, after what runs in the background has stopped."""
        broker = self._broker()
        if broker is not None and (dry_run := dry_run_of(broker)) is not None:
            dry_run.leave()
            return
        try:
            for extension in tuple(self._extensions):
                await extension.on_stop()
        finally:
            await self._stop(exc_type, exc_val, exc_tb)
            self._live = None

    def _enter_dry_run(self) -> Client | None:
        """Begin a dry run if `TestNatsBroker` is the caller, on a broker that is in use.

        `TestNatsBroker` connects in the same step in which it takes over the broker, so no
        other task can have seen the broker in between.

        Returns:
            The broker's connection, if a dry run began.
        """
        broker = self._broker()
        if broker is None or self._live is None:
            return None
        fake = fake_producer(broker)
        if fake is None:
            return None
        DryRun(broker, fake).enter()
        serve_tasks(broker, self._live, self._logger, start=self.start, stop=self.stop)
        self._serve_tasks(broker)
        return self._live

    def _serve_tasks(self, broker: NatsBroker) -> None:
        config = broker.config.broker_config
        if not self._producers:
            self._producers = (
                TaskProducer(broker, config.producer),
                TaskProducer(broker, config.js_producer),
            )
        config.producer, config.js_producer = self._producers

    async def _reach(self) -> Client:
        # By default nats-py tries for two minutes, without reporting it.
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting: asyncio.TimerHandle

        def warn(pause: float) -> None:
            nonlocal waiting
            self._warn(
                f"No NATS server answers at {self._servers()} yet, after "
                f"{loop.time() - began:.0f} s; still trying."
            )
            waiting = loop.call_later(pause, warn, min(pause * 2, _LONGEST_SILENCE))

        waiting = loop.call_later(_SILENT_SECONDS, warn, _SILENT_SECONDS * 2)
        try:
            return await self._connect()
        except nats.errors.NoServersError as error:
            msg = (
                f"No NATS server answers at {self._servers()}: start one (nats-server -js), "
                "or give NatsBroker(...) the right address."
            )
            raise ServerUnreachableError(msg) from error
        finally:
            waiting.cancel()

    def _warn(self, text: str) -> None:
        broker = self._broker()
        logger = broker.config.logger if broker is not None else None
        # The first connection sets it up; until then it refuses to log.
        if logger is not None and isinstance(logger.logger, RealLoggerObject):
            logger.log(text, logging.WARNING)
        else:
            _logger.warning("%s", text)

    def _servers(self) -> str:
        broker = self._broker()
        return ", ".join(broker.specification.url) if broker is not None else "its address"


def on_lifespan(app: Application, enter: Callable[[], None]) -> None:
    """Call `enter` whenever the app's lifespan starts."""
    lifespan = app.lifespan_context

    def lifespan_context(*args: Any, **options: Any) -> Any:
        enter()
        return lifespan(*args, **options)

    app.lifespan_context = lifespan_context
