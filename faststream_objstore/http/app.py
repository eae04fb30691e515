"""A bucket as an ASGI app."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta, timezone
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    InvalidOptionError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjStoreError,
)
from faststream_objstore.http.conditions import has_preconditions
from faststream_objstore.http.download import TIMEOUT, DownloadResponse, find
from faststream_objstore.http.links import Grant, SignedLinks
from faststream_objstore.http.problems import http_request, problem_response, refusal
from faststream_objstore.http.representation import SAFE_HEADERS, etag_of
from faststream_objstore.http.stores import store_of
from faststream_objstore.http.ttl import is_max_ttl
from faststream_objstore.http.upload import conditional_mode, save_upload
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

__all__ = ("Authorize", "BucketASGI", "make_bucket_asgi")

logger: logging.Logger = logging.getLogger("faststream_objstore")

Authorize: TypeAlias = Callable[[Request, str, str], bool | Awaitable[bool]]
"""Decides whether a request is allowed: `(request, name, method)`."""

METHODS = ("GET", "HEAD", "PUT", "DELETE")
_WRITES = frozenset({"PUT", "DELETE"})
_LARGEST_PAGE = 1000


def make_bucket_asgi(
    bucket: Bucket | ObjectStore,
    *,
    methods: Collection[str] = ("GET", "HEAD"),
    authorize: Authorize | None = None,
    max_size: int | None = None,
    max_ttl: timedelta | None = None,
    listing: bool = False,
    links: SignedLinks | None = None,
    inline: Collection[str] = (),
    linked_buckets: Collection[Bucket | ObjectStore] = (),
    timeout: float = TIMEOUT,
) -> "BucketASGI":
    """Make an ASGI app that serves a bucket: the rest of the path is the object's name.

    Mount it with `mount(app, "/photos", make_bucket_asgi(photos))`, or in Starlette and
    FastAPI with `app.mount("/photos", ...)`.

    Args:
        bucket: The bucket, as a declaration or as a store.
        methods: The allowed methods: some of `GET`, `HEAD`, `PUT` and `DELETE`. The last two
            need `authorize` or `links`.
        authorize: Called with the request, the object's name (for a listing, its prefix) and
            the method, before anything is read. Sync or async. It returns `True` to allow
            the request, returns `False` for a 403, or raises Starlette's `HTTPException`.
        max_size: The largest upload, in bytes.
        max_ttl: The longest that an uploaded object may live. A request may ask for less with
            the header `Nats-TTL`; otherwise the object lives for that long. `None` for no
            limit; the bucket must have `object_ttl` in any other case.
        listing: Whether `GET` of the bucket's own path lists the objects, as JSON.
        links: Signed links; if given, only signed requests are served.
        inline: Media types that a browser may display instead of downloading, such as
            `("image/png", "video/*")`.
        linked_buckets: Other buckets into which links of this bucket may be followed.
        timeout: How many seconds a client may take to send, or to receive, the next part.

    Returns:
        The app.

    Raises:
        InvalidOptionError: If an option is invalid, or anyone could write.

    Example:
        ```python
        def only_own_files(request: Request, name: str, method: str) -> bool:
            return name.startswith(f"{request.user.display_name}/")


        app = FastAPI()
        app.mount(
            "/photos",
            make_bucket_asgi(
                photos, methods=["GET", "HEAD", "PUT"], authorize=only_own_files
            ),
        )
        ```
    """
    return BucketASGI(
        bucket,
        methods=methods,
        authorize=authorize,
        max_size=max_size,
        max_ttl=max_ttl,
        listing=listing,
        links=links,
        inline=inline,
        linked_buckets=linked_buckets,
        timeout=timeout,
    )


class BucketASGI:
    """The ASGI app that `make_bucket_asgi` makes; see there."""

    def __init__(
        self,
        bucket: Bucket | ObjectStore,
        *,
        methods: Collection[str],
        authorize: Authorize | None,
        max_size: int | None,
        max_ttl: timedelta | None,
        listing: bool,
        links: SignedLinks | None,
        inline: Collection[str],
        linked_buckets: Collection[Bucket | ObjectStore],
        timeout: float,
    ) -> None:
        if not isinstance(bucket, (Bucket, ObjectStore)):
            msg = (
                f"{bucket!r} is not a bucket; make_bucket_asgi takes a Bucket or ObjectStore."
            )
            raise InvalidOptionError(msg)
        self._source = bucket
        self.bucket: str = bucket.name if isinstance(bucket, Bucket) else bucket.bucket
        self.methods: tuple[str, ...] = tuple(one for one in METHODS if one in methods)
        self.listing: bool = listing
        self._authorize = authorize
        self._max_size = max_size
        self._max_ttl = max_ttl
        self._links = links
        self._inline = tuple(inline)
        self._linked_buckets = tuple(linked_buckets)
        self._timeout = timeout
        self._require_valid(methods, inline)
        if links is not None:
            links.claim(self.bucket)
        private = authorize is not None or links is not None
        self._cache_control = "private, no-cache" if private else "no-cache"

    @property
    def title(self) -> str:
        """What AsyncAPI shows of it."""
        return f"{', '.join(self.methods)}: an object of '{self.bucket}'"

    def __repr__(self) -> str:
        return f"<{self.bucket!r} over HTTP: {', '.join(self.methods)}>"

    def _require_valid(self, methods: Collection[str], inline: Collection[str]) -> None:
        problem: str | None = None
        if isinstance(methods, str) or not methods or set(methods) - set(METHODS):
            problem = f"methods must be some of {', '.join(METHODS)}, got {methods!r}"
        elif _WRITES & set(methods) and self._authorize is None and self._links is None:
            problem = (
                "anyone could write and delete; pass authorize or links, or leave out PUT and "
                "DELETE"
            )
        elif self.listing and self._links is not None:
            problem = "a link is for one object, so listing and links cannot be combined"
        elif isinstance(inline, str) or any(one.count("/") != 1 for one in inline):
            problem = f"inline must be media types, such as ('image/png',), got {inline!r}"
        elif self._max_size is not None and (
            type(self._max_size) is not int or self._max_size < 0
        ):
            problem = f"max_size must be a number of bytes, got {self._max_size!r}"
        elif self._max_ttl is not None and not is_max_ttl(self._max_ttl):
            problem = f"max_ttl must be a positive timedelta, got {self._max_ttl!r}"
        elif isinstance(self._timeout, bool) or not 0 < self._timeout < 1e9:
            problem = f"timeout must be a positive number of seconds, got {self._timeout!r}"
        if problem is not None:
            msg = f"Bucket '{self.bucket}' over HTTP: {problem}."
            raise InvalidOptionError(msg, bucket=self.bucket)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        msg = f"A bucket is served over HTTP only, got a scope of type {scope['type']!r}."
        request = await http_request(scope, receive, send, otherwise=msg)
        if request is None:
            return
        try:
            response = await self._response(request)
        except (ObjStoreError, HTTPException) as error:
            response = await problem_response(request, error)
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        name, method = name_in(request.scope), request.method
        if method not in self.methods or (not name and method in _WRITES):
            allowed = [one for one in self.methods if name or one not in _WRITES]
            msg = f"The method {method} is not allowed here."
            raise refusal(HTTPStatus.METHOD_NOT_ALLOWED, msg, {"Allow": ", ".join(allowed)})
        if not name:
            return await self._list(request)
        grant = Grant()
        if self._links is not None:
            grant = self._links.verify(name, method, request.query_params)
        await self._require_authorized(request, name)
        store = store_of(self._source)
        if method == "PUT":
            return await self._put(request, store, name, grant)
        if method == "DELETE":
            return await self._delete(request, store, name)
        return DownloadResponse(
            store,
            name,
            inline=self._inline,
            linked_buckets=self._linked_buckets,
            timeout=self._timeout,
            cache_control=self._cache_control,
        )

    async def _require_authorized(self, request: Request, name: str) -> None:
        if self._authorize is None:
            return
        answer: Any = self._authorize(request, name, request.method)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is True:
            return
        if answer is not False:
            logger.error(
                "Bucket '%s' over HTTP: authorize returned %r, and the request is refused; it "
                "must return True or False.",
                self.bucket,
                answer,
            )
        raise refusal(HTTPStatus.FORBIDDEN, "You may not do this.")

    async def _put(
        self, request: Request, store: ObjectStore, name: str, grant: Grant
    ) -> Response:
        limits = [one for one in (self._max_size, grant.max_size) if one is not None]
        kind = request.headers.get("content-type", "")
        if grant.content_type is not None and kind != grant.content_type:
            msg = f"The link is for an upload of type {grant.content_type}."
            raise refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, msg)
        try:
            is_new = not await store.exists(name)
        except BadObjectMetaError:
            # A put repairs that.
            is_new = False
        info = await save_upload(
            request,
            store,
            name,
            max_size=min(limits, default=None),
            max_ttl=self._max_ttl,
            timeout=self._timeout,
        )
        status = HTTPStatus.CREATED if is_new else HTTPStatus.NO_CONTENT
        return Response(status_code=status, headers={**SAFE_HEADERS, "ETag": etag_of(info)})

    @staticmethod
    async def _delete(request: Request, store: ObjectStore, name: str) -> Response:
        if has_preconditions(request.headers):
            mode = await conditional_mode(request, store, name)
            if mode == "create":
                # There is none, or it would have to be missing.
                await store.get_info(name)
                msg = "An object with this name already exists."
                raise refusal(HTTPStatus.PRECONDITION_FAILED, msg)
            was_live = await store.delete(name, mode=mode)
        else:
            was_live = await store.delete(name)
        if not was_live:
            msg = f"Bucket '{store.bucket}': {name!r} has been deleted before."
            raise ObjectDeletedError(msg, bucket=store.bucket, name=name)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=SAFE_HEADERS)

    async def _list(self, request: Request) -> Response:
        if not self.listing:
            raise refusal(HTTPStatus.NOT_FOUND, "There is no such object.")
        query = request.query_params
        prefix = query.get("prefix", "")
        limit = query.get("limit", str(_LARGEST_PAGE))
        if not (limit.isascii() and limit.isdigit() and 0 < int(limit[:9]) <= _LARGEST_PAGE):
            msg = f"limit must be from 1 to {_LARGEST_PAGE}."
            raise refusal(HTTPStatus.BAD_REQUEST, msg)
        await self._require_authorized(request, prefix)
        store = store_of(self._source)
        page = await store.list(
            prefix=prefix,
            delimiter=query.get("delimiter", ""),
            after=query.get("after", ""),
            limit=int(limit),
        )
        body = {
            "objects": [
                entry
                for info in page.objects
                if (entry := await self._entry(store, info)) is not None
            ],
            "folders": page.folders,
            "after": page.after,
        }
        return JSONResponse(body, headers={**SAFE_HEADERS, "Cache-Control": "no-store"})

    async def _entry(self, store: ObjectStore, info: ObjectInfo) -> dict[str, Any] | None:
        """An object of the page; none if it is a link that is not followed."""
        try:
            found = await find(store, info, self._linked_buckets)
        except ObjectNotFoundError:
            return None
        when = found.info.mtime
        return {
            "name": info.name,
            "size": found.info.size,
            "etag": found.etag,
            "modified": when
            and when.astimezone(timezone.utc)
            .isoformat(timespec="seconds")
            .replace("+00:00", "Z"),
        }


def name_in(scope: Scope) -> str:
    """The object's name: the part of the path that follows the app's mount point.

    Raises:
        HTTPException: 400, if it is not valid UTF-8.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # Servers disagree on whether the path includes what a proxy in front has removed.
    for prefix in (root, root.removeprefix(scope.get("app_root_path", ""))):
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            path = path[len(prefix) :]
            break
    if "\ufffd" in path and scope.get("raw_path") is not None:
        try:
            unquote_to_bytes(scope["raw_path"]).decode()
        except UnicodeDecodeError:
            msg = "The path is not percent-encoded UTF-8."
            raise refusal(HTTPStatus.BAD_REQUEST, msg) from None
    return path.removeprefix("/")
