"""The console as an ASGI app: the page, its JSON, its feed, and the buckets' objects."""

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from faststream_objstore.binding import Attached
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import InvalidOptionError, ObjStoreError
from faststream_objstore.health import HealthLimits, check
from faststream_objstore.http.app import METHODS, BucketASGI, make_bucket_asgi, name_in
from faststream_objstore.http.console.feed import changes_of
from faststream_objstore.http.problems import http_request, problem_response, refusal
from faststream_objstore.standing import Standings
from faststream_objstore.wire import origins_of

__all__ = ("ConsoleASGI", "make_console_asgi")

Authorize: TypeAlias = Callable[[Request], bool | Awaitable[bool]]
"""Decides whether a request may use the console."""

logger: logging.Logger = logging.getLogger("faststream_objstore")

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {
    "": ("console.html", "text/html; charset=utf-8"),
    "console.css": ("console.css", "text/css; charset=utf-8"),
    "console.svg": ("console.svg", "image/svg+xml"),
    "console.js": ("console.js", "text/javascript; charset=utf-8"),
}
_OBJECTS = "objects/"
_SHOWN = ("image/*", "video/*", "audio/*", "text/plain", "application/json")


def make_console_asgi(
    buckets: Buckets,
    *,
    authorize: Authorize,
    writable: bool = False,
    max_lag: float | timedelta | None = None,
    max_fill: float | None = None,
    timeout: float = 5.0,
) -> "ConsoleASGI":
    """Make an ASGI app with a page that shows the declared buckets and their subscribers.

    The size and fill of each bucket, its objects by folder with a preview, each durable with
    its lag, and changes as they happen. Nothing is loaded from elsewhere.

    ```python
    def is_operator(request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("X-Token", ""), TOKEN)


    mount(app, "/console", make_console_asgi(buckets, authorize=is_operator))
    ```

    Args:
        buckets: The buckets to show.
        authorize: Called with each request, before anything is read. Sync or async. It returns
            `True`, or `False` for a 403, or raises Starlette's `HTTPException`.
        writable: Whether objects can be uploaded and deleted.
        max_lag: As for `make_health_asgi`; problems are shown on the page.
        max_fill: As for `make_health_asgi`.
        timeout: How many seconds NATS may take to report on buckets and durables.

    Raises:
        InvalidOptionError: If an option is invalid.
    """
    return ConsoleASGI(
        buckets,
        authorize=authorize,
        writable=writable,
        limits=HealthLimits(max_lag=max_lag, max_fill=max_fill, timeout=timeout),
    )


class ConsoleASGI:
    """The ASGI app that `make_console_asgi` makes; see there."""

    def __init__(
        self, buckets: Buckets, *, authorize: Authorize, writable: bool, limits: HealthLimits
    ) -> None:
        if not isinstance(buckets, Buckets) or not callable(authorize):
            msg = (
                "make_console_asgi takes a Buckets, and a function authorize that decides who "
                f"may see everything in them, got {buckets!r} and authorize={authorize!r}."
            )
            raise InvalidOptionError(msg)
        self.methods: tuple[str, ...] = METHODS if writable else METHODS[:2]
        self._attached: Attached = buckets.attached
        self._authorize = authorize
        self._writable = writable
        self._limits = limits
        self._standings = Standings(self._attached)
        self._apps: dict[str, BucketASGI] = {}

    @property
    def title(self) -> str:
        """What AsyncAPI shows of it."""
        return "GET: the console of the buckets"

    def __repr__(self) -> str:
        return f"<the console of {self._attached!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        msg = f"The console is served over HTTP, and this is {scope['type']!r}."
        request = await http_request(scope, receive, send, otherwise=msg)
        if request is None:
            return
        try:
            await self._require_authorized(request)
            path = name_in(scope)
            if path.startswith(_OBJECTS):
                bucket, slash, name = path.removeprefix(_OBJECTS).partition("/")
                app = self._bucket(bucket if slash else None)
                below = {"path": f"/{name}", "root_path": "", "app_root_path": ""}
                await app({**scope, **below}, receive, send)
                return
            response = await self._response(request, path)
        except (ObjStoreError, HTTPException) as error:
            response = await problem_response(request, error)
        await response(scope, receive, send)

    async def _require_authorized(self, request: Request) -> None:
        answer: Any = self._authorize(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is True:
            return
        if answer is not False:
            logger.error(
                "The console: authorize returned %r, and the request is refused; it must "
                "return True or False.",
                answer,
            )
        raise refusal(HTTPStatus.FORBIDDEN, "You may not use the console.")

    def _bucket(self, name: str | None) -> BucketASGI:
        bucket = self._attached.declared.get(name or "")
        if bucket is None:
            raise refusal(HTTPStatus.NOT_FOUND, "There is no such bucket.")
        if bucket.name not in self._apps:
            self._apps[bucket.name] = make_bucket_asgi(
                bucket,
                methods=self.methods,
                # A client that gets this far may use everything in the console.
                authorize=lambda *_: True,
                listing=True,
                inline=_SHOWN,
                linked_buckets=tuple(self._attached.declared.values()),
            )
        return self._apps[bucket.name]

    async def _response(self, request: Request, path: str) -> Response:
        if request.method not in {"GET", "HEAD"}:
            msg = f"The method {request.method} is not allowed here."
            raise refusal(HTTPStatus.METHOD_NOT_ALLOWED, msg, {"Allow": "GET, HEAD"})
        if path == "" and not request.scope["path"].endswith("/"):
            # So that the page's own URLs are below it, whatever path a proxy uses.
            last = request.scope["path"].rpartition("/")[2]
            return RedirectResponse(f"{last}/", headers=_HEADERS)
        if path in _FILES:
            name, kind = _FILES[path]
            content = (Path(__file__).parent / name).read_bytes()
            return Response(content, headers={**_HEADERS, "Content-Type": kind})
        if path == "state":
            return JSONResponse(await self._state(), headers=_HEADERS)
        if path == "changes":
            stores = [self._attached.handle(name) for name in self._attached.declared]
            return StreamingResponse(
                changes_of(stores), media_type="text/event-stream", headers=_HEADERS
            )
        raise refusal(HTTPStatus.NOT_FOUND, "There is no such page.")

    async def _state(self) -> dict[str, Any]:
        health = await check(self._attached, self._limits)
        standing = await self._standings.read(timeout=self._limits.seconds)
        sizes = {one.bucket: one for one in standing.buckets}
        return {
            "problems": [one.as_json() for one in health.problems],
            "buckets": [
                {
                    "name": name,
                    "description": bucket.config.description,
                    "writable": self._writable
                    and not (origins_of(size.config) if size else bucket.config.origins),
                    "bytes": size.bytes if size else None,
                    "max_bytes": size.max_bytes if size else None,
                    "objects": size.objects if size else None,
                    "problem": standing.problems.get(name),
                }
                for name, bucket in self._attached.declared.items()
                for size in [sizes.get(name)]
            ],
            "subscribers": [asdict(one) for one in standing.subscribers],
        }
