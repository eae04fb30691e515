"""natsrpy's object store (async-nats, Rust), driven over standard input and output."""

import asyncio
import base64
import io
import json
import sys
from typing import Any

from natsrpy import Nats  # type: ignore[import-not-found]
from natsrpy.js import ObjectStoreConfig  # type: ignore[import-not-found]


async def act(stores: Any, op: str, bucket: str, a: dict[str, Any]) -> Any:
    if op == "create":
        await stores.create(ObjectStoreConfig(bucket))
        return None
    store = await stores.get(bucket)
    if op == "put":
        await store.put(
            a["name"],
            base64.b64decode(a["data"]),
            chunk_size=a.get("chunk_size") or 128 * 1024,
            description=a.get("description"),
            headers=a.get("headers"),
            metadata=a.get("metadata"),
        )
    elif op == "get":
        file = io.BytesIO()
        await store.get(a["name"], file)
        return base64.b64encode(file.getvalue()).decode()
    elif op == "info":
        info = await store.get_info(a["name"])
        return {
            "size": info.size,
            "chunks": info.chunks,
            "digest": info.digest,
            "description": info.description,
            "headers": info.headers,
            "metadata": info.metadata,
            "link": [info.link.bucket, info.link.name] if info.link else None,
        }
    elif op == "list":
        return sorted([info.name async for info in await store.list()])
    elif op == "watch":
        return await asyncio.wait_for(watch(store, a["until"]), 5)
    elif op == "delete":
        await store.delete(a["name"])
    elif op == "rename":
        await store.update_metadata(a["name"], new_name=a["to"])
    elif op == "describe":
        await store.update_metadata(a["name"], description=a["description"])
    elif op == "link":
        await store.link_object(a["target"], a["name"])
    elif op == "link_bucket":
        await store.link_bucket(a["other"], a["name"])
    else:
        raise NotImplementedError(op)
    return None


async def watch(store: Any, until: str) -> list[list[Any]]:
    seen: list[list[Any]] = []
    async for info in await store.watch():
        seen.append([info.name, bool(info.deleted)])
        if info.name == until:
            break
    return seen


async def main(url: str) -> None:
    client = Nats(addrs=[url])
    await client.startup()
    stores = (await client.jetstream()).object_store
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = {
                "ok": await act(stores, request.pop("op"), request.pop("bucket"), request)
            }
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await client.shutdown()


asyncio.run(main(sys.argv[1]))
