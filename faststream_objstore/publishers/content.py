"""A handler's return value as the content of an object, and its content type."""

import mimetypes
import os
from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from faststream.nats import NatsBroker

from faststream_objstore._faststream import encode_body

__all__ = ("close", "content_type_for", "encoded", "is_single_use", "is_stream")

_BINARY = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
# Not the machine's own tables, so that the type does not depend on where a handler runs.
_types = mimetypes.MimeTypes()
# Nor on the Python version: some versions do not know these yet.
for _ending, _kind in (
    (".avif", "image/avif"),
    (".flac", "audio/flac"),
    (".js", "text/javascript"),
    (".md", "text/markdown"),
    (".mjs", "text/javascript"),
    (".webm", "video/webm"),
    (".webp", "image/webp"),
    (".woff2", "font/woff2"),
):
    _types.add_type(_kind, _ending)


def is_single_use(body: Any) -> bool:
    """Whether its content can only be read once, as with files and iterators."""
    if isinstance(body, (str, bytes, bytearray, memoryview, Mapping, os.PathLike)):
        return False
    # Models may have a field with that name, and may be iterable.
    if is_dataclass(body) or hasattr(type(body), "model_fields"):
        return False
    return isinstance(body, (Iterator, AsyncIterable)) or callable(getattr(body, "read", None))


def is_stream(body: Any) -> bool:
    """Whether a bucket can store it unchanged, although FastStream cannot encode it."""
    return isinstance(body, (bytearray, memoryview, os.PathLike)) or is_single_use(body)


async def encoded(broker: NatsBroker, body: Any) -> tuple[Any, str | None]:
    """Its form for `put`, and the content type if the encoding determines it."""
    if isinstance(body, (str, bytes)) or is_stream(body):
        return body, None
    return await encode_body(broker, body)


def content_type_for(body: Any, name: str) -> str:
    """The content type of a body that is stored unchanged.

    Args:
        body: The body.
        name: The object's name, whose extension is the best evidence.
    """
    kind = _guess(name)
    if isinstance(body, str):
        if kind is None or kind == "text/plain":
            return _TEXT
        return kind
    if kind is None and isinstance(body, os.PathLike):
        kind = _guess(Path(body).name)
    return kind or _BINARY


def _guess(name: str) -> str | None:
    kind, encoding = _types.guess_type(name.rpartition("/")[2], strict=False)
    # `a.json.gz` only becomes JSON when it is decompressed.
    return None if encoding else kind


async def close(body: Any) -> None:
    """Close a file or a generator that nothing else can close any more."""
    end = getattr(body, "aclose", None) or getattr(body, "close", None)
    if end is None or not is_single_use(body):
        return
    ended = end()
    if hasattr(ended, "__await__"):
        await ended
