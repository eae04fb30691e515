"""What this package records in an object's metadata: replaced versions, ages, expiry."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from .chunks import NUID

__all__ = (
    "EXPIRY",
    "Replaced",
    "content_us",
    "expires_at",
    "expires_us",
    "has_content_at",
    "has_expiry",
    "has_replaced",
    "is_pinned",
    "microseconds",
    "replaced_in",
    "with_content_age",
    "with_content_at",
    "with_expires_at",
    "with_replaced",
    "with_ttl",
    "without_content_age",
    "without_expiry",
)

# In an object's metadata: `[{"nuid": ..., "at": ...}, ..., {"nuid": ...}]`.
_REPLACED = "replaced"
# The age of the content in microseconds: either `{"age": ...}`, to be added to the age of the
# message itself, or `{"at": ...}`, a time since the epoch.
_CONTENT = "objstore-content"
EXPIRY = "objstore-expires"
"""The metadata key that records when an object expires.

Either `{"ttl": ...}`, microseconds after the message itself was stored, or `{"at": ...}`,
microseconds since the epoch.
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Replaced(NamedTuple):
    """A version whose chunks are kept for a while, recorded in the metadata that replaced it.

    Attributes:
        nuid: Names its chunks.
        at_us: When it was replaced, microseconds since the epoch, by the server's clock.
        move: What its metadata recorded of a rename: another name may share the chunks.
    """

    nuid: str
    at_us: int
    move: Any = None


def replaced_in(raw: Mapping[str, Any] | None, time_ns: int) -> list[Replaced]:
    """The replaced versions that a metadata message records, oldest first.

    Args:
        raw: Its JSON.
        time_ns: When the message was stored. The last of the versions was replaced at that
            time: it was recorded by the message that replaced it, so its record has no time.
    """
    listed = raw.get(_REPLACED) if raw else None
    if not isinstance(listed, list):
        return []
    result = []
    for one in listed:
        nuid = one.get("nuid") if isinstance(one, dict) else None
        if isinstance(nuid, str) and NUID.fullmatch(nuid):
            at = one.get("at")
            # A version of unknown age is assumed to be young, so that nothing is lost.
            known = type(at) is int and 0 <= at <= time_ns // 1000
            at_us = at if known else time_ns // 1000
            result.append(Replaced(nuid, at_us, one.get("move")))
    return result


def with_replaced(
    raw: Mapping[str, Any] | None,
    replaced: Sequence[Replaced],
    newest: Replaced | None = None,
) -> dict[str, Any]:
    """The JSON of a version with a new list of replaced versions.

    Args:
        raw: Its JSON.
        replaced: What was replaced before.
        newest: What this message itself replaces; its time is the message's.
    """
    notes: list[dict[str, Any]] = [{"nuid": one.nuid, "at": one.at_us} for one in replaced]
    moves = [one.move for one in replaced]
    if newest is not None:
        notes.append({"nuid": newest.nuid})
        moves.append(newest.move)
    for note, move in zip(notes, moves, strict=True):
        if move is not None:
            note["move"] = move
    result = {key: value for key, value in (raw or {}).items() if key != _REPLACED}
    if notes:
        result[_REPLACED] = notes
    return result


def has_replaced(raw: Mapping[str, Any] | None) -> bool:
    """Whether a metadata message records replaced versions."""
    return raw is not None and _REPLACED in raw


def content_us(raw: Mapping[str, Any] | None, time_us: int) -> int:
    """When the oldest chunk was stored, microseconds since the epoch.

    Args:
        raw: The JSON of the metadata.
        time_us: When the metadata was stored, used if it records nothing.
    """
    said = raw.get(_CONTENT) if raw else None
    if not isinstance(said, dict):
        return time_us
    at, age = said.get("at"), said.get("age")
    if type(at) is int:
        return min(at, time_us)
    return time_us - age if type(age) is int and age >= 0 else time_us


def has_content_at(raw: Mapping[str, Any] | None) -> bool:
    """Whether the metadata records, by the server's clock, when its content was stored."""
    said = raw.get(_CONTENT) if raw else None
    return isinstance(said, dict) and type(said.get("at")) is int


def with_content_age(raw: Mapping[str, Any] | None, age_us: int) -> dict[str, Any]:
    """The JSON of a version that records how much older its chunks are than the message."""
    return {**(raw or {}), _CONTENT: {"age": age_us}}


def with_content_at(raw: Mapping[str, Any] | None, at_us: int) -> dict[str, Any]:
    """The JSON of a version that records when its oldest chunk was stored."""
    return {**(raw or {}), _CONTENT: {"at": at_us}}


def without_content_age(raw: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON of a version without content."""
    if raw is None or _CONTENT not in raw:
        return raw
    return {key: value for key, value in raw.items() if key != _CONTENT}


def has_expiry(raw: Mapping[str, Any] | None) -> bool:
    """Whether a metadata message records when the object expires."""
    return raw is not None and EXPIRY in raw


def is_pinned(raw: Mapping[str, Any] | None) -> bool:
    """Whether the metadata records a time at which the object expires, not a duration."""
    said = raw.get(EXPIRY) if raw else None
    return isinstance(said, dict) and type(said.get("at")) is int


def expires_us(raw: Mapping[str, Any] | None, time_us: int) -> int | None:
    """When the object expires, microseconds since the epoch; `None` for never.

    Args:
        raw: The JSON of its metadata.
        time_us: When the metadata was stored.
    """
    said = raw.get(EXPIRY) if raw else None
    if not isinstance(said, dict):
        return None
    at, ttl = said.get("at"), said.get("ttl")
    if type(at) is int:
        return at
    return time_us + ttl if type(ttl) is int and ttl > 0 else None


def expires_at(raw: Mapping[str, Any] | None, time_us: int) -> datetime | None:
    """`expires_us` as a time in UTC; `None` also if it is beyond what `datetime` can hold."""
    at = expires_us(raw, time_us)
    try:
        return None if at is None else _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return None


def with_ttl(raw: Mapping[str, Any] | None, ttl_us: int) -> dict[str, Any]:
    """The JSON of a version that expires this long after its metadata is stored."""
    return {**(raw or {}), EXPIRY: {"ttl": ttl_us}}


def with_expires_at(raw: Mapping[str, Any] | None, at_us: int) -> dict[str, Any]:
    """The JSON of a version that expires at a time, by the server's clock."""
    return {**(raw or {}), EXPIRY: {"at": at_us}}


def without_expiry(raw: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON of a version that does not expire."""
    if raw is None or EXPIRY not in raw:
        return raw
    return {key: value for key, value in raw.items() if key != EXPIRY}


def microseconds(moment: datetime) -> int:
    """The time since the epoch; exact, because a message's time was parsed exactly."""
    return round(moment.timestamp() * 1e6)
