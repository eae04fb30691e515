"""A service as nats-py's users write it, after the calls of its object store's guide.

It knows nothing of this project: `serve` gets a store, nats-py's or ours.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats.errors
from nats.js.api import ObjectMeta, ObjectMetaOptions
from nats.js.errors import (
    APIError,
    BadObjectMetaError,
    LinkIsABucketError,
    NotFoundError,
    ObjectDeletedError,
    ObjectNotFoundError,
)


async def put_and_get(store: Any, folder: Path) -> dict[str, Any]:
    info = await store.put("text", "caf\u00e9")
    meta = ObjectMeta(
        description="a report",
        headers={"Content-Type": "text/plain"},
        options=ObjectMetaOptions(max_chunk_size=1024),
    )
    report = await store.put("report", b"line\n" * 1000, meta=meta)
    # The name may stand in the meta alone.
    named = await store.put("", b"1", meta=ObjectMeta(name="named"))

    path = folder / "source"
    path.write_bytes(b"from a file" * 1000)
    with path.open("rb") as file:
        from_file = await store.put("file", file)
    from_memory = await store.put("memory", io.BytesIO(b"from memory"))

    result = await store.get("report")
    return {
        "text": (info.name, info.size, info.chunks),
        "report": (report.name, report.size, report.chunks, report.description),
        "digest": report.digest,
        "chunk size": report.options.max_chunk_size,
        "named": named.name,
        "file": (from_file.size, from_file.chunks),
        "memory": from_memory.size,
        "data": result.data,
        "info": (result.info.name, result.info.size, result.info.nuid == report.nuid),
        "deleted": result.info.deleted,
        "link": result.info.is_link(),
    }


async def write_into(store: Any, folder: Path) -> dict[str, Any]:
    content = bytes(range(256)) * 2000
    await store.put("large", content)
    memory = io.BytesIO()
    await store.get("large", writeinto=memory)
    path = folder / "target"
    with path.open("wb") as file:
        result = await store.get("large", writeinto=file)
    # And positionally, as its tests do.
    again = io.BytesIO()
    await store.get("large", again)
    return {
        "memory": memory.getvalue() == content,
        "file": path.read_bytes() == content,
        "again": again.getvalue() == content,
        "info": result.info.size,
        "data": result.data,
    }


async def missing(store: Any, folder: Path) -> dict[str, Any]:
    caught = []
    for call in (store.get, store.get_info, store.delete):
        try:
            await call("nothing")
        except ObjectNotFoundError as error:
            caught.append(isinstance(error, NotFoundError))
    return {"caught": caught}


async def watch(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("a", b"1")
    await store.put("b", b"2")
    watcher = await store.watch()
    seen = []
    for _ in range(3):
        info = await watcher.updates()
        seen.append(info.name if info else None)

    await store.put("c", b"3")
    info = await watcher.updates(timeout=5)
    seen.append((info.name, info.deleted))
    await store.delete("a")
    info = await watcher.updates(timeout=5)
    seen.append((info.name, info.deleted))

    try:
        await watcher.updates(timeout=0.05)
    except nats.errors.TimeoutError:
        seen.append("timeout")
    await watcher.stop()
    return {"seen": seen}


async def watch_by_iteration(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("a", b"1")
    watcher = await store.watch()
    names = []
    async for info in watcher:
        if info is None:
            break
        names.append(info.name)
    await watcher.stop()

    only_new = await store.watch(updates_only=True)
    await store.put("b", b"2")
    first = await only_new.updates()
    await only_new.stop()

    live = await store.watch(ignore_deletes=True)
    await live.updates()
    await live.updates()
    await live.updates()
    await store.delete("a")
    await store.put("c", b"3")
    after = await live.updates()
    await live.stop()
    return {"names": names, "new": first.name, "after the delete": after.name}


async def list_all(store: Any, folder: Path) -> dict[str, Any]:
    for name in ("b", "a", "c"):
        await store.put(name, name)
    infos = await store.list()
    live = await store.list(ignore_deletes=True)
    return {
        "names": sorted(info.name for info in infos),
        "live": sorted(info.name for info in live),
        "sizes": [info.size for info in infos],
    }


async def update(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("one", b"content", meta=ObjectMeta(description="old"))
    await store.update_meta(
        "one", ObjectMeta(name="one", description="new", headers={"k": ["v"]})
    )
    info = await store.get_info("one")
    return {
        "description": info.description,
        "headers": info.headers,
        "data": (await store.get("one")).data,
    }


async def rename(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("one", b"content")
    await store.update_meta("one", ObjectMeta(name="two", description="moved"))
    return {
        "data": (await store.get("two")).data,
        "names": [info.name for info in await store.list()],
    }


async def delete(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("one", b"content")
    await store.put("two", b"content")
    await store.delete("one")
    caught = ""
    try:
        await store.get("one")
    except ObjectNotFoundError:
        caught = "not found"
    marker = await store.get_info("one", show_deleted=True)
    caught_meta = ""
    try:
        await store.update_meta("one", ObjectMeta(name="one"))
    except ObjectDeletedError:
        caught_meta = "deleted"
    await store.put("one", b"again")
    return {
        "caught": caught,
        "caught by update_meta": caught_meta,
        "marker": (marker.deleted, marker.size, marker.chunks),
        "again": (await store.get("one")).data,
    }


async def list_after_delete(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("one", b"content")
    await store.put("two", b"content")
    await store.delete("two")
    infos = await store.list(ignore_deletes=True)
    return {"live": [info.name for info in infos]}


async def status_and_seal(store: Any, folder: Path) -> dict[str, Any]:
    await store.put("one", b"content")
    before = await store.status()
    await store.seal()
    after = await store.status()
    refused = False
    try:
        await store.put("two", b"content")
    except APIError:
        refused = True
    return {
        "bucket": before.bucket == after.bucket,
        "description": before.description,
        "storage": before.storage_type,
        "replicas": before.replicas,
        "size": before.size > len(b"content"),
        "sealed": (before.sealed, after.sealed),
        "refused": refused,
        "data": (await store.get("one")).data,
    }


async def bad_metadata(store: Any, publish: Callable[[str], Awaitable[Any]]) -> bool:
    await publish("bad")
    try:
        await store.get("bad")
    except BadObjectMetaError:
        return True
    return False


async def bucket_link(store: Any) -> bool:
    try:
        await store.get("link")
    except LinkIsABucketError:
        return True
    return False


async def many(store: Any, folder: Path) -> dict[str, Any]:
    names = [f"object {number}" for number in range(20)]
    await asyncio.gather(*(store.put(name, name) for name in names))
    results = await asyncio.gather(*(store.get(name) for name in names))
    return {"data": [result.data.decode() for result in results] == names}


GUIDE = [
    put_and_get,
    write_into,
    missing,
    watch,
    watch_by_iteration,
    list_all,
    update,
    rename,
    delete,
    list_after_delete,
    status_and_seal,
    many,
]
