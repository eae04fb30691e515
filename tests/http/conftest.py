"""A bucket in memory and on a real server, and a client that asks for it over TCP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import nats
import pytest

from faststream_objstore import ObjectStore, ObjectStoreConfig
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.http import make_bucket_asgi
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import stream_config
from tests.http.support import serve


@pytest.fixture(params=["memory", "jetstream"])
async def store(
    request: pytest.FixtureRequest, nats_server: NatsServer, bucket_name: str
) -> AsyncIterator[ObjectStore]:
    if request.param == "memory":
        config = stream_config(ObjectStoreConfig(bucket=bucket_name))
        yield ObjectStore.on(await MemoryServer().create(bucket_name, config))
        return
    async with await nats.connect(nats_server.url) as client:
        yield await ObjectStore.bind(client, bucket_name, declare=True)
        await client.jetstream().delete_object_store(bucket_name)


@pytest.fixture
async def server_store(
    nats_server: NatsServer, bucket_name: str
) -> AsyncIterator[ObjectStore]:
    """On the real server only."""
    async with await nats.connect(nats_server.url) as client:
        yield await ObjectStore.bind(client, bucket_name, declare=True)
        await client.jetstream().delete_object_store(bucket_name)


@pytest.fixture
async def options() -> dict[str, Any]:
    """What `make_bucket_asgi` gets; a test module may override it."""
    return {
        "methods": ("GET", "HEAD", "PUT", "DELETE"),
        "authorize": everybody,
        "listing": True,
    }


def everybody(_request: object, _name: str, _method: str) -> bool:
    return True


@pytest.fixture
async def client(
    store: ObjectStore, options: dict[str, Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """Asks for the bucket over TCP."""
    async with (
        serve(make_bucket_asgi(store, **options)) as base,
        httpx.AsyncClient(base_url=base, timeout=30) as client,
    ):
        yield client
