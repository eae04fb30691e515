"""nats-py's object store, driven over standard input and output."""

import asyncio
import base64
import json
import sys
from typing import Any

import nats
from nats.js.api import ObjectMeta, ObjectMetaOptions
from nats.js.errors import NotFoundError


async def act(js: Any, op: str, bucket: str, a: dict[str, Any]) -> Any:
    if op == "create":
        await js.create_object_store(bucket)
        return None
    store = await js.object_store(bucket)
    if op == "put":
        meta = ObjectMeta(description=a.get("description"), headers=a.get("headers"))
        if a.get("chunk_size"):
            meta.options = ObjectMetaOptions(max_chunk_size=a["chunk_size"])
        await store.put(a["name"], base64.b64decode(a["data"]), meta=meta)
    elif op == "get":
        return base64.b64encode((await store.get(a["name"])).data).decode()
    elif op == "info":
        info = await store.get_info(a["name"])
        link = info.options.link if info.options else None
        return {
            "size": info.size,
            "chunks": info.chunks,
            "digest": info.digest,
            "description": info.description,
            "headers": info.headers,
            "metadata": None,
            "link": [link.bucket, link.name] if link else None,
        }
    elif op == "list":
        try:
            return sorted(info.name for info in await store.list(ignore_deletes=True))
        except NotFoundError:
            return []
    elif op == "watch":
        seen: list[list[Any]] = []
        watcher = await store.watch()
        while not seen or seen[-1][0] != a["until"]:
            info = await watcher.updates(timeout=4)
            if info is not None:
                seen.append([info.name, bool(info.deleted)])
        await watcher.stop()
        return seen
    elif op == "delete":
        await store.delete(a["name"])
    elif op == "describe":
        await store.update_meta(
            a["name"], ObjectMeta(name=a["name"], description=a["description"])
        )
    else:
        raise NotImplementedError(op)
    return None


async def main(url: str) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            # It has calls that never end, such as a list whose last entry is deleted.
            work = act(js, request.pop("op"), request.pop("bucket"), request)
            answer = {"ok": await asyncio.wait_for(work, 5)}
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await client.close()


asyncio.run(main(sys.argv[1]))
