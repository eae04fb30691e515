"""How long objects live in a bucket with a `ttl`.

The stream drops each message at its own age. An object's chunks are older than its metadata:
by as long as the put took, and by more where the metadata was written again, under another
name or with another text. So the metadata notes how old the content is, and an object ends
with its oldest chunk, by the server's clock, whatever metadata of it is left. In other
buckets all this costs one look at a setting.
"""

from typing import Any

from .. import wire
from ..backends.base import Backend, StreamState
from ..models import ObjectInfo

__all__ = ("Lifetimes", "aged", "with_age")

# What the metadata may take from here into the stream; the object ends so much sooner, but
# no sooner than by this part of its life.
_ON_ITS_WAY_US = 100_000
_PART = 10


class Lifetimes:
    """Tells which objects have expired; one for each answer that is given.

    Args:
        backend: The bucket.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._state: StreamState | None = None

    async def is_over(self, info: ObjectInfo, raw: dict[str, Any], time_ns: int) -> bool:
        """Whether an object has expired, though there is metadata of it.

        Args:
            info: The object.
            raw: The JSON of its metadata.
            time_ns: When that was stored.
        """
        max_age = self._backend.max_age
        # A marker and a link have no content.
        if not max_age or info.deleted or info.is_link():
            return False
        stored_ns = wire.content_us(raw, time_ns // 1000) * 1000
        if stored_ns + max_age > self._backend.latest_time():
            return False
        # It is old, or nearly; the server's clock and its settings decide.
        if self._state is None:
            self._state = await self._backend.state()
        max_age = self._state.config.get("max_age") or 0
        return bool(max_age) and stored_ns + max_age <= self._state.time_ns


def aged(
    backend: Backend, raw: dict[str, Any] | None, seconds: float
) -> dict[str, Any] | None:
    """The JSON of a new version, with the age of its chunks where that matters.

    Args:
        backend: The bucket.
        raw: What else it notes.
        seconds: How long ago the first of its chunks was sent.
    """
    if not backend.max_age:
        return raw
    margin = min(_ON_ITS_WAY_US, backend.max_age // 1000 // _PART)
    return wire.with_content_age(raw, round(seconds * 1e6) + margin)


def with_age(
    backend: Backend, info: ObjectInfo | None, raw: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The JSON of a version for metadata that is written again, its content untouched.

    Args:
        backend: The bucket.
        info: The version, as it was read.
        raw: Its JSON.
    """
    if not backend.max_age or info is None or info.is_link() or info.mtime is None:
        return raw
    if wire.has_content_at(raw):
        # The time of what was written just now is by this machine's clock.
        return raw
    return wire.with_content_at(raw, wire.content_us(raw, wire.microseconds(info.mtime)))
