"""Large objects over a connection of their own: who may have one, and what if it is lost."""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore import ObjectStore
from faststream_objstore.backends.jetstream import connection, upload
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.lane import Lane, Lanes, handshake, keeper
from faststream_objstore.backends.jetstream.ordered import OrderedConsumer
from faststream_objstore.testing import NatsServer
from tests.backends.proxy import Proxy, between
from tests.backends.proxy import serving as proxied
from tests.store.support import soon, until

MIB = 1024 * 1024
LARGE = random.Random(7).randbytes(1024) * (12 * 1024)  # 12 MiB
TLS = Path(__file__).parents[2] / "docs" / "tls"


def lane_of(client: Client) -> Any:
    return Lanes.of(Connection.of(client)).current


@pytest.fixture(autouse=True)
def as_in_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open lanes as in a service, whatever the option --lane says."""
    monkeypatch.setattr(keeper, "_LARGE_BYTES", 8 * MIB)
    monkeypatch.setattr(keeper, "_MANY_MESSAGES", 2_000)
    monkeypatch.setattr(keeper, "_MANY_STEPS", 100)
    # A busy machine may take so long to store what it has received from a lost lane.
    monkeypatch.setattr(upload, "_SETTLE_SECONDS", 0.75)


@asynccontextmanager
async def serving(
    config: str | None = None, *, lane: bool = True, **options: Any
) -> AsyncIterator[tuple[NatsServer, Client, ObjectStore]]:
    """A server, a client of it, and an empty bucket."""
    async with NatsServer(config=config) as server:
        client = await nats.connect(server.url, **options)
        try:
            store = await ObjectStore.bind(client, "b", declare=True, lane=lane)
            yield server, client, store
        finally:
            await client.close()


# The pair of the documentation of NATS.
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"

RIGHTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nobody": ("", {}),
    "password": (
        'authorization { user: ann, password: "s3cret" }',
        {"user": "ann", "password": "s3cret"},
    ),
    "token": ('authorization { token: "s3cret" }', {"token": "s3cret"}),
    "token callback": ('authorization { token: "s3cret" }', {"token": lambda: "s3cret"}),
    "nkey": (
        f"authorization {{ users: [ {{ nkey: {NKEY} }} ] }}",
        {"nkeys_seed_str": SEED},
    ),
    "inbox prefix": ("", {"inbox_prefix": b"_MINE"}),
}


@pytest.mark.parametrize("who", RIGHTS)
async def test_a_large_object_travels_over_a_lane_with_the_clients_own_options(
    who: str,
) -> None:
    if who == "nkey":
        pytest.importorskip("nkeys", reason="nats-py needs the package nkeys for that")
    config, options = RIGHTS[who]
    async with serving(config, **options) as (_, client, store):
        await soon(store.put("large", LARGE))
        assert lane_of(client) is not None
        assert await soon(store.get("large")) == LARGE
        assert lane_of(client) is not None


async def test_a_lane_has_the_clients_tls() -> None:
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    config = (
        f'tls {{ cert_file: "{TLS / "server.pem"}", key_file: "{TLS / "server-key.pem"}" }}'
    )
    async with serving(config, tls=context, tls_hostname="localhost") as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client)
        assert lane is not None
        transport = lane.lane._protocol._transport
        assert transport.get_extra_info("cipher") is not None
        assert await soon(store.get("large")) == LARGE


async def test_small_objects_open_no_lane_nor_do_large_ones_where_it_is_off() -> None:
    async with serving() as (_, client, store):
        await soon(store.put("small", bytes(MIB)))
        assert await soon(store.get("small")) == bytes(MIB)
        assert lane_of(client) is None
    async with serving(lane=False) as (_, client, store):
        await soon(store.put("large", LARGE))
        assert await soon(store.get("large")) == LARGE
        assert lane_of(client) is None


async def test_many_small_steps_at_once_open_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_MANY_SECONDS", 60.0)
    # Requests are counted, so none may be repeated because the machine is busy.
    monkeypatch.setattr(connection, "REPEAT_SECONDS", 60.0)
    async with serving() as (_, client, store):
        await soon(asyncio.gather(*(store.put(f"{n}", b"%d" % n) for n in range(60))))
        await until(lambda: lane_of(client) is not None)
        lane = lane_of(client).lane
        sent = 0
        send = lane.send

        def counted(*message: Any) -> None:
            nonlocal sent
            sent += 1
            send(*message)

        monkeypatch.setattr(lane, "send", counted)
        got = await soon(asyncio.gather(*(store.get(f"{n}") for n in range(60))))
        assert got == [b"%d" % n for n in range(60)]
        # For each its metadata and its chunk.
        assert sent == 120
    async with serving(lane=False) as (_, client, store):
        await soon(asyncio.gather(*(store.put(f"{n}", b"%d" % n) for n in range(60))))
        assert lane_of(client) is None


async def test_as_many_small_steps_over_a_longer_time_open_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No two steps are that close.
    monkeypatch.setattr(keeper, "_MANY_SECONDS", -1.0)
    async with serving() as (_, client, store):
        await soon(asyncio.gather(*(store.put(f"{n}", b"%d" % n) for n in range(60))))
        assert lane_of(client) is None
        assert Lanes.of(Connection.of(client))._opening is None


@pytest.mark.parametrize("after", [1, 40, 100, 200])
async def test_small_steps_whose_lane_is_lost_are_done_over_the_first_connection(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_MANY_STEPS", 1)
    async with serving() as (_, client, store):
        await soon(store.put("here", b"here"))
        await until(lambda: lane_of(client) is not None)
        lane = lane_of(client)
        ((sid, (receive, _)),) = lane.lane._protocol.listeners.items()
        received = 0

        def counted(messages: Any) -> None:
            nonlocal received
            for message in messages:
                if received < after:
                    receive((message,))
                    received += 1
            if received == after:
                lane.lane._protocol.abort()

        lane.lane._protocol.listeners[sid] = counted, None
        puts = [store.put(f"{n}", b"%d" % n) for n in range(64)]
        gets = [store.get("here") for _ in range(64)]
        results = await soon(asyncio.gather(*puts, *gets))
        assert results[64:] == [b"here"] * 64
        assert lane.lane.is_closed
        names = {info.name for info in await soon(store.list())}
        assert names == {"here", *map(str, range(64))}
        for n in range(64):
            assert await soon(store.get(f"{n}")) == b"%d" % n
        # Nothing is left of the first attempts: each object has one chunk and its metadata.
        state = await client.jetstream().stream_info("OBJ_b")
        assert state.state.messages == 2 * 65


async def test_a_server_that_refuses_a_second_connection_is_served_over_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving("max_connections: 1") as (_, client, store):
        with caplog.at_level(logging.WARNING, logger="faststream_objstore"):
            await soon(store.put("large", LARGE))
            assert await soon(store.get("large")) == LARGE
        assert lane_of(client) is None
        assert client.stats["reconnects"] == 0
    # Once, however many objects.
    (line,) = [one for one in caplog.messages if "own connection" in one]
    assert "no second connection" in line


async def test_a_nats_py_that_is_made_otherwise_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handshake, "_COPIED", (*handshake._COPIED, "_no_such_thing"))
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        assert await soon(store.get("large")) == LARGE
        assert lane_of(client) is None
    assert "keeps its options elsewhere" in caplog.text


async def test_a_read_whose_lane_is_lost_goes_on_over_the_first_connection() -> None:
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        chunks = []
        async with store.open("large") as reader:
            async for chunk in reader:
                chunks.append(chunk)
                if len(chunks) == 3:
                    lane_of(client).lane._protocol.abort()
        assert b"".join(chunks) == LARGE
        assert client.stats["reconnects"] == 0


@pytest.mark.parametrize("after", [0, 1, 5, 50])
async def test_a_get_whose_lane_is_lost_is_whole(after: int) -> None:
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))

        def progress(done: int, _: int | None) -> None:
            if done >= after * 128 * 1024 and (lane := lane_of(client)) is not None:
                lane.lane._protocol.abort()

        assert await soon(store.get("large", progress=progress)) == LARGE


@pytest.mark.parametrize("after", [1, 40, 90])
async def test_a_put_whose_lane_is_lost_is_sent_again(after: int) -> None:
    async with serving() as (_, client, store):
        lost = False

        def progress(done: int, _: int | None) -> None:
            nonlocal lost
            if not lost and done >= after * 128 * 1024:
                lost = True
                lane_of(client).lane._protocol.abort()

        await soon(store.put("large", LARGE, progress=progress))
        assert lost
        assert await soon(store.get("large")) == LARGE
        assert [info.name for info in await soon(store.list())] == ["large"]
        # What the first attempt had sent is gone.
        state = await client.jetstream().stream_info("OBJ_b")
        assert state.state.messages == 96 + 1


async def test_a_request_on_a_lane_that_is_lost_is_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client)
        # The server is told nothing of it, and so never answers.
        monkeypatch.setattr(lane.lane._protocol, "write", Mute())
        asking = asyncio.ensure_future(store.get_info("large"))
        await until(lambda: lane._replies or asking.done())
        assert not asking.done()
        lane.lane._protocol.abort()
        assert (await soon(asking)).size == len(LARGE)


Work = Callable[[ObjectStore], Coroutine[Any, Any, Any]]


async def read_in_pieces(store: ObjectStore) -> bytes:
    async with store.open("large") as reader:
        return b"".join([piece async for piece in reader])


async def read_names(store: ObjectStore) -> list[str]:
    return [info.name for info in await store.list()]


async def many_at_once(store: ObjectStore) -> list[Any]:
    return await asyncio.gather(*(store.get(f"{n}") for n in range(20) for _ in range(3)))


SILENCED: dict[str, tuple[Work, Any]] = {
    "get": (lambda store: store.get("large"), LARGE),
    "stream": (read_in_pieces, LARGE),
    "range": (lambda store: store.get_range("large", 3 * MIB, 12 * MIB), LARGE[3 * MIB :]),
    "small": (many_at_once, [b"%d" % n for n in range(20) for _ in range(3)]),
    "list": (read_names, sorted([*map(str, range(20)), "large"])),
    "put": (lambda store: store.put("large", LARGE[::-1]), None),
    "small put": (lambda store: store.put("small", b"small"), None),
    "delete": (lambda store: store.delete("0"), None),
}


@pytest.mark.parametrize("what", SILENCED)
async def test_work_on_a_lane_that_falls_silent_is_done_over_the_first_connection(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_MANY_STEPS", 1)
    work, expected = SILENCED[what]
    async with NatsServer() as server, between(server) as proxy:
        client = await nats.connect(proxy.url)
        try:
            store = await ObjectStore.bind(client, "b", declare=True)
            await soon(asyncio.gather(*(store.put(f"{n}", b"%d" % n) for n in range(20))))
            await soon(store.put("large", LARGE))
            await until(lambda: lane_of(client) is not None)
            lane = lane_of(client)
            # As when a firewall has dropped it: nobody is told.
            proxy.stall(newest=True)
            monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.02)

            result = await soon(work(store))

            assert lane.lane.is_closed
            assert expected is None or result == expected
            assert client.stats["reconnects"] == 0
            # The next lane is another connection.
            monkeypatch.setattr(keeper, "_LOOK_SECONDS", 1.0)
            assert await soon(store.get("large")) in {LARGE, LARGE[::-1]}
            await until(lambda: lane_of(client) not in {None, lane})
        finally:
            await client.close()


async def test_a_lane_may_be_silent_for_longer_where_requests_may_take_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with NatsServer() as server, between(server) as proxy:
        client = await nats.connect(proxy.url)
        try:
            # As over a slow link, on which a ping waits behind large chunks.
            store = await ObjectStore.bind(client, "b", declare=True, timeout=1_000_000)
            await soon(store.put("large", LARGE))
            lane = lane_of(client)
            lanes = Lanes.of(Connection.of(client))
            proxy.stall(newest=True)
            monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.01)
            getting = asyncio.ensure_future(store.get("large"))
            await until(lambda: lanes._quiet > 4 * keeper._SILENT_LOOKS)
            proxy.go_on()
            assert await soon(getting) == LARGE
            assert lane_of(client) is lane
        finally:
            await client.close()


async def test_a_read_whose_lane_is_lost_before_it_begins_uses_the_first_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = OrderedConsumer.open

    async def lose_the_lane(self: OrderedConsumer) -> None:
        if self.is_on_lane:
            lane_of(client).lane._protocol.abort()
        await begin(self)

    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        monkeypatch.setattr(OrderedConsumer, "open", lose_the_lane)
        assert await soon(store.get("large")) == LARGE
        assert [info.name for info in await soon(store.list())] == ["large"]
        assert client.stats["reconnects"] == 0


@pytest.mark.parametrize("after", [0, 7])
async def test_a_put_whose_lane_is_lost_while_it_waits_for_room_is_sent_again(
    after: int,
) -> None:
    async with serving() as (_, client, store):
        await soon(store.put("other", LARGE))
        lane = lane_of(client)
        pausing = False

        def progress(done: int, _: int | None) -> None:
            nonlocal pausing
            if not pausing and done >= after * 128 * 1024:
                pausing = True
                # As if the socket took no more.
                lane.lane._protocol.pause_writing()

        putting = asyncio.ensure_future(store.put("large", LARGE, progress=progress))
        await until(lambda: pausing and not lane.lane.is_closed)
        await asyncio.sleep(0)
        lane.lane._protocol.abort()

        await soon(putting)
        assert await soon(store.get("large")) == LARGE
        # What the first attempt had sent is gone.
        state = await client.jetstream().stream_info("OBJ_b")
        assert state.state.messages == 2 * (96 + 1)


class Cutting(Proxy):
    """Ends all connections but the first once the client has sent 3 MiB over them."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server)
        self.connections = 0

    async def serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.connections > 1:
            near = Ending(near, 3 * MIB)
        await super().serve(near, answer)


