"""Several messages in one request: where that works, and whatever becomes of the answer."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import JetStreamServer, multi_last
from faststream_objstore.exceptions import BucketNotFoundError
from faststream_objstore.models import Mirror, ObjectInfo, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.testing import NatsServer
from tests.backends.proxy import Proxy, serving
from tests.settled import settled
from tests.store.support import soon

pytestmark = pytest.mark.timeout(60)

COUNT = 150


def contents() -> list[bytes]:
    return [f"content {number}".encode() * 20 for number in range(COUNT)]


async def filled(client: Client, bucket: str) -> tuple[ObjectStore, list[ObjectInfo]]:
    """A bucket with `COUNT` objects, in order."""
    store = await ObjectStore.bind(client, bucket, declare=True)
    putting = (store.put(f"{number:03}", one) for number, one in enumerate(contents()))
    return store, list(await asyncio.gather(*putting))


async def read(store: ObjectStore, targets: Any, **options: Any) -> list[bytes]:
    async def drain() -> list[bytes]:
        return [data async for data in store.get_many(targets, **options)]

    return await soon(drain())


class Asked:
    """The direct gets that a server has received, and how many were for several messages."""

    def __init__(self, bucket: str) -> None:
        self.single = 0
        self.several: list[dict[str, Any]] = []
        self._together = f"$JS.API.DIRECT.GET.OBJ_{bucket}"

    async def hear(self, message: Any) -> None:
        if message.subject == self._together:
            self.several.append(json.loads(message.data))
        elif message.subject.startswith(f"{self._together}."):
            self.single += 1


@asynccontextmanager
async def asked(url: str, bucket: str) -> AsyncIterator[Asked]:
    """What is asked of the server meanwhile."""
    client = await nats.connect(url)
    heard = Asked(bucket)
    try:
        await client.subscribe("$JS.API.DIRECT.GET.>", cb=heard.hear)
        await settled(client)
        yield heard
        await settled(client)
    finally:
        await client.close()


async def test_one_request_brings_64_metadata_messages_and_another_their_contents(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    store, infos = await filled(nats_client, bucket_name)
    async with asked(nats_server.url, bucket_name) as seen:
        assert await read(store, [info.name for info in infos]) == contents()
    assert seen.single == 0
    assert [len(one["multi_last"]) for one in seen.several] == [64, 64, 64, 64, 22, 22]
    async with asked(nats_server.url, bucket_name) as seen:
        assert await read(store, infos) == contents()
    assert [len(one["multi_last"]) for one in seen.several] == [64, 64, 22]
    assert seen.single == 0


async def test_what_does_not_fit_into_one_answer_is_asked_for_again(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    store = await ObjectStore.bind(nats_client, bucket_name, declare=True)
    names = [f"{number:02}" for number in range(64)]
    # 64 times 8 KB of metadata, where 256 KiB are asked for at most.
    for name in names:
        await store.put(name, name, description="d" * 8000)
    async with asked(nats_server.url, bucket_name) as seen:
        got = await read(store, names)
    assert got == [name.encode() for name in names]
    assert seen.single == 0, seen.several
    first, *more = [one for one in seen.several if ".M." in one["multi_last"][0]]
    assert len(first["multi_last"]) == 64
    assert more
    assert len(more[0]["multi_last"]) < 64
    assert set(more[0]["multi_last"]) < set(first["multi_last"])


async def test_large_contents_are_asked_for_in_parts(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    store = await ObjectStore.bind(nats_client, bucket_name, declare=True)
    wanted = [bytes([number]) * 100_000 for number in range(20)]
    infos = [await store.put(f"{number:02}", one) for number, one in enumerate(wanted)]
    async with asked(nats_server.url, bucket_name) as seen:
        assert await read(store, infos) == wanted
    # At most 512 KiB each.
    assert (seen.single, [len(one["multi_last"]) for one in seen.several]) == (0, [5] * 4)


# --- where it does not work


async def test_without_the_right_to_it_objects_are_read_one_by_one(
    bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rights = ["$JS.API.STREAM.>", "$JS.API.DIRECT.GET.*.>", "$JS.API.CONSUMER.>"]
    allowed = ", ".join(f'"{one}"' for one in rights)
    config = (
        "authorization { users = [{user: admin, password: x}, {user: reader, password: x, "
        f'permissions: {{publish: [{allowed}], subscribe: ["_INBOX.>"]}}}}] }}'
    )
    heard: list[str] = []

    async def hear(error: Exception) -> None:
        heard.append(str(error))

    async with NatsServer(config=config) as server:
        clients = [
            await nats.connect(server.url.replace("//", f"//{user}:x@"), error_cb=hear)
            for user in ("admin", "reader")
        ]
        try:
            _, infos = await filled(clients[0], bucket_name)
            store = await ObjectStore.bind(clients[1], bucket_name)
            with caplog.at_level(logging.INFO, "faststream_objstore"):
                assert await read(store, [info.name for info in infos]) == contents()
                assert await read(store, infos) == contents()
        finally:
            for client in clients:
                await client.close()
    # It is no error of the connection, and said once.
    assert heard == []
    [said] = [one for one in caplog.messages if "one by one" in one]
    assert f"$JS.API.DIRECT.GET.OBJ_{bucket_name}'" in said


async def test_a_bucket_without_direct_gets_is_not_asked_for_several(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    store, infos = await filled(nats_client, bucket_name)
    backend = await JetStreamServer(nats_client).open(bucket_name)
    config = (await backend.state()).config
    server = JetStreamServer(nats_client)
    # Switched off while the store is in use: it notices.
    await server.update(bucket_name, {**config, "allow_direct": False})
    assert await read(store, infos) == contents()
    async with asked(nats_server.url, bucket_name) as seen:
        assert await read(store, infos) == contents()
    assert (seen.several, seen.single) == ([], 0)


async def test_an_account_that_lets_one_response_through_loses_nothing(
    bucket_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_last, "_PATIENCE_SECONDS", 0.3)
    config = """
    accounts {
      home { jetstream: enabled, users: [{user: home, password: x}],
             exports: [{service: "$JS.API.>"}] }
      guest { users: [{user: guest, password: x}],
              imports: [{service: {account: home, subject: "$JS.API.>"},
                         to: "JS.home.API.>"}] }
    }
    """
    async with NatsServer(config=config, jetstream=True) as server:
        home = await nats.connect(server.url.replace("//", "//home:x@"))
        guest = await nats.connect(server.url.replace("//", "//guest:x@"))
        try:
            _, infos = await filled(home, bucket_name)
            backend = await JetStreamServer(guest, prefix="JS.home.API").open(bucket_name)
            store = ObjectStore.on(backend)
            assert await read(store, [info.name for info in infos]) == contents()
            assert await read(store, infos) == contents()
        finally:
            await home.close()
            await guest.close()


async def test_a_bucket_that_is_gone_is_reported(
    nats_client: Client, bucket_name: str
) -> None:
    store, infos = await filled(nats_client, bucket_name)
    await JetStreamServer(nats_client).delete(bucket_name)
    for targets in (infos, [info.name for info in infos]):
        with pytest.raises(BucketNotFoundError):
            await read(store, targets)


# --- what may happen to an answer


class Cutting(Proxy):
    """Cuts the connections within the n-th piece of answers of several messages."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server)
        self.server = server
        self.left = 0
        self.happened = 0

    async def _hand_on_one(
        self, data: bytes, sink: asyncio.StreamWriter, go: asyncio.Event
    ) -> None:
        if self.left and b"Nats-Last-Sequence" in data:
            self.left -= 1
            if not self.left:
                self.happened += 1
                sink.write(data[: len(data) // 2])
                await sink.drain()
                self.cut()
                return
        await super()._hand_on_one(data, sink, go)


@pytest.fixture
async def cutting(nats_server: NatsServer) -> AsyncIterator[Cutting]:
    async with serving(Cutting(nats_server)) as proxy:
        yield proxy


@pytest.fixture
async def through(cutting: Cutting) -> AsyncIterator[Client]:
    client = await nats.connect(
        cutting.url, reconnect_time_wait=0.05, max_reconnect_attempts=100
    )
    try:
        yield client
    finally:
        # On Python 3.12 nats-py cannot be closed while it reconnects with requests in hand.
        await soon(connected(client))
        await client.close()


async def connected(client: Client) -> None:
    while not client.is_connected:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "by, number", [("name", 1), ("name", 2), ("name", 3), ("version", 1), ("version", 2)]
)
async def test_a_connection_lost_within_an_answer_loses_no_object_and_repeats_none(
    cutting: Cutting, through: Client, bucket_name: str, by: str, number: int
) -> None:
    store, infos = await filled(through, bucket_name)
    targets: list[Any] = [info.name for info in infos] if by == "name" else list(infos)

    cutting.left = number
    assert await read(store, targets) == contents()

    assert cutting.happened == 1
    # Nothing is left under way, and several are asked for together again.
    async with asked(cutting.server.url, bucket_name) as seen:
        assert await read(store, targets) == contents()
    assert seen.several
    assert seen.single == 0


async def test_a_server_that_restarts_in_the_middle_loses_no_object(bucket_name: str) -> None:
    async with NatsServer() as server:
        client = await nats.connect(
            server.url, reconnect_time_wait=0.05, max_reconnect_attempts=200
        )
        try:
            store, infos = await filled(client, bucket_name)
            targets = [info.name for info in infos] * 10
            got: list[bytes] = []
            async for data in store.get_many(targets):
                got.append(data)
                if len(got) in {100, 700}:
                    await server.kill() if len(got) == 100 else await server.stop()
                    await server.start()
            assert got == contents() * 10
        finally:
            await client.close()


async def test_the_memory_that_answers_may_take_is_given_back(
    cutting: Cutting, through: Client, bucket_name: str
) -> None:
    store, infos = await filled(through, bucket_name)
    for number in (1, 2, 3):
        cutting.left = number
        assert await read(store, infos) == contents()
    stopped = store.get_many(infos)
    assert await soon(stopped.__anext__()) == contents()[0]
    await soon(stopped.aclose())
    backend: Any = await store._source()
    connection = backend._api.ordinary
    for budget in (connection._small, connection._large):
        budget.renew()
        assert budget._taken == 0


async def test_a_mirror_answers_for_itself(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    _, infos = await filled(nats_client, bucket_name)
    server = JetStreamServer(nats_client)
    config = ObjectStoreConfig(bucket=f"{bucket_name}-eu", mirror=Mirror(bucket_name))
    backend = await bind_bucket(server, config)
    mirror = ObjectStore.on(backend)
    async with mirror.watch() as watcher:
        arrived: set[str] = set()
        async for info in watcher:
            arrived.add(info.name)
            if len(arrived) == COUNT:
                break
    async with (
        asked(nats_server.url, bucket_name) as origin,
        asked(nats_server.url, f"{bucket_name}-eu") as seen,
    ):
        assert await read(mirror, [info.name for info in infos]) == contents()
    assert len(seen.several) == 6
    assert (seen.single, origin.single, origin.several) == (0, 0, [])
