"""The metadata message of an object: its subject, which is the name, and its JSON, read."""

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ..exceptions import BadObjectMetaError, InvalidObjectNameError
from ..messages import StoredMessage
from ..models import (
    ObjectInfo,
    ObjectLink,
    ObjectMetaOptions,
    new_info,
)
from .chunks import NUID, URL_SAFE, base64_decode, base64_encode
from .notes import EXPIRY, expires_at

__all__ = (
    "MOVE_NOTE",
    "info_of",
    "is_marker",
    "load_json",
    "metadata_subject",
    "metadata_wildcard",
    "name_of",
    "notes_rename",
    "nuid_in",
    "options_of",
    "subject_start",
    "unbodied",
)

# The server's reason for a marker in place of a message that has expired.
EXPIRED = "MaxAge"
MOVE_NOTE = "objstore-move"
"""The metadata key that records a rename which may not have finished."""
# How many characters of a foreign subject a message shows; there may be thousands.
_SHOWN = 120
# 32 bytes, in either alphabet, padded or not.
_is_digest = re.compile(r"(?i:SHA-256)=[A-Za-z0-9_+/-]{43}=?").fullmatch
_DECODER = json.JSONDecoder()


def metadata_wildcard(bucket: str) -> str:
    """Matches every object's metadata: an encoded name is one token."""
    return f"$O.{bucket}.M.*"


def metadata_subject(bucket: str, name: str, *, limit: int | None = None) -> str:
    """The subject of an object's metadata: base64url of the name, padded.

    Args:
        bucket: The bucket.
        name: Any text but the empty one.
        limit: Longest subject that can be sent, bytes. A longer one would make the
            server drop the whole connection.

    Raises:
        InvalidObjectNameError: If the name is empty, has no UTF-8 form or is too long.
    """
    if not isinstance(name, str):
        msg = f"Bucket '{bucket}': an object's name is a str, not {type(name).__name__}."
        raise InvalidObjectNameError(msg, bucket=bucket)
    if not name:
        msg = f"Bucket '{bucket}': an object's name must not be empty."
        raise InvalidObjectNameError(msg, bucket=bucket, name=name)
    try:
        raw = name.encode()
    except UnicodeEncodeError as error:
        msg = f"Bucket '{bucket}': the name {name!r} has no UTF-8 form ({error.reason})."
        raise InvalidObjectNameError(msg, bucket=bucket, name=name) from error
    subject = f"$O.{bucket}.M.{base64_encode(raw)}"
    if limit is not None and len(subject) > limit:
        longest = (limit - len(f"$O.{bucket}.M.")) // 4 * 3
        msg = (
            f"Bucket '{bucket}': the name {name[:40]!r}... has {len(raw)} bytes of UTF-8, and "
            f"a NATS subject can carry {longest}; use a shorter name."
        )
        raise InvalidObjectNameError(msg, bucket=bucket, name=name)
    return subject


def subject_start(bucket: str, prefix: str) -> str:
    """What the metadata subjects of all names with a prefix begin with, as far as it shows.

    Base64 encodes three bytes at a time, so up to two bytes of the prefix are not in it.
    """
    raw = prefix.encode(errors="surrogatepass")
    return f"$O.{bucket}.M.{base64_encode(raw[: len(raw) // 3 * 3])}"


def name_of(subject: str) -> str | None:
    """The object's name in a metadata subject; `None` if the subject encodes no name.

    A name has exactly one subject. Another base64 form of it (`YR==` decodes to `a`, as
    `YQ==` does) belongs to no object, because no lookup by name would ever find it.
    """
    encoded = _encoded(subject)
    try:
        raw = base64_decode(encoded)
        name = raw.decode()
    except ValueError:
        return None
    return name if name and base64_encode(raw) == encoded else None


def _encoded(subject: str) -> str:
    """What follows `$O.<bucket>.M.`; if it has several tokens, it is not a name."""
    return subject.split(".", 3)[-1]


