"""How long a single object lives, if it was put with a `ttl`.

The stream drops the object's metadata when its time is over, and leaves a marker, by which
watchers and subscribers learn of it. The time stands in the metadata too, because a server
counts whole seconds from when a message was stored, and lets none live for less than the
bucket's least `ttl`: metadata that is written again, under another name or with other text,
may outlive its object, which is then hidden from readers.

Chunks expire by themselves as well, an hour later than their metadata would if it had been
stored when they were sent. So a reader that has found the metadata finds the content, unless
the put took longer than that, which is refused.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

from .. import wire
from ..backends.base import Backend
from ..exceptions import (
    FeatureNotEnabledError,
    IncompleteObjectError,
    InvalidOptionError,
    ObjectNotFoundError,
)
from ..models import MOST_TTL, ObjectInfo, as_timedelta

__all__ = (
    "LONGEST_PUT_SECONDS",
    "ExpiredError",
    "Life",
    "Ttl",
    "Until",
    "chunk_seconds",
    "given_in",
    "life_of",
    "pinned",
    "require_in_time",
    "seconds_left",
    "settle",
    "with_life",
)

_CHUNK_SECONDS = 3600
# Who has found the metadata just before it expires still needs its chunks for some time.
_READING_SECONDS = 300
LONGEST_PUT_SECONDS = _CHUNK_SECONDS - _READING_SECONDS
"""How long the put of an object with a `ttl` may take."""
_US = timedelta(microseconds=1)


class ExpiredError(ObjectNotFoundError):
    """What is to be stored again has expired."""


class Until(NamedTuple):
    """A `ttl` that ends at a time: that of the object from which a copy is made.

    Attributes:
        at_us: Microseconds since the epoch, by the server's clock.
    """

    at_us: int


Ttl: TypeAlias = "timedelta | float | Until | None"
"""What a put takes as its `ttl`; `Until` is internal to this package."""


class Life(NamedTuple):
    """When a new version expires.

    Attributes:
        ttl_us: Microseconds after its metadata is stored; `None` if it has an end instead.
        at_us: Its end, microseconds since the epoch, by the server's clock.
        chunk_ttl: Seconds that its chunks live from when they are sent.
    """

    ttl_us: int | None
    at_us: int
    chunk_ttl: int


def given_in(raw: Mapping[str, Any] | None) -> timedelta | Until | None:
    """The `ttl` in the JSON of a version that is not stored yet."""
    said = wire.expires_us(raw, 0)
    if said is None:
        return None
    return Until(said) if wire.is_pinned(raw) else said * _US


def life_of(bucket: str, name: str, ttl: Ttl) -> timedelta | Until | None:
    """Check a caller's `ttl`; `None` for an object that does not expire.

    Raises:
        InvalidOptionError: If it is invalid.
    """
    if ttl is None or isinstance(ttl, Until):
        return ttl
    given = as_timedelta(ttl)
    if not isinstance(given, timedelta) or not timedelta(0) <= given <= MOST_TTL:
        msg = (
            f"Bucket '{bucket}', object {name!r}: ttl must be a timedelta or seconds, at most "
            f"100 years, or 0 for ever, got {ttl!r}."
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return given or None


async def settle(backend: Backend, name: str, ttl: timedelta | Until | None) -> Life | None:
    """Decide how long a new version lives, before anything of it is sent.

    Args:
        backend: The bucket.
        name: The object.
        ttl: What the caller wants, checked by `life_of`.

    Raises:
        FeatureNotEnabledError: If objects of the bucket cannot have a `ttl`.
        InvalidOptionError: If it is less than the bucket allows.
        ObjectNotFoundError: If what is copied has expired.
    """
    if ttl is None:
        return None
    if not (backend.least_ttl and backend.knows_time):
        # It may have been enabled since the bucket was bound. And the caller is told when the
        # object expires by the server's clock.
        await backend.state()
    if isinstance(ttl, Until):
        if not backend.least_ttl:
            return None
        left_us = ttl.at_us - (await backend.state()).time_ns // 1000
        if left_us <= 0:
            msg = f"Bucket '{backend.bucket}': what {name!r} is made of has expired meanwhile."
            raise ExpiredError(msg, bucket=backend.bucket, name=name)
        return Life(None, ttl.at_us, _seconds(left_us) + _CHUNK_SECONDS)
    if not backend.least_ttl:
        msg = (
            f"Bucket '{backend.bucket}', object {name!r}: objects of this bucket have no ttl "
            "of their own. Declare it with object_ttl=True (and update=True, if it exists), "
            "which takes nats-server 2.11 or later, or leave the ttl out."
        )
        raise FeatureNotEnabledError(msg, bucket=backend.bucket, name=name)
    least = timedelta(microseconds=backend.least_ttl // 1000)
    if ttl < least:
        msg = (
            f"Bucket '{backend.bucket}', object {name!r}: a ttl of {ttl} is less than the "
            f"bucket allows, which is {least}; give a longer one, or declare the bucket with "
            "a smaller object_ttl, one second at least."
        )
        raise InvalidOptionError(msg, bucket=backend.bucket, name=name)
    ttl_us = ttl // _US
    if backend.max_age:
        ttl_us = min(ttl_us, backend.max_age // 1000)
    return Life(ttl_us, 0, _seconds(ttl_us) + _CHUNK_SECONDS)


def chunk_seconds(life: Life | None) -> int:
    """Seconds that the chunks of a version live; 0 for ever."""
    return 0 if life is None else life.chunk_ttl


def with_life(raw: dict[str, Any] | None, life: Life | None) -> dict[str, Any] | None:
    """The JSON of a new version, with the end of its life."""
    if life is None:
        return raw
    if life.ttl_us is None:
        return wire.with_expires_at(raw, life.at_us)
    return wire.with_ttl(raw, life.ttl_us)


def pinned(info: ObjectInfo | None, raw: dict[str, Any] | None) -> dict[str, Any] | None:
    """The JSON of a version whose metadata is written again: it expires when it did.

    Args:
        info: The version, as it was read.
        raw: Its JSON.
    """
    if info is None or info.expires is None or not wire.has_expiry(raw):
        return raw
    return wire.with_expires_at(raw, wire.microseconds(info.expires))


async def seconds_left(
    backend: Backend, raws: Sequence[Mapping[str, Any] | None]
) -> list[int]:
    """The TTLs of metadata messages that are about to be written; 0 for ever.

    Args:
        backend: The bucket.
        raws: Their JSON.
    """
    # By the server's clock, which decides.
    pinned = backend.least_ttl and any(wire.is_pinned(raw) for raw in raws)
    now_us = (await backend.state()).time_ns // 1000 if pinned else 0
    return [_seconds_left(backend, raw, now_us) for raw in raws]


def _seconds_left(backend: Backend, raw: Mapping[str, Any] | None, now_us: int) -> int:
    if not wire.has_expiry(raw) or not backend.least_ttl:
        return 0
    ttl_us = wire.expires_us(raw, 0)
    if ttl_us is None:
        return 0
    if wire.is_pinned(raw):
        ttl_us -= now_us
    return _seconds(max(1, ttl_us))


def require_in_time(backend: Backend, name: str, life: Life | None, seconds: float) -> None:
    """Refuse a version whose chunks might expire before its metadata does.

    Args:
        backend: The bucket.
        name: The object.
        life: How long it lives.
        seconds: How long ago the first of its chunks was sent.

    Raises:
        IncompleteObjectError: If that was too long ago.
    """
    if life is not None and seconds > LONGEST_PUT_SECONDS:
        msg = (
            f"Bucket '{backend.bucket}', object {name!r}: an object with a ttl must be stored "
            f"within {LONGEST_PUT_SECONDS // 60} minutes, because its chunks expire too; this "
            f"one took {seconds / 60:.0f}. Put it faster, or without a ttl."
        )
        raise IncompleteObjectError(msg, bucket=backend.bucket, name=name)


def _seconds(microseconds: int) -> int:
    """Whole seconds, rounded up: the server would round down."""
    return -(-microseconds // 1_000_000)
