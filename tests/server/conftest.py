"""Stores on the real server, over connections of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer

Connect: TypeAlias = Callable[[], Awaitable[ObjectStore]]


@pytest.fixture
async def store(nats_client: Client, bucket_name: str) -> AsyncIterator[ObjectStore]:
    yield await ObjectStore.bind(nats_client, bucket_name, declare=True)
    await nats_client.jetstream().delete_stream(f"OBJ_{bucket_name}")


@pytest.fixture
async def connect(
    nats_server: NatsServer, store: ObjectStore, bucket_name: str
) -> AsyncIterator[Connect]:
    """Open the test's bucket over one more connection."""
    async with AsyncExitStack() as stack:

        async def connected() -> ObjectStore:
            client = await nats.connect(nats_server.url)
            stack.push_async_callback(client.close)
            return await ObjectStore.bind(client, bucket_name)

        yield connected
