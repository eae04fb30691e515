"""What the tests of change subscribers share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, Generic, TypeVar

from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

T = TypeVar("T")

LIMIT = 60.0
"""Seconds that anything here may take."""


async def soon(work: Awaitable[T]) -> T:
    """The result, or a failure: no test here waits for ever."""
    return await asyncio.wait_for(work, LIMIT)


class Seen(Generic[T]):
    """What a handler has been given, in order."""

    def __init__(self) -> None:
        self.all: list[T] = []
        self._changed = asyncio.Condition()

    async def add(self, one: T) -> None:
        async with self._changed:
            self.all.append(one)
            self._changed.notify_all()

    async def wait_for(self, count: int) -> list[T]:
        async with self._changed:
            await soon(self._changed.wait_for(lambda: len(self.all) >= count))
        return self.all

    async def wait_until_last(self, one: T) -> list[T]:
        async with self._changed:
            await soon(self._changed.wait_for(lambda: one in self.all))
        return self.all


class Names(Seen[str]):
    """The names of the objects that a handler has been given."""

    async def take(self, info: ObjectInfo) -> None:
        await self.add(info.name)


@contextlib.asynccontextmanager
async def running(
    url: str | list[str], *declared: Bucket, **options: Any
) -> AsyncIterator[Buckets]:
    """A started broker with these buckets."""
    broker = NatsBroker(url, logger=None, **options)
    buckets = Buckets(broker, *declared)
    try:
        await soon(broker.start())
        yield buckets
    finally:
        await soon(broker.stop())


async def store_of(buckets: Buckets, bucket: Bucket) -> ObjectStore:
    return await soon(buckets.open(bucket))


async def fill(url: str, bucket: Bucket, names: Iterable[str]) -> None:
    """Put empty objects with these names."""
    async with running(url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        for name in names:
            await store.put(name, b"")


async def consumers_of(client: Client, bucket: str) -> list[str]:
    infos = await client.jetstream().consumers_info(f"OBJ_{bucket}")
    return sorted(str(info.name) for info in infos)
