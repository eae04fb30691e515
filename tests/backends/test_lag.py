"""A replica that lags: what it does not have yet is no damage, no deletion, no end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.exceptions import IncompleteObjectError, ObjectDeletedError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.store.support import soon

pytestmark = pytest.mark.timeout(60)

CHUNK = 1024
CONTENT = b"".join(bytes([65 + number]) * CHUNK for number in range(8))


@pytest.fixture
async def backend(nats_client: Client, bucket_name: str) -> AsyncIterator[JetStreamBackend]:
    server = JetStreamServer(nats_client, timeout=5)
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    yield await server.create(bucket_name, config)
    await server.delete(bucket_name)


class Follower:
    """The stream as a replica has it that is some chunks behind its leader.

    The real stream lacks the last chunks; what asks the leader is answered as the leader
    would, and then they arrive.
    """

    def __init__(self, backend: JetStreamBackend, client: Client) -> None:
        self.backend = backend
        self.client = client
        self.asked = 0

    async def put(self, name: str, lacks: int) -> None:
        """An object whose last chunks the replica does not have yet."""
        store = ObjectStore.on(self.backend)
        info = await store.put(name, CONTENT, chunk_size=CHUNK)
        self.subject = wire.chunk_subject(self.backend.bucket, info.nuid)
        self.total = info.chunks
        await self.backend.purge(self.subject)
        chunks = [CONTENT[at : at + CHUNK] for at in range(0, len(CONTENT), CHUNK)]
        for chunk in chunks[:-lacks]:
            await self.client.jetstream().publish(self.subject, chunk)
        self.late = chunks[-lacks:]

    async def catch_up(self) -> None:
        late, self.late = self.late, []
        for chunk in late:
            await self.client.jetstream().publish(self.subject, chunk)

    async def count(self, *_: Any, **__: Any) -> int:
        self.asked += 1
        self._catching_up = asyncio.ensure_future(self.catch_up())
        return self.total

    async def subjects(self, subject: str) -> dict[str, int]:
        return {subject: await self.count()}


@pytest.fixture
def follower(
    backend: JetStreamBackend, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> Follower:
    follower = Follower(backend, nats_client)
    monkeypatch.setattr(backend._api, "count", follower.count)
    return follower


@pytest.mark.parametrize("lacks", [1, 5, 7])
async def test_chunks_that_a_replica_lacks_are_waited_for(
    follower: Follower, backend: JetStreamBackend, lacks: int
) -> None:
    await follower.put("late", lacks)
    store = ObjectStore.on(backend)

    assert await soon(store.get("late")) == CONTENT
    assert follower.asked >= 1

    await follower.put("late", lacks)
    async with store.open("late") as reader:
        assert await soon(reader.read()) == CONTENT


async def test_a_range_is_right_where_a_replica_lacks_chunks(
    follower: Follower, backend: JetStreamBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follower.put("late", 3)
    monkeypatch.setattr(backend, "subjects", follower.subjects)
    monkeypatch.setattr(backend, "_heed", lambda _: None)
    backend._replicas = 3
    part = await soon(ObjectStore.on(backend).get_range("late", 2 * CHUNK, 4 * CHUNK + 5))
    assert part == CONTENT[2 * CHUNK : 4 * CHUNK + 5]


async def test_chunks_that_the_leader_lacks_too_are_damage_at_once(
    backend: JetStreamBackend, nats_client: Client
) -> None:
    follower = Follower(backend, nats_client)
    await follower.put("damaged", 3)
    with pytest.raises(IncompleteObjectError, match="5 of its 8 chunks"):
        await soon(ObjectStore.on(backend).get("damaged"))


class Stale:
    """A backend whose replicas answer direct gets with what was there before."""

    def __init__(self, inner: JetStreamBackend, stale: dict[str, Any]) -> None:
        self._inner = inner
        self._stale = stale

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._inner, attribute)

    async def last_message(
        self, subject: str, *, leader: bool = False, since: int = 0, size: int = 0
    ) -> Any:
        if not leader and subject in self._stale:
            return self._stale[subject]
        return await self._inner.last_message(subject, leader=leader, since=since, size=size)

    async def last_messages(self, subjects: Sequence[str], *, size: int = 0) -> Any:
        found = await self._inner.last_messages(subjects, size=size)
        return found | {one: self._stale[one] for one in subjects if one in self._stale}


async def test_a_delete_marker_of_a_replica_is_asked_again_at_the_leader(
    backend: JetStreamBackend,
) -> None:
    store = ObjectStore.on(backend)
    await store.put("cat", b"old")
    await store.delete("cat")
    subject = wire.metadata_subject(backend.bucket, "cat")
    marker = await backend.last_message(subject, leader=True)
    await store.put("cat", b"new")

    behind = ObjectStore.on(Stale(backend, {subject: marker}))
    assert await soon(behind.get("cat")) == b"new"
    await store.put("dog", b"dog")
    assert [data async for data in behind.get_many(["dog", "cat"])] == [b"dog", b"new"]
    assert await behind.exists("cat")
    assert not (await behind.get_info("cat", show_deleted=True)).deleted
    await store.delete("cat")
    with pytest.raises(ObjectDeletedError):
        await behind.get("cat")


async def test_what_a_walk_over_the_newest_has_not_met_is_asked_of_the_leader(
    backend: JetStreamBackend,
) -> None:
    store = ObjectStore.on(backend)
    for name in ("a", "b", "c"):
        await store.put(name, name.encode())
    every = wire.all_metadata_subject(backend.bucket)
    snapshot = backend._snapshot(every, 3)
    met = await backend.last_message(wire.metadata_subject(backend.bucket, "b"))
    assert met is not None
    snapshot.saw((met,))

    rest = [wire.info_of(one, backend.bucket)[0].name for one in await snapshot.rest()]

    assert rest == ["a", "c"]
    assert snapshot.finished


async def test_a_list_from_a_replica_that_lags_has_what_the_leader_has(
    backend: JetStreamBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore.on(backend)
    for number in range(20):
        await store.put(f"{number:02}", b"1")
    first: list[bool] = []

    # The replica has only the first ten of them.
    real = backend.messages

    def messages(subject: Any, **options: Any) -> Any:
        stream: Any = real(subject, **options)
        enter = type(stream).__aenter__

        async def entering() -> Any:
            await enter(stream)
            stream._snapshot.lagging = True
            stream._consumer.remaining = 10
            stream._consumer._left = lambda pending: max(0, pending - 10)
            first.append(True)
            return stream

        return _Entering(stream, entering)

    monkeypatch.setattr(backend, "messages", messages)
    assert sorted(one.name for one in await soon(store.list())) == [
        f"{number:02}" for number in range(20)
    ]
    assert first == [True]


async def test_a_list_from_a_replica_that_lags_believes_none_of_its_old_delete_markers(
    backend: JetStreamBackend, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore.on(backend)
    for name in ("cat", "dog", "eel"):
        await store.put(name, b"old")
        await store.delete(name)
    real = backend.messages
    asked: list[str] = []

    def messages(subject: Any, **options: Any) -> Any:
        stream: Any = real(subject, **options)
        enter = type(stream).__aenter__

        async def entering() -> Any:
            await enter(stream)
            # What is stored now came before the list, and the replica has none of it.
            stream._snapshot.lagging = True
            stream._consumer._left = lambda _: 0
            await stream._consumer.pull()
            while len(stream._consumer.buffer) < 3:
                await asyncio.sleep(0.01)
            stream._consumer.remaining = 0
            if newer:
                await store.put("cat", b"new")
                await store.put("dog", b"newer")
                stream._snapshot._until = (await store.get_info("dog")).revision
            return stream

        return _Entering(stream, entering)

    async def last_message(subject: str, **options: Any) -> Any:
        asked.append(subject)
        return await ask(subject, **options)

    ask = backend.last_message
    monkeypatch.setattr(backend, "messages", messages)
    monkeypatch.setattr(backend, "last_message", last_message)
    newer = False
    assert await soon(store.list()) == []
    # No marker of a replica that has all of them is asked for again.
    assert [one for one in asked if not one.endswith("*")] == []

    newer = True
    assert [one.name for one in await soon(store.list())] == ["cat", "dog"]


class _Entering:
    def __init__(self, stream: Any, enter: Any) -> None:
        self._stream = stream
        self._enter = enter

    async def __aenter__(self) -> Any:
        return await self._enter()

    async def __aexit__(self, *error: Any) -> None:  # noqa: PYI036 - handed on as it is
        await self._stream.__aexit__(*error)


async def test_a_list_ends_while_others_overwrite_and_misses_nothing(
    backend: JetStreamBackend, nats_client: Client
) -> None:
    store = ObjectStore.on(backend)
    names = [f"{number:03}" for number in range(200)]
    await asyncio.gather(*(store.put(name, b"") for name in names))
    written = 0
    stop = asyncio.Event()

    async def overwrite(part: int) -> None:
        nonlocal written
        while not stop.is_set():
            for name in names[part::8]:
                await store.put(name, b"1")
                written += 1

    writers = [asyncio.ensure_future(overwrite(part)) for part in range(8)]
    try:
        for _ in range(5):
            listed = await asyncio.wait_for(store.list(), 5)
            assert {one.name for one in listed} == set(names)
    finally:
        stop.set()
        await asyncio.gather(*writers)
    assert written > 0
