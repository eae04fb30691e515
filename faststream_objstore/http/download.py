"""Downloads: one version of an object, whole or in parts, at the speed of the client."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

import anyio
from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    InvalidOptionError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjStoreError,
)
from faststream_objstore.http.byteranges import MultipartRanges, parse_ranges
from faststream_objstore.http.conditions import answer_to_preconditions, is_range_wanted
from faststream_objstore.http.problems import problem_response, refusal
from faststream_objstore.http.representation import (
    SAFE_HEADERS,
    etag_of,
    representation_headers,
)
from faststream_objstore.http.stores import store_of
from faststream_objstore.models import ObjectInfo
from faststream_objstore.settling import run_to_completion
from faststream_objstore.store import ObjectStore

__all__ = ("TIMEOUT", "DownloadResponse", "Found", "find")

logger: logging.Logger = logging.getLogger("faststream_objstore")

TIMEOUT = 60.0
"""How many seconds a client may take to send or receive the next piece."""

# The memory of one download: there may be hundreds of slow ones.
_WINDOW = 1024 * 1024
# The largest piece that is passed to the server at once; a bucket may have larger chunks.
_PIECE = 256 * 1024
# The headers that a 304 repeats (RFC 9110, 15.4.5).
_WITH_304 = frozenset({*SAFE_HEADERS, "Cache-Control", "ETag", "Expires", "Last-Modified"})
# How often a request restarts because the object was replaced in the meantime.
_ATTEMPTS = 20


class Found(NamedTuple):
    """The object that a name refers to.

    Attributes:
        store: The bucket that holds its content.
        info: The version; for a link, its target.
        etag: Its etag; for a link, it covers the link too.
        expires: When it expires, or the link does, if that is earlier.
    """

    store: ObjectStore
    info: ObjectInfo
    etag: str
    expires: datetime | None


async def find(
    store: ObjectStore,
    target: str | ObjectInfo,
    linked_buckets: Collection[Bucket | ObjectStore] = (),
) -> Found:
    """The version that a name or an `ObjectInfo` refers to.

    A link is followed within its bucket and into `linked_buckets`.

    Raises:
        ObjectNotFoundError: If there is none, or if it is a link that is not followed;
            `ObjectDeletedError` if it has been deleted.
    """
    info = target if isinstance(target, ObjectInfo) else await store.get_info(target)
    link = info.link
    if link is None:
        return Found(store, info, etag_of(info), info.expires)
    to = {store.bucket: store} | {one.bucket: one for one in map(store_of, linked_buckets)}
    if link.name is not None and link.bucket in to:
        other = to[link.bucket]
        linked = await other.get_info(link.name)
        if not linked.is_link():
            ends = [one.expires for one in (info, linked) if one.expires is not None]
            return Found(other, linked, etag_of(info, linked), min(ends, default=None))
    msg = (
        f"Bucket '{store.bucket}': {info.name!r} is a link to {link.name!r} in "
        f"'{link.bucket}', which is not followed over HTTP; see linked_buckets."
    )
    raise ObjectNotFoundError(msg, bucket=store.bucket, name=info.name)


class DownloadResponse(Response):
    """A response with an object's content, for your own routes.

    It handles `Range`, conditional requests and errors by itself. Values set in its `headers`
    override its own.

    Args:
        store: The bucket.
        target: The object's name, or an `ObjectInfo` for exactly that version.
        filename: The name to save it as; by default its `metadata["filename"]`, or the last
            part of its name.
        inline: Whether a browser may display it instead of saving it, or for which types:
            `("image/png", "video/*")`.
        linked_buckets: Other buckets that a link may lead into.
        headers: Further headers.
        background: Run when the response has been sent.
        timeout: How many seconds the client may take to receive the next piece.
        cache_control: The `Cache-Control`, if neither the object's headers nor `headers`
            have one.

    Raises:
        InvalidOptionError: If `inline` is a str.

    Example:
        ```python
        @app.get("/invoices/{number}")
        async def invoice(number: int, store: Invoices) -> DownloadResponse:
            return DownloadResponse(store, f"{number}.pdf", filename="invoice.pdf")
        ```
    """

    def __init__(
        self,
        store: ObjectStore,
        target: str | ObjectInfo,
        *,
        filename: str | None = None,
        inline: bool | Collection[str] = False,
        linked_buckets: Collection[Bucket | ObjectStore] = (),
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        timeout: float = TIMEOUT,
        cache_control: str = "private, no-cache",
    ) -> None:
        if isinstance(inline, str):
            msg = (
                f"Bucket '{store.bucket}': inline must be True, False or media types, such as "
                f"('image/png',), got {inline!r}."
            )
            raise InvalidOptionError(msg, bucket=store.bucket)
        self.status_code = HTTPStatus.OK.value
        self.background = background
        self.init_headers(headers)
        self._store = store
        self._target = target
        self._filename = filename
        self._inline = inline
        self._linked_buckets = tuple(linked_buckets)
        self._timeout = timeout
        self._cache_control = cache_control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        request = Request(scope)
        has_begun = False

        async def tracked(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._answer(request, receive, tracked)
        except (ObjStoreError, HTTPException) as error:
            if has_begun:
                # Too late for a status, so the server closes the connection before the end.
                raise
            await (await problem_response(request, error))(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        is_exact = isinstance(self._target, ObjectInfo)
        for attempt in range(_ATTEMPTS):
            found = await find(self._store, self._target, self._linked_buckets)
            plan = self._plan(request, found)
            async with aclosing(_pieces(found, plan)) as pieces:
                try:
                    first = await anext(pieces, b"")
                except ObjectChangedError:
                    if is_exact or attempt == _ATTEMPTS - 1:
                        raise
                    continue
                await self._send(plan, first, pieces, receive, send)
            return

    def _plan(self, request: Request, found: Found) -> "_Plan":
        info, etag = found.info, found.etag
        headers = MutableHeaders(raw=list(self.raw_headers))
        said = representation_headers(
            info,
            etag=etag,
            expires=found.expires,
            filename=self._filename,
            inline=self._inline,
            cache_control=self._cache_control,
        )
        status = answer_to_preconditions(
            request.headers, request.method, etag=etag, modified=info.mtime
        )
        if status == HTTPStatus.PRECONDITION_FAILED:
            msg = "The object is not at the version that the request is for."
            raise refusal(status, msg, {"ETag": etag})
        if status == HTTPStatus.NOT_MODIFIED:
            said = {name: value for name, value in said.items() if name in _WITH_304}
        for name, value in said.items():
            headers.setdefault(name, value)
        if status == HTTPStatus.NOT_MODIFIED:
            return _Plan(status, headers)

        ranges = self._ranges(request, found)
        status, multipart = HTTPStatus.PARTIAL_CONTENT, None
        if ranges is None:
            status, ranges = HTTPStatus.OK, [(0, info.size)]
            headers["Content-Length"] = str(info.size)
        elif len(ranges) == 1:
            start, stop = ranges[0]
            headers["Content-Length"] = str(stop - start)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.size}"
        else:
            multipart = MultipartRanges(headers["Content-Type"], info.size)
            headers["Content-Length"] = str(multipart.length(ranges))
            headers["Content-Type"] = multipart.content_type
        if request.method == "HEAD":
            ranges = []
        return _Plan(status, headers, ranges, multipart)

    @staticmethod
    def _ranges(request: Request, found: Found) -> list[tuple[int, int]] | None:
        """The ranges to send, or `None` for the whole object."""
        given = request.headers.getlist("range")
        # Ranges are only defined for GET (RFC 9110, 14.2).
        if request.method != "GET" or len(given) != 1:
            return None
        if not is_range_wanted(request.headers, found.etag):
            return None
        size = found.info.size
        ranges = parse_ranges(given[0], size)
        if ranges is not None and not ranges:
            raise refusal(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"The object has {size} bytes.",
                {"Content-Range": f"bytes */{size}"},
            )
        return ranges

    async def _send(
        self,
        plan: "_Plan",
        first: bytes,
        pieces: AsyncGenerator[bytes, None],
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the pieces until the client disconnects."""
        sending = asyncio.ensure_future(self._send_all(plan, first, pieces, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The transmission ends before its reader is closed.
            for task in (sending, leaving):
                task.cancel()
            await run_to_completion(asyncio.wait((sending, leaving)))
        for task in (sending, leaving):
            if not task.cancelled():
                task.result()

    async def _send_all(
        self, plan: "_Plan", first: bytes, pieces: AsyncGenerator[bytes, None], send: Send
    ) -> None:
        start = {"type": "http.response.start", "status": int(plan.status)}
        await send({**start, "headers": plan.headers.raw})
        piece = first
        while piece:
            for at in range(0, len(piece), _PIECE):
                body = piece[at : at + _PIECE]
                try:
                    # This waits while the client is slow to receive what was sent before.
                    with anyio.fail_after(self._timeout):
                        await send(
                            {"type": "http.response.body", "body": body, "more_body": True}
                        )
                except OSError as error:
                    logger.info(
                        "Bucket '%s', object %r: the client took no more of it (%r).",
                        self._store.bucket,
                        self._target if isinstance(self._target, str) else self._target.name,
                        error,
                    )
                    return
            piece = await anext(pieces, b"")
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Plan(NamedTuple):
    """What is to be sent."""

    status: HTTPStatus
    headers: MutableHeaders
    ranges: Sequence[tuple[int, int]] = ()
    multipart: MultipartRanges | None = None


async def _pieces(found: Found, plan: _Plan) -> AsyncGenerator[bytes, None]:
    """The body. Errors of the object are found before the first piece is sent."""
    for start, stop in plan.ranges:
        async with found.store.open(
            found.info, start=start, stop=stop, window=_WINDOW
        ) as reader:
            if plan.multipart is not None:
                yield plan.multipart.head(start, stop)
            async for piece in reader:
                yield piece
        if plan.multipart is not None:
            yield plan.multipart.behind
    if plan.multipart is not None:
        yield plan.multipart.tail
