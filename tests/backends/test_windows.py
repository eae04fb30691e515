"""How much is in flight at a time, on a short line and on a long one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore import ObjectStore
from faststream_objstore.backends.jetstream import window
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.window import window_of
from faststream_objstore.testing import NatsServer
from tests.store.support import soon

from .proxy import Proxy, between

pytestmark = pytest.mark.timeout(60)

MIB = 1024 * 1024
CHUNK = bytes(128 * 1024)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async def poll() -> None:
        while not await condition():
            await asyncio.sleep(0.01)

    await soon(poll())


@pytest.fixture
async def line(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    """A line on which answers take 50 ms."""
    async with between(nats_server) as proxy:
        proxy.delay = 0.05
        yield proxy


@pytest.fixture
async def far(line: Proxy, bucket_name: str) -> AsyncIterator[ObjectStore]:
    """A bucket at the end of the line."""
    client = await nats.connect(line.url)
    yield await soon(ObjectStore.bind(client, bucket_name, declare=True))
    await client.close()


@pytest.mark.parametrize(
    "seconds, expected",
    [(0, 8 * MIB), (0.001, 8 * MIB), (0.01, 8 * MIB), (0.02, 16 * MIB), (1, 32 * MIB)],
)
def test_a_window_grows_with_the_round_trip_up_to_a_bound(
    seconds: float, expected: int
) -> None:
    assert window_of(seconds) == expected


async def test_the_shortest_round_trip_of_a_connection_decides(nats_client: Client) -> None:
    connection = Connection(nats_client)
    assert connection.window(0.02) == 16 * MIB
    assert connection.window(0.01) == 8 * MIB
    # That was not the link: a server may be busy.
    assert connection.window(1.0) == 8 * MIB


async def test_a_window_is_halved_by_losses_in_a_row_and_grows_again_after_an_hour(
    nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(nats_client)

    def window_after_a_loss() -> int:
        nats_client.stats["reconnects"] += 1
        return connection.window(0.001)

    assert connection.window(0.001) == 8 * MIB
    windows = [window_after_a_loss() for _ in range(9)]
    # A single loss says nothing.
    assert windows == [part * MIB // 4 for part in (32, 16, 8, 4, 2, 1, 1, 1, 1)]
    assert connection.window(0.001) == MIB // 4

    monkeypatch.setattr(window, "_IN_A_ROW_SECONDS", -1.0)
    assert window_after_a_loss() == MIB // 4
    monkeypatch.setattr(window, "_FORGET_SECONDS", -1.0)
    assert [connection.window(0.001) // (MIB // 4) for _ in range(6)] == [2, 4, 8, 16, 32, 32]


@pytest.mark.parametrize("lane", [False, True])
async def test_reads_get_through_where_a_server_allows_little_to_be_pending(
    lane: bool,
) -> None:
    content = bytes(range(256)) * (64 * 1024)  # 16 MiB
    async with NatsServer(config="max_pending: 1MB") as server:
        client = await nats.connect(server.url, error_cb=quiet, reconnect_time_wait=0.01)
        try:
            store = await ObjectStore.bind(client, "b", declare=True, lane=lane)
            await soon(store.put("large", content))
            readings = await soon(asyncio.gather(*(store.get("large") for _ in range(3))))
            assert all(one == content for one in readings)
            # It was lost with each window that was read, dozens of times.
            assert client.stats["reconnects"] <= 12
        finally:
            await client.close()


async def quiet(_: Exception) -> None:
    """nats-py logs a lost connection as an error."""


async def test_a_put_over_a_long_line_has_more_chunks_in_flight(
    line: Proxy, far: ObjectStore, nats_client: Client, bucket_name: str
) -> None:
    near = await ObjectStore.bind(nats_client, bucket_name)
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        while given < 512:
            if given == 100:
                # By now a chunk has been acknowledged; nothing more will be.
                line.stall()
            given += 1
            yield CHUNK

    putting = asyncio.ensure_future(far.put("large", chunks()))

    async def stored() -> bool:
        # At most 100 are acknowledged; a window of 8 MiB would end at 164.
        return (await near.status()).size >= 256 * len(CHUNK)

    await until(stored)
    line.go_on()
    info = await soon(putting)

    assert info.size == 64 * MIB
    assert info.chunks == 512


async def test_a_read_over_a_long_line_asks_for_more_at_a_time(
    line: Proxy, far: ObjectStore, nats_client: Client, bucket_name: str
) -> None:
    near = await ObjectStore.bind(nats_client, bucket_name)
    await soon(near.put("large", bytes(64 * MIB)))
    before = line.passed

    async with far.open("large") as reader:
        got = 0
        while got < 6 * MIB:
            got += len(await soon(reader.read(MIB)))

        async def arrived() -> bool:
            # While nobody reads on; over a short line it would be 8 MiB more than was read.
            return line.passed - before > 16 * MIB

        await until(arrived)
        while piece := await soon(reader.read(MIB)):
            got += len(piece)

    assert got == 64 * MIB
