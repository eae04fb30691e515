"""`Nats-TTL` of an upload: how long its object lives, bounded by the service."""

import re
from datetime import timedelta
from http import HTTPStatus
from typing import TypeGuard

from starlette.datastructures import Headers

from faststream_objstore.exceptions import FeatureNotEnabledError, InvalidOptionError
from faststream_objstore.http.problems import refusal
from faststream_objstore.models import MOST_TTL
from faststream_objstore.store import ObjectStore

__all__ = ("TTL_HEADER", "asked_ttl", "is_max_ttl", "ttl_refusal")

TTL_HEADER = "Nats-TTL"
# As the server reads it: seconds, or hours, minutes and seconds.
_TTL = re.compile(r"(\d{1,10})|(?=\d)(?:(\d{1,7})h)?(?:(\d{1,9})m)?(?:(\d{1,10})s)?")
_FOR_EVER = timedelta(0)


def is_max_ttl(value: object) -> TypeGuard[timedelta]:
    """Whether it is a valid `max_ttl`."""
    return isinstance(value, timedelta) and _FOR_EVER < value <= MOST_TTL


def asked_ttl(headers: Headers, max_ttl: timedelta | None) -> timedelta | None:
    """How long an upload asks to live; 0 for ever, `None` if it does not say.

    Args:
        headers: Those of the request.
        max_ttl: The longest that it may.

    Raises:
        HTTPException: 400 if the header is malformed, or asks for more than that.
    """
    said = headers.get(TTL_HEADER)
    if said is None:
        return None
    asked = _parsed(said.strip())
    if asked is None:
        msg = f"{TTL_HEADER} must be seconds, such as 3600, or 1h30m, or never."
        raise refusal(HTTPStatus.BAD_REQUEST, msg)
    if max_ttl is not None and not _FOR_EVER < asked <= max_ttl:
        msg = f"{TTL_HEADER} must be at most {max_ttl.total_seconds():g} seconds here."
        raise refusal(HTTPStatus.BAD_REQUEST, msg)
    return asked


def _parsed(said: str) -> timedelta | None:
    if said == "never":
        return _FOR_EVER
    match = _TTL.fullmatch(said)
    if match is None or not said.isascii():
        return None
    seconds, *parts = (int(one or 0) for one in match.groups())
    asked = timedelta(hours=parts[0], minutes=parts[1], seconds=seconds + parts[2])
    return asked if asked <= MOST_TTL else None


async def ttl_refusal(
    store: ObjectStore, asked: timedelta, error: FeatureNotEnabledError | InvalidOptionError
) -> Exception:
    """What the client is told if the bucket cannot keep an object for that long.

    Args:
        store: The bucket.
        asked: How long the request asks.
        error: Why the put was refused.
    """
    least = (await store.status()).object_ttl
    if least is None:
        msg = f"Objects have no ttl here; leave out {TTL_HEADER}."
    elif asked < least:
        msg = f"{TTL_HEADER} must be at least {least.total_seconds():g} seconds here."
    else:
        return error
    return refusal(HTTPStatus.BAD_REQUEST, msg)
