"""What the browser requests, besides the photos and thumbnails themselves; see `app`."""

from pathlib import Path
from typing import Any

from faststream.asgi import get
from faststream.asgi.types import ASGIApp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from faststream_objstore import ObjStoreError
from faststream_objstore.http import problem_response

from .thumbnails import LARGEST_PHOTO, Thumbs, live, tile

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page(StaticFiles):
    """The page and what it loads."""

    def __init__(self) -> None:
        super().__init__(directory=Path(__file__).parent / "static", html=True)

    async def get_response(self, path: str, scope: Any) -> Response:
        """A file, with the headers that keep the page to itself."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


async def all_tiles(scope: Any, store: Thumbs) -> ASGIApp:
    """All tiles of the grid, as JSON."""
    try:
        tiles = [tile(thumb) for thumb in await store.list()]
    except ObjStoreError as error:
        return await problem_response(Request(scope), error)
    return JSONResponse({"tiles": tiles, "largest": LARGEST_PHOTO}, headers=HEADERS)


async def events(_scope: Any) -> ASGIApp:
    """Each change of the grid, as a server-sent event."""
    return StreamingResponse(live.stream(), media_type="text/event-stream", headers=HEADERS)


def routes() -> list[tuple[str, ASGIApp]]:
    """The handler of each path, created anew for each app, since it belongs to that app."""
    page = Page()
    return [
        *((path, page) for path in ("/", "/gallery.css", "/gallery.js", "/icon.svg")),
        ("/tiles", get(all_tiles)),
        ("/events", get(events)),
    ]
