"""Which objects have expired, in a bucket with a `ttl` or with one of their own.

In a bucket with a `ttl` the stream drops each message when that message is old enough. An
object's chunks are older than its metadata: by the duration of the put, and by more if the
metadata was written again, under another name or with other text. So the metadata records how
old the content is, and an object expires with its oldest chunk, by the server's clock,
whatever metadata of it is left. If an object has a `ttl` of its own (`expiry`), its end stands
in the metadata too. Otherwise this costs only a look at a setting.
"""

from typing import Any

from .. import wire
from ..backends.base import Backend, StreamState
from ..models import ObjectInfo
from . import expiry

__all__ = ("Lifetimes", "aged", "with_age")

# How long the metadata may take to reach the stream. The object expires that much earlier, but
# at most by this fraction of its life.
_ON_ITS_WAY_US = 100_000
_PART = 10


class Lifetimes:
    """Decides which objects have expired; one instance for each answer.

    Args:
        backend: The bucket.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._state: StreamState | None = None

    async def is_over(self, info: ObjectInfo, raw: dict[str, Any], time_ns: int) -> bool:
        """Whether an object has expired although its metadata still exists.

        Args:
            info: The object.
            raw: The JSON of its metadata.
            time_ns: When the metadata was stored.
        """
        if info.deleted:
            return False
        expires_us = wire.expires_us(raw, time_ns // 1000)
        if expires_us is not None and expires_us * 1000 <= self._backend.latest_time():
            state = await self._state_now()
            if expires_us * 1000 <= state.time_ns:
                return True
        max_age = self._backend.max_age
        # Links have no content.
        if not max_age or info.is_link():
            return False
        stored_ns = wire.content_us(raw, time_ns // 1000) * 1000
        if stored_ns + max_age > self._backend.latest_time():
            return False
        # It is old, or nearly so; the server's clock and its settings decide.
        state = await self._state_now()
        max_age = state.config.get("max_age") or 0
        return bool(max_age) and stored_ns + max_age <= state.time_ns

    async def _state_now(self) -> StreamState:
        if self._state is None:
            self._state = await self._backend.state()
        return self._state


def aged(
    backend: Backend, raw: dict[str, Any] | None, seconds: float
) -> dict[str, Any] | None:
    """The JSON of a new version, with the age of its chunks if that matters.

    Args:
        backend: The bucket.
        raw: The rest of its JSON.
        seconds: How long ago the first of its chunks was sent.
    """
    if not backend.max_age:
        return raw
    margin = min(_ON_ITS_WAY_US, backend.max_age // 1000 // _PART)
    return wire.with_content_age(raw, round(seconds * 1e6) + margin)


def with_age(
    backend: Backend, info: ObjectInfo | None, raw: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The JSON of a version whose metadata is rewritten while its content stays.

    It expires when it would have.

    Args:
        backend: The bucket.
        info: The version, as it was read.
        raw: Its JSON.
    """
    raw = expiry.pinned(info, raw)
    if not backend.max_age or info is None or info.is_link() or info.mtime is None:
        return raw
    if wire.has_content_at(raw):
        # For what was written just now, the time is by this machine's clock.
        return raw
    return wire.with_content_at(raw, wire.content_us(raw, wire.microseconds(info.mtime)))