def info_of(message: StoredMessage, bucket: str) -> tuple[ObjectInfo, dict[str, Any]]:
    """Read a metadata message.

    Args:
        message: The message; its subject gives the object's name, whatever the JSON says.
        bucket: The bucket that it is in.

    Returns:
        The version, and the JSON object itself, whose unknown keys a writer keeps.

    Raises:
        BadObjectMetaError: If the body is not a metadata object.
    """
    if message.reason and (left := unbodied(message, bucket)) is not None:
        return left, {}
    name: str | None = None
    try:
        raw = load_json(message.data)
        if not isinstance(raw, dict):
            msg = f"a JSON object was expected, not {type(raw).__name__}"
            raise TypeError(msg)
        get = raw.get
        said = get("name")
        name = said if _is_name_of(said, message.subject) else name_of(message.subject)
        if name is None:
            msg = "its subject is the base64url of no name"
            raise ValueError(msg)
        deleted = bool(get("deleted"))
        size, chunks, digest = get("size"), get("chunks"), get("digest")
        if deleted:
            # async-nats keeps a deleted object's digest in the marker.
            size = chunks = digest = None
        headers, metadata = get("headers"), get("metadata")
        options, description = get("options"), get("description")
        # What nearly all messages say is taken without a call: a list of a large bucket spends
        # half of its time here.
        return (
            new_info(
                name,
                bucket,
                _nuid(get("nuid")),
                size if type(size) is int and size >= 0 else _count(size),
                chunks if type(chunks) is int and chunks >= 0 else _count(chunks),
                digest if type(digest) is str and _is_digest(digest) else _digest(digest),
                deleted,
                None if description is None else _text(description) or None,
                _read_headers(headers) if headers else None,
                _read_metadata(metadata) if metadata else None,
                _read_options(options, raw, bucket) if isinstance(options, dict) else None,
                message.sequence,
                message.time,
                False,
                expires_at(raw, message.time_ns // 1000)
                if EXPIRY in raw and not deleted
                else None,
            ),
            raw,
        )
    except (ValueError, TypeError, RecursionError) as error:
        name = name or name_of(message.subject)
        where, remedy = f"object {name!r}", "put or delete the object to repair it"
        if name is None:
            where = f"subject {message.subject[:_SHOWN]!r}"
            remedy = "it is no object's; sweep(purge_nameless=True) removes it"
        msg = (
            f"Bucket '{bucket}', {where}: the metadata message at revision "
            f"{message.sequence} does not parse ({error}); {remedy}."
        )
        raise BadObjectMetaError(msg, bucket=bucket, name=name) from error


def unbodied(message: StoredMessage, bucket: str) -> ObjectInfo | None:
    """What the server's own marker on a metadata subject says (ADR-43).

    Returns:
        An object that has expired or was removed; `None` if the message is no such marker, or
        if its subject is no object's.
    """
    if message.data or not message.reason or (name := name_of(message.subject)) is None:
        return None
    return ObjectInfo(
        name=name,
        bucket=bucket,
        deleted=True,
        revision=message.sequence,
        mtime=message.time,
        expired=message.reason == EXPIRED,
    )


def is_marker(message: StoredMessage) -> bool:
    """Whether a metadata message is a delete marker, or the server's own."""
    if message.reason and not message.data:
        return True
    if b'"deleted"' not in message.data:
        return False
    try:
        raw = load_json(message.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and bool(raw.get("deleted"))


def load_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError, RecursionError: If it is none.
    """
    try:
        return _loads(data)
    except ValueError:
        # What only Python's own parser accepts: a lone surrogate, another encoding.
        return json.loads(data)


def _plain_loads(data: bytes) -> Any:
    # `json.loads` of bytes first checks for UTF-16 and UTF-32, which is half of its time here.
    text = data.decode()
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        msg = "there is more than one value"
        raise ValueError(msg)
    return value


_loads: Callable[[bytes], Any] = _plain_loads
# Where FastStream uses pydantic, it has imported this, which takes half of the time.
with suppress(ImportError):
    from pydantic_core import from_json as _loads


def _is_name_of(said: object, subject: str) -> bool:
    """Whether a subject encodes this name; faster than decoding it."""
    if not isinstance(said, str) or not said:
        return False
    try:
        # There is no dot in base64.
        encoded = subject.split(".", 3)[-1]
        # As `base64_encode`, without the call: lists spend much of their time here.
        if b2a_base64(said.encode(), newline=False).translate(URL_SAFE).decode() == encoded:
            return True
        # nats.js encodes the name as Latin-1 before base64.
        return not said.isascii() and base64_encode(said.encode("latin-1")) == encoded
    except ValueError:
        return False


def nuid_in(data: bytes) -> str:
    """The chunks that a message on a nameless subject refers to; empty if none."""
    try:
        raw = load_json(data)
        return _nuid(raw.get("nuid")) if isinstance(raw, dict) else ""
    except (ValueError, TypeError, RecursionError):
        return ""


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    msg = f"text was expected, not {value!r}"
    raise TypeError(msg)


def _nuid(value: object) -> str:
    if isinstance(value, str) and len(value) == 22 and value.isascii() and value.isalnum():
        return value
    nuid = _text(value) or ""
    # It becomes a token of the subject that is purged and read. A wildcard there would also
    # match every other object's chunks, and a token that is too long ends the connection.
    if nuid and not NUID.fullmatch(nuid):
        msg = f"{nuid[:40]!r} names no chunks"
        raise ValueError(msg)
    return nuid


def _digest(value: object) -> str | None:
    digest = _text(value) or None
    # The digest ends up in HTTP headers. An unreadable digest is not treated as a missing one,
    # because the content could then not be verified.
    if digest is not None and not _is_digest(digest):
        msg = f"{digest[:60]!r} is no SHA-256 digest"
        raise ValueError(msg)
    return digest


def _count(value: object) -> int:
    if value is None:
        return 0
    if type(value) is int and value >= 0:
        return value
    msg = f"a count was expected, not {value!r}"
    raise TypeError(msg)


def _read_headers(value: object) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        msg = f"headers are an object, not {value!r}"
        raise TypeError(msg)
    return {
        key: [str(one) for one in values] if isinstance(values, list) else [str(values)]
        for key, values in value.items()
    }


def _read_metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        msg = f"metadata is an object, not {value!r}"
        raise TypeError(msg)
    return {key: str(one) for key, one in value.items()}


def _read_options(
    options: dict[str, Any], raw: dict[str, Any], bucket: str
) -> ObjectMetaOptions | None:
    if len(options) == 1:
        # Nearly all objects of a bucket have the same.
        size = options.get("max_chunk_size")
        if type(size) is int and size > 0:
            return options_of(size)
    link = None
    target = options.get("link")
    if isinstance(target, dict):
        to = _text(target.get("bucket"))
        if not to:
            msg = "a link names no bucket"
            raise ValueError(msg)
        # A bucket that follows the one that it was written to has its target too. nats.js says
        # that it was written to where it leads, and leaves the nuid out.
        if to == raw.get("bucket") and raw.get("nuid"):
            to = bucket
        link = ObjectLink(to, _text(target.get("name")) or None)
    chunk_size = _count(options.get("max_chunk_size")) or None
    if link is None:
        return options_of(chunk_size) if chunk_size else None
    return ObjectMetaOptions(link, chunk_size)


@lru_cache(maxsize=64)
def options_of(chunk_size: int) -> ObjectMetaOptions:
    """The options of an object that is not a link."""
    # It is immutable, and most objects of a bucket have the same one, so it is shared.
    return ObjectMetaOptions(max_chunk_size=chunk_size)


def notes_rename(raw: Mapping[str, Any]) -> bool:
    """Whether metadata under an old name records a rename that may not have finished."""
    said = raw.get(MOVE_NOTE)
    return isinstance(said, dict) and "to" in said
