"""What the browser asks for."""

import hashlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from faststream.asgi import AsgiResponse, HttpHandler, Request, get
from faststream.asgi.types import ASGIApp

from faststream_objstore import ObjectInfo, ObjectStore

from .images import FORMATS
from .thumbnails import LARGEST_PHOTO, Photos, Thumbs, live, tile
from .web import (
    FAILURES,
    HEADERS,
    UPLOADED,
    HttpError,
    Stream,
    answer_to,
    at_most,
    disposition,
    etag_of,
    is_unchanged,
    json_response,
    name_in,
    range_in,
    too_large,
)

WINDOW = 1024 * 1024
"""Bytes of a range that are in memory at a time."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def static(name: str, kind: str) -> HttpHandler:
    """A file of the page."""
    content = (Path(__file__).parent / "static" / name).read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        **HEADERS,
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Security-Policy": PAGE_POLICY,
        "Cache-Control": "no-cache",
        "ETag": etag,
    }

    @get(include_in_schema=False)
    async def serve(_scope: Any, request: Request) -> AsgiResponse:
        if is_unchanged(request.headers, etag):
            return AsgiResponse(b"", HTTPStatus.NOT_MODIFIED, headers)
        return AsgiResponse(content, HTTPStatus.OK, headers)

    return serve


async def all_tiles(_scope: Any, store: Thumbs) -> ASGIApp:
    """All tiles of the grid, as JSON."""
    try:
        tiles = [tile(thumb) for thumb in await store.list()]
    except FAILURES as error:
        return answer_to(error)
    return json_response({"tiles": tiles, "largest": LARGEST_PHOTO})


async def events(_scope: Any) -> ASGIApp:
    """Each change of the grid, as a server-sent event."""
    headers = {**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    return await Stream.begin(HTTPStatus.OK, headers, live.stream())


async def thumb(scope: Any, request: Request, store: Thumbs) -> ASGIApp:
    """The thumbnail of a photo."""
    try:
        content = await store.get(name_in(scope))
        if not content:
            raise HttpError(HTTPStatus.NOT_FOUND, "There is no thumbnail of it.")
    except FAILURES as error:
        return answer_to(error)
    # The page asks with the revision in the query, so what is cached is never out of date.
    headers = {
        **UPLOADED,
        "Content-Type": "image/webp",
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": etag_of(content.info) or '""',
    }
    if is_unchanged(request.headers, etag_of(content.info)):
        return AsgiResponse(b"", HTTPStatus.NOT_MODIFIED, headers)
    return AsgiResponse(content, HTTPStatus.OK, headers)


async def photo(scope: Any, request: Request, store: Photos) -> ASGIApp:
    """A photo: download, upload, delete."""
    try:
        name = name_in(scope)
        if request.method == "PUT":
            return await upload(name, request, store)
        if request.method == "DELETE":
            return await delete(name, store)
        return await download(name, request, store)
    except FAILURES as error:
        return answer_to(error)


def kind_of(claimed: str) -> str:
    return claimed if claimed in FORMATS.values() else "application/octet-stream"


async def upload(name: str, request: Request, store: ObjectStore) -> ASGIApp:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST_PHOTO:
        raise too_large(LARGEST_PHOTO)
    info = await store.put(
        name,
        # Straight from the connection into the bucket, in constant memory. If it breaks
        # off, nothing is stored.
        at_most(request.stream(), LARGEST_PHOTO),
        headers={"Content-Type": kind_of(request.headers.get("content-type", ""))},
    )
    return json_response({"name": name, "photo": info.revision}, HTTPStatus.CREATED)


async def delete(name: str, store: ObjectStore) -> ASGIApp:
    if not await store.delete(name):
        raise HttpError(HTTPStatus.NOT_FOUND, "It was deleted before.")
    return AsgiResponse(b"", HTTPStatus.NO_CONTENT, HEADERS)


async def download(name: str, request: Request, store: ObjectStore) -> ASGIApp:
    info = await store.get_info(name)
    if info.is_link():
        raise HttpError(HTTPStatus.NOT_FOUND, "It is a link, not a photo.")
    headers = {
        **UPLOADED,
        "Content-Type": kind_of(((info.headers or {}).get("Content-Type") or [""])[0]),
        "Content-Disposition": disposition(name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }
    if etag := etag_of(info):
        headers["ETag"] = etag
    if is_unchanged(request.headers, etag):
        return AsgiResponse(b"", HTTPStatus.NOT_MODIFIED, headers)
    # Only GET has ranges (RFC 9110, section 14.2).
    wanted = range_in(request.headers, info) if request.method == "GET" else None
    if wanted is None:
        headers["Content-Length"] = str(info.size)
        if request.method == "HEAD":
            return AsgiResponse(b"", HTTPStatus.OK, headers)
        return await Stream.begin(HTTPStatus.OK, headers, whole(info, store))
    start, stop = wanted
    headers["Content-Length"] = str(stop - start)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.size}"
    return await Stream.begin(
        HTTPStatus.PARTIAL_CONTENT, headers, part(info, store, start, stop)
    )


async def whole(info: ObjectInfo, store: ObjectStore) -> AsyncGenerator[bytes, None]:
    async with store.open(info) as reader:
        async for piece in reader:
            yield piece


async def part(
    info: ObjectInfo, store: ObjectStore, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    for at in range(start, stop, WINDOW):
        yield await store.get_range(info, at, min(at + WINDOW, stop))


def routes() -> list[tuple[str, ASGIApp]]:
    """What is at which path; anew for each app, which these handlers then belong to."""
    return [
        ("/", static("index.html", "text/html")),
        ("/gallery.css", static("gallery.css", "text/css")),
        ("/gallery.js", static("gallery.js", "text/javascript")),
        ("/icon.svg", static("icon.svg", "image/svg+xml")),
        ("/tiles", get(all_tiles)),
        ("/events", get(events)),
        ("/thumb", get(thumb)),
        ("/photo", HttpHandler(photo, methods=("GET", "HEAD", "PUT", "DELETE"))),
    ]
