"""Another `ttl` for an object that exists: its content is stored again.

The time at which chunks expire is set when they are sent, and cannot be changed.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .. import wire
from ..backends.base import Backend, WrongRevision
from ..exceptions import InvalidOptionError, ObjectChangedError, RevisionMismatchError
from ..messages import StoredMessage
from ..models import DEFAULT_CHUNK_SIZE, ObjectInfo
from . import expiry, kept, modes
from .get import Version, verified
from .metadata import Entry, find, noted, require, subject_of, write
from .put import Novelty, put_object
from .sources import Again, Source

__all__ = ("content_of", "renew", "renewable", "require_same_name")


async def renew(
    backend: Backend,
    name: str,
    change: Callable[[ObjectInfo], ObjectInfo],
    ttl: timedelta | expiry.Until | None,
    *,
    condition: modes.Condition = None,
) -> tuple[ObjectInfo, StoredMessage]:
    """Store the newest version of an object again, with another `ttl`.

    Args:
        backend: The bucket.
        name: The object.
        change: Makes the new metadata; called again for a newer version.
        ttl: How long it lives from now on; `None` for ever.
        condition: The revision that may be changed; `None` for any.

    Raises:
        RevisionMismatchError: If the object is at another revision.
        ObjectNotFoundError: If there is no such object.
        InvalidOptionError: If it is renamed at the same time.
    """
    subject = subject_of(backend, name)
    while True:
        entry = await find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        info = require(backend, name, entry)
        changed = change(info)
        require_same_name(changed, name)
        try:
            if info.is_link():
                return await _link(backend, subject, entry, changed, ttl)
            return await _object(backend, entry, info, changed, ttl)
        except (ObjectChangedError, RevisionMismatchError, WrongRevision):
            # With a condition, `modes.require` says so.
            continue


def require_same_name(changed: ObjectInfo, name: str) -> None:
    """Refuse a new name together with a new `ttl`."""
    if changed.name != name:
        msg = (
            f"Bucket '{changed.bucket}', object {name!r}: a new name and a new ttl cannot be "
            "given together; rename it first."
        )
        raise InvalidOptionError(msg, bucket=changed.bucket, name=name)


def renewable(entry: Entry) -> dict[str, Any]:
    """What another `ttl` keeps of the JSON of a version."""
    raw = wire.without_expiry(wire.without_content_age(noted(entry.raw, None)))
    return dict(raw or {})


def content_of(backend: Backend, info: ObjectInfo) -> tuple[Source, int]:
    """The content of a version, to be stored again, and the size of its chunks."""
    size = info.options.max_chunk_size if info.options else None
    content = Again(lambda: verified(Version(backend, info, pinned=True)))
    source = Source.of(content, backend.bucket, info.name)
    return source, min(size or DEFAULT_CHUNK_SIZE, backend.max_payload)


async def _link(
    backend: Backend,
    subject: str,
    entry: Entry,
    changed: ObjectInfo,
    ttl: timedelta | expiry.Until | None,
) -> tuple[ObjectInfo, StoredMessage]:
    life = await expiry.settle(backend, changed.name, ttl)
    raw = wire.without_expiry(kept.carried(backend, entry))
    raw = expiry.with_life(dict(raw or {}), life)
    return await write(backend, subject, changed, replaces=entry.revision, raw=raw)


async def _object(
    backend: Backend,
    entry: Entry,
    info: ObjectInfo,
    changed: ObjectInfo,
    ttl: timedelta | expiry.Until | None,
) -> tuple[ObjectInfo, StoredMessage]:
    source, chunk_size = content_of(backend, info)
    return await put_object(
        backend,
        changed,
        source,
        chunk_size=chunk_size,
        condition=entry.revision,
        progress=None,
        novelty=Novelty(),
        ttl=ttl,
        amends=renewable(entry),
    )
