"""A bucket over HTTP in a process of its own: `python -m tests.http.service URL BUCKET`."""

import asyncio
import socket
import sys

import nats
import uvicorn

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi


async def main(url: str, bucket: str) -> None:
    async with await nats.connect(url) as client:
        app = make_bucket_asgi(await ObjectStore.bind(client, bucket))
        listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        config = uvicorn.Config(app, log_level="critical", lifespan="off")
        print(listening.getsockname()[1], flush=True)
        await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
