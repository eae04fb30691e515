"""Faults on the real server: damaged objects, full and sealed buckets, crashes."""

import asyncio
import base64
import hashlib
import io
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    ConnectionLostError,
    CorruptObjectError,
    DigestMismatchError,
    IncompleteObjectError,
    InvalidObjectNameError,
    InvalidOptionError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjectChangedError,
    ObjStoreError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import chunk_subject, metadata_subject, stream_config
from tests.server.conftest import Connect
from tests.server.facts import api, consumers, facts, messages, subjects
from tests.server.gates import Gated, Hold

# Servers allow 1,000 consumers of a stream by default.
CALLS_IN_A_ROW = 1_100

CHUNK = 512
# 3 full chunks and one of 100 bytes, none like another.
CONTENT = b"".join(bytes([65 + number]) * CHUNK for number in range(3)) + b"D" * 100
SHA256 = base64.urlsafe_b64encode(hashlib.sha256(CONTENT).digest()).decode()

pytestmark = pytest.mark.timeout(60)


async def sequences(client: Client, bucket: str, subject: str) -> list[int]:
    js = client.jetstream()
    found: list[int] = []
    with suppress(nats.js.errors.NotFoundError):
        while True:
            message = await js.get_msg(
                f"OBJ_{bucket}", (found or [0])[-1] + 1, subject=subject, next=True
            )
            assert message.seq is not None
            found.append(message.seq)
    return found


async def write_raw(
    client: Client, bucket: str, name: str, chunks: list[bytes], **said: Any
) -> None:
    """An object as another client could have stored it."""
    js = client.jetstream()
    content = b"".join(chunks)
    sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    nuid = f"RAW{abs(hash(name)) % 10**12:012}"
    for chunk in chunks:
        await js.publish(chunk_subject(bucket, nuid), chunk)
    body = {
        "name": name,
        "bucket": bucket,
        "nuid": nuid,
        "size": len(content),
        "chunks": len(chunks),
        "digest": f"SHA-256={sha256}",
        "options": {"max_chunk_size": CHUNK},
    } | said
    await js.publish(metadata_subject(bucket, name), json.dumps(body).encode())


async def read_by_get(store: ObjectStore, path: Path) -> None:
    await store.get("one")


async def read_by_writeinto(store: ObjectStore, path: Path) -> None:
    await store.get("one", writeinto=io.BytesIO())


async def read_by_open(store: ObjectStore, path: Path) -> None:
    async with store.open("one") as reader:
        async for _ in reader:
            pass


async def read_by_get_file(store: ObjectStore, path: Path) -> None:
    await store.get_file("one", path / "file")


async def read_by_copy(store: ObjectStore, path: Path) -> None:
    await store.copy("one", "copy")


Read = Callable[[ObjectStore, Path], Awaitable[None]]
READERS = [read_by_get, read_by_writeinto, read_by_open, read_by_get_file, read_by_copy]


async def require_refused(
    store: ObjectStore, client: Client, path: Path, error: type[Exception], says: str
) -> None:
    """Every way of reading refuses `one`, and leaves nothing behind."""
    before = await subjects(client, store.bucket)
    for read in READERS:
        with pytest.raises(error, match=says):
            await read(store, path)
        assert await consumers(client, store.bucket) == 0
    assert list(path.iterdir()) == []
    # Not even the half of a copy.
    assert await subjects(client, store.bucket) == before


@pytest.mark.parametrize("missing", [0, 1, 3], ids=["front", "middle", "end"])
async def test_a_missing_chunk_is_an_incomplete_object_in_every_way_of_reading(
    store: ObjectStore, nats_client: Client, tmp_path: Path, missing: int
) -> None:
    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    chunks = await sequences(nats_client, store.bucket, chunk_subject(store.bucket, info.nuid))
    await nats_client.jetstream().delete_msg(f"OBJ_{store.bucket}", chunks[missing])

    await require_refused(
        store, nats_client, tmp_path, IncompleteObjectError, "3 of its 4 chunks"
    )
    for start in range(0, len(CONTENT), 200):
        try:
            part = await store.get_range("one", start, start + 300)
        except CorruptObjectError:
            continue
        assert part == CONTENT[start : start + 300]
    # A new put mends it.
    await store.put("one", CONTENT, chunk_size=CHUNK)
    assert (await facts(nats_client, store.bucket)).contents == {"one": CONTENT}


