"""A user with fewer rights than a call needs is told at once, with the subject."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore import Bucket, Buckets, ObjectMeta, ObjectStore
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.exceptions import PermissionDeniedError, StoreTimeoutError
from faststream_objstore.testing import NatsServer
from tests.settled import settled

pytestmark = pytest.mark.timeout(60)

ALL = [
    "$JS.API.STREAM.INFO.OBJ_b",
    "$JS.API.STREAM.MSG.GET.OBJ_b",
    "$JS.API.DIRECT.GET.OBJ_b.>",
    "$JS.API.CONSUMER.*.OBJ_b.>",
    "$JS.API.CONSUMER.MSG.NEXT.OBJ_b.>",
    "$JS.ACK.OBJ_b.>",
    "$JS.API.STREAM.PURGE.OBJ_b",
    "$O.b.C.>",
    "$O.b.M.>",
]
# So long would a call wait that is not told.
TIMEOUT = 30.0
SOON = 10.0


def user(name: str, publish: list[str], subscribe: str = "_INBOX.>") -> str:
    allowed = ", ".join(f'"{one}"' for one in publish)
    return (
        f"{{user: {name}, password: x, permissions: "
        f'{{publish: [{allowed}], subscribe: ["{subscribe}"]}}}}'
    )


def without(*subjects: str) -> list[str]:
    assert set(subjects) <= set(ALL)
    return [one for one in ALL if one not in subjects]


DIRECT = "$JS.API.DIRECT.GET.OBJ_b"
USERS = {
    "info": without("$JS.API.STREAM.INFO.OBJ_b"),
    "direct": without("$JS.API.DIRECT.GET.OBJ_b.>"),
    "leader": without("$JS.API.STREAM.MSG.GET.OBJ_b"),
    "create": without("$JS.API.CONSUMER.*.OBJ_b.>"),
    "next": without("$JS.API.CONSUMER.MSG.NEXT.OBJ_b.>"),
    "ack": without("$JS.ACK.OBJ_b.>"),
    "chunks": without("$O.b.C.>"),
    "metadata": without("$O.b.M.>"),
    "nothing": ["x"],
}


class World:
    """A server with a bucket `b`, and a client for each user."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.clients: list[Client] = []
        self.heard: list[str] = []

    async def client(self, user: str) -> Client:
        async def heard(error: Exception) -> None:
            self.heard.append(str(error))

        url = self.server.url.replace("nats://", f"nats://{user}:x@")
        client = await nats.connect(url, error_cb=heard)
        self.clients.append(client)
        return client

    async def store(self, user: str) -> ObjectStore:
        return await ObjectStore.bind(await self.client(user), "b", timeout=TIMEOUT)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving() as world:
        yield world


@asynccontextmanager
async def serving() -> AsyncIterator[World]:
    users = [
        "{user: admin, password: x}",
        user("inbox", ALL, subscribe="elsewhere"),
        user("other", ALL, subscribe="_INBOX_o.>"),
        *(user(name, publish) for name, publish in USERS.items()),
    ]
    async with NatsServer(
        config=f"authorization {{ users = [{', '.join(users)}] }}"
    ) as server:
        world = World(server)
        try:
            admin = await ObjectStore.bind(await world.client("admin"), "b", declare=True)
            await admin.put("cat", bytes(300_000))
            yield world
        finally:
            for client in world.clients:
                await client.close()


async def denied(call: Awaitable[Any]) -> PermissionDeniedError:
    with pytest.raises(PermissionDeniedError) as caught:
        await asyncio.wait_for(call, SOON)
    assert isinstance(caught.value, StoreTimeoutError)
    assert caught.value.bucket == "b"
    assert repr(caught.value.subject) in str(caught.value)
    return caught.value


async def watched(store: ObjectStore) -> None:
    async for _ in store.watch():
        pass


CALLS: dict[str, tuple[str, Callable[[ObjectStore], Awaitable[Any]], str]] = {
    # user, call, the subject as it was sent
    "get_info": (
        "direct",
        lambda one: one.get_info("cat"),
        f"{DIRECT}.$O.b.M.Y2F0",
    ),
    "get": ("direct", lambda one: one.get("cat"), f"{DIRECT}.$O.b.M.Y2F0"),
    "get_chunks": ("create", lambda one: one.get("cat"), "$JS.API.CONSUMER.CREATE.OBJ_b."),
    "pull": ("next", lambda one: one.get("cat"), "$JS.API.CONSUMER.MSG.NEXT.OBJ_b."),
    "list": ("next", lambda one: one.list(), "$JS.API.CONSUMER.MSG.NEXT.OBJ_b."),
    "watch": ("next", watched, "$JS.API.CONSUMER.MSG.NEXT.OBJ_b."),
    "delete": ("leader", lambda one: one.delete("cat"), "$JS.API.STREAM.MSG.GET.OBJ_b"),
    "put": ("chunks", lambda one: one.put("Dog", bytes(9_000_000)), "$O.b.C."),
    "put_small": ("chunks", lambda one: one.put("Dog", b"1"), "$O.b.C."),
    "commit": ("metadata", lambda one: one.put("Dog", bytes(300_000)), "$O.b.M.RG9n"),
    "update_meta": (
        "metadata",
        lambda one: one.update_meta("cat", ObjectMeta(description="d")),
        "$O.b.M.Y2F0",
    ),
}


