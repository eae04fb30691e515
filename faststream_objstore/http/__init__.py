"""Buckets over HTTP: downloads, uploads, listings and signed links, as an ASGI app.

It needs Starlette, which FastAPI brings along: `pip install 'faststream-objstore[http]'`.
"""

try:
    import starlette as _starlette
except ImportError as _error:
    _message = (
        "faststream_objstore.http needs Starlette: pip install 'faststream-objstore[http]'."
    )
    raise ImportError(_message) from _error

from faststream_objstore.health import make_health_asgi
from faststream_objstore.http.app import Authorize, BucketASGI, make_bucket_asgi
from faststream_objstore.http.console import ConsoleASGI, make_console_asgi
from faststream_objstore.http.download import DownloadResponse
from faststream_objstore.http.links import SignedLinks
from faststream_objstore.http.mounting import mount
from faststream_objstore.http.problems import problem_response
from faststream_objstore.http.upload import save_upload

__all__ = (
    "Authorize",
    "BucketASGI",
    "ConsoleASGI",
    "DownloadResponse",
    "SignedLinks",
    "make_bucket_asgi",
    "make_console_asgi",
    "make_health_asgi",
    "mount",
    "problem_response",
    "save_upload",
)

del _starlette
