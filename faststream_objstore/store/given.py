"""The description, headers and metadata that callers give, checked and in wire format."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import nats.js.api

from .. import wire
from ..exceptions import InvalidOptionError
from ..models import ObjectInfo, ObjectLink, ObjectMeta, ObjectMetaOptions

__all__ = ("NOTHING_GIVEN", "AnyMeta", "Given", "Headers", "checked", "described")

Headers: TypeAlias = Mapping[str, str | list[str]]
AnyMeta: TypeAlias = ObjectMeta | nats.js.api.ObjectMeta
"""Ours, or nats-py's, which has no metadata."""


class Given:
    """The fields of an `ObjectMeta`, ours or nats-py's."""

    def __init__(self, meta: Any) -> None:
        self.name: str | None = meta.name
        self.description: str | None = meta.description
        self.headers: Any = meta.headers
        self.has_metadata: bool = hasattr(meta, "metadata")
        self.metadata: Any = getattr(meta, "metadata", None)
        options = meta.options
        self.options: ObjectMetaOptions | None = None
        if options is not None:
            link = getattr(options, "link", None)
            self.options = ObjectMetaOptions(
                link=ObjectLink(link.bucket, link.name or None) if link else None,
                max_chunk_size=getattr(options, "max_chunk_size", None),
            )

    @classmethod
    def of(cls, meta: Any) -> "Given":
        """Read an `ObjectMeta`.

        Args:
            meta: An `ObjectMeta`, ours or nats-py's; `None` for an empty one.

        Returns:
            Its fields.

        Raises:
            InvalidOptionError: If `meta` is something else.
        """
        if meta is None:
            meta = ObjectMeta()
        if isinstance(meta, (str, bytes, Mapping)) or not hasattr(meta, "headers"):
            msg = f"meta must be an ObjectMeta, got {meta!r}."
            raise InvalidOptionError(msg)
        return cls(meta)


NOTHING_GIVEN = Given(ObjectMeta())


def checked(
    bucket: str, name: str, *, description: Any, headers: Any, texts: Any
) -> tuple[str | None, dict[str, list[str]] | None, dict[str, str] | None]:
    """Check the description, headers and metadata of an object, and return their wire form.

    Raises:
        InvalidOptionError: If one of them has the wrong type.
    """
    problem = ""
    lists: dict[str, list[str]] | None = None
    if description is not None and not isinstance(description, str):
        problem = f"description must be a str, got {description!r}."
    elif texts is not None and not _is_texts(texts):
        problem = f"metadata must be a mapping of str to str, got {texts!r}."
    elif headers:
        try:
            lists = wire.headers_of(headers)
        except InvalidOptionError as error:
            problem = str(error)
    if problem:
        msg = f"Bucket '{bucket}', object {name!r}: {problem}"
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return description or None, lists, dict(texts) if texts else None


def _is_texts(texts: Any) -> bool:
    if not isinstance(texts, Mapping):
        return False
    # Each file of a folder has one text, and a generator would take longer than the check.
    for key, value in texts.items():  # noqa: SIM110
        if not (isinstance(key, str) and isinstance(value, str)):
            return False
    return True


def described(info: ObjectInfo, *, description: Any, headers: Any, texts: Any) -> ObjectInfo:
    """Return `info` with the fields that a caller gave; see `checked`.

    Raises:
        InvalidOptionError: If one of them has the wrong type.
    """
    description, headers, texts = checked(
        info.bucket, info.name, description=description, headers=headers, texts=texts
    )
    return replace(info, description=description, headers=headers, metadata=texts)
