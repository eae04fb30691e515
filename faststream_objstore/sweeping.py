"""Sweeps at intervals: of many replicas, one sweeps each bucket each time.

Which one is decided by the server. A consumer of a fixed name on the bucket's stream, which
wants no messages, is the mark: making one that exists, with another owner, is refused, and the
server removes it when the interval is over.
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

if TYPE_CHECKING:
    from faststream_objstore.binding import Attached

__all__ = ("MARK", "Sweep", "Sweeper")

MARK = "objstore-sweep"
"""The consumer that says that a bucket was swept."""

_CONSUMER_EXISTS = 10148
_TRIES = 20
_LONGEST_PAUSE = 3600.0
_SHORTEST_PAUSE = 0.05
_nuid = NUID()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """When the buckets of a `Buckets` are swept, and of what; see `ObjectStore.sweep`.

    ```python
    buckets = Buckets(broker, photos, sweep=Sweep(every=timedelta(days=1)))
    ```

    Attributes:
        every: The time between two sweeps of a bucket, whatever the number of replicas.
        older_than: Younger chunks may belong to a put that is under way, and stay.
        markers_older_than: Delete markers of this age go too; they stay if not given.

    Raises:
        InvalidOptionError: If one of them is invalid.
    """

    every: timedelta = timedelta(days=1)
    older_than: timedelta = timedelta(hours=1)
    markers_older_than: timedelta | None = None

    def __post_init__(self) -> None:
        for option, least in (
            ("every", timedelta(seconds=1)),
            ("older_than", timedelta(0)),
            ("markers_older_than", timedelta(0)),
        ):
            given = getattr(self, option)
            if given is None and option == "markers_older_than":
                continue
            if not isinstance(given, timedelta) or given < least:
                msg = (
                    f"Sweep: {option} must be a timedelta of at least "
                    f"{least.total_seconds():g} s, got {given!r}."
                )
                raise InvalidOptionError(msg)


class Sweeper:
    """Sweeps the declared buckets from the broker's start to its stop.

    Args:
        attached: Whose buckets.
        options: When, and of what.
    """

    def __init__(self, attached: "Attached", options: Sweep) -> None:
        self._attached = attached
        self._options = options
        self._owner = _nuid.next().decode()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin with each bucket that is declared, if it has not begun."""
        for name in self._attached.declared:
            task = self._tasks.get(name)
            if task is None or task.done():
                self._tasks[name] = asyncio.create_task(self._run(name), name=f"sweep: {name}")

    async def stop(self) -> None:
        """Sweep no more; a sweep that runs is cancelled, which leaves it for the next."""
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, bucket: str) -> None:
        every = self._options.every.total_seconds()
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
            # Replicas that were started together do not ask together.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _sweep(self, server: JetStreamServer, bucket: str) -> None:
        try:
            freed = await self._attached.handle(bucket).sweep(
                self._options.older_than,
                markers_older_than=self._options.markers_older_than,
            )
        except BaseException:
            # So that this replica, or another, tries again.
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
            # Nothing is ever published to it, so it keeps no sweep from removing markers.
            "filter_subject": f"{wire.all_chunks_subject(bucket)[:-1]}{MARK}",
            "inactive_threshold": round(self._options.every.total_seconds() * 1e9),
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
