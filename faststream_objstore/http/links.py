"""Signed links: an address that lets whoever has it do one thing, until its time."""

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
    """What a link allows, beside its method and its name.

    Attributes:
        max_size: Most bytes of an upload.
        content_type: The type that an upload must have.
    """

    max_size: int | None = None
    content_type: str | None = None


def path_of(name: str) -> str:
    """An object's name as the rest of a path, which no browser or proxy rewrites.

    Raises:
        InvalidObjectNameError: If no path can say it: `.`, `..`, an empty name.
    """
    if name in {"", ".", ".."}:
        msg = f"The name {name!r} has no address: browsers and proxies remove it from a path."
        raise InvalidObjectNameError(msg, name=name)
    # Empty and dotted segments would be removed too, but not as a part of another one.
    is_plain = not {"", ".", ".."} & set(name.split("/"))
    try:
        return quote(name, safe="/" if is_plain else "")
    except UnicodeEncodeError as error:
        msg = f"The name {name!r} has no UTF-8 form ({error.reason})."
        raise InvalidObjectNameError(msg, name=name) from error


class SignedLinks:
    """Makes and verifies links to the objects of one bucket.

    A link is for one name and one method (`GET` includes `HEAD`), until its time. It
    cannot be taken back before, other than by removing its key; so make it short-lived.

    Args:
        key: A secret of at least 16 bytes (32 are usual), the same in every replica. Or
            several, for rotation: the first signs, all verify.
        base_url: Where the bucket is served, as clients see it:
            `https://example.com/photos/`. It is signed too, so that links of one bucket
            do not open another one that has the same key.

    Raises:
        InvalidOptionError: If a key is too short, or the address is not one.

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
                f"base_url={base_url!r} cannot work; give where the bucket is served, such "
                "as 'https://example.com/photos/'."
            )
            raise InvalidOptionError(msg)
        if parts.query or parts.fragment:
            msg = f"base_url={base_url!r} cannot work; it must have no query and no fragment."
            raise InvalidOptionError(msg)
        self.base_url: str = base_url.rstrip("/") + "/"
        self._bucket: str | None = None

    def __repr__(self) -> str:
        # Without the keys.
        return f"SignedLinks(base_url={self.base_url!r})"

    def claim(self, bucket: str) -> None:
        """Note the one bucket that the links are for; its app calls it.

        Raises:
            InvalidOptionError: If another bucket has them.
        """
        if self._bucket is not None and self._bucket != bucket:
            msg = (
                f"Bucket '{bucket}': these SignedLinks are for bucket '{self._bucket}'; make "
                "others, with another base_url, so that a link opens one bucket only."
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
            expires: How long it is valid from now on.
            method: `"GET"`, `"PUT"` or `"DELETE"`.
            max_size: Most bytes of an upload.
            content_type: The `Content-Type` that an upload must have.

        Returns:
            The address.

        Raises:
            InvalidOptionError: If an option cannot work.
            InvalidObjectNameError: If the name has no address: `.`, `..`.
        """
        if method not in _METHODS:
            msg = f"method={method!r} cannot work; a link is for one of {', '.join(_METHODS)}."
            raise InvalidOptionError(msg, name=name)
        if not isinstance(expires, timedelta) or expires <= timedelta(0):
            msg = f"expires={expires!r} cannot work; give a positive timedelta."
            raise InvalidOptionError(msg, name=name)
        if method != "PUT" and (max_size is not None or content_type is not None):
            msg = f"max_size and content_type are for uploads, and method is {method!r}."
            raise InvalidOptionError(msg, name=name)
        if max_size is not None and (type(max_size) is not int or max_size < 0):
            msg = f"max_size={max_size!r} cannot work; give a number of bytes."
            raise InvalidOptionError(msg, name=name)
        if content_type is not None and media_type(content_type) != content_type:
            msg = f"content_type={content_type!r} cannot work; give one such as 'image/png'."
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
        """What the link of a request allows.

        Args:
            name: The object that is asked for.
            method: What is to be done with it.
            query: The query of the request.

        Raises:
            HTTPException: 403, if it is no link for that, or its time is over.
        """
        # Given twice, it would be undecided which is meant.
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
