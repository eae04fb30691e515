"""What a `Buckets` follows while its broker runs: live objects, gauges, sweeps."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from faststream.nats import NatsBroker

from faststream_objstore._faststream import connection_of, custom_fields
from faststream_objstore.fields import LiveField, LiveSource
from faststream_objstore.ownership import BucketOwner

if TYPE_CHECKING:
    from faststream_objstore.backends.base import Backend
    from faststream_objstore.binding import Attached
    from faststream_objstore.connection import Binding
    from faststream_objstore.live import LiveValue
    from faststream_objstore.observers.events import Observer
    from faststream_objstore.observers.notifying import Observers
    from faststream_objstore.standing import Standings
    from faststream_objstore.sweeping import Sweep, Sweeper

__all__ = ("Following",)


class Following(BucketOwner):
    """The part of `Attached` that follows objects and buckets while the broker runs.

    Args:
        extension: The `Buckets`, which the context offers to handlers and hooks.
        observers: The observers of operations and changes.
        sweep: When the buckets are swept; those that follow others daily if not given.

    Raises:
        InvalidOptionError: If an observer is not one.
    """

    def __init__(
        self,
        extension: object,
        observers: "Iterable[Observer]" = (),
        sweep: "Sweep | Literal[False] | None" = None,
    ) -> None:
        super().__init__(extension)
        self._live: Binding | None = None
        self._standings: Standings | None = None
        # Few services use either of them, and they take long to import.
        self._sweep = sweep
        self._sweeper: Sweeper | None = None
        observing = tuple(observers)
        self.observers: Observers | None = (
            _observers_of(self, observing) if observing else None
        )

    async def on_start(self) -> None:
        """Load and follow the objects of the handlers' `LiveObject`s; called by the hook."""
        broker = self._attached_broker()
        binding = self._binding_of(connection_of(broker))
        if binding is None or binding.in_memory:
            return
        self._check_handlers(broker)
        wanted: list[tuple[LiveField, LiveValue]] = []
        for _, field in custom_fields(broker):
            if isinstance(field, LiveField) and field.source.bucket in self._declared:
                wanted.append((field, await self.live_value(field.source)))
        await binding.live.start({value for _, value in wanted})
        for field, value in wanted:
            if field.must_exist:
                await value.arrive()
            value.get(required=field.must_exist)
        if self.observers is not None:
            if self._standings is None:
                from faststream_objstore import standing  # noqa: PLC0415

                self._standings = standing.Standings(self._attached)
            self.observers.follow(self._standings)
        if self._sweeper is None and self._sweep is not False:
            follows = any(bucket.config.origins for bucket in self._declared.values())
            if self._sweep is not None or follows:
                self._sweeper = _sweeper_of(self._attached, self._sweep)
        if self._sweeper is not None:
            self._sweeper.start()

    async def on_stop(self) -> None:
        """Stop following objects; called by the broker's hook."""
        if self._sweeper is not None:
            await self._sweeper.stop()
        if self._live is not None:
            await self._live.live.stop()

    async def live_value(self, source: LiveSource, *, current: bool = False) -> "LiveValue":
        """What the `LiveObject`s of one source share on the current connection.

        Args:
            source: Which object.
            current: Bring it up to date, and follow it if the broker is running.
        """
        live = (await self.bound(source.bucket)).live
        value = live.of(source, partial(self.backend_of, source.bucket))
        if current and live.running:
            await value.follow()
        elif current:
            await value.refresh()
        return value

    @property
    def _attached(self) -> "Attached":
        return cast("Attached", self)

    def log(self, level: int, text: str) -> None:
        """Log with the broker's logger."""
        raise NotImplementedError

    async def backend_of(self, bucket: str) -> "Backend":
        """A bucket's stream; see `Attached`."""
        raise NotImplementedError

    async def bound(self, bucket: str | None = None) -> "Binding":
        """The buckets on the current connection; see `Attached`."""
        raise NotImplementedError

    def _attached_broker(self) -> NatsBroker:
        raise NotImplementedError

    def _binding_of(self, connection: object | None) -> "Binding | None":
        raise NotImplementedError

    def _check_handlers(self, broker: NatsBroker) -> None:
        raise NotImplementedError


def _sweeper_of(attached: "Attached", sweep: "Sweep | None") -> "Sweeper":
    from faststream_objstore.sweeping import Sweep, Sweeper  # noqa: PLC0415

    return Sweeper(attached, sweep or Sweep(), mirrors_only=sweep is None)


def _observers_of(owner: "Following", observers: "tuple[Observer, ...]") -> "Observers":
    from faststream_objstore.observers.notifying import Observers  # noqa: PLC0415

    return Observers(observers, owner.log)
