"""The description, headers and metadata that callers give, checked and in wire format."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import nats.js.api

from .. import wire
from ..exceptions import InvalidOptionError
from ..models import ObjectInfo, ObjectLink, ObjectMeta, ObjectMetaOptions

__all__ = ("NOTHING_GIVEN", "AnyMeta", "Given", "Headers", "described")

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


def described(info: ObjectInfo, *, description: Any, headers: Any, texts: Any) -> ObjectInfo:
    """Return `info` with the fields that a caller gave, checked and in wire format.

    Raises:
        InvalidOptionError: If one of them has the wrong type.
    """
    where = f"Bucket '{info.bucket}', object {info.name!r}"
    if description is not None and not isinstance(description, str):
        msg = f"{where}: description must be a str, got {description!r}."
        raise InvalidOptionError(msg, bucket=info.bucket, name=info.name)
    if texts is not None and not (
        isinstance(texts, Mapping)
        and all(isinstance(k, str) and isinstance(v, str) for k, v in texts.items())
    ):
        msg = f"{where}: metadata must be a mapping of str to str, got {texts!r}."
        raise InvalidOptionError(msg, bucket=info.bucket, name=info.name)
    try:
        lists = wire.headers_of(headers)
    except InvalidOptionError as error:
        msg = f"{where}: {error}"
        raise InvalidOptionError(msg, bucket=info.bucket, name=info.name) from None
    said = (info.description, info.headers, info.metadata)
    if not (description or lists or texts or any(said)):
        return info
    return replace(
        info,
        description=description or None,
        headers=lists,
        metadata=dict(texts) if texts else None,
    )
