"""Downloads over HTTP: an object's, and a file's of the same content."""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import nats
import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from benchmarks.drivers.protocol import Driver, serve
from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi

# A client in a process of its own, which does nothing but take what comes.
_CLIENT = """\
import http.client, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
buffer, size = bytearray(1 << 20), 0
for measured in (False, True):
    began = time.perf_counter()
    connection.request("GET", sys.argv[2])
    response = connection.getresponse()
    while count := response.readinto(buffer):
        size += count
print(time.perf_counter() - began, size // 2)
"""


class Http(Driver):
    """A service of its own for each request."""

    packages = ("faststream-objstore", "starlette", "uvicorn")

    async def connect(self, url: str) -> None:
        """Connect."""
        self._client = await nats.connect(url)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def do_download(self, bucket: str, size: int) -> dict[str, Any]:
        """Seconds of a download of the object, and of the file."""
        store = await ObjectStore.bind(self._client, bucket)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            file.write_bytes(bytes(size))
            await store.put("object", file)
            app = Starlette(routes=[Route("/file", lambda _: FileResponse(file))])
            app.mount("/bucket", make_bucket_asgi(store))
            listening = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
            serving = asyncio.create_task(server.serve([listening]))
            port = listening.getsockname()[1]
            try:
                return {
                    "object": await _seconds(port, "/bucket/object", size),
                    "file": await _seconds(port, "/file", size),
                }
            finally:
                server.should_exit = True
                await serving


async def _seconds(port: int, path: str, size: int) -> float:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLIENT, str(port), path, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await client.communicate()
    seconds, received = told.split()
    if int(received) != size:
        msg = f"{received!r} of {size} bytes"
        raise RuntimeError(msg)
    return float(seconds)


if __name__ == "__main__":
    serve(Http())
