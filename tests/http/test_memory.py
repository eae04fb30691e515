"""Many downloads and slow ones: what they hold does not depend on what they download."""

import asyncio
import hashlib
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import nats
import pytest

from faststream_objstore import ObjectStore, ObjectStoreConfig
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.http import make_bucket_asgi
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import stream_config
from tests.http.support import pattern_bytes, serve, soon, started

MIB = 1024 * 1024

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


class Service:
    """The bucket in a process of its own."""

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        self._pid = pid

    def mib(self, what: str) -> float:
        """`VmRSS`, or its peak `VmHWM`."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    async def ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A download on a connection of its own, up to its body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        assert b" 200 " in head.partition(b"\r\n")[0]
        return reader, writer


@asynccontextmanager
async def service(url: str, bucket: str) -> AsyncIterator[Service]:
    command = (sys.executable, "-m", "tests.http.service", url, bucket)
    async with started(*command) as process:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        yield Service(process.pid, port)


@needs_proc
@pytest.mark.once
async def test_64_downloads_of_50_mb_hold_less_than_256_mib(
    server_store: ObjectStore, nats_server: NatsServer
) -> None:
    content = random.Random(2).randbytes(50 * MIB)
    digest = hashlib.sha256(content).digest()
    await server_store.put("small", b"x")
    await server_store.put("large", content)
    async with service(nats_server.url, server_store.bucket) as served:
        (reader, writer) = await served.ask("/small")
        assert await reader.read() == b"x"
        writer.close()
        idle = served.mib("VmRSS")

        # All of them wait for their client at once, which is when they hold most.
        opened = [await served.ask("/large") for _ in range(64)]
        for reader, _ in opened:
            await asyncio.wait_for(reader.readexactly(MIB), 60)

        async def finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            hashed = hashlib.sha256(content[:MIB])
            while piece := await reader.read(MIB):
                hashed.update(piece)
            writer.close()
            return hashed.digest()

        # The others go on waiting.
        digests = await asyncio.gather(*(finish(*one) for one in opened[:16]))
        peak = served.mib("VmHWM")
        for _, writer in opened:
            writer.close()

    assert set(digests) == {digest}
    assert peak - idle < 256


@needs_proc
async def test_a_client_that_takes_nothing_holds_no_more_than_its_window(
    server_store: ObjectStore, nats_server: NatsServer
) -> None:
    await server_store.put("small", b"x")
    await server_store.put("large", bytes(64 * MIB))
    async with service(nats_server.url, server_store.bucket) as served:
        reader, writer = await served.ask("/small")
        await reader.read()
        writer.close()
        idle = served.mib("VmRSS")
        stalled = [await served.ask("/large") for _ in range(8)]
        # A client that reads is served all the while.
        reader, writer = await served.ask("/large")
        size = 0
        while piece := await asyncio.wait_for(reader.read(MIB), 60):
            size += len(piece)
        peak = served.mib("VmHWM")
        for _, one in [*stalled, (reader, writer)]:
            one.close()

    assert size == 64 * MIB
    # Nine windows, the sockets, and what malloc keeps; eight whole objects would be 512.
    assert peak - idle < 9 * 6


async def test_a_client_that_takes_nothing_is_given_up_after_a_while(
    server_store: ObjectStore, nats_server: NatsServer
) -> None:
    await server_store.put("large", bytes(64 * MIB))
    async with (
        serve(make_bucket_asgi(server_store, timeout=0.5)) as base,
        await nats.connect(nats_server.url) as client,
    ):
        url = httpx.URL(base)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await soon(reader.readuntil(b"\r\n\r\n"))

        async def consumers() -> int:
            info = await client.jetstream().stream_info(f"OBJ_{server_store.bucket}")
            return info.state.consumer_count

        async def until(count: int) -> None:
            while await consumers() != count:
                await asyncio.sleep(0.02)

        # Its consumer was there before the first byte, and goes when the client is given up.
        await soon(until(0))
        size = 0
        while piece := await soon(reader.read(MIB)):
            size += len(piece)
        writer.close()

    assert size < 64 * MIB


@pytest.mark.parametrize("kind", ["memory", "jetstream"])
async def test_a_download_goes_on_while_its_object_is_overwritten_and_deleted(
    nats_server: NatsServer, bucket_name: str, kind: str
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, keep_replaced=timedelta(minutes=1))
    content = pattern_bytes(30_000_000)
    async with await nats.connect(nats_server.url) as connection:
        if kind == "memory":
            made = await MemoryServer().create(bucket_name, stream_config(config))
            store = ObjectStore.on(made)
        else:
            store = await ObjectStore.bind(connection, config, declare=True)
        await store.put("a", content)
        async with (
            serve(make_bucket_asgi(store)) as base,
            httpx.AsyncClient(timeout=30) as client,
            client.stream("GET", f"{base}/a") as got,
        ):
            pieces = got.aiter_raw()
            received = await anext(pieces)
            await store.put("a", b"another")
            newest = await client.get(f"{base}/a")
            await store.delete("a")
            received += b"".join([piece async for piece in pieces])
        if kind == "jetstream":
            await connection.jetstream().delete_object_store(bucket_name)

    assert newest.content == b"another"
    assert received == content
