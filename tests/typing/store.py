"""What each call on a bucket's handle takes and gives."""

import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import nats.js.api
from typing_extensions import assert_type

from faststream_objstore import (
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectReader,
    ObjectStore,
    ObjectStoreStatus,
    ObjectWatcher,
)


async def pieces() -> AsyncIterator[bytes]:
    yield b"piece"


def lines() -> Iterator[bytes]:
    yield b"line"


def on_progress(done: int, total: int | None) -> None: ...


async def on_progress_async(done: int, total: int | None) -> None: ...


async def writes(store: ObjectStore, old: ObjectInfo, file: BinaryIO) -> None:
    assert_type(store.bucket, str)
    assert_type(await store.put("one", b"bytes"), ObjectInfo)
    assert_type(await store.put("one", bytearray(1)), ObjectInfo)
    assert_type(await store.put("one", memoryview(b"1")), ObjectInfo)
    assert_type(await store.put("one", "text"), ObjectInfo)
    assert_type(await store.put("one", Path("file")), ObjectInfo)
    assert_type(await store.put("one", file), ObjectInfo)
    assert_type(await store.put("one", io.BytesIO(b"")), ObjectInfo)
    assert_type(await store.put("one", pieces()), ObjectInfo)
    assert_type(await store.put("one", lines()), ObjectInfo)
    assert_type(await store.put("one", [b"a", b"b"]), ObjectInfo)
    assert_type(
        await store.put(
            "one",
            b"",
            ObjectMeta(description="of one", options=ObjectMetaOptions(max_chunk_size=1024)),
            description="text",
            filename="one.txt",
            headers={"Content-Type": "text/plain", "Accept": ["a", "b"]},
            metadata={"key": "value"},
            chunk_size=1024,
            mode="create",
            progress=on_progress,
        ),
        ObjectInfo,
    )
    assert_type(await store.put("one", b"", nats.js.api.ObjectMeta(name="one")), ObjectInfo)
    assert_type(await store.put("one", b"", mode=7, progress=on_progress_async), ObjectInfo)
    assert_type(await store.put("one", b"", mode=old), ObjectInfo)
    assert_type(await store.put_file("one", "file"), ObjectInfo)
    assert_type(
        await store.put_file("one", Path("file"), mode="create", metadata={"a": "b"}),
        ObjectInfo,
    )
    assert_type(await store.update_meta("one", ObjectMeta(description="new")), ObjectInfo)
    assert_type(await store.rename("one", "two"), ObjectInfo)
    assert_type(await store.copy("one", "two"), ObjectInfo)
    assert_type(await store.copy("one", "two", "other"), ObjectInfo)
    assert_type(await store.add_link("link", "one"), ObjectInfo)
    assert_type(await store.add_link("link", old), ObjectInfo)
    assert_type(await store.add_bucket_link("link", "other"), ObjectInfo)
    assert_type(await store.add_bucket_link("link", store), ObjectInfo)
    assert_type(await store.delete("one"), bool)
    assert_type(await store.seal(), bool)
    assert_type(await store.sweep(), int)
    assert_type(await store.sweep(timedelta(days=1)), int)
    assert_type(
        await store.sweep(markers_older_than=timedelta(days=7), purge_nameless=True), int
    )
    assert_type(await store.status(count=False), ObjectStoreStatus)


async def reads(store: ObjectStore, old: ObjectInfo, file: BinaryIO) -> None:
    data = await store.get("one", max_size=10, progress=on_progress)
    assert_type(data, ObjectData)
    assert_type(data.info, ObjectInfo)
    assert_type(data.data, bytes)
    content: bytes = data
    assert_type(content.decode(), str)
    assert_type(await store.get(old), ObjectData)
    assert_type(await store.get("one", file), ObjectData)
    assert_type(await store.get("one", writeinto=io.BytesIO(), show_deleted=True), ObjectData)
    assert_type(await store.get_range("one", 0, 10), bytes)
    assert_type(await store.get_file("one", "file"), ObjectInfo)
    assert_type(await store.get_file(old, Path("file"), progress=on_progress), ObjectInfo)
    assert_type(await store.get_info("one"), ObjectInfo)
    assert_type(await store.get_info("one", show_deleted=True), ObjectInfo)
    assert_type(await store.exists("one"), bool)

    assert_type(store.open("one"), ObjectReader)
    async with store.open(old, max_size=10) as reader:
        assert_type(reader, ObjectReader)
        assert_type(reader.info, ObjectInfo)
        assert_type(await reader.read(), bytes)
        assert_type(await reader.read(10), bytes)
        async for piece in reader:
            assert_type(piece, bytes)


async def surveys(store: ObjectStore) -> None:
    assert_type(await store.list(), list[ObjectInfo])
    assert_type(
        await store.list(prefix="a/", pattern="*.png", include_deleted=True), list[ObjectInfo]
    )
    assert_type(store.iter(prefix="a/"), AsyncGenerator[ObjectInfo, None])
    async for info in store.iter():
        assert_type(info, ObjectInfo)

    status = await store.status()
    assert_type(status, ObjectStoreStatus)
    assert_type(status.bucket, str)
    assert_type(status.size, int)
    assert_type(status.count, int | None)
    assert_type(status.ttl, timedelta | None)
    assert_type(status.sealed, bool)


async def watches(store: ObjectStore) -> None:
    async for info in store.watch():
        assert_type(info, ObjectInfo)
    async with store.watch(updates_only=True, ignore_deletes=True) as watcher:
        assert_type(watcher, ObjectWatcher)
        assert_type(await watcher.updates(), ObjectInfo | None)
        assert_type(await watcher.updates(timeout=None), ObjectInfo | None)
        assert_type(watcher.synced.is_set(), bool)
        async for info in watcher:
            assert_type(info, ObjectInfo)
    awaited = await store.watch(include_history=True)
    assert_type(awaited, ObjectWatcher)
    await awaited.stop()


def values(info: ObjectInfo) -> None:
    assert_type(info.name, str)
    assert_type(info.bucket, str)
    assert_type(info.size, int)
    assert_type(info.chunks, int)
    assert_type(info.digest, str | None)
    assert_type(info.deleted, bool)
    assert_type(info.description, str | None)
    assert_type(info.headers, dict[str, list[str]] | None)
    assert_type(info.metadata, dict[str, str] | None)
    assert_type(info.options, ObjectMetaOptions | None)
    assert_type(info.link, ObjectLink | None)
    assert_type(info.is_link(), bool)
    assert_type(info.meta, ObjectMeta)
    assert_type(info.revision, int)
    assert_type(info.mtime, datetime | None)


async def wrong_calls(store: ObjectStore, old: ObjectInfo, text: io.StringIO) -> None:
    await store.put("one", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put("one", ["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await store.put("one")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.put("one", b"", mode="append")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put("one", b"", chunk_size="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put("one", b"", metadata={"key": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await store.put("one", b"", ttl="1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put(old, b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put_file("one", b"content")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.put_file("one", "file", ttl="1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.get(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.get("one", text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.get_range("one", 0, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.get_info(old)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.sweep("1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.list("a/")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    with store.open("one"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    list(store.watch())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    old.size = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