async def test_a_missing_only_chunk_is_an_incomplete_object(
    store: ObjectStore, nats_client: Client, tmp_path: Path
) -> None:
    info = await store.put("one", b"content")
    await nats_client.jetstream().purge_stream(
        f"OBJ_{store.bucket}", subject=chunk_subject(store.bucket, info.nuid)
    )

    await require_refused(store, nats_client, tmp_path, IncompleteObjectError, "missing")
    with pytest.raises(IncompleteObjectError):
        await store.get_range("one", 0, 3)


async def test_all_chunks_missing_is_an_incomplete_object(
    store: ObjectStore, nats_client: Client, tmp_path: Path
) -> None:
    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    await nats_client.jetstream().purge_stream(
        f"OBJ_{store.bucket}", subject=chunk_subject(store.bucket, info.nuid)
    )

    await require_refused(
        store, nats_client, tmp_path, IncompleteObjectError, "0 of its 4 chunks"
    )
    with pytest.raises(IncompleteObjectError):
        await store.get_range("one", 600, 700)


async def test_a_chunk_too_many_is_an_incomplete_object_in_every_way_of_reading(
    store: ObjectStore, nats_client: Client, tmp_path: Path
) -> None:
    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    await nats_client.jetstream().publish(chunk_subject(store.bucket, info.nuid), b"a fifth")

    await require_refused(
        store, nats_client, tmp_path, IncompleteObjectError, "5 of its 4 chunks"
    )


async def test_a_second_chunk_of_a_one_chunk_object_is_an_incomplete_object(
    store: ObjectStore, nats_client: Client, tmp_path: Path
) -> None:
    info = await store.put("one", b"content")
    await nats_client.jetstream().publish(chunk_subject(store.bucket, info.nuid), b"more")

    await require_refused(
        store, nats_client, tmp_path, IncompleteObjectError, "4 of its 7 bytes"
    )


@pytest.mark.parametrize("chunks", [1, 4])
async def test_content_of_another_digest_is_a_digest_mismatch_in_every_way_of_reading(
    store: ObjectStore, nats_client: Client, tmp_path: Path, chunks: int
) -> None:
    content = CONTENT if chunks == 4 else CONTENT[:CHUNK]
    parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    other = base64.urlsafe_b64encode(hashlib.sha256(b"other").digest()).decode()
    await write_raw(nats_client, store.bucket, "one", parts, digest=f"SHA-256={other}")

    await require_refused(store, nats_client, tmp_path, DigestMismatchError, "digest")


async def test_a_size_that_is_not_that_of_the_chunks_is_an_incomplete_object(
    store: ObjectStore, nats_client: Client, tmp_path: Path
) -> None:
    parts = [CONTENT[start : start + CHUNK] for start in range(0, len(CONTENT), CHUNK)]
    await write_raw(nats_client, store.bucket, "one", parts, size=len(CONTENT) + 1)
    await require_refused(
        store, nats_client, tmp_path, IncompleteObjectError, "1636 of its 1637 bytes"
    )


