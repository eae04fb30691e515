"""One store for every test, on memory and on a real server, audited when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.store.support import Audit, Bench, layout, other_tasks, soon

CreateBucket = Callable[..., Coroutine[Any, Any, Backend]]


@pytest.fixture(params=["memory", "jetstream"])
async def bench(
    request: pytest.FixtureRequest, nats_server: NatsServer
) -> AsyncIterator[Bench]:
    """A server that has lost every consumer, orphan and task when a test ends."""
    client: Client | None = None
    if request.param == "memory":
        bench = Bench(MemoryServer(), "memory", None)
    else:
        client = await nats.connect(nats_server.url)
        server = JetStreamServer(client)
        # Subscriptions to replies, the server's and the client's, are there to stay.
        await server.buckets()
        await client.request("$JS.API.INFO", b"")
        bench = Bench(server, "jetstream", client)
    tasks = other_tasks()
    try:
        yield bench
        await _audit(bench)
        # A task that has just been cancelled needs some turns of the loop to end.
        for _ in range(200):
            if not other_tasks() - tasks:
                break
            await asyncio.sleep(0)
        assert other_tasks() - tasks == set(), "a task is left behind"
    finally:
        if client is not None:
            await client.close()


async def _audit(bench: Bench) -> None:
    for bucket in sorted(bench.made & set(await soon(bench.server.buckets()))):
        if not bench.audit.orphans:
            await soon(layout(await bench.server.open(bucket)))
        assert await soon(bench.consumers(bucket)) == [], "a consumer is left behind"
        await soon(bench.server.delete(bucket))


@pytest.fixture
def audit(bench: Bench) -> Audit:
    """For tests that damage a bucket on purpose."""
    return bench.audit


@pytest.fixture
def create_bucket(bench: Bench) -> CreateBucket:
    """Make a bucket that is audited, and deleted, after the test."""

    async def create(bucket: str, **options: Any) -> Backend:
        config = wire.stream_config(ObjectStoreConfig(bucket=bucket, **options))
        backend = await soon(bench.server.create(bucket, config))
        bench.made.add(bucket)
        return backend

    return create


@pytest.fixture
async def backend(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    return await create_bucket(bucket_name)


@pytest.fixture
def store(backend: Backend) -> ObjectStore:
    return ObjectStore.on(backend)


@pytest.fixture
async def other_backend(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    """A second bucket of the same server."""
    return await create_bucket(f"{bucket_name}-other")


@pytest.fixture
def other_store(other_backend: Backend) -> ObjectStore:
    return ObjectStore.on(other_backend)
