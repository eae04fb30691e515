"""HTTP as this service needs it: names, errors, validators, ranges and streams."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote

import anyio
from faststream.asgi import AsgiResponse
from faststream.asgi.request import ClientDisconnectError
from faststream.asgi.response import JSONResponse
from faststream.asgi.types import Receive, Scope, Send

from faststream_objstore import (
    BucketFullError,
    InvalidObjectNameError,
    NotConnectedError,
    ObjectChangedError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjStoreError,
    StoreTimeoutError,
)

logger = logging.getLogger("gallery")

PATIENCE = 60.0
"""Seconds that a client may take to send, or to take, the next piece."""
PIECE = 64 * 1024

# Browsers are to treat what others uploaded as pictures or files, never as pages.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UPLOADED = {**HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox"}


class HttpError(Exception):
    """An answer that is not the one that was asked for."""

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


_STATUS_OF: tuple[tuple[type[ObjStoreError], HTTPStatus], ...] = (
    (InvalidObjectNameError, HTTPStatus.BAD_REQUEST),
    (ObjectNotFoundError, HTTPStatus.NOT_FOUND),
    (ObjectChangedError, HTTPStatus.CONFLICT),
    (BucketFullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (StoreTimeoutError, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotConnectedError, HTTPStatus.SERVICE_UNAVAILABLE),
)

FAILURES = (HttpError, ObjStoreError, ClientDisconnectError)


def answer_to(error: Exception) -> AsgiResponse:
    """The response to one of `FAILURES`, with its message as JSON."""
    headers = dict(HEADERS)
    if isinstance(error, HttpError):
        status = error.status
        headers |= error.headers
    elif isinstance(error, ClientDisconnectError):
        # Nobody is there to read it.
        status = HTTPStatus.BAD_REQUEST
    else:
        status = next(
            (status for kind, status in _STATUS_OF if isinstance(error, kind)),
            HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s", error)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"
    return json_response({"error": str(error)}, status, headers)


def json_response(
    data: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> AsgiResponse:
    """JSON that nobody keeps."""
    return JSONResponse(data, status, {"Cache-Control": "no-store", **(headers or HEADERS)})


def name_in(scope: Scope) -> str:
    """The object's name, which is a parameter of the query.

    Not a part of the path: browsers and proxies rewrite paths with `..`, `//` and `%2F`,
    and all of these are names.
    """
    try:
        names: list[str] = parse_qs(
            scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"
        ).get("name", [])
    except ValueError:
        msg = "The query is not percent-encoded UTF-8."
        raise HttpError(HTTPStatus.BAD_REQUEST, msg) from None
    if len(names) != 1:
        msg = "Say which picture, once: ?name=..."
        raise HttpError(HTTPStatus.BAD_REQUEST, msg)
    return names[0]


def disposition(name: str) -> str:
    """`Content-Disposition` for a file that is to be saved under an object's name."""
    base = name.rstrip("/").rpartition("/")[2] or "picture"
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", base)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"


def etag_of(info: ObjectInfo) -> str | None:
    """The content's digest as a strong validator."""
    return f'"{info.digest.partition("=")[2]}"' if info.digest else None


def is_unchanged(headers: Mapping[str, str], etag: str | None) -> bool:
    """Whether `If-None-Match` says that the client has this version."""
    asked = headers.get("if-none-match", "")
    known = {one.strip().removeprefix("W/") for one in asked.split(",")}
    return etag in known or "*" in known


def range_in(headers: Mapping[str, str], info: ObjectInfo) -> tuple[int, int] | None:
    """First byte and the one after the last that `Range` asks for; `None` for the whole.

    RFC 9110, section 14: several ranges, other units and what does not parse may be
    answered with the whole, and so is a range of another version (`If-Range`).

    Raises:
        HttpError: 416, if none of it exists.
    """
    asked = re.fullmatch(
        r"bytes=([0-9]{0,18})-([0-9]{0,18})", headers.get("range", "").strip(), re.IGNORECASE
    )
    condition = headers.get("if-range")
    if asked is None or (condition is not None and condition.strip() != etag_of(info)):
        return None
    first, last = asked.groups()
    if first:
        start, stop = int(first), int(last) + 1 if last else info.size
        if last and stop <= start:
            return None
    elif last:
        start, stop = max(0, info.size - int(last)), info.size
    else:
        return None
    if start >= info.size or start >= stop:
        msg = f"The picture has {info.size} bytes."
        raise HttpError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            msg,
            {"Content-Range": f"bytes */{info.size}"},
        )
    return start, min(stop, info.size)


async def at_most(body: AsyncGenerator[bytes, None], limit: int) -> AsyncIterator[bytes]:
    """A request's body, as it comes.

    Raises:
        HttpError: 413 after `limit` bytes, 408 if nothing comes for a while.
    """
    seen = 0
    async with aclosing(body):
        while True:
            try:
                with anyio.fail_after(PATIENCE):
                    piece = await anext(body, None)
            except TimeoutError:
                msg = f"Nothing came for {PATIENCE:g} seconds."
                raise HttpError(HTTPStatus.REQUEST_TIMEOUT, msg) from None
            if piece is None:
                return
            seen += len(piece)
            if seen > limit:
                raise too_large(limit)
            yield piece


def too_large(limit: int) -> HttpError:
    """The refusal of an upload of more than `limit` bytes."""
    msg = f"A picture may have {limit / 1024**2:.3g} MiB."
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)


class Stream:
    """A response that is sent as it comes, and given up when the client is gone."""

    def __init__(
        self, status: HTTPStatus, headers: Mapping[str, str], first: bytes, rest: Any
    ) -> None:
        self._start = AsgiResponse(b"", status, headers).raw_headers
        self._status = status
        self._first = first
        self._rest: AsyncGenerator[bytes, None] = rest

    @classmethod
    async def begin(
        cls, status: HTTPStatus, headers: Mapping[str, str], body: AsyncGenerator[bytes, None]
    ) -> "Stream":
        """Wait for the first piece, so that what fails at once still gets a status."""
        return cls(status, headers, await anext(body, b""), body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with aclosing(self._rest), anyio.create_task_group() as tasks:

            async def wait_until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_until_gone)
            await self._send(scope, send)
            tasks.cancel_scope.cancel()

    async def _send(self, scope: Scope, send: Send) -> None:
        start = {"type": "http.response.start", "status": self._status}
        await send({**start, "headers": self._start})
        try:
            if scope["method"] != "HEAD":
                await self._send_piece(send, self._first)
                async for piece in self._rest:
                    await self._send_piece(send, piece)
        except (ObjStoreError, TimeoutError) as error:
            # Too late for a status: the response ends short, which closes the connection.
            logger.warning("%s was not sent to its end: %r", scope["path"], error)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _send_piece(self, send: Send, piece: bytes) -> None:
        for at in range(0, len(piece), PIECE):
            # Waits while the client is slow to take what was sent before.
            with anyio.fail_after(PATIENCE):
                body = piece[at : at + PIECE]
                await send({"type": "http.response.body", "body": body, "more_body": True})
