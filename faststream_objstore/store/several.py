"""Reading many small objects: their metadata in one request, and their contents in another.

That is the quick way for what is usual: live objects of one chunk. Everything else (links,
other sizes, what is missing, deleted, expired, damaged, or replaced meanwhile) is left to
`get`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from .. import wire
from ..backends.base import Backend, StoredMessage
from ..exceptions import (
    DigestMismatchError,
    IncompleteObjectError,
    InvalidObjectNameError,
    ObjStoreError,
)
from ..models import DEFAULT_CHUNK_SIZE, ObjectData, ObjectInfo
from . import metadata
from .get import Version, content, may_have_expired, verified_chunk
from .lifetime import Lifetimes
from .together import each

__all__ = ("SMALL", "Target", "read_several")

Target: TypeAlias = str | ObjectInfo
"""A name, for the newest version; or a version."""

SMALL = DEFAULT_CHUNK_SIZE
"""The bytes of an object that is read together with others."""

# What one request brings, at most: a part of what small reads may have under way.
_REQUEST_BYTES = 512 * 1024


async def read_several(
    backend: Backend, targets: Sequence[Target], *, max_size: int | None = None
) -> list[ObjectData | None]:
    """Read objects together.

    Args:
        backend: The bucket.
        targets: What to read; at most `TOGETHER`.
        max_size: The maximum size of each object in bytes.

    Returns:
        The content of each, verified as `get` does; `None` for what `get` has to read.
    """
    try:
        return await _read(
            backend, targets, SMALL if max_size is None else min(SMALL, max_size)
        )
    except ObjStoreError:
        # `get` raises it too, for the object that it reads.
        return [None] * len(targets)


async def _read(
    backend: Backend, targets: Sequence[Target], limit: int
) -> list[ObjectData | None]:
    results: list[ObjectData | None] = [None] * len(targets)
    if len(targets) < 2:
        return results
    subjects: dict[int, str] = {}
    wanted: dict[str, ObjectInfo] = {}
    infos = await _infos(backend, targets)
    for index, info in enumerate(infos):
        if info is None or not _is_usual(backend, info, limit):
            continue
        if not info.chunks:
            results[index] = await content(Version(backend, info, pinned=True))
            continue
        with suppress(ValueError):
            subjects[index] = subject = wire.chunk_subject(backend.bucket, info.nuid)
            wanted[subject] = info

    async def read(some: dict[str, int]) -> Mapping[str, StoredMessage]:
        return await backend.last_messages(list(some), size=sum(some.values()))

    found: dict[str, StoredMessage] = {}
    for messages in await each(_requests(wanted), read):
        found.update(messages)
    for index, subject in subjects.items():
        message, info = found.get(subject), infos[index]
        if message is not None and info is not None:
            # If it is not what was put, `get` looks for the reason.
            with suppress(IncompleteObjectError, DigestMismatchError):
                results[index] = ObjectData(verified_chunk(info, message), info)
    return results


async def _infos(backend: Backend, targets: Sequence[Target]) -> list[ObjectInfo | None]:
    """The versions that are meant, as far as they are known to be live."""
    subjects: dict[object, str] = {}
    for target in targets:
        if isinstance(target, str):
            with suppress(InvalidObjectNameError):
                subjects[target] = metadata.subject_of(backend, target)
    messages: Mapping[str, StoredMessage] = {}
    if len(subjects) > 1:
        messages = await backend.last_messages(list(subjects.values()))
    lifetimes = Lifetimes(backend)
    infos: list[ObjectInfo | None] = []
    for target in targets:
        info: ObjectInfo | None = None
        if isinstance(target, ObjectInfo):
            info = None if may_have_expired(backend, target) else target
        elif (message := messages.get(subjects.get(target, ""))) is not None:
            info = (await metadata.entry_of(backend, message, lifetimes)).live
        infos.append(info)
    return infos


def _is_usual(backend: Backend, info: ObjectInfo, limit: int) -> bool:
    """Whether it is a live object of at most one chunk."""
    return (
        info.size <= limit
        and (info.chunks == 1 or info.chunks == info.size == 0)
        and not info.deleted
        and not info.is_link()
        and info.bucket == backend.bucket
    )


def _requests(wanted: Mapping[str, ObjectInfo]) -> Iterator[dict[str, int]]:
    """The sizes of what is asked for together, by subject."""
    some: dict[str, int] = {}
    size = 0
    for subject, info in wanted.items():
        if some and size + info.size > _REQUEST_BYTES:
            yield some
            some, size = {}, 0
        some[subject] = info.size
        size += info.size
    if some:
        yield some
