"""A file system on a real server, and a bucket for each test."""

import asyncio
from collections.abc import Iterator
from typing import Any

import fsspec
import nats
import pytest

from faststream_objstore.filesystem import ObjectStoreFileSystem
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer

fsspec.register_implementation("objstore", ObjectStoreFileSystem, clobber=True)


@pytest.fixture
def options(nats_server: NatsServer) -> dict[str, Any]:
    """What pandas and others call `storage_options`."""
    return {"servers": nats_server.url}


@pytest.fixture
def fs(options: dict[str, Any], bucket: str) -> Iterator[ObjectStoreFileSystem]:
    fs = ObjectStoreFileSystem(**options, skip_instance_cache=True)
    yield fs
    fs.close()


@pytest.fixture
def bucket(nats_server: NatsServer, bucket_name: str) -> str:
    async def make() -> None:
        client = await nats.connect(nats_server.url)
        try:
            await ObjectStore.bind(client, ObjectStoreConfig(bucket=bucket_name), declare=True)
        finally:
            await client.close()

    asyncio.run(make())
    return bucket_name
