"""Readers share what may be under way; none keeps it from the others for good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.exceptions import StoreTimeoutError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import chunk_subject, stream_config
from tests.store.support import soon, until

from .proxy import Proxy, between

pytestmark = pytest.mark.timeout(60)

MIB = 1024 * 1024
LARGE = bytes(24 * MIB)
TIMEOUT = 3.0


class Line:
    """A bucket with large and small objects, behind a proxy."""

    def __init__(self, proxy: Proxy, client: Client, backend: JetStreamBackend) -> None:
        self.proxy = proxy
        self.client = client
        self.backend = backend
        self.store = ObjectStore.on(backend)
        self._stack = AsyncExitStack()

    async def pause_readers(self) -> None:
        """Two readers of large objects that ask for as much as they may, and then wait."""
        streams = []
        for name in ("one", "two"):
            info = await self.store.get_info(name)
            subject = chunk_subject(self.backend.bucket, info.nuid)
            stream: Any = self.backend.messages(subject, size=info.size)
            await self._stack.enter_async_context(stream)
            await anext(stream)
            await until(lambda one=stream: not one._consumer._requests.missing)  # type: ignore[misc]
            streams.append(stream)
        self.proxy.stall()
        for stream in streams:
            await stream.take()

    async def close(self) -> None:
        await self._stack.aclose()


async def quiet(_: Exception) -> None: ...


@pytest.fixture
async def line(nats_server: NatsServer, bucket_name: str) -> AsyncIterator[Line]:
    async with between(nats_server) as proxy:
        client = await nats.connect(
            proxy.url, error_cb=quiet, reconnect_time_wait=0.05, max_reconnect_attempts=-1
        )
        server = JetStreamServer(client, timeout=TIMEOUT)
        config = stream_config(ObjectStoreConfig(bucket=bucket_name))
        line = Line(proxy, client, await server.create(bucket_name, config))
        for name, content in {"one": LARGE, "two": LARGE, "small": bytes(300_000)}.items():
            await line.store.put(name, content)
        try:
            yield line
        finally:
            line.proxy.go_on()
            await line.close()
            await server.delete(bucket_name)
            await client.close()


async def test_paused_readers_keep_nothing_once_their_connection_is_lost(line: Line) -> None:
    await line.pause_readers()
    line.proxy.cut()
    await until(lambda: line.client.stats["reconnects"] == 1)

    assert len(await soon(line.store.get("one"))) == len(LARGE)
    assert len(await soon(line.store.get("small"))) == 300_000


async def test_large_reads_that_are_stuck_hold_up_no_small_one_for_good(line: Line) -> None:
    await line.pause_readers()
    waiting = [asyncio.ensure_future(line.store.get("one")) for _ in range(3)]
    small = asyncio.ensure_future(line.store.get("small"))
    # What it needs comes; what the paused ones have asked for is theirs to take.
    line.proxy.go_on()
    assert len(await soon(small)) == 300_000
    for one in waiting:
        assert len(await soon(one)) == len(LARGE)


async def test_a_large_read_whose_turn_does_not_come_is_told_within_the_timeout(
    line: Line,
) -> None:
    line.backend._api._lanes = None
    connection = line.backend._api.ordinary
    # As two readers whose answers never come, on a connection that is whole.
    held = [connection.share(None), connection.share(None)]
    assert all(one.take(8 * MIB) for one in held)

    with pytest.raises(StoreTimeoutError, match="other reads"):
        await soon(line.store.get("one"))
    # Small ones have a part of their own.
    assert len(await soon(line.store.get("small"))) == 300_000
    held[0].release(8 * MIB)
    assert len(await soon(line.store.get("one"))) == len(LARGE)
