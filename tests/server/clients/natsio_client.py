"""natsio's object store, driven over standard input and output; Python 3.13."""

import asyncio
import base64
import json
import sys
from typing import Any

import natsio  # type: ignore[import-not-found]
from natsio.objectstore import (  # type: ignore[import-not-found]
    ObjectMeta,
    ObjectStoreConfig,
)


async def act(js: Any, op: str, bucket: str, a: dict[str, Any]) -> Any:
    if op == "create":
        await js.create_object_store(ObjectStoreConfig(bucket=bucket))
        return None
    store = await js.object_store(bucket)
    if op == "put":
        meta = ObjectMeta(
            name=a["name"],
            description=a.get("description"),
            headers=a.get("headers"),
            metadata=a.get("metadata"),
            chunk_size=a.get("chunk_size"),
        )
        await store.put(meta, base64.b64decode(a["data"]))
    elif op == "get":
        return base64.b64encode(await store.get_bytes(a["name"])).decode()
    elif op == "info":
        info = await store.info(a["name"])
        link = info.options.link if info.options else None
        return {
            "size": info.size,
            "chunks": info.chunks,
            "digest": info.digest,
            "description": info.description,
            "headers": info.headers,
            "metadata": info.metadata,
            "link": [link.bucket, link.name] if link else None,
        }
    elif op == "list":
        return sorted(info.name for info in await store.list())
    elif op == "watch":
        return await asyncio.wait_for(watch(store, a["until"]), 5)
    elif op == "delete":
        await store.delete(a["name"])
    elif op == "rename":
        await store.update_meta(a["name"], ObjectMeta(name=a["to"]))
    elif op == "describe":
        await store.update_meta(
            a["name"], ObjectMeta(name=a["name"], description=a["description"])
        )
    elif op == "link":
        await store.add_link(a["name"], await store.info(a["target"]))
    elif op == "link_bucket":
        await store.add_bucket_link(a["name"], a["other"])
    else:
        raise NotImplementedError(op)
    return None


async def watch(store: Any, until: str) -> list[list[Any]]:
    seen: list[list[Any]] = []
    async with store.watch() as watcher:
        async for info in watcher:
            if info is not None:
                seen.append([info.name, bool(info.deleted)])
                if info.name == until:
                    break
    return seen


async def main(url: str) -> None:
    client = await natsio.connect(url)
    js = client.jetstream()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = {"ok": await act(js, request.pop("op"), request.pop("bucket"), request)}
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await client.close()


asyncio.run(main(sys.argv[1]))
