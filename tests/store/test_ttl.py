"""Buckets whose objects expire."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    IncompleteObjectError,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import Audit, Bench, eventually, soon, spied, write_raw

TTL = timedelta(seconds=1)
SHORTEST_TTL_SECONDS = 0.1


@pytest.fixture(autouse=True)
def _expiring(audit: Audit) -> None:
    # Metadata whose chunks have expired is what these tests are about.
    audit.orphans = True


@pytest.fixture
async def short(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    """A bucket whose objects expire after a second."""
    return await create_bucket(bucket_name, ttl=TTL)


async def seen_by(store: ObjectStore, name: str) -> list[bool]:
    """Whether each of the calls shows the object, one after the other."""
    seen = [
        await store.exists(name),
        name in [one.name for one in await store.list()],
        name in [one.name async for one in store.iter()],
    ]
    for call in (store.get_info, store.get):
        try:
            await call(name)
        except ObjectNotFoundError:
            seen.append(False)
        else:
            seen.append(True)
    return seen


async def until_gone(
    store: ObjectStore, name: str, meanwhile: Callable[[], Awaitable[object]] | None = None
) -> list[bool]:
    """What all calls say until one of them does not show the object."""
    seen: list[bool] = []
    while all(seen):
        try:
            if meanwhile is not None:
                await meanwhile()
        except ObjectNotFoundError:
            seen.append(False)
        seen += await seen_by(store, name)
    return seen


def agree(seen: list[bool]) -> bool:
    """Whether it was there, then gone, and never there again."""
    return seen[0] and seen == sorted(seen, reverse=True)


async def test_a_put_that_takes_longer_than_the_ttl_is_refused(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, ttl=timedelta(milliseconds=100))
    store = ObjectStore.on(backend)
    chunks = f"$O.{bucket_name}.C.>"

    async def expired() -> bool:
        arrived = (await backend.state()).last_sequence > 0
        return arrived and not await backend.subjects(chunks)

    async def slow() -> AsyncIterator[bytes]:
        yield b"he"
        yield b"ll"
        await eventually(expired)
        yield b"o"

    with pytest.raises(IncompleteObjectError, match="expired before the last one was sent"):
        await soon(store.put("name", slow(), chunk_size=2))
    assert not await soon(store.exists("name"))


async def test_an_object_that_is_updated_again_and_again_goes_as_a_whole(
    short: Backend,
) -> None:
    store = ObjectStore.on(short)
    await store.put("name", b"content", chunk_size=2)

    async def update() -> None:
        await store.update_meta("name", ObjectMeta(description="newer"))

    assert agree(await soon(until_gone(store, "name", update)))


async def test_an_object_that_is_renamed_back_and_forth_goes_as_a_whole(
    short: Backend,
) -> None:
    store = ObjectStore.on(short)
    await store.put("name", b"content")

    async def rename() -> None:
        await store.rename("name", "other")
        await store.rename("other", "name")

    assert agree(await soon(until_gone(store, "name", rename)))
    assert await store.list() == []


async def test_an_object_that_took_long_to_put_goes_as_a_whole(short: Backend) -> None:
    store = ObjectStore.on(short)

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        # How long it takes, by any clock.
        await asyncio.sleep(0.4)
        yield b"last"

    await store.put("name", slow(), chunk_size=5)
    assert agree(await soon(until_gone(store, "name")))


async def expired(store: ObjectStore) -> int:
    """An object that has expired, and whose metadata is younger; its revision."""
    await store.put("name", b"old", chunk_size=2)
    revision = 0

    async def update() -> None:
        nonlocal revision
        info = await store.update_meta("name", ObjectMeta(description="newer"))
        revision = info.revision

    assert agree(await soon(until_gone(store, "name", update)))
    return revision


async def test_the_name_of_an_object_that_has_expired_is_free(short: Backend) -> None:
    store = ObjectStore.on(short)
    await expired(store)

    with pytest.raises(ObjectNotFoundError):
        await store.delete("name")
    with pytest.raises(ObjectNotFoundError):
        await store.rename("name", "other")
    with pytest.raises(ObjectNotFoundError):
        await store.add_link("link", "name")
    await store.put("other", b"other")
    await store.rename("other", "name")
    assert await store.get("name") == b"other"
    await store.delete("name")
    await store.put("name", b"new", mode="create")
    assert await store.get("name") == b"new"


async def test_an_object_that_has_expired_is_at_no_revision(short: Backend) -> None:
    store = ObjectStore.on(short)
    revision = await expired(store)

    with pytest.raises(RevisionMismatchError):
        await store.put("name", b"new", mode=revision)
    with pytest.raises(RevisionMismatchError):
        await store.delete("name", mode=revision)
    assert not await store.exists("name")


async def test_a_watch_does_not_begin_with_what_has_expired(short: Backend) -> None:
    store = ObjectStore.on(short)
    await expired(store)
    await store.put("new", b"new")

    async with store.watch() as watcher:
        first = await watcher.updates()
        assert first is not None
        assert first.name == "new"


async def test_an_object_lives_on_where_the_ttl_is_raised(
    bench: Bench, create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, ttl=timedelta(seconds=3))
    store = ObjectStore.on(backend)
    info = await store.put("name", b"content")
    info = await store.update_meta("name", ObjectMeta(description="newer"))
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name, ttl=timedelta(hours=1)))
    await bench.server.update(bucket_name, config)

    async def older() -> bool:
        assert info.mtime is not None
        age = (await backend.state()).time_ns / 1e9 - info.mtime.timestamp()
        return age > 4

    await eventually(older)
    assert await seen_by(store, "name") == [True] * 5


async def test_metadata_that_is_renewed_by_another_client_is_taken_for_what_it_says(
    short: Backend,
) -> None:
    # It knows nothing of the note; until then, nothing can tell the age of the content.
    store = ObjectStore.on(short)
    await store.put("name", b"")
    await write_raw(
        short,
        "name",
        {"name": "name", "bucket": short.bucket, "nuid": "x" * 22, "size": 0, "chunks": 0,
         "mtime": "0001-01-01T00:00:00Z", "objstore-content": {"at": "yesterday"}},
    )  # fmt: skip
    assert await seen_by(store, "name") == [True] * 5


async def test_a_ttl_that_is_far_off_costs_no_request(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    store, spy = spied(await create_bucket(bucket_name, ttl=timedelta(days=1)))
    await store.put("name", b"content")
    await store.get_info("name")
    spy.calls.clear()

    await store.update_meta("name", ObjectMeta(description="newer"))
    assert spy.calls == ["last_message", "publish_metadata", "announce"]
    spy.calls.clear()
    await store.get_info("name")
    assert spy.calls == ["last_message"]
    spy.calls.clear()
    await store.list()
    assert spy.calls == ["messages"]


@pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
async def test_the_clients_clock_does_not_matter(
    create_bucket: CreateBucket,
    bucket_name: str,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    store = ObjectStore.on(await create_bucket(bucket_name, ttl=timedelta(minutes=30)))
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3_600_000_000_000)
    await store.put("name", b"content")
    await store.rename("name", "other")
    await store.update_meta("other", ObjectMeta(description="newer"))
    assert await seen_by(store, "other") == [True] * 5


async def test_chunks_that_cannot_have_expired_are_not_counted(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    class Elected:
        """A backend whose leader has just been elected: it does not know of all chunks yet."""

        def __init__(self, backend: Backend) -> None:
            self._backend = backend

        def __getattr__(self, name: str) -> Any:
            return getattr(self._backend, name)

        async def subjects(self, subject: str) -> dict[str, int]:
            return {}

    backend = await create_bucket(bucket_name)
    store = ObjectStore.on(cast("Backend", Elected(backend)))
    began = time.monotonic()

    async def long_enough() -> bool:
        return time.monotonic() - began > SHORTEST_TTL_SECONDS

    async def slow() -> AsyncIterator[bytes]:
        yield b"he"
        await eventually(long_enough)
        yield b"llo"

    await soon(store.put("name", slow()))
    assert await soon(store.get("name")) == b"hello"