class Ending(asyncio.StreamReader):
    """Ends after so many bytes of another one."""

    def __init__(self, source: asyncio.StreamReader, left: int) -> None:
        super().__init__()
        self._source = source
        self._left = left

    async def read(self, n: int = -1) -> bytes:
        data = await self._source.read(min(n, self._left))
        self._left -= len(data)
        return data


async def test_a_put_gets_through_though_every_lane_is_lost() -> None:
    async with NatsServer() as server, proxied(Cutting(server)) as proxy:
        client = await nats.connect(proxy.url)
        try:
            store = await ObjectStore.bind(client, "b", declare=True)
            await soon(store.put("large", LARGE))
            await soon(store.put("another", LARGE))
            assert await soon(store.get("large")) == LARGE
            assert proxy.connections >= 3
            assert client.stats["reconnects"] == 0
        finally:
            await client.close()


async def test_a_lane_whose_server_answers_pings_stays_though_it_has_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.02)
    # However long this machine takes to answer.
    monkeypatch.setattr(keeper, "_SILENT_LOOKS", 1 << 30)
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client)
        pinged = 0
        ping = lane.lane.ping

        def counted() -> None:
            nonlocal pinged
            pinged += 1
            ping()

        monkeypatch.setattr(lane.lane, "ping", counted)
        # Without an answer, there is no second one.
        await until(lambda: pinged == 4)
        assert lane_of(client) is lane
        assert await soon(store.get("large")) == LARGE


