"""The JSON of a metadata message, as this package writes it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo

__all__ = ("headers_of", "metadata_json")

# Go's zero time. Readers use the message's server time instead (ADR-20).
_NO_MTIME = "0001-01-01T00:00:00Z"
# The keys of `ObjectInfo` and its options; any other key is kept unchanged.
_KEYS = frozenset(
    {
        "bucket",
        "chunks",
        "deleted",
        "description",
        "digest",
        "headers",
        "metadata",
        "mtime",
        "name",
        "nuid",
        "options",
        "size",
    }
)
_OPTIONS = frozenset({"link", "max_chunk_size"})
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def headers_of(headers: Mapping[str, str | list[str]] | None) -> dict[str, list[str]] | None:
    """Headers in their wire form, each value a list.

    Raises:
        InvalidOptionError: If a key or a value is not text.
    """
    if not headers:
        return None
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping of str to str or list of str, got {headers!r}."
        raise InvalidOptionError(msg)
    result: dict[str, list[str]] = {}
    for key, value in headers.items():
        values = [value] if isinstance(value, str) else value
        if (
            not isinstance(key, str)
            or not isinstance(values, (list, tuple))
            or not all(isinstance(one, str) for one in values)
        ):
            msg = f"header {key!r} must be a str or a list of str, got {value!r}."
            raise InvalidOptionError(msg)
        result[key] = list(values)
    return result


def metadata_json(info: ObjectInfo, raw: Mapping[str, Any] | None = None) -> bytes:
    """The body of a metadata message.

    Args:
        info: The version. The server sets `mtime` and `revision`.
        raw: The JSON of the version that it amends: keys that this package does not know
            are kept, including those in the options.
    """
    plain = _plain_json(info) if raw is None else None
    try:
        return (plain or _encoded_json(_amended(info, raw))).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form, but JSON can escape it. It may come from another
        # client, and must not prevent the object from being renamed or deleted.
        return json.dumps(_amended(info, raw), separators=(",", ":")).encode()


def _encoder_of(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """An encoder's `encode`, which would make its C encoder anew for each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    encode = make(
        None,
        encoder.default,
        json.encoder.encode_basestring,
        None,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )
    return lambda body: "".join(encode(body, 0))


_encoded_json = _encoder_of(_ENCODER)
_quoted = json.encoder.encode_basestring


def _plain_json(info: ObjectInfo) -> str | None:
    """The JSON of an object that has only what puts give it; `None` for any other.

    Most objects are like this, and to fill in a text takes a fifth of the time of `_body` and
    the encoder.
    """
    options = info.options
    if (
        info.description
        or info.headers
        or info.deleted
        or not info.digest
        or options is None
        or options.link is not None
        or not options.max_chunk_size
    ):
        return None
    texts = ""
    if info.metadata:
        for key, value in info.metadata.items():
            # Other clients may have stored anything.
            if type(key) is not str or type(value) is not str:
                return None
            texts += f"{',' if texts else ''}{_quoted(key)}:{_quoted(value)}"
        texts = f'"metadata":{{{texts}}},'
    return (
        f'{{{texts}"options":{{"max_chunk_size":{options.max_chunk_size}}},'
        f'"name":{_quoted(info.name)},"bucket":"{info.bucket}","nuid":{_quoted(info.nuid)},'
        f'"size":{info.size},"chunks":{info.chunks},"mtime":"{_NO_MTIME}",'
        f'"digest":{_quoted(info.digest)}}}'
    )


def _body(info: ObjectInfo) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if info.description:
        body["description"] = info.description
    if info.headers:
        body["headers"] = info.headers
    if info.metadata:
        body["metadata"] = info.metadata
    if info.options:
        options: dict[str, Any] = {}
        if link := info.options.link:
            options["link"] = {"bucket": link.bucket}
            if link.name:
                options["link"]["name"] = link.name
        if info.options.max_chunk_size:
            options["max_chunk_size"] = info.options.max_chunk_size
        if options:
            body["options"] = options
    body["name"] = info.name
    body["bucket"] = info.bucket
    body["nuid"] = info.nuid
    body["size"] = info.size
    body["chunks"] = info.chunks
    body["mtime"] = _NO_MTIME
    if info.digest:
        body["digest"] = info.digest
    if info.deleted:
        body["deleted"] = True
    return body


def _amended(info: ObjectInfo, raw: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merge `info` with the keys of `raw` that this package does not know."""
    said = _body(info)
    if raw is None:
        return said
    options, ours = raw.get("options"), said.pop("options", {})
    if isinstance(options, dict):
        ours = {k: v for k, v in options.items() if k in ours or k not in _OPTIONS} | ours
    if ours:
        said["options"] = ours
    kept = {key: raw[key] for key in raw if key in said or key not in _KEYS}
    return kept | said
