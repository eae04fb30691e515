"""Files over HTTP: FastAPI's routes and FastStream's handlers on the same buckets.

    python examples/fastapi_app.py

serves it on a free port, uploads, downloads and deletes a file, and exits. With `NATS_URL`
set it uses that server, otherwise one of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 uvicorn examples.fastapi_app:app

starts the same file as a service:

    curl -T poem.txt http://127.0.0.1:8000/files/ann/poem.txt
    curl http://127.0.0.1:8000/files/ann/poem.txt
    curl http://127.0.0.1:8000/reports/ann/poem.txt

It needs `pip install faststream-fastapi uvicorn`, with FastAPI 0.118 or newer.
"""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import Request as HTTPRequest
from urllib.request import urlopen

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from faststream.nats import NatsBroker, NatsRouter
from faststream_fastapi import FastStreamAPI
from pydantic import BaseModel

from faststream_objstore import (
    Bucket,
    Buckets,
    FromBucket,
    ObjectInfo,
    ObjectStore,
    ObjStoreError,
)
from faststream_objstore.http import DownloadResponse, problem_response, save_upload
from faststream_objstore.testing import NatsServer

files = Bucket("files", description="What was uploaded")
reports = Bucket("reports", description="One JSON report on each file")


class Report(BaseModel):
    name: str
    size: int
    words: int


# A change handler is FastStream's, with FastStream's parameters: `FromBucket`.
@files.on_put(durable="reporter", max_workers=4)
async def report_on(
    file: ObjectInfo,
    source: Annotated[ObjectStore, FromBucket(files)],
    target: Annotated[ObjectStore, FromBucket(reports)],
) -> None:
    words = len((await source.get(file)).split())
    report = Report(name=file.name, size=file.size, words=words)
    await target.put(file.name, report.model_dump_json())


def store_of(bucket: Bucket) -> Any:
    async def store(request: Request) -> ObjectStore:
        buckets: Buckets = request.app.state.buckets
        return await buckets.open(bucket)

    return Depends(store)


# Routes are FastAPI's, with its `Depends`; so are the broker's own subscribers here.
Files = Annotated[ObjectStore, store_of(files)]
Reports = Annotated[ObjectStore, store_of(reports)]

routes = APIRouter()
messages = NatsRouter()


@routes.put("/files/{name:path}", status_code=201)
async def upload(name: str, request: Request, store: Files) -> dict[str, int]:
    """Store the body; an upload that is interrupted changes nothing."""
    info = await save_upload(request, store, name, max_size=1024**3)
    return {"size": info.size, "revision": info.revision}


@routes.get("/files/{name:path}")
async def download(name: str, store: Files) -> DownloadResponse:
    """Send one version of a file, or the parts that are asked for."""
    return DownloadResponse(store, name)


@routes.get("/files")
async def names(store: Files, prefix: str = "") -> list[str]:
    return [info.name for info in await store.list(prefix=prefix)]


@routes.delete("/files/{name:path}", status_code=204)
async def delete(name: str, store: Files) -> None:
    await store.delete(name)


@routes.get("/reports/{name:path}")
async def report(name: str, store: Reports) -> Report:
    return Report.model_validate_json(await store.get(name))


@messages.subscriber("files.size")
async def size(name: str, store: Files) -> int:
    """Answer a request over NATS."""
    return (await store.get_info(name)).size


def build(url: str) -> tuple[FastStreamAPI, NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None, routers=[messages])
    buckets = Buckets(broker, files, reports)
    api = FastAPI(title="Files")
    api.state.buckets = buckets
    api.include_router(routes)
    api.add_exception_handler(ObjStoreError, problem_response)
    # Without `safe_connection` it would start without its buckets, with only a warning.
    return FastStreamAPI(broker, application=api, safe_connection=True), broker, buckets


app, broker, buckets = build(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")


# The rest is the demonstration, which acts as the clients of the service.


async def ask(url: str, method: str = "GET", body: bytes | None = None) -> str:
    """The status and the body of the response."""

    def send() -> str:
        request = HTTPRequest(url, method=method, data=body)  # noqa: S310
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                return f"{answer.status} {answer.read().decode()}".strip()
        except HTTPError as error:
            with error:
                return f"{error.code} {error.read().decode()}"

    return await asyncio.to_thread(send)


async def show(base: str, buckets: Buckets) -> None:
    """Use the service at this address, and print its responses."""
    poem = f"{base}/files/ann/poem.txt"
    reported = await buckets.open(reports)
    async with reported.watch(updates_only=True) as changes:
        print("upload  ", await ask(poem, "PUT", b"so much depends upon\n" * 100_000))
        info = await changes.updates(timeout=30)
        assert info is not None
        print("reported", await ask(f"{base}/reports/{info.name}"))
    print("download", (await ask(poem))[:24])
    print("names   ", await ask(f"{base}/files?prefix=ann/"))
    print("delete  ", await ask(poem, "DELETE"))
    print("download", await ask(poem))


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        app, _, buckets = build(url)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if server.started:
            await show(f"http://127.0.0.1:{listener.getsockname()[1]}", buckets)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