class Mute:
    def __call__(self, data: bytes, *, with_next: bool = False) -> None:
        """Send nothing."""


async def test_subscription_that_is_drained_receives_what_was_sent_before() -> None:
    async with serving() as (_, client, _):
        lane = await Lane.open(client)
        received: list[bytes | memoryview] = []
        sid = lane.listen("x", lambda messages: received.extend(one.data for one in messages))
        for number in range(100):
            lane.send("x", str(number).encode(), "", None)
        await soon(lane.drain(sid, 60))
        lane.send("x", b"too late", "", None)
        await soon(lane.flush())
        lane.close()
        # Without a connection there is nothing to wait for.
        await soon(lane.drain(sid, 60))

    assert received == [str(number).encode() for number in range(100)]


async def test_an_idle_lane_is_closed_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.02)
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client)
        await until(lambda: lane_of(client) is None)
        await until(lambda: lane.lane.is_closed)
        assert await soon(store.get("large")) == LARGE


async def test_a_lane_with_a_reader_that_pauses_is_not_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.02)
    looks = 0
    look = keeper.Lanes._look

    def counted(self: Lanes) -> None:
        nonlocal looks
        looks += 1
        look(self)

    monkeypatch.setattr(keeper.Lanes, "_look", counted)
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        async with store.open("large") as reader:
            first = await reader.read(10)
            seen = looks
            await until(lambda: looks > seen + 10)
            assert lane_of(client) is not None
            assert first + await reader.read() == LARGE


async def test_a_lane_goes_with_its_client() -> None:
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client)
        await client.close()
        await until(lambda: lane.lane.is_closed)


async def test_a_lane_goes_with_the_last_store_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.02)
    async with serving() as (_, client, store):
        await soon(store.put("large", LARGE))
        lane = lane_of(client).lane
        del store
        await until(lambda: lane.is_closed)
