"""An object's content as the value that its content type promises."""

import mimetypes

from faststream.message import StreamMessage, decode_message

from faststream_objstore.exceptions import ObjectLoadError
from faststream_objstore.models import ObjectData, ObjectInfo

__all__ = ("content_type_of", "decoded")

_JSON = "application/json"


def content_type_of(info: ObjectInfo) -> str | None:
    """The `Content-Type` header, in any case of letters, else what the name's end says."""
    for key, values in (info.headers or {}).items():
        if key.lower() == "content-type" and values and values[0].strip():
            return values[0].strip()
    kind, encoding = mimetypes.guess_type(info.name.rpartition("/")[2])
    # `a.json.gz` is JSON only once somebody has decompressed it.
    return None if encoding else kind


def decoded(data: ObjectData) -> object:
    """`str` of `text/*`, JSON decoded, and of no known type what FastStream makes of it.

    Raises:
        ObjectLoadError: If the content is not of the type that it claims.
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
        # FastStream knows of JSON, and tries it where there is no type.
        if kind and kind != _JSON:
            return data
        # orjson, which FastStream uses where it is installed, reads nothing but bytes.
        plain = bytes(memoryview(data))
        value = decode_message(StreamMessage(None, plain, content_type=kind or None))
        return data if value is plain else value
    except (ValueError, LookupError) as error:
        msg = (
            f"Bucket '{info.bucket}', object {info.name!r} does not decode as "
            f"{content_type!r}: {error}. Put it with another Content-Type header, or take "
            "its bytes without decode=True."
        )
        raise ObjectLoadError(msg, bucket=info.bucket, name=info.name) from error


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset" and (charset := value.strip().strip('"')):
            return charset
    return "utf-8"
