"""The service whose console the browser looks at."""

import asyncio
import logging
import socket
import sys

import uvicorn
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from starlette.requests import Request

from faststream_objstore import Bucket, Buckets, Mirror, Retry
from faststream_objstore.http import make_console_asgi, mount
from faststream_objstore.models import ObjectInfo

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10">'
    b'<rect width="9" height="9"/></svg>'
)


async def main(url: str, name: str, writable: bool) -> None:
    files = Bucket(name, max_bytes=10_000_000)
    notes = Bucket(f"{name}-notes", description="What people wrote")
    copy = Bucket(f"{name}-copy", mirror=Mirror(name))
    broker = NatsBroker(url, logger=logging.getLogger("console_service"))
    buckets = Buckets(broker, files, notes, copy)

    @files.on_put(durable="worker", retry=Retry(9, delays=(300,)))
    async def work(info: ObjectInfo) -> None:
        if info.name.startswith("bad"):
            raise ValueError(info.name)

    def authorize(request: Request) -> bool:
        return request.headers.get("X-Refused") is None

    app = AsgiFastStream(broker)
    mount(app, "/console", make_console_asgi(buckets, authorize=authorize, writable=writable))

    @app.after_startup
    async def fill() -> None:
        store = await buckets.open(files)
        await store.put("a/picture.svg", SVG, headers={"Content-Type": "image/svg+xml"})
        await store.put("a/deep/er/text.txt", "<b>plain</b>")
        await store.put("a/data.json", '{"answer":42}')
        await store.put("a/clip.mp4", b"no video")
        await store.put("a/unknown", b"\0\1")
        await store.put("b/<img src=x onerror=alert(1)>.txt", "x")
        await store.put("long.txt", "x" * 100_000)
        for number in range(250):
            await store.put(f"many/{number:04}", b"")
        await (await buckets.open(notes)).put(".", "dot")
        print("filled", flush=True)

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/console/", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "writable"))
