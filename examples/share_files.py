"""Files with FastAPI: uploads, downloads, conditional overwrites, and links to share.

    NATS_URL=nats://127.0.0.1:4222 uvicorn examples.share_files:api

    curl -H 'X-User: ann' -T poem.txt http://127.0.0.1:8000/files/ann/poem.txt
    curl -H 'X-User: ann' -T new.txt -H 'If-Match: "<its ETag>"' \
        http://127.0.0.1:8000/files/ann/poem.txt
    curl -H 'X-User: ann' -X POST http://127.0.0.1:8000/share/ann/poem.txt
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI, HTTPException, Request
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets
from faststream_objstore.http import SignedLinks, make_bucket_asgi, mount

files = Bucket("files")
broker = NatsBroker(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")
buckets = Buckets(broker, files)
links = SignedLinks(
    os.environ.get("LINK_KEY") or secrets.token_hex(32),
    base_url=os.environ.get("SHARED_URL") or "http://127.0.0.1:8000/shared/",
)


def is_own(request: Request, name: str, _method: str) -> bool:
    """Everyone has a folder. In practice, the user comes from a session or a token."""
    return name.startswith(request.headers.get("X-User", "nobody") + "/")


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    async with broker:
        yield


api = FastAPI(title="Files", lifespan=connected)
writable = ("GET", "HEAD", "PUT", "DELETE")
own = make_bucket_asgi(files, methods=writable, authorize=is_own, listing=True)
mount(api, "/files", own)
mount(api, "/shared", make_bucket_asgi(files, links=links))


@api.post("/share/{name:path}")
async def share(name: str, request: Request) -> str:
    if not is_own(request, name, "GET"):
        raise HTTPException(403)
    return links.sign(name, expires=timedelta(hours=1))
