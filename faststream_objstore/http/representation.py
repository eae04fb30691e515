"""The headers of a response that describe an object."""

import base64
import hashlib
import mimetypes
import re
from collections.abc import Collection
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import quote

from faststream_objstore.models import ObjectInfo
from faststream_objstore.wire import decode_digest

__all__ = (
    "SAFE_HEADERS",
    "content_type_of",
    "etag_of",
    "is_inline",
    "media_type",
    "representation_headers",
    "revision_of",
)

UNKNOWN_TYPE = "application/octet-stream"

SAFE_HEADERS = {
    # Other people have uploaded it: a browser treats it only as its declared type, in an
    # isolated origin where no script runs, and does not reveal the URL, which may be signed.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
        "sandbox"
    ),
    "Referrer-Policy": "no-referrer",
}

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(
    rf'({_WORD}/{_WORD})[ \t]*(?:;[ \t]*{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*")[ \t]*)*'
)
_PLAIN_VALUE = re.compile(r"[!-~](?:[ -~]{0,500}[!-~])?")
_FILENAME_KEY = "filename"
# Stored with an object by its writer, and sent with it.
_PASSED_ON = ("Content-Encoding", "Content-Language", "Cache-Control")
_FRESHNESS = re.compile(
    r'\b(s-maxage|max-age|stale-while-revalidate|stale-if-error)\s*=\s*"?([0-9]+)"?',
    re.IGNORECASE,
)


def etag_of(info: ObjectInfo, target: ObjectInfo | None = None) -> str:
    """The strong etag of one version; also the revision, for conditional writes.

    Args:
        info: The object.
        target: What it links to, if it is a link; a change of either changes the etag.
    """
    revision = str(info.revision)
    if target is not None and target is not info:
        revision += f".{target.revision}"
        info = target
    # A bucket that is recreated has the same revisions again.
    mark = hashlib.sha256(f"{info.nuid} {info.digest}".encode()).hexdigest()[:12]
    return f'"{revision}-{mark}"'


def revision_of(etag: str) -> int | None:
    """The revision in an etag of `etag_of`."""
    match = re.fullmatch(r'"([0-9]{1,19})[.-][0-9a-f.-]*"', etag)
    return int(match[1]) if match else None


def media_type(value: str | None) -> str | None:
    """A `Content-Type` that can be sent, or `None`."""
    value = (value or "").strip()
    return value if len(value) <= 255 and _MEDIA_TYPE.fullmatch(value) else None


def content_type_of(info: ObjectInfo) -> str:
    """The type that was stored with the object, or the one that its name suggests."""
    return (
        media_type(_header(info, "Content-Type"))
        or media_type(mimetypes.guess_type(_filename(info))[0])
        or UNKNOWN_TYPE
    )


def is_inline(content_type: str, inline: Collection[str]) -> bool:
    """Whether a type is among `inline`, such as `("image/png", "video/*")`."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in inline or kind.partition("/")[0] + "/*" in inline


def representation_headers(
    info: ObjectInfo,
    *,
    etag: str,
    expires: datetime | None = None,
    filename: str | None = None,
    inline: bool | Collection[str] = False,
    cache_control: str = "private, no-cache",
) -> dict[str, str]:
    """The headers that are the same for 200, 206 and 304.

    info: The object; for a link, its target.
    etag: Its etag.
    expires: When it expires, if it does; no cache may keep it for longer.
    filename: The name to save it as; by default its metadata's filename, or its name.
    inline: Whether a browser may display it, or for which types.
    cache_control: How long it may be cached, if the object does not say.
    """
    content_type = content_type_of(info)
    shown = inline if isinstance(inline, bool) else is_inline(content_type, inline)
    headers = {
        **SAFE_HEADERS,
        "Content-Type": content_type,
        "Content-Disposition": _disposition(
            "inline" if shown else "attachment", filename or _filename(info)
        ),
        "Accept-Ranges": "bytes",
        "Cache-Control": cache_control,
        "ETag": etag,
    }
    if info.mtime is not None:
        headers["Last-Modified"] = format_datetime(
            info.mtime.astimezone(timezone.utc), usegmt=True
        )
    if (digest := decode_digest(info.digest)) is not None:
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
    for name in _PASSED_ON:
        value = _header(info, name)
        if value is not None and _PLAIN_VALUE.fullmatch(value):
            headers[name] = value
    if expires is not None:
        headers["Expires"] = format_datetime(expires.astimezone(timezone.utc), usegmt=True)
        headers["Cache-Control"] = _until(expires, headers["Cache-Control"])
    return headers


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _until(expires: datetime, cache_control: str) -> str:
    """A `Cache-Control` that lets nobody use the content after a time."""
    left = max(0, int((expires - _now()).total_seconds()))

    def shorter(found: re.Match[str]) -> str:
        directive, seconds = found[1], int(found[2])
        # A stale response is used beyond its end, whatever that is.
        is_stale = directive.lower().startswith("stale")
        return f"{directive}={0 if is_stale else min(seconds, left)}"

    return _FRESHNESS.sub(shorter, cache_control)


def _header(info: ObjectInfo, name: str) -> str | None:
    for key, values in (info.headers or {}).items():
        if key.lower() == name.lower() and values:
            return values[0]
    return None


def _filename(info: ObjectInfo) -> str:
    given = (info.metadata or {}).get(_FILENAME_KEY)
    return given or info.name


def _disposition(kind: str, filename: str) -> str:
    """`Content-Disposition` (RFC 6266), with the last segment of a path as the name."""
    base = re.split(r"[/\\]", filename.rstrip("/\\"))[-1].strip(" .")
    base = re.sub(r"[\x00-\x1f\x7f]", "_", base)[:200] or "file"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", base)
    value = f'{kind}; filename="{plain}"'
    if plain != base:
        value += f"; filename*=UTF-8''{quote(base, safe='', errors='replace')}"
    return value
