"""What the tests of publishers share."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.store import ObjectStore


class Service:
    """Buckets of a broker, and their stores."""

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets

    @property
    def broker(self) -> NatsBroker:
        assert self.buckets.broker is not None
        return self.buckets.broker

    async def store(self, bucket: Bucket) -> ObjectStore:
        return await self.buckets.open(bucket)


@contextlib.asynccontextmanager
async def in_memory(
    *declared: Bucket, broker: NatsBroker | None = None, **options: Any
) -> AsyncIterator[Service]:
    """Under `TestNatsBroker`, where a put calls the handlers inline."""
    broker = broker or NatsBroker(logger=None, **options)
    buckets = Buckets(broker, *declared)
    async with TestNatsBroker(broker):
        yield Service(buckets)


async def names(store: ObjectStore, **options: Any) -> list[str]:
    return [info.name for info in await store.list(**options)]
