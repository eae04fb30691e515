"""The arguments of a put, which are checked before anything is sent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, TypedDict

from ..backends.base import Backend
from ..exceptions import InvalidLinkError, InvalidOptionError
from ..models import DEFAULT_CHUNK_SIZE, ObjectInfo, new_info
from .expiry import Ttl, Until, life_of
from .given import NOTHING_GIVEN, AnyMeta, Given, Headers, checked
from .modes import Condition, PutMode, put_condition
from .put import Progress
from .sources import PutData, Source

__all__ = ("KeywordOptions", "Prepared", "PutOptions", "prepare")

FILENAME_KEY = "filename"


class KeywordOptions(TypedDict, total=False):
    """The options of `put` that are given by keyword only; see `ObjectStore.put`."""

    description: str | None
    filename: str | None
    headers: Headers | None
    metadata: Mapping[str, str] | None
    chunk_size: int | None
    mode: PutMode
    progress: Progress | None
    ttl: Ttl


class PutOptions(KeywordOptions, total=False):
    """The options of `put` besides name and data; see `ObjectStore.put`."""

    meta: AnyMeta | None


class Prepared(NamedTuple):
    """A put whose arguments have been checked.

    Attributes:
        info: The name, description, headers and metadata.
        source: The content.
        condition: What it may replace.
        chunk_size: The size of a chunk in bytes, if the caller gave one.
        progress: Called after each chunk.
        ttl: How long it lives, if not for ever.
    """

    info: ObjectInfo
    source: Source
    condition: Condition
    chunk_size: int | None
    progress: Progress | None
    ttl: timedelta | Until | None

    def chunk_size_on(self, backend: Backend) -> int:
        """The size of a chunk in bytes.

        Raises:
            InvalidOptionError: If the server does not accept chunks of that size.
        """
        size = self.chunk_size
        if size is None:
            return min(DEFAULT_CHUNK_SIZE, backend.max_payload)
        if type(size) is not int or not 1 <= size <= backend.max_payload:
            bucket, name = self.info.bucket, self.info.name
            msg = (
                f"Bucket '{bucket}', object {name!r}: chunk_size must be from 1 to "
                f"{backend.max_payload} bytes, the server's max_payload, got {size!r}."
            )
            raise InvalidOptionError(msg, bucket=bucket, name=name)
        return size


def prepare(
    bucket: str,
    name: str,
    data: PutData,
    *,
    meta: AnyMeta | None = None,
    description: str | None = None,
    filename: str | None = None,
    headers: Headers | None = None,
    metadata: Mapping[str, str] | None = None,
    chunk_size: int | None = None,
    mode: PutMode = "overwrite",
    progress: Progress | None = None,
    ttl: Ttl = None,
) -> Prepared:
    """Check the arguments of `put`; see `ObjectStore.put`.

    Raises:
        InvalidOptionError, InvalidLinkError, UnsupportedDataError: If one is invalid.
    """
    if not name and meta is not None and meta.name:
        name = meta.name
    given = NOTHING_GIVEN if meta is None else Given.of(meta)
    stored = given.options
    if stored is not None and stored.link is not None:
        msg = (
            f"Bucket '{bucket}', object {name!r}: an object with content cannot be a "
            "link (ADR-20); use add_link()."
        )
        raise InvalidLinkError(msg, bucket=bucket, name=name)
    texts = metadata if metadata is not None else given.metadata or {}
    if filename is not None and isinstance(texts, Mapping):
        texts = {**texts, FILENAME_KEY: filename}
    if description is None:
        description = given.description
    if headers is None:
        headers = given.headers
    if description is None and not headers and not texts:
        info = new_info(name, bucket)
    else:
        said = checked(bucket, name, description=description, headers=headers, texts=texts)
        info = new_info(name, bucket, "", 0, 0, None, False, *said)
    if chunk_size is None and stored is not None:
        chunk_size = stored.max_chunk_size
    condition = put_condition(bucket, name, mode)
    source = Source.of(data, bucket, name)
    life = life_of(bucket, name, ttl)
    return Prepared(info, source, condition, chunk_size, progress, life)
