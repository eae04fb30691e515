"""The state of buckets and their durables, for health checks, metrics and the console."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import nats.errors

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Server, StreamState
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.api import CONSUMER_NOT_FOUND, reading
from faststream_objstore.exceptions import ObjStoreError, StoreAPIError
from faststream_objstore.store.scan import entries

if TYPE_CHECKING:
    from faststream_objstore.binding import Attached
    from faststream_objstore.bucket import Bucket
    from faststream_objstore.changes.subscriber import ChangeSubscriber
    from faststream_objstore.connection import Binding

__all__ = (
    "BucketStanding",
    "DurableStanding",
    "LiveStanding",
    "Standing",
    "Standings",
    "SubscriberStanding",
    "bucket_standing",
    "durable_standing",
)

T = TypeVar("T")

_NO_MESSAGE = 10037
# The pause between two counts is at least this many times as long as a count takes.
_COUNT_SHARE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketStanding:
    """The size of a bucket.

    Attributes:
        bucket: Its name.
        bytes: Bytes stored, subjects and headers included.
        max_bytes: The maximum of `bytes`; `None` for no limit.
        objects: How many objects there are; `None` if they were not counted.
        config: The stream's configuration, as the JetStream API has it.
        version: A value that differs whenever the bucket has changed.
    """

    bucket: str
    bytes: int
    max_bytes: int | None
    objects: int | None
    config: dict[str, Any]
    version: tuple[Any, ...]

    @property
    def fill(self) -> float | None:
        """The fraction of `max_bytes` that is used; `None` without a limit."""
        return None if self.max_bytes is None else self.bytes / self.max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableStanding:
    """The progress of a bucket's durable.

    Attributes:
        bucket: The bucket's name.
        durable: The durable's name.
        pending: Changes that have not been delivered to any replica yet.
        in_work: Changes that are being handled, or that wait for their next attempt.
        redelivered: How many of those were delivered more than once.
        oldest: Age in seconds of the oldest unhandled change; 0 if all are handled.
    """

    bucket: str
    durable: str
    pending: int = 0
    in_work: int = 0
    redelivered: int = 0
    oldest: float = 0.0


async def bucket_standing(backend: Backend) -> BucketStanding:
    """The size of a bucket, from a single request; its objects are not counted."""
    state = await backend.state()
    limit = state.config.get("max_bytes") or -1
    return BucketStanding(
        bucket=backend.bucket,
        bytes=state.bytes,
        max_bytes=limit if limit > 0 else None,
        objects=None,
        config=state.config,
        version=(state.created, state.last_sequence, state.messages),
    )


async def durable_standing(
    server: Server, bucket: str, durable: str, *, timeout: float
) -> DurableStanding | None:
    """The progress of a durable; `None` if the server does not have it.

    In memory every change is already handled, because puts call the handlers themselves.

    Args:
        server: Where the bucket is.
        bucket: Its name.
        durable: The durable's name.
        timeout: Seconds allowed for each request.
    """
    if not isinstance(server, JetStreamServer):
        return DurableStanding(bucket=bucket, durable=durable)
    asked = f"CONSUMER.INFO.{wire.stream_name(bucket)}.{durable}"
    try:
        info = await server.api.call(asked, bucket=bucket, timeout=timeout)
    except StoreAPIError as error:
        if error.err_code == CONSUMER_NOT_FOUND:
            return None
        raise
    with reading(f"{server.api.prefix}.{asked}", bucket):
        pending, in_work = int(info["num_pending"]), int(info["num_ack_pending"])
        floor = int(info["ack_floor"]["stream_seq"])
        redelivered = int(info.get("num_redelivered") or 0)
    oldest = 0.0
    if pending or in_work:
        oldest = await _age_behind(server, bucket, floor, timeout=timeout)
    return DurableStanding(
        bucket=bucket,
        durable=durable,
        pending=pending,
        in_work=in_work,
        redelivered=redelivered,
        oldest=oldest,
    )


async def _age_behind(
    server: JetStreamServer, bucket: str, floor: int, *, timeout: float
) -> float:
    """Age in seconds of the first change after a sequence, by the server's clock."""
    asked = f"STREAM.MSG.GET.{wire.stream_name(bucket)}"
    try:
        found = await server.api.call(
            asked,
            {"seq": floor + 1, "next_by_subj": wire.all_metadata_subject(bucket)},
            bucket=bucket,
            timeout=timeout,
        )
    except StoreAPIError as error:
        if error.err_code == _NO_MESSAGE:
            # Since our request it has been handled, or replaced by a newer change.
            return 0.0
        raise
    state: StreamState = await server.api.state(bucket, timeout=timeout)
    with reading(f"{server.api.prefix}.{asked}", bucket):
        return max(0.0, (state.time_ns - wire.parse_time(found["message"]["time"])) / 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberStanding:
    """A subscriber of this process, and the progress of its durable.

    Attributes:
        bucket: The bucket's name.
        handler: Its handler's name.
        title: What it subscribes to.
        durable: Its durable's name; `None` if it has none.
        receiving: Whether it is receiving changes; `None` in memory, where puts call the
            handlers.
        outcomes: How often deliveries to this process ended with each outcome.
        standing: The durable's progress; `None` if there is no durable, or not on the
            server.
        problem: Why the progress is not known.
    """

    bucket: str
    handler: str
    title: str
    durable: str | None
    receiving: bool | None
    outcomes: dict[str, int]
    standing: DurableStanding | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStanding:
    """A `LiveObject` of this process.

    Attributes:
        bucket: The bucket's name.
        object: The object's name, as the code declares it.
        revision: The version in use; 0 for none.
        loads: How many versions have been loaded.
        failures: How many versions could not be loaded.
    """

    bucket: str
    object: str
    revision: int
    loads: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of all declared buckets and their subscribers.

    Attributes:
        buckets: The buckets that answered.
        subscribers: The subscribers of this process.
        live_objects: The objects that `LiveObject`s share in this process.
        problems: Why a bucket did not answer, by its name.
    """

    buckets: tuple[BucketStanding, ...] = ()
    subscribers: tuple[SubscriberStanding, ...] = ()
    live_objects: tuple[LiveStanding, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)


class Standings:
    """Reads the state of the buckets of one `Buckets`.

    Args:
        attached: The extension.
        count_every: Seconds between two counts of a bucket's objects, which read the metadata
            of each of them. A bucket that has not changed is not counted again, and one whose
            count takes long is counted less often.
    """

    def __init__(self, attached: "Attached", *, count_every: float = 10.0) -> None:
        self._attached = attached
        self._count_every = count_every
        self._counts: dict[str, _Count] = {}

    async def read(self, *, timeout: float) -> Standing:
        """Read the current state; buckets that do not answer within `timeout` are left out."""
        binding = self._attached.binding_now
        if binding is None:
            return Standing(
                problems=dict.fromkeys(self._attached.declared, "the broker is not connected")
            )
        declared = list(self._attached.declared.values())
        subscribers = [one for bucket in declared for one in bucket.subscribers]
        sizes = [self._bucket(bucket, binding, timeout) for bucket in declared]
        standings = [self._subscriber(one, binding, timeout) for one in subscribers]
        found, subscribed = await asyncio.gather(
            asyncio.gather(*(_within(one, timeout) for one in sizes)),
            asyncio.gather(*standings),
        )
        problems = {
            bucket.name: one
            for bucket, one in zip(declared, found, strict=True)
            if isinstance(one, str)
        }
        return Standing(
            buckets=tuple(one for one in found if isinstance(one, BucketStanding)),
            subscribers=tuple(subscribed),
            live_objects=self._live(),
            problems=problems,
        )

    async def _bucket(
        self, bucket: "Bucket", binding: "Binding", timeout: float
    ) -> BucketStanding:
        name = bucket.name
        backend = binding.backends.get(name) or await binding.server(timeout).open(name)
        standing = await bucket_standing(backend)
        count = self._counts.setdefault(name, _Count())
        await count.update(
            backend, standing.version, every=self._count_every, patience=timeout / 2
        )
        return replace(standing, objects=count.objects)

    def _live(self) -> tuple[LiveStanding, ...]:
        return tuple(
            LiveStanding(
                bucket=value.source.bucket,
                object=value.source.name,
                revision=0 if value.info is None else value.info.revision,
                loads=value.loads,
                failures=value.failures,
            )
            for value in self._attached.live_values
        )

    async def _subscriber(
        self, subscriber: "ChangeSubscriber", binding: "Binding", timeout: float
    ) -> SubscriberStanding:
        options = subscriber.options
        found: DurableStanding | str | None = None
        if options.durable is not None:
            found = await _within(
                durable_standing(
                    binding.server(timeout), options.bucket, options.durable, timeout=timeout
                ),
                timeout,
            )
        missing = "the server has no such consumer" if options.durable else None
        return SubscriberStanding(
            bucket=options.bucket,
            handler=subscriber.handler_name,
            title=options.title,
            durable=options.durable,
            receiving=None if binding.in_memory else subscriber.is_receiving,
            outcomes={one.value: count for one, count in subscriber.outcomes.items()},
            standing=found if isinstance(found, DurableStanding) else None,
            problem=missing if found is None else found if isinstance(found, str) else None,
        )


class _Count:
    """The number of objects in a bucket when they were last counted."""

    def __init__(self) -> None:
        self.objects: int | None = None
        self._version: object = None
        self._next = 0.0
        self._counting: asyncio.Task[None] | None = None

    async def update(
        self, backend: Backend, version: object, *, every: float, patience: float
    ) -> None:
        """Count the objects if the bucket has changed and the last count is long enough ago.

        A count that takes longer than `patience` continues; its result is used the next time.

        Raises:
            ObjStoreError: If they cannot be counted.
        """
        loop = asyncio.get_running_loop()
        if self._counting is None:
            if version == self._version or loop.time() < self._next:
                return
            self._counting = loop.create_task(self._count(backend, version, every))
        counting = self._counting
        await asyncio.wait({counting}, timeout=patience)
        if counting.done():
            self._counting = None
            counting.result()

    async def _count(self, backend: Backend, version: object, every: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.objects = await _count(backend)
        self._version = version
        self._next = loop.time() + max(every, (loop.time() - began) * _COUNT_SHARE)


async def _count(backend: Backend) -> int:
    # By subject, so that what changes in the meantime is read again.
    live: set[str] = set()
    async with aclosing(
        entries(backend, matches=lambda _: True, include_deleted=True)
    ) as batches:
        async for infos in batches:
            for info in infos:
                if info.deleted:
                    live.discard(info.name)
                else:
                    live.add(info.name)
    return len(live)


async def _within(work: Awaitable[T], timeout: float) -> T | str:
    try:
        return await asyncio.wait_for(work, timeout)
    except asyncio.TimeoutError:
        return f"no answer within {timeout:g} s"
    except (ObjStoreError, nats.errors.Error, OSError) as error:
        return str(error)