@pytest.mark.parametrize("what", CALLS)
async def test_a_call_without_its_right_is_told_the_subject_as_it_was_sent(
    world: World, what: str
) -> None:
    name, call, subject = CALLS[what]
    store = await world.store(name)

    error = await denied(call(store))

    assert error.subject is not None
    assert error.subject.startswith(subject)
    # The user's own callback has heard of it, too.
    assert any(subject.lower() in one.lower() for one in world.heard)


async def test_binding_without_the_right_to_ask_is_told(world: World) -> None:
    assert (await denied(world.store("info"))).subject == "$JS.API.STREAM.INFO.OBJ_b"


async def test_a_user_that_may_not_be_answered_is_told(world: World) -> None:
    client = await world.client("inbox")
    for _ in range(2):
        error = await denied(ObjectStore.bind(client, "b", timeout=TIMEOUT))
        assert error.subject is not None
        assert error.subject.startswith("_INBOX.")
        assert error.subject.endswith(".*")
    # Another prefix is not what it was refused.
    url = world.server.url.replace("nats://", "nats://other:x@")
    client = await nats.connect(url, inbox_prefix="_INBOX_o")
    world.clients.append(client)
    store = await ObjectStore.bind(client, "b", timeout=TIMEOUT)
    assert len(await store.get("cat")) == 300_000


async def test_a_refused_put_leaves_no_chunks_and_the_old_version(world: World) -> None:
    admin = await world.store("admin")
    before = await admin.status()
    for name in ("chunks", "metadata"):
        await denied((await world.store(name)).put("cat", bytes(9_000_000)))
        await denied((await world.store(name)).put("new", b"1"))

    assert len(await admin.get("cat")) == 300_000
    assert [one.name for one in await admin.list()] == ["cat"]
    after = await admin.status()
    assert (after.size, after.count) == (before.size, before.count)


async def test_a_refused_call_harms_no_other_and_the_connection_stays(world: World) -> None:
    client = await world.client("direct")
    store = await ObjectStore.bind(client, "b", timeout=TIMEOUT)
    results = await asyncio.wait_for(
        asyncio.gather(
            *(store.get_info("cat") for _ in range(20)),
            *(store.list() for _ in range(20)),
            return_exceptions=True,
        ),
        SOON,
    )
    assert all(isinstance(one, PermissionDeniedError) for one in results[:20])
    assert [len(one) for one in results[20:] if isinstance(one, list)] == [1] * 20
    assert client.is_connected
    assert client.stats["reconnects"] == 0


async def test_a_timeout_after_a_refusal_says_nothing_of_rights(world: World) -> None:
    client = await world.client("direct")
    store = await ObjectStore.bind(client, "b", timeout=TIMEOUT)
    await denied(store.get_info("cat"))
    # Somebody who listens and does not answer.
    admin = await world.client("admin")
    await admin.subscribe("$JS.ACK.OBJ_b.x")
    await settled(admin)
    connection = Connection.of(client)
    with pytest.raises(StoreTimeoutError, match="no answer") as caught:
        await connection.request("$JS.ACK.OBJ_b.x", timeout=0.2)
    assert not isinstance(caught.value, PermissionDeniedError)


@pytest.mark.parametrize(
    "name, subject",
    [
        ("create", "$JS.API.CONSUMER.INFO.OBJ_b.worker"),
        ("next", "$JS.API.CONSUMER.MSG.NEXT.OBJ_b.worker"),
        ("info", "$JS.API.STREAM.INFO.OBJ_b"),
        ("ack", "$JS.ACK.OBJ_b.worker.0.0.0.0.0"),
    ],
)
async def test_a_subscriber_without_its_rights_does_not_start(
    world: World, name: str, subject: str
) -> None:
    broker = NatsBroker(world.server.url.replace("nats://", f"nats://{name}:x@"), logger=None)
    bucket = Bucket("b", declare=False, timeout=TIMEOUT)
    Buckets(broker, bucket)

    @bucket.on_put(durable="worker")
    async def handle(info: Any) -> None: ...

    try:
        error = await denied(broker.start())
    finally:
        await broker.stop()
    assert error.subject == subject
