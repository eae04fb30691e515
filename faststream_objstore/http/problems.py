"""The response for an error: a status, and JSON in the format of RFC 9457."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from faststream_objstore.exceptions import (
    BucketFullError,
    BucketNotDeclaredError,
    BucketNotFoundError,
    BucketReadOnlyError,
    BucketSealedError,
    InvalidObjectNameError,
    InvalidOptionError,
    NotConnectedError,
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ObjStoreError,
    RevisionMismatchError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.http.representation import SAFE_HEADERS

__all__ = ("http_request", "problem", "problem_response", "refusal", "too_large")

logger: logging.Logger = logging.getLogger("faststream_objstore")

_UNAVAILABLE = "The store cannot be reached at the moment; try again."
# The store's own messages name buckets and revisions, which only its operator should see.
_ANSWERS: tuple[tuple[type[ObjStoreError], HTTPStatus, str], ...] = (
    (InvalidObjectNameError, HTTPStatus.BAD_REQUEST, "No object can have this name."),
    (InvalidOptionError, HTTPStatus.BAD_REQUEST, "The request is invalid."),
    (ObjectDeletedError, HTTPStatus.GONE, "The object has been deleted."),
    (ObjectNotFoundError, HTTPStatus.NOT_FOUND, "There is no such object."),
    (
        ObjectAlreadyExists,
        HTTPStatus.PRECONDITION_FAILED,
        "An object with this name already exists.",
    ),
    (
        RevisionMismatchError,
        HTTPStatus.PRECONDITION_FAILED,
        "The object is not at the version that the request is for.",
    ),
    (
        ObjectChangedError,
        HTTPStatus.CONFLICT,
        "The object was replaced while it was read; try again.",
    ),
    (
        ObjectTooLargeError,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The object is too large.",
    ),
    (BucketReadOnlyError, HTTPStatus.FORBIDDEN, "The objects can be read, and not changed."),
    (BucketSealedError, HTTPStatus.FORBIDDEN, "The objects can be read, and not changed."),
    (BucketFullError, HTTPStatus.INSUFFICIENT_STORAGE, "There is no room left."),
    (BucketNotDeclaredError, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE),
    (BucketNotFoundError, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE),
    (StoreTimeoutError, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE),
    (NotConnectedError, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE),
    (StoreAPIError, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE),
)


def refusal(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
) -> HTTPException:
    """An error that ends a request."""
    return HTTPException(status.value, detail, dict(headers or {}))


def too_large(max_size: int) -> HTTPException:
    """The refusal of an upload of more than `max_size` bytes."""
    msg = f"The content may have {max_size} bytes."
    return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)


def problem(
    status: int, detail: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """A response as RFC 9457 has it."""
    title = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    return Response(
        json.dumps(body),
        status,
        {**SAFE_HEADERS, "Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )


async def problem_response(request: Request, error: Exception) -> Response:
    """An exception handler for Starlette and FastAPI: an error of a store, as JSON.

    Errors that are the service's own fault are logged, with all that the store says.

    Args:
        request: The request that failed.
        error: An `ObjStoreError` or an `HTTPException`; others are raised again.

    Example:
        ```python
        app.add_exception_handler(ObjStoreError, problem_response)
        ```
    """
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), error.headers)
    if not isinstance(error, ObjStoreError):
        raise error
    status, detail = next(
        ((status, detail) for kind, status, detail in _ANSWERS if isinstance(error, kind)),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "The object cannot be read or stored."),
    )
    headers: dict[str, str] = {}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s: %s", request.method, request.scope["path"], error)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    return problem(status, detail, headers)


async def http_request(
    scope: Scope, receive: Receive, send: Send, *, otherwise: str
) -> Request | None:
    """The request of an HTTP scope; `None` for a WebSocket, which is closed.

    Args:
        scope: The ASGI scope.
        receive: ASGI's receive.
        send: ASGI's send.
        otherwise: The message of the error.

    Raises:
        NotImplementedError: If the scope is neither.
    """
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return None
    if scope["type"] != "http":
        raise NotImplementedError(otherwise)
    return Request(scope, receive)
