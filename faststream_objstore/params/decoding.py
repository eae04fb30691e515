"""Decoding an object's content by its content type."""

import mimetypes

from faststream.message import StreamMessage, decode_message

from faststream_objstore.exceptions import ObjectLoadError
from faststream_objstore.models import ObjectData, ObjectInfo

__all__ = ("content_type_of", "decoded")

_JSON = "application/json"


def content_type_of(info: ObjectInfo) -> str | None:
    """The `Content-Type` header, or else the type that the name's extension suggests."""
    for key, values in (info.headers or {}).items():
        if key.lower() == "content-type" and values and values[0].strip():
            return values[0].strip()
    kind, encoding = mimetypes.guess_type(info.name.rpartition("/")[2])
    # `a.json.gz` is not JSON until it is decompressed.
    return None if encoding else kind


def decoded(data: ObjectData) -> object:
    """Decode an object: `text/*` to a str, JSON to its value; other types stay bytes.

    Without a content type, FastStream's own decoding decides.

    Args:
        data: The object's content.

    Returns:
        The decoded value.

    Raises:
        ObjectLoadError: If the content does not match its content type.
    """
    info = data.info
    content_type = content_type_of(info)
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    try:
        if kind.startswith("text/"):
            return data.decode(_charset(parameters))
        if kind.endswith("+json"):
            kind = _JSON
        # FastStream decodes JSON, and tries it where there is no type.
        if kind and kind != _JSON:
            return data
        # orjson, which FastStream uses where it is installed, accepts no subclass of bytes.
        plain = bytes(memoryview(data))
        value = decode_message(StreamMessage(None, plain, content_type=kind or None))
        return data if value is plain else value
    except (ValueError, LookupError) as error:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r} cannot be decoded as "
            f"{content_type!r}: {error}. Put it with another Content-Type header, or read "
            "its bytes without decode=True."
        )
        raise ObjectLoadError(msg, bucket=info.bucket, name=info.name) from error


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset" and (charset := value.strip().strip('"')):
            return charset
    return "utf-8"
