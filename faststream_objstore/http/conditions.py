"""Conditional requests (RFC 9110, section 13): which may proceed, and which get 304 or 412."""

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from starlette.datastructures import Headers

__all__ = ("answer_to_preconditions", "has_preconditions", "is_range_wanted", "matching_etags")

# An etag may contain commas, and a list may have empty elements.
_ENTITY_TAG = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|$)')
_PRECONDITIONS = ("if-match", "if-unmodified-since", "if-none-match")


def has_preconditions(headers: Headers) -> bool:
    """Whether a request that writes is conditional. `If-Modified-Since` is for reads."""
    return any(name in headers for name in _PRECONDITIONS)


def answer_to_preconditions(
    headers: Headers, method: str, *, etag: str | None, modified: datetime | None
) -> HTTPStatus | None:
    """The result of the preconditions: 304, 412, or `None` if the request may proceed.

    In RFC 9110's order (13.2.2): `If-Match`, or else `If-Unmodified-Since`; then
    `If-None-Match`, or else `If-Modified-Since`, which is only for GET and HEAD.

    Args:
        headers: The request's.
        method: The request's.
        etag: The current strong etag, with its quotes; `None` if there is no object.
        modified: When the object was last changed.
    """
    if "if-match" in headers:
        if not matching_etags(headers, "if-match", etag, weak=False):
            return HTTPStatus.PRECONDITION_FAILED
    elif (since := _date(headers, "if-unmodified-since")) is not None and (
        etag is None or (modified is not None and modified.replace(microsecond=0) > since)
    ):
        return HTTPStatus.PRECONDITION_FAILED

    is_read = method in {"GET", "HEAD"}
    if "if-none-match" in headers:
        if matching_etags(headers, "if-none-match", etag, weak=True):
            return HTTPStatus.NOT_MODIFIED if is_read else HTTPStatus.PRECONDITION_FAILED
    elif (
        is_read
        and modified is not None
        and (since := _date(headers, "if-modified-since")) is not None
        and modified.replace(microsecond=0) <= since
    ):
        return HTTPStatus.NOT_MODIFIED
    return None


def matching_etags(headers: Headers, name: str, etag: str | None, *, weak: bool) -> bool:
    """Whether a list of etags contains the current one, or is `*` and an object exists.

    Args:
        headers: The request's.
        name: `if-match` or `if-none-match`.
        etag: The current one; `None` if there is no object.
        weak: Whether a weak etag may match.
    """
    value = ", ".join(headers.getlist(name)).strip(" \t,")
    if etag is None:
        return False
    if value == "*":
        return True
    return any(one == etag for is_weak, one in _entity_tags(value) if weak or not is_weak)


def is_range_wanted(headers: Headers, etag: str) -> bool:
    """Whether `If-Range` permits `Range`: it must be absent, or the current etag.

    A date is never accepted, because it cannot distinguish two versions from the same second
    (RFC 9110, 8.8.2.2), and parts of two versions would be combined.
    """
    given = headers.getlist("if-range")
    return not given or given == [etag]


def _entity_tags(value: str) -> list[tuple[bool, str]]:
    """The etags of a list, each with whether it is weak; none if it is malformed."""
    found: list[tuple[bool, str]] = []
    at = 0
    while at < len(value):
        if value[at] in " \t,":
            at += 1
            continue
        match = _ENTITY_TAG.match(value, at)
        if match is None:
            return []
        found.append((match[1] is not None, match[2]))
        at = match.end()
    return found


def _date(headers: Headers, name: str) -> datetime | None:
    """A date of the request; `None` if it is absent, repeated or invalid (then ignored)."""
    given = headers.getlist(name)
    if len(given) != 1:
        return None
    try:
        date = parsedate_to_datetime(given[0].strip())
        return (
            date.replace(tzinfo=timezone.utc)
            if date.tzinfo is None
            else date.astimezone(timezone.utc)
        )
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