BODIES = {
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"1",
    "empty": b"",
    "a wrong size": b'{"name":"bad","bucket":"b","nuid":"n","size":"x"}',
    "a deep nest": b"[" * 100_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("last", [True, False], ids=["last", "only"])
async def test_metadata_that_does_not_parse_is_passed_over_and_repaired(
    store: ObjectStore,
    nats_client: Client,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    last: bool,
) -> None:
    js = nats_client.jetstream()
    if last:
        await store.put("bad", CONTENT, chunk_size=CHUNK)
    await store.put("good", b"good")
    await js.publish(metadata_subject(store.bucket, "bad"), body)

    for _ in range(2):
        for call in (
            store.get("bad"),
            store.get_info("bad"),
            store.exists("bad"),
            store.rename("bad", "other"),
            store.update_meta("bad", ObjectMeta()),
            store.get_range("bad", 0, 1),
            store.copy("bad", "other"),
        ):
            with pytest.raises(BadObjectMetaError, match="'bad'"):
                await call

    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        for _ in range(3):
            assert [info.name for info in await store.list()] == ["good"]
            assert (await store.status()).count == 1
        seen = []
        async with store.watch() as watcher:
            while (info := await watcher.updates(timeout=5)) is not None:
                seen.append(info.name)
        assert seen == ["good"]
    assert len(caplog.records) == 1
    assert "'bad'" in caplog.text

    # Which chunks are whose is not known, so none is taken.
    with suppress(BadObjectMetaError):
        assert await store.sweep(older_than=timedelta(0)) == (len(CONTENT) if last else 0)

    await store.put("bad", b"mended")
    assert await store.get("bad") == b"mended"
    # The chunks of the version that was buried are unreachable, until they are swept.
    await store.sweep(older_than=timedelta(0))
    assert (await facts(nats_client, store.bucket)).contents == {
        "bad": b"mended",
        "good": b"good",
    }


async def test_delete_repairs_metadata_that_does_not_parse(
    store: ObjectStore, nats_client: Client
) -> None:
    await nats_client.jetstream().publish(metadata_subject(store.bucket, "bad"), b"{")

    await store.delete("bad")

    assert await store.delete("bad") is False
    assert (await facts(nats_client, store.bucket)).metadata["bad"]["deleted"] is True


async def test_create_repairs_metadata_that_does_not_parse(
    store: ObjectStore, nats_client: Client
) -> None:
    await nats_client.jetstream().publish(metadata_subject(store.bucket, "bad"), b"{")

    await store.put("bad", b"mended", mode="create")

    assert await store.get("bad") == b"mended"


async def test_a_watcher_is_not_stopped_by_metadata_that_does_not_parse(
    store: ObjectStore, nats_client: Client
) -> None:
    js = nats_client.jetstream()
    async with store.watch() as watcher:
        assert await watcher.updates(timeout=5) is None
        await js.publish(metadata_subject(store.bucket, "bad"), b"")
        await js.publish(f"$O.{store.bucket}.M.%%%", b"{}")
        await store.put("good", b"good")
        info = await watcher.updates(timeout=5)
    assert info is not None
    assert info.name == "good"


@pytest.fixture
async def small(nats_client: Client, bucket_name: str) -> AsyncIterator[ObjectStore]:
    """A bucket of 64 KiB."""
    server = JetStreamServer(nats_client)
    config = ObjectStoreConfig(bucket=f"{bucket_name}-small", max_bytes=64 * 1024)
    yield ObjectStore.on(await bind_bucket(server, config))
    await server.delete(config.bucket)


async def test_a_put_that_fills_the_bucket_leaves_nothing_and_the_old_version_intact(
    small: ObjectStore, nats_client: Client
) -> None:
    await small.put("one", CONTENT, chunk_size=CHUNK)
    before = await subjects(nats_client, small.bucket)

    for _ in range(3):
        with pytest.raises(BucketFullError, match="is full"):
            await small.put("one", bytes(200_000), chunk_size=1024)
        with pytest.raises(BucketFullError, match="is full"):
            await small.put("two", bytes(70_000))
        assert await subjects(nats_client, small.bucket) == before

    assert (await facts(nats_client, small.bucket)).contents == {"one": CONTENT}


async def fill(client: Client, bucket: str) -> None:
    """Until not one byte more is taken."""
    js = client.jetstream()
    for size in (4096, 256, 0):
        with suppress(nats.js.errors.APIError):
            while True:
                await js.publish(f"$O.{bucket}.C.filler", bytes(size))


async def test_a_full_bucket_refuses_a_delete_and_destroys_nothing(
    small: ObjectStore, nats_client: Client
) -> None:
    await small.put("one", CONTENT, chunk_size=CHUNK)
    await fill(nats_client, small.bucket)

    for call in (
        small.delete("one"),
        small.rename("one", "two"),
        small.update_meta("one", ObjectMeta(description="longer " * 10)),
        small.put("one", b"new"),
        small.add_link("link", "one"),
    ):
        with pytest.raises(BucketFullError):
            await call
        assert await small.get("one") == CONTENT

    # `sweep` is the way out, as the message says: it needs no room.
    assert await small.sweep(older_than=timedelta(0)) > 0
    assert await small.delete("one") is True
    assert (await facts(nats_client, small.bucket)).contents == {}


async def test_a_sealed_bucket_is_read_as_before_and_refuses_every_change(
    store: ObjectStore, nats_client: Client
) -> None:
    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    assert await store.seal() is True
    assert await store.seal() is True
    before = await subjects(nats_client, store.bucket)

    for call in (
        store.put("one", b"new"),
        store.put("two", CONTENT, chunk_size=CHUNK),
        store.delete("one"),
        store.update_meta("one", ObjectMeta(description="d")),
        store.rename("one", "two"),
        store.add_link("link", "one"),
        store.copy("one", "two"),
    ):
        with pytest.raises(BucketSealedError, match="sealed"):
            await call

    assert await subjects(nats_client, store.bucket) == before
    assert await store.get(info) == CONTENT
    assert await store.get_range("one", 500, 600) == CONTENT[500:600]
    assert [one.name for one in await store.list()] == ["one"]
    status = await store.status()
    assert (status.sealed, status.count) == (True, 1)
    async with store.watch() as watcher:
        first = await watcher.updates()
        assert first is not None
        assert first.name == "one"
        assert await watcher.updates() is None


LARGE = 24 * 1024 * 1024


async def test_a_bucket_deleted_under_a_reader_is_bucket_not_found(
    nats_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name)))
    await store.put("one", bytes(LARGE))

    async with store.open("one") as reader:
        await reader.read(1)
        await server.delete(bucket_name)
        with pytest.raises(BucketNotFoundError, match=bucket_name):
            while await reader.read(1024 * 1024):
                pass


