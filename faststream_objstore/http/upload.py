"""Uploads: the body of a request is streamed into an object, completely or not at all."""

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Literal

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from typing_extensions import Unpack

from faststream_objstore.exceptions import (
    FeatureNotEnabledError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.http.conditions import (
    answer_to_preconditions,
    has_preconditions,
    matching_etags,
)
from faststream_objstore.http.download import TIMEOUT, find
from faststream_objstore.http.problems import refusal, too_large
from faststream_objstore.http.representation import etag_of, media_type, revision_of
from faststream_objstore.http.ttl import asked_ttl, is_max_ttl, ttl_refusal
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.prepare import PutOptions

__all__ = ("conditional_mode", "save_upload")

_CONTENT_HEADERS = ("Content-Encoding", "Content-Language")
_DIGEST = re.compile(r"([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")
_ALGORITHMS = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


async def save_upload(
    request: Request,
    store: ObjectStore,
    name: str,
    *,
    max_size: int | None,
    max_ttl: timedelta | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each piece, not of the call
    **options: Unpack[PutOptions],
) -> ObjectInfo:
    """Store the body of a request, in constant memory, completely or not at all.

    A raw body is stored unchanged. Of a `multipart/form-data` body, such as a browser's form,
    the part with a file is stored, with its content type and its filename.

    Unless `mode` is given, `If-Match`, `If-None-Match` and `If-Unmodified-Since` are compared
    with the object, and again with the version that exists when the body has arrived. A
    `Repr-Digest` or `Content-Digest` of the request is verified. Unless `ttl` is given, the
    header `Nats-TTL` says how long the object lives: in seconds, or as in `1h30m`.

    Args:
        request: The request.
        store: The bucket.
        name: The object's name.
        max_size: The largest file, in bytes; `None` for no limit.
        max_ttl: The longest that the object may live, and how long it does if the request
            does not say; `None` for no limit.
        timeout: How many seconds the client may take to send the next piece.
        options: Options of `ObjectStore.put`; they override what the request says.

    Returns:
        The new version.

    Raises:
        HTTPException: 400 if the body is malformed, incomplete, or does not match its digest,
            or if the object cannot live for as long as the request asks;
            408 if the client stalls; 412 if a precondition fails; 413 if it is too large.
            Nothing is stored in these cases.
        ObjStoreError: As for `put`.

    Example:
        ```python
        @app.post("/photos/{name}")
        async def upload(name: str, request: Request, store: Photos) -> dict[str, int]:
            info = await save_upload(request, store, name, max_size=10 * 1024**2)
            return {"size": info.size}
        ```
    """
    if max_size is not None and (type(max_size) is not int or max_size < 0):
        msg = (
            f"Bucket '{store.bucket}', object {name!r}: max_size must be a number of bytes, "
            f"or None, got {max_size!r}."
        )
        raise InvalidOptionError(msg, bucket=store.bucket, name=name)
    if max_ttl is not None and not is_max_ttl(max_ttl):
        msg = (
            f"Bucket '{store.bucket}', object {name!r}: max_ttl must be a positive timedelta, "
            f"or None, got {max_ttl!r}."
        )
        raise InvalidOptionError(msg, bucket=store.bucket, name=name)
    headers = request.headers
    asked = None if "ttl" in options else asked_ttl(headers, max_ttl)
    options.setdefault("ttl", max_ttl if asked is None else asked)
    form = multipart_boundary(headers)
    if "content-range" in headers:
        raise refusal(HTTPStatus.BAD_REQUEST, "A part of an object cannot be stored.")
    _require_length(headers, max_size, exact=form is None)
    digests = [] if form is not None else _expected_digests(headers)
    is_conditional = "mode" not in options and has_preconditions(headers)
    if is_conditional:
        options["mode"] = await conditional_mode(request, store, name)

    body = _arriving(request, timeout)
    try:
        if form is None:
            _describe(options, {key: headers.get(key) for key in _stored_headers()}, None)
            content = _checked(body, max_size, digests)
        else:
            from faststream_objstore.http.multipart import FilePart  # noqa: PLC0415

            part = FilePart(body, form, max_size)
            await part.begin()
            _describe(options, {"Content-Type": part.content_type}, part.filename)
            content = part.content()
        async with aclosing(content):
            return await store.put(name, content, **options)
    except (RevisionMismatchError, ObjectAlreadyExists):
        if is_conditional:
            raise _moved_on() from None
        raise
    except (FeatureNotEnabledError, InvalidOptionError) as error:
        if not asked:
            raise
        raise await ttl_refusal(store, asked, error) from error
    except ClientDisconnect:
        raise refusal(HTTPStatus.BAD_REQUEST, "The body broke off.") from None
    finally:
        await body.aclose()


def _stored_headers() -> tuple[str, ...]:
    return ("Content-Type", *_CONTENT_HEADERS)


async def conditional_mode(
    request: Request, store: ObjectStore, name: str
) -> Literal["overwrite", "create"] | ObjectInfo | int:
    """What a conditional request may replace, as a `mode` of `put` and `delete`.

    Raises:
        HTTPException: 412, if the preconditions do not hold.
    """
    headers = request.headers
    if headers.get("if-none-match", "").strip() == "*" and "if-match" not in headers:
        # Whether the object exists is decided by the stream's leader when it is written.
        return "create"
    info: ObjectInfo | None = None
    etag: str | None = None
    try:
        info = await store.get_info(name)
        etag = (await find(store, info)).etag if info.is_link() else etag_of(info)
    except ObjectNotFoundError:
        etag = None if info is None else etag_of(info)
    revision = 0 if info is None else info.revision
    status = answer_to_preconditions(
        headers, request.method, etag=etag, modified=None if info is None else info.mtime
    )
    if status is None:
        return revision or "create"
    # A replica may lag, and the client may know a version that the replica does not have.
    if not matching_etags(headers, "if-match", etag, weak=False):
        known = [revision_of(one.strip()) for one in headers.get("if-match", "").split(",")]
        newer = [one for one in known if one is not None and one > revision]
        if newer and "if-none-match" not in headers:
            return max(newer)
    raise _moved_on()


def _moved_on() -> Exception:
    msg = "The object is not at the version that the request is for."
    return refusal(HTTPStatus.PRECONDITION_FAILED, msg)


def multipart_boundary(headers: Headers) -> str | None:
    """The boundary of a form with files, or `None` for any other body."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != (
        "multipart/form-data"
    ):
        return None
    match = re.search(
        r';[ \t]*boundary=(?:"([ -!#-~]{1,70})"|([!-~]{1,70}?))[ \t]*(?:;|$)',
        headers["content-type"],
        re.IGNORECASE,
    )
    if match is None:
        raise refusal(HTTPStatus.BAD_REQUEST, "The form has no boundary.")
    return match[1] or match[2]


def _describe(options: PutOptions, given: dict[str, str | None], filename: str | None) -> None:
    """Add what the request says about its content, unless the caller has specified it."""
    headers: dict[str, Any] = {}
    for key, value in given.items():
        if key == "Content-Type":
            value = media_type(value)  # noqa: PLW2901
        if value and len(value) < 256 and value.isascii() and value.isprintable():
            headers[key] = value
    wanted = options.get("headers") or {}
    kept = {key.lower() for key in wanted}
    options["headers"] = {
        **{key: value for key, value in headers.items() if key.lower() not in kept},
        **wanted,
    }
    if filename and "filename" not in options:
        options["filename"] = filename


def _require_length(headers: Headers, max_size: int | None, *, exact: bool) -> None:
    length = headers.get("content-length", "")
    # A form contains more than its file; its parts show how much.
    if exact and max_size is not None and length.isdigit() and int(length[:20]) > max_size:
        raise too_large(max_size)


async def _arriving(request: Request, seconds: float) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; raises an error if nothing arrives for a while."""
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                with anyio.fail_after(seconds):
                    piece = await anext(stream, None)
            except TimeoutError:
                msg = f"Nothing came for {seconds:g} seconds."
                raise refusal(HTTPStatus.REQUEST_TIMEOUT, msg) from None
            if piece is None:
                return
            if piece:
                yield piece


def _expected_digests(headers: Headers) -> list[tuple[str, bytes]]:
    """The expected digests of the body, for the known algorithms (RFC 9530)."""
    found: list[tuple[str, bytes]] = []
    for name in ("repr-digest", "content-digest"):
        for entry in filter(None, map(str.strip, ",".join(headers.getlist(name)).split(","))):
            match = _DIGEST.fullmatch(entry)
            if match is None:
                raise refusal(HTTPStatus.BAD_REQUEST, f"{name} cannot be read.")
            if match[1] not in _ALGORITHMS:
                continue
            try:
                found.append((match[1], base64.b64decode(match[2], validate=True)))
            except binascii.Error:
                raise refusal(HTTPStatus.BAD_REQUEST, f"{name} cannot be read.") from None
    return found


async def _checked(
    body: AsyncGenerator[bytes, None],
    max_size: int | None,
    expected: list[tuple[str, bytes]],
) -> AsyncGenerator[bytes, None]:
    """The body; raises an error if it is too large, or at its end if a digest differs."""
    hashes = [(_ALGORITHMS[algorithm](), digest) for algorithm, digest in expected]
    seen = 0
    async for piece in body:
        seen += len(piece)
        if max_size is not None and seen > max_size:
            raise too_large(max_size)
        for hashed, _ in hashes:
            hashed.update(piece)
        yield piece
    for hashed, digest in hashes:
        if hashed.digest() != digest:
            raise refusal(HTTPStatus.BAD_REQUEST, "The content has another digest.")
