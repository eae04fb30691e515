"""Periodic sweeps: each time, only one of the replicas sweeps a bucket.

The server decides which one. The mark is a consumer with a fixed name on the bucket's stream,
which requests no messages: creating it is refused while it exists with another owner, and the
server removes it at the end of the interval.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import nats.errors
from nats.nuid import NUID

from faststream_objstore import wire
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import InvalidOptionError, ObjStoreError, StoreAPIError
from faststream_objstore.models import as_timedelta

if TYPE_CHECKING:
    from faststream_objstore.binding import Attached

__all__ = ("MARK", "Sweep", "Sweeper")

MARK = "objstore-sweep"
"""The consumer that records that a bucket was swept."""

_CONSUMER_EXISTS = 10148
_TRIES = 20
_LONGEST_PAUSE = 3600.0
_SHORTEST_PAUSE = 0.05
_nuid = NUID()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """When and what to sweep in the buckets of a `Buckets`; see `ObjectStore.sweep`.

    ```python
    buckets = Buckets(broker, photos, sweep=Sweep(every=timedelta(days=1)))
    ```

    Each time is a `timedelta` or seconds, and is kept as a `timedelta`.

    Attributes:
        every: The time between two sweeps of a bucket, whatever the number of replicas.
        older_than: Younger chunks are kept, because they may belong to an unfinished put.
        markers_older_than: Also remove delete markers of this age; by default they are kept.

    Raises:
        InvalidOptionError: If one of them is invalid.
    """

    every: timedelta | float = timedelta(days=1)
    older_than: timedelta | float = timedelta(hours=1)
    markers_older_than: timedelta | float | None = None

    def __post_init__(self) -> None:
        for option, least in (
            ("every", timedelta(seconds=1)),
            ("older_than", timedelta(0)),
            ("markers_older_than", timedelta(0)),
        ):
            given = getattr(self, option)
            if given is None and option == "markers_older_than":
                continue
            time = as_timedelta(given)
            if not isinstance(time, timedelta) or time < least:
                msg = (
                    f"Sweep: {option} must be a timedelta or seconds, at least "
                    f"{least.total_seconds():g} s, got {given!r}."
                )
                raise InvalidOptionError(msg)
            object.__setattr__(self, option, time)

    @property
    def seconds(self) -> float:
        """`every` in seconds."""
        every = self.every
        return every.total_seconds() if isinstance(every, timedelta) else every


class Sweeper:
    """Sweeps the declared buckets from the broker's start to its stop.

    Args:
        attached: The extension whose buckets are swept.
        options: When and what to sweep.
        mirrors_only: Sweep only the buckets that are declared to follow others.
    """

    def __init__(
        self, attached: "Attached", options: Sweep, *, mirrors_only: bool = False
    ) -> None:
        self._attached = attached
        self._mirrors_only = mirrors_only
        self._options = options
        self._owner = _nuid.next().decode()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start sweeping each declared bucket that is not being swept yet."""
        for name, bucket in self._attached.declared.items():
            if self._mirrors_only and not bucket.config.origins:
                continue
            task = self._tasks.get(name)
            if task is None or task.done():
                self._tasks[name] = asyncio.create_task(self._run(name), name=f"sweep: {name}")

    async def stop(self) -> None:
        """Stop sweeping; a running sweep is cancelled, and the next one does the rest."""
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, bucket: str) -> None:
        every = self._options.seconds
        pause = min(max(every / _TRIES, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        while True:
            try:
                server = await self._attached.server_of(bucket)
                if isinstance(server, JetStreamServer) and await self._take(server, bucket):
                    await self._sweep(server, bucket)
            except (ObjStoreError, nats.errors.Error, OSError) as error:
                self._attached.log(
                    logging.WARNING,
                    f"Bucket '{bucket}' was not swept, trying again: {error}",
                )
            except Exception as error:  # noqa: BLE001 - the loop survives any error
                self._attached.log(
                    logging.ERROR, f"Bucket '{bucket}' was not swept, trying again: {error!r}"
                )
            # Replicas that were started together should not ask at the same time.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _sweep(self, server: JetStreamServer, bucket: str) -> None:
        try:
            freed = await self._attached.handle(bucket).sweep(
                self._options.older_than,
                markers_older_than=self._options.markers_older_than,
            )
        except BaseException:
            # So that this or another replica tries again.
            await asyncio.shield(self._give_back(server, bucket))
            raise
        self._attached.log(logging.INFO, f"Bucket '{bucket}' is swept: {freed} bytes freed.")

    async def _take(self, server: JetStreamServer, bucket: str) -> bool:
        """Whether it is this replica's turn."""
        stream = wire.stream_name(bucket)
        config = {
            "name": MARK,
            "durable_name": MARK,
            "description": "One replica has swept the bucket; gone when another one may.",
            "ack_policy": "none",
            "deliver_policy": "new",
            # Nothing is ever published to it, so it does not keep a sweep from removing
            # markers.
            "filter_subject": f"{wire.all_chunks_subject(bucket)[:-1]}{MARK}",
            "inactive_threshold": round(self._options.seconds * 1e9),
            "metadata": {"owner": f"{self._owner}-{_nuid.next().decode()}"},
        }
        try:
            await server.api.call(
                f"CONSUMER.CREATE.{stream}.{MARK}",
                {"stream_name": stream, "config": config, "action": "create"},
                bucket=bucket,
                timeout=server.timeout,
            )
        except StoreAPIError as error:
            if error.err_code == _CONSUMER_EXISTS:
                return False
            raise
        return True

    async def _give_back(self, server: JetStreamServer, bucket: str) -> None:
        try:
            await server.api.call(
                f"CONSUMER.DELETE.{wire.stream_name(bucket)}.{MARK}",
                bucket=bucket,
                timeout=server.timeout,
            )
        except (ObjStoreError, nats.errors.Error, OSError) as error:
            self._attached.log(
                logging.WARNING,
                f"Bucket '{bucket}' was not swept, and is not until "
                f"{self._options.every} have passed: {error}",
            )
