"""Crashes of the server, and consumers deleted, while there is work."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import nats
import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import ObjStoreError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running

pytestmark = pytest.mark.once

# What a larger run turns up.
OBJECTS = 600
LOSSES = 3
HANDLER_SECONDS = 0.01
LIMIT = 60.0


def replica(name: str, handled: Seen[tuple[str, int]]) -> Bucket:
    bucket = Bucket(name, timeout=2)

    @bucket.on_put(durable="worker", max_workers=2, ack_wait=2)
    async def handle(info: ObjectInfo) -> None:
        # The duration of the work: the loss comes while it is done.
        await asyncio.sleep(HANDLER_SECONDS)
        await handled.add((info.name, info.revision))

    return bucket


async def until_stored(store: ObjectStore, name: str) -> ObjectInfo:
    """As a caller does who wants it stored: once more after an error."""
    deadline = asyncio.get_running_loop().time() + LIMIT
    while True:
        try:
            return await store.put(name, name.encode())
        except ObjStoreError:
            if asyncio.get_running_loop().time() > deadline:
                raise


@pytest.mark.parametrize("loss", ["consumer deleted", "server killed"])
async def test_changes_go_on_after_a_loss_under_load(
    bucket_name: str, loss: str, record_property: Callable[[str, object], None]
) -> None:
    handled: Seen[tuple[str, int]] = Seen()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer())
        options: dict[str, Any] = {"reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
        client = await nats.connect(server.url, **options)
        stack.push_async_callback(client.close)
        jetstream = client.jetstream()
        for _ in range(2):
            await stack.enter_async_context(
                running(server.url, replica(bucket_name, handled), **options)
            )
        writer = await stack.enter_async_context(
            running(server.url, Bucket(bucket_name, timeout=2), **options)
        )
        store = await writer.object_store(bucket_name)
        newest: dict[str, int] = {}

        async def put_all(first: int) -> None:
            for number in range(first, OBJECTS, 2):
                name = str(number)
                newest[name] = (await until_stored(store, name)).revision

        async def lose() -> None:
            for number in range(1, LOSSES + 1):
                await asyncio.wait_for(
                    handled.wait_for(number * OBJECTS // (LOSSES + 2)), LIMIT
                )
                if loss == "server killed":
                    await server.kill()
                    await server.start()
                else:
                    await jetstream.delete_consumer(f"OBJ_{bucket_name}", "worker")

        await asyncio.wait_for(asyncio.gather(put_all(0), put_all(1), lose()), LIMIT)
        while not newest.items() <= set(handled.all):
            await handled.wait_for(len(handled.all) + 1)

    assert len(newest) == OBJECTS
    figures = {"losses": LOSSES, "duplicates": len(handled.all) - len(set(handled.all))}
    print(figures)
    record_property("figures", figures)