async def test_a_bucket_deleted_under_a_writer_is_bucket_not_found(
    nats_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name)))

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(200):
            if number == 50:
                await server.delete(bucket_name)
            yield bytes(CHUNK)

    with pytest.raises(BucketNotFoundError, match=bucket_name):
        await store.put("one", pieces(), chunk_size=CHUNK)

    # Never recreated behind the back of whoever deleted it.
    assert bucket_name not in await server.buckets()


async def test_a_bucket_deleted_under_a_watcher_is_bucket_not_found(
    nats_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name)))
    async with store.watch() as watcher:
        assert await watcher.updates() is None
        await server.delete(bucket_name)
        with pytest.raises(BucketNotFoundError, match=bucket_name):
            await watcher.updates(timeout=30)


async def test_every_call_on_a_bucket_that_is_gone_is_bucket_not_found(
    nats_client: Client, bucket_name: str, tmp_path: Path
) -> None:
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name)))
    await server.delete(bucket_name)

    async def opened() -> None:
        async with store.open("one"):
            pass

    async def watched() -> None:
        async with store.watch():
            pass

    for call in (
        store.put("one", b"1"),
        store.put("one", b"1", mode="create"),
        store.get("one"),
        store.get_range("one", 0, 1),
        store.get_file("one", tmp_path / "file"),
        opened(),
        watched(),
        store.get_info("one"),
        store.exists("one"),
        store.list(),
        store.delete("one"),
        store.update_meta("one", ObjectMeta()),
        store.rename("one", "two"),
        store.add_link("link", "one"),
        store.copy("one", "two"),
        store.status(),
        store.seal(),
        store.sweep(),
    ):
        with pytest.raises(BucketNotFoundError, match=bucket_name):
            await call


@pytest.fixture
async def crashing() -> AsyncIterator[NatsServer]:
    async with NatsServer() as server:
        yield server


@pytest.fixture
async def fragile(crashing: NatsServer) -> AsyncIterator[ObjectStore]:
    """A store whose server a test kills; it waits 3 s for each step."""
    client = await nats.connect(
        crashing.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1
    )
    server = JetStreamServer(client, timeout=3)
    yield ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket="fragile")))
    # nats-py's `close` raises what it met while the server was away; from Python 3.12 on,
    # asyncio says it with a TypeError.
    with suppress(OSError, TypeError):
        await client.close()


async def crash(server: NatsServer) -> None:
    await server.kill()
    await server.start()


async def clean(server: NatsServer) -> dict[str, bytes]:
    """The contents, over a connection of its own."""
    client = await nats.connect(server.url)
    try:
        found = await facts(client, "fragile")
        return found.contents
    finally:
        await client.close()


