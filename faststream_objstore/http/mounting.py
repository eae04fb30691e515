"""A bucket's place in an app, where its OpenAPI or AsyncAPI shows it."""

from collections.abc import Awaitable, Callable
from typing import Any

from faststream.asgi import AsgiFastStream, HttpHandler
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from typing_extensions import Self

from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http.app import BucketASGI
from faststream_objstore.http.console.app import ConsoleASGI
from faststream_objstore.http.openapi import add_to_openapi

__all__ = ("mount",)


def mount(
    app: AsgiFastStream | Starlette, path: str, bucket: BucketASGI | ConsoleASGI
) -> None:
    """Serve a bucket, or the console, below a path of an app.

    A bucket is shown in the app's documentation.

    Args:
        app: `AsgiFastStream`, FastAPI or Starlette. The first matches only whole paths, so its
            own `mount` does not work; FastAPI's `app.mount` serves the bucket too, but does
            not show it in its OpenAPI document.
        path: The mount point, such as `/photos`; the object `ann/cat.png` is then at
            `/photos/ann/cat.png`.
        bucket: The result of `make_bucket_asgi` or `make_console_asgi`.

    Raises:
        InvalidOptionError: If the path or the app cannot be used.

    Example:
        ```python
        app = AsgiFastStream(broker, asyncapi_path="/docs")
        mount(app, "/photos", make_bucket_asgi(photos))
        ```
    """
    if not isinstance(bucket, (BucketASGI, ConsoleASGI)):
        msg = f"{bucket!r} is not a bucket over HTTP; mount takes what make_bucket_asgi makes."
        raise InvalidOptionError(msg)
    if not isinstance(path, str) or not path.startswith("/") or {"{", "}"} & set(path):
        msg = (
            f"{_name(bucket)}: path must start with '/' and have no braces, such as "
            f"'/photos', got {path!r}."
        )
        raise InvalidOptionError(msg, bucket=getattr(bucket, "bucket", None))
    path = path.rstrip("/")
    if isinstance(app, AsgiFastStream):
        app.mount(_Below(path), _Mounted(path, bucket))
        return
    if not isinstance(app, Starlette):
        msg = (
            f"{_name(bucket)} cannot be mounted in {app!r}; mount takes AsgiFastStream, "
            "FastAPI or Starlette."
        )
        raise InvalidOptionError(msg, bucket=getattr(bucket, "bucket", None))
    app.mount(path, bucket)
    described: Callable[[], dict[str, Any]] | None = getattr(app, "openapi", None)
    if described is not None and isinstance(bucket, BucketASGI):
        shown = bucket

        def openapi() -> dict[str, Any]:
            return add_to_openapi(described(), path, shown)

        # In the way that FastAPI's documentation extends it.
        app.openapi = openapi  # type: ignore[attr-defined]


def _name(bucket: BucketASGI | ConsoleASGI) -> str:
    if isinstance(bucket, ConsoleASGI):
        return "The console"
    return f"Bucket '{bucket.bucket}'"


class _Below(str):
    """A route of AsgiFastStream that compares equal to every path below it.

    Its text is what AsyncAPI shows.
    """

    __slots__ = ("_path",)
    _path: str

    def __new__(cls, path: str) -> Self:
        """Make it from a path without a trailing slash."""
        below = super().__new__(cls, path + "/{name}")
        below._path = path
        return below

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Below):
            return str.__eq__(self, other)
        return isinstance(other, str) and (
            other == self._path or other.startswith(self._path + "/")
        )

    def __hash__(self) -> int:
        return str.__hash__(self)


class _Mounted(HttpHandler):
    """The bucket as a route of AsgiFastStream, which AsyncAPI shows."""

    def __init__(self, path: str, bucket: BucketASGI | ConsoleASGI) -> None:
        super().__init__(
            _never,
            methods=bucket.methods,
            description=bucket.title,
            include_in_schema=isinstance(bucket, BucketASGI),
        )
        self._path = path
        self._bucket = bucket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        root: str = scope.get("root_path", "")
        below = {"app_root_path": root, "root_path": root + self._path}
        await self._bucket({**scope, **below}, receive, send)


async def _never(_: Any) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    msg = "unreachable: the bucket answers"
    raise AssertionError(msg)
