"""Signed links: URLs that allow their holder one action, for a limited time."""

import hashlib
import hmac
import json
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import QueryParams

from faststream_objstore.exceptions import InvalidObjectNameError, InvalidOptionError
from faststream_objstore.http.problems import refusal
from faststream_objstore.http.representation import media_type

__all__ = ("Grant", "SignedLinks", "path_of")

_METHODS = ("GET", "PUT", "DELETE")
_SHORTEST_KEY = 16
_OURS = ("expires", "method", "max_size", "content_type", "signature")


class Grant(NamedTuple):
    """What a link allows, besides its method and its name.

    Attributes:
        max_size: The largest upload, in bytes.
        content_type: The type that an upload must have.
    """

    max_size: int | None = None
    content_type: str | None = None


def path_of(name: str) -> str:
    """An object's name as the rest of a path, in a form that no browser or proxy rewrites.

    Raises:
        InvalidObjectNameError: If no path can express it: `.`, `..`, an empty name.
    """
    if name in {"", ".", ".."}:
        msg = f"The name {name!r} has no address: browsers and proxies remove it from a path."
        raise InvalidObjectNameError(msg, name=name)
    # Empty and dotted segments would be removed, unless they are part of a longer one.
    is_plain = not {"", ".", ".."} & set(name.split("/"))
    try:
        return quote(name, safe="/" if is_plain else "")
    except UnicodeEncodeError as error:
        msg = f"The name {name!r} has no UTF-8 form ({error.reason})."
        raise InvalidObjectNameError(msg, name=name) from error


class SignedLinks:
    """Makes and verifies links to the objects of one bucket.

    A link is valid for one name and one method (`GET` includes `HEAD`), until it expires. It
    cannot be revoked earlier except by removing its key, so make it short-lived.

    Args:
        key: A secret of at least 16 bytes (32 are usual), the same in every replica; or a
            list of them, for rotation: the first one signs, all of them verify.
        base_url: The URL at which clients reach the bucket, such as
            `https://example.com/photos/`. It is signed too, so that links to one bucket do
            not open another bucket with the same key.

    Raises:
        InvalidOptionError: If a key is too short, or `base_url` is not an HTTP URL.

    Example:
        ```python
        links = SignedLinks(os.environ["LINK_KEY"], base_url="https://example.com/photos/")
        app.mount("/photos", make_bucket_asgi(photos, links=links))

        links.sign("ann/cat.png", expires=timedelta(hours=1))
        ```
    """

    def __init__(self, key: str | bytes | Sequence[str | bytes], *, base_url: str) -> None:
        keys = [key] if isinstance(key, (str, bytes)) else list(key)
        self._keys = [one.encode() if isinstance(one, str) else one for one in keys]
        if not self._keys or any(
            not isinstance(one, bytes) or len(one) < _SHORTEST_KEY for one in self._keys
        ):
            msg = (
                f"SignedLinks needs a secret key of at least {_SHORTEST_KEY} bytes, such as "
                "secrets.token_hex(32) makes, or a list of them."
            )
            raise InvalidOptionError(msg)
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            msg = (
                "base_url must be the URL of the served bucket, such as "
                f"'https://example.com/photos/', got {base_url!r}."
            )
            raise InvalidOptionError(msg)
        if parts.query or parts.fragment:
            msg = f"base_url must not have a query or a fragment, got {base_url!r}."
            raise InvalidOptionError(msg)
        self.base_url: str = base_url.rstrip("/") + "/"
        self._bucket: str | None = None

    def __repr__(self) -> str:
        # Without the keys.
        return f"SignedLinks(base_url={self.base_url!r})"

    def claim(self, bucket: str) -> None:
        """Bind the links to their bucket; called by its app.

        Args:
            bucket: The bucket's name.

        Raises:
            InvalidOptionError: If they are already bound to a different bucket.
        """
        if self._bucket is not None and self._bucket != bucket:
            msg = (
                f"Bucket '{bucket}': these SignedLinks belong to bucket '{self._bucket}'; "
                "create others with a different base_url, so that a link opens one bucket."
            )
            raise InvalidOptionError(msg, bucket=bucket)
        self._bucket = bucket

    def sign(
        self,
        name: str,
        *,
        expires: timedelta,
        method: str = "GET",
        max_size: int | None = None,
        content_type: str | None = None,
    ) -> str:
        """Make a link.

        Args:
            name: The object's name; the object need not exist.
            expires: How long the link is valid, from now.
            method: `"GET"`, `"PUT"` or `"DELETE"`.
            max_size: The largest upload, in bytes.
            content_type: The `Content-Type` that an upload must have.

        Returns:
            The URL.

        Raises:
            InvalidOptionError: If an option is invalid.
            InvalidObjectNameError: If the name cannot be part of a URL, such as `..`.
        """
        if method not in _METHODS:
            msg = f"method must be one of {', '.join(_METHODS)}, got {method!r}."
            raise InvalidOptionError(msg, name=name)
        if not isinstance(expires, timedelta) or expires <= timedelta(0):
            msg = f"expires must be a positive timedelta, got {expires!r}."
            raise InvalidOptionError(msg, name=name)
        if method != "PUT" and (max_size is not None or content_type is not None):
            msg = f"max_size and content_type are for method='PUT' only, got {method!r}."
            raise InvalidOptionError(msg, name=name)
        if max_size is not None and (type(max_size) is not int or max_size < 0):
            msg = f"max_size must be a number of bytes, got {max_size!r}."
            raise InvalidOptionError(msg, name=name)
        if content_type is not None and media_type(content_type) != content_type:
            msg = (
                "content_type must be a media type, such as 'image/png', got "
                f"{content_type!r}."
            )
            raise InvalidOptionError(msg, name=name)
        path = path_of(name)
        query = {"expires": str(math.ceil(time.time() + expires.total_seconds()))}
        if method != "GET":
            query["method"] = method
        if max_size is not None:
            query["max_size"] = str(max_size)
        if content_type is not None:
            query["content_type"] = content_type
        query["signature"] = self._signature(self._keys[0], name, query)
        return f"{self.base_url}{path}?{urlencode(query)}"

    def verify(self, name: str, method: str, query: QueryParams) -> Grant:
        """What a request's link allows.

        Args:
            name: The requested object.
            method: The requested method.
            query: The query of the request.

        Raises:
            HTTPException: 403, if the link does not allow it, or has expired.
        """
        # If a parameter were given twice, it would be ambiguous which one counts.
        given = {key: query[key] for key in _OURS if len(query.getlist(key)) == 1}
        signature = given.pop("signature", "").encode("utf-8", "replace")
        is_signed = False
        for key in self._keys:
            expected = self._signature(key, name, given).encode()
            is_signed |= hmac.compare_digest(expected, signature)
        wanted = "GET" if method == "HEAD" else method
        if not is_signed or given.get("method", "GET") != wanted:
            raise refusal(HTTPStatus.FORBIDDEN, "The link is not valid.")
        if time.time() >= int(given["expires"]):
            raise refusal(HTTPStatus.FORBIDDEN, "The link has expired.")
        max_size = given.get("max_size")
        return Grant(None if max_size is None else int(max_size), given.get("content_type"))

    def _signature(self, key: bytes, name: str, query: dict[str, str]) -> str:
        signed = json.dumps(
            ["objstore-link", self.base_url, name, *(query.get(one) for one in _OURS[:-1])]
        )
        digest = hmac.digest(key, signed.encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")