async def test_a_server_killed_in_mid_put_leaves_the_old_version_or_the_new_one(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    await fragile.put("one", CONTENT, chunk_size=CHUNK)
    pieces = [bytes([number]) * CHUNK for number in range(200)]

    async def killing() -> AsyncIterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == 100:
                await crash(crashing)
            yield piece

    try:
        await fragile.put("one", killing(), chunk_size=CHUNK)
    except (StoreTimeoutError, NotConnectedError):
        expected = CONTENT
    else:
        expected = b"".join(pieces)

    assert await clean(crashing) == {"one": expected}
    # And the same store goes on.
    await fragile.put("one", b"after")
    assert await fragile.get("one") == b"after"


@pytest.mark.parametrize("kind", ["bytes", "path"])
async def test_a_put_of_bytes_or_a_path_survives_a_server_that_is_killed(
    crashing: NatsServer, fragile: ObjectStore, tmp_path: Path, kind: str
) -> None:
    content = bytes(range(256)) * 40_000
    path = tmp_path / "content"
    path.write_bytes(content)
    killed = False

    async def kill_half_way(done: int, total: int | None) -> None:
        nonlocal killed
        if done > len(content) // 2 and not killed:
            killed = True
            await crash(crashing)

    data = content if kind == "bytes" else path
    await fragile.put("name", data, progress=kill_half_way)

    assert killed
    assert await clean(crashing) == {"name": content}


async def test_a_put_of_an_iterable_says_that_the_connection_was_lost(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            if number == 50:
                await crash(crashing)
            yield bytes(100_000)

    with pytest.raises(ConnectionLostError, match="'fragile'"):
        await fragile.put("name", pieces())

    assert await clean(crashing) == {}
    await fragile.put("name", b"again")
    assert await fragile.get("name") == b"again"


class LosesItsFirstAnswer:
    """A backend whose first metadata write is stored unheard; `refusal` meets the others."""

    def __init__(self, inner: Backend, refusal: Exception) -> None:
        self._inner = inner
        self._refusal = refusal
        self._heard = False

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._inner, attribute)

    async def publish_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if self._heard:
            raise self._refusal
        self._heard = True
        await self._inner.publish_metadata(*args, **kwargs)
        msg = "the answer was lost"
        raise ConnectionLostError(msg)


@pytest.mark.parametrize(
    "refusal",
    [BucketFullError("full"), JetStreamNotEnabledError("starting"), StoreAPIError("no")],
)
async def test_a_version_that_was_stored_unheard_keeps_its_chunks(
    store: ObjectStore, refusal: ObjStoreError
) -> None:
    backend: Any = LosesItsFirstAnswer(await store._source(), refusal)

    with pytest.raises(StoreTimeoutError, match=f"the next attempt failed .{refusal}.; read"):
        await ObjectStore.on(backend).put("one", CONTENT, chunk_size=CHUNK)

    assert await store.get("one") == CONTENT


async def test_a_server_killed_while_the_metadata_is_on_its_way_leaves_one_whole_version(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    await fragile.put("one", CONTENT, chunk_size=CHUNK)
    hold = Hold("publish_metadata")
    slow = ObjectStore.on(Gated(await fragile._source(), hold.permit))
    new = bytes(5 * CHUNK)

    putting = asyncio.create_task(slow.put("one", new, chunk_size=CHUNK))
    await hold.reached.wait()
    await crashing.kill()
    hold.release()
    await crashing.start()

    # All chunks were acknowledged, and the metadata is sent again after the crash.
    info = await putting
    assert info.size == len(new)
    assert await clean(crashing) == {"one": new}


async def test_a_server_killed_in_mid_get_is_waited_for_and_the_content_is_whole(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    content = bytes(range(256)) * (LARGE // 256)
    await fragile.put("one", content)

    parts = []
    async with fragile.open("one") as reader:
        parts.append(await reader.read(1))
        await crash(crashing)
        while part := await reader.read(1024 * 1024):
            parts.append(part)

    assert b"".join(parts) == content


async def test_a_server_that_stays_away_in_mid_get_is_a_timeout_and_not_a_hang(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    await fragile.put("one", bytes(LARGE))
    async with fragile.open("one") as reader:
        await reader.read(1)
        await crashing.kill()
        with pytest.raises((StoreTimeoutError, NotConnectedError)):
            while await reader.read(1024 * 1024):
                pass


async def test_every_call_to_a_server_that_is_away_ends_in_time(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    await fragile.put("one", CONTENT, chunk_size=CHUNK)
    await crashing.kill()

    results = await asyncio.wait_for(
        asyncio.gather(
            fragile.get("one"),
            fragile.put("one", b"new"),
            fragile.put("two", CONTENT, chunk_size=CHUNK),
            fragile.list(),
            fragile.delete("one"),
            fragile.get_info("one"),
            fragile.update_meta("one", ObjectMeta(description="d")),
            fragile.rename("one", "three"),
            fragile.status(),
            return_exceptions=True,
        ),
        45,
    )
    for result in results:
        assert isinstance(result, (StoreTimeoutError, NotConnectedError)), result


async def test_a_server_killed_in_mid_watch_loses_no_change_and_repeats_none(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    for number in range(3):
        await fragile.put(f"before {number}", b"1")

    seen: list[str | None] = []
    async with fragile.watch() as watcher:
        for _ in range(4):
            info = await watcher.updates()
            seen.append(info.name if info else None)
        await crash(crashing)
        other = await nats.connect(crashing.url)
        put = ObjectStore.on(await JetStreamServer(other).open("fragile")).put
        for number in range(3):
            await put(f"after {number}", b"1")
        await other.close()
        for _ in range(3):
            info = await watcher.updates(timeout=30)
            seen.append(info.name if info else None)
        with pytest.raises(StoreTimeoutError):
            await watcher.updates(timeout=0.2)

    assert seen == [
        "before 0",
        "before 1",
        "before 2",
        None,
        "after 0",
        "after 1",
        "after 2",
    ]


async def test_a_server_killed_while_the_present_state_is_watched_gives_each_object_once(
    crashing: NatsServer, fragile: ObjectStore
) -> None:
    names = [f"object {number:04}" for number in range(3000)]
    js = (await nats.connect(crashing.url)).jetstream()
    for name in names:
        body = {"name": name, "bucket": "fragile", "nuid": name[-4:], "size": 0}
        subject, data = metadata_subject("fragile", name), json.dumps(body).encode()
        # The last one's acknowledgement says that all of them are stored.
        if name == names[-1]:
            await js.publish(subject, data, timeout=30)
        else:
            await js._nc.publish(subject, data)

    seen = []
    async with fragile.watch() as watcher:
        seen += [await watcher.updates() for _ in range(5)]
        await crash(crashing)
        while (info := await watcher.updates(timeout=30)) is not None:
            seen.append(info)
        assert watcher.synced.is_set()
    await js._nc.close()

    assert [info.name for info in seen if info] == names


@pytest.mark.once
async def test_1100_gets_lists_and_opens_in_a_row_leave_no_consumer(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("one", CONTENT, chunk_size=CHUNK)
    for number in range(CALLS_IN_A_ROW):
        kind = number % 4
        if kind == 0:
            assert await store.get("one") == CONTENT
        elif kind == 1:
            assert len(await store.list()) == 1
        elif kind == 2:
            # Left early.
            async with store.open("one") as reader:
                assert await reader.read(1) == b"A"
        else:
            async with store.watch() as watcher:
                assert await watcher.updates() is not None
    assert await consumers(nats_client, store.bucket) == 0
    # Nor a subscription on the client, but the one for replies.
    assert len(nats_client._subs) <= 2


async def test_an_iteration_that_is_broken_off_leaves_no_consumer_once_it_is_closed(
    store: ObjectStore, nats_client: Client
) -> None:
    for number in range(10):
        await store.put(f"object {number}", b"1")
    infos = store.iter()
    async for _ in infos:
        break
    await infos.aclose()
    assert await consumers(nats_client, store.bucket) == 0


async def test_a_name_up_to_the_limit_works_in_every_method_and_a_longer_one_is_refused(
    store: ObjectStore, nats_client: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    backend = await store._source()
    prefix = len(f"$O.{store.bucket}.M.")
    length = (backend.max_subject - prefix) // 4 * 3
    # The server's control line has 4,096 bytes; base64 makes 4 of 3.
    assert 2_700 < length < 3_000
    longest, link, renamed = "x" * length, "y" * length, "z" * length
    # Other tests of this server provoke it on purpose.
    complaints = nats_server.log.count("control line")

    async with store.watch() as watcher:
        assert await watcher.updates() is None
        info = await store.put(longest, CONTENT, chunk_size=CHUNK)
        seen = await watcher.updates()
        assert seen is not None
        assert seen.name == longest
    assert await store.get(longest) == CONTENT
    assert await store.get(info) == CONTENT
    assert await store.get_range(longest, 500, 600) == CONTENT[500:600]
    assert (await store.get_file(longest, tmp_path / "file")).name == longest
    assert (await store.get_info(longest)).name == longest
    assert [one.name for one in await store.list()] == [longest]
    assert (await store.update_meta(longest, ObjectMeta(description="d"))).name == longest
    assert (await store.add_link(link, longest)).name == link
    assert await store.get(link) == CONTENT
    assert (await store.rename(longest, renamed)).name == renamed
    assert (await store.copy(renamed, longest)).name == longest
    assert await store.delete(renamed) is True
    assert await store.get(longest) == CONTENT

    for long in ("x" * (length + 3), "x" * 1_000_000, "\N{PILE OF POO}" * length):
        for call in (
            store.put(long, b"1"),
            store.get(long),
            store.get_info(long),
            store.delete(long),
            store.rename("a", long),
            store.rename(long, "a"),
            store.update_meta(long, ObjectMeta()),
            store.update_meta(longest, ObjectMeta(name=long)),
            store.add_link(long, longest),
            store.add_link("a", long),
            store.copy(long, "a"),
            store.copy(longest, long),
        ):
            with pytest.raises(InvalidObjectNameError):
                await call
    # Not one of them has cost the connection.
    assert nats_client.stats["reconnects"] == 0
    assert nats_server.log.count("control line") == complaints
    assert await consumers(nats_client, store.bucket) == 0


@pytest.fixture
async def tight() -> AsyncIterator[NatsServer]:
    async with NatsServer(config="max_payload: 8KB") as server:
        yield server


async def test_on_a_server_with_small_messages_chunks_fit_and_nothing_larger_is_sent(
    tight: NatsServer,
) -> None:
    client = await nats.connect(tight.url)
    store = ObjectStore.on(
        await bind_bucket(JetStreamServer(client), ObjectStoreConfig(bucket="tight"))
    )
    content = bytes(50_000)

    # The default chunk of 128 KiB does not fit, and gives way.
    info = await store.put("default", content)
    assert info.chunks == 7
    assert await store.get("default") == content
    assert (await store.put("full", content, chunk_size=8192)).chunks == 7
    with pytest.raises(InvalidOptionError, match="8192"):
        await store.put("large", content, chunk_size=8193)
    outcomes = set()
    for size in range(7600, 8400, 20):
        # With its headers it may be too large, where the body alone is not.
        try:
            await store.put("full", content, chunk_size=8192, description="d" * size)
        except InvalidOptionError:
            outcomes.add("refused")
        else:
            assert "refused" not in outcomes
            outcomes.add("stored")
    assert outcomes == {"stored", "refused"}

    assert client.stats["reconnects"] == 0
    assert (await facts(client, "tight")).contents == {"default": content, "full": content}
    await client.close()


RANGES = [
    (start, start + length)
    for start in (0, 1, 99, 100, 511, 512, 513, 700, 1023, 1024, 1535, 1536, 1600)
    for length in (1, 2, 100, 512, 600, 5000)
]


@pytest.mark.once
async def test_a_range_is_right_where_another_client_left_short_chunks_in_the_middle(
    store: ObjectStore, nats_client: Client
) -> None:
    cuts = {
        "short second": [0, 512, 612, 1124, len(CONTENT)],
        "short first": [0, 1, 513, 1025, 1537, len(CONTENT)],
        "all short": [*range(0, len(CONTENT), 100), len(CONTENT)],
        "a full last": [0, 100, 612, 1124, len(CONTENT)],
    }
    for name, cut in cuts.items():
        parts = [CONTENT[start:stop] for start, stop in pairwise(cut)]
        await write_raw(nats_client, store.bucket, name, parts)
        assert await store.get(name) == CONTENT
        for start, stop in RANGES:
            assert await store.get_range(name, start, stop) == CONTENT[start:stop], name


@pytest.mark.once
async def test_a_range_is_right_where_chunks_of_other_puts_stand_in_between(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    async def slowly(content: bytes, pause: int) -> AsyncIterator[bytes]:
        for start in range(0, len(content), CHUNK):
            yield content[start : start + CHUNK]
            for _ in range(pause):
                await asyncio.sleep(0)

    stores = [await connect() for _ in range(3)]
    contents = [
        b"".join(bytes([65 + writer + number % 20]) * CHUNK for number in range(40)) + b"end"
        for writer in range(3)
    ]
    await asyncio.gather(
        *(
            one.put(f"object {writer}", slowly(contents[writer], writer * 3), chunk_size=CHUNK)
            for writer, one in enumerate(stores)
        )
    )

    for writer, content in enumerate(contents):
        assert await store.get(f"object {writer}") == content
        for start in range(0, len(content), 777):
            for length in (1, 513, 3000, 50_000):
                part = await store.get_range(f"object {writer}", start, start + length)
                assert part == content[start : start + length]
    assert await consumers(nats_client, store.bucket) == 0


@pytest.mark.once
async def test_a_range_is_right_where_a_long_history_lies_before_and_between_its_chunks(
    store: ObjectStore, nats_client: Client
) -> None:
    js = nats_client.jetstream()
    nuid = "RAWHISTORY"
    parts = [bytes([65 + number]) * CHUNK for number in range(10)]
    for number, part in enumerate(parts):
        for _ in range(number * 40):
            await nats_client.publish(f"$O.{store.bucket}.C.other", b"1")
        await js.publish(chunk_subject(store.bucket, nuid), part)
    content = b"".join(parts)
    sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    body = {
        "name": "one",
        "nuid": nuid,
        "size": len(content),
        "chunks": 10,
        "digest": f"SHA-256={sha256}",
        "options": {"max_chunk_size": CHUNK},
    }
    await js.publish(metadata_subject(store.bucket, "one"), json.dumps(body).encode())

    for start in range(0, len(content), 500):
        for length in (1, 600, 2000):
            part = await store.get_range("one", start, start + length)
            assert part == content[start : start + length]
    assert await store.get("one") == content


@pytest.mark.once
async def test_a_range_of_an_object_that_goes_during_the_search_is_an_error_and_no_hang(
    store: ObjectStore,
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for number in range(60):
            yield bytes([number]) * CHUNK
            # Foreign chunks in between make the search take several steps.
            await store.put(f"other {number}", bytes(number * CHUNK), chunk_size=CHUNK)

    backend = await store._source()
    searched = 0
    for step in range(1, 20):
        info = await store.put("one", slowly(), chunk_size=CHUNK)
        left = step

        async def permit(what: str) -> None:
            nonlocal left
            left -= what == "messages"
            if left == 0 and what == "messages":
                await store.delete("one")

        slow = ObjectStore.on(Gated(backend, permit))
        try:
            part = await slow.get_range(info, 20 * CHUNK, 21 * CHUNK)
        except ObjectChangedError:
            searched = step
        else:
            # The search was over before that step.
            assert part == bytes([20]) * CHUNK
            break
    assert searched >= 4


async def test_many_large_reads_at_once_do_not_make_the_server_drop_the_connection(
    store: ObjectStore, nats_client: Client
) -> None:
    # 320 MiB; a server drops a client for which 64 MiB wait.
    data = random.Random(5).randbytes(8 * 1024 * 1024)
    await store.put("large", data)
    single = data[: 1024 * 1024]
    await store.put("one chunk", single, chunk_size=len(single))

    large = await asyncio.gather(*(store.get("large") for _ in range(40)))
    assert all(one == data for one in large)
    del large
    chunks = await asyncio.gather(*(store.get("one chunk") for _ in range(200)))
    assert all(one == single for one in chunks)
    assert nats_client.stats["reconnects"] == 0


async def test_a_range_of_a_large_object_transfers_only_the_chunks_it_needs(
    store: ObjectStore, nats_client: Client
) -> None:
    chunk = 128 * 1024
    await store.put("one", bytes(LARGE), chunk_size=chunk)
    before = nats_client.stats["in_bytes"]

    part = await store.get_range("one", 10 * chunk + 5, 11 * chunk + 5)

    assert part == bytes(chunk)
    # Two that hold it, and the last one.
    assert nats_client.stats["in_bytes"] - before < 4 * chunk


async def test_a_bucket_without_direct_gets_works_in_every_method(
    nats_client: Client, bucket_name: str
) -> None:
    config = stream_config(ObjectStoreConfig(bucket=bucket_name)) | {"allow_direct": False}
    await api(nats_client, f"STREAM.CREATE.OBJ_{bucket_name}", config)
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await server.open(bucket_name))

    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    assert (await store.get_info("one")).nuid == info.nuid
    assert await store.get("one") == CONTENT
    assert await store.get_range("one", 500, 1600) == CONTENT[500:1600]
    await store.put("one", b"small")
    assert await store.get("one") == b"small"
    await store.update_meta("one", ObjectMeta(description="d"))
    await store.rename("one", "two")
    assert [one.name for one in await store.list()] == ["two"]
    assert await store.delete("two") is True
    assert (await facts(nats_client, store.bucket)).contents == {}


async def test_direct_gets_switched_off_while_a_store_is_in_use_are_done_without(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("one", CONTENT, chunk_size=CHUNK)
    info = await api(nats_client, f"STREAM.INFO.OBJ_{store.bucket}")
    await api(
        nats_client,
        f"STREAM.UPDATE.OBJ_{store.bucket}",
        info["config"] | {"allow_direct": False},
    )

    assert await store.get("one") == CONTENT
    await store.put("one", b"small")
    assert await store.get("one") == b"small"


async def test_the_bytes_of_a_raw_object_are_what_the_stream_holds(
    store: ObjectStore, nats_client: Client
) -> None:
    info = await store.put("one", CONTENT, chunk_size=CHUNK)
    subject = chunk_subject(store.bucket, info.nuid)
    assert await messages(nats_client, store.bucket, subject) == [
        b"A" * 512,
        b"B" * 512,
        b"C" * 512,
        b"D" * 100,
    ]
    assert info.digest == f"SHA-256={SHA256}"
