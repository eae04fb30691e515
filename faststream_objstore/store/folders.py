"""Folders: a page of a listing, with what shares a prefix folded into one entry."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo

__all__ = ("Listing", "fold", "require_page")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page of a bucket's objects.

    Attributes:
        objects: Those of the page, by name.
        folders: What the names of further objects begin with, up to and including the
            delimiter, sorted.
        after: Where the next page begins: pass it as `after`. `None` on the last page.
    """

    objects: list[ObjectInfo] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    after: str | None = None


def require_page(bucket: str, *, delimiter: object, after: object, limit: object) -> None:
    """Check the options of a page.

    Raises:
        InvalidOptionError: If one of them is invalid.
    """
    problem: str | None = None
    if delimiter is None and (after is not None or limit is not None):
        problem = 'after and limit are for pages; give delimiter="/", or delimiter=""'
    elif delimiter is not None and not isinstance(delimiter, str):
        problem = f"delimiter must be a str, got {delimiter!r}"
    elif after is not None and not isinstance(after, str):
        problem = f"after must be a str, got {after!r}"
    elif limit is not None and (not isinstance(limit, int) or limit is True or limit < 1):
        problem = f"limit must be a number from 1, got {limit!r}"
    if problem is not None:
        msg = f"Bucket '{bucket}': {problem}."
        raise InvalidOptionError(msg, bucket=bucket)


def fold(
    infos: Sequence[ObjectInfo],
    *,
    prefix: str = "",
    delimiter: str = "",
    after: str = "",
    limit: int | None = None,
) -> Listing:
    """A page of objects and folders, as a file browser shows them.

    Args:
        infos: All objects whose names begin with the prefix, sorted by name.
        prefix: What the names begin with.
        delimiter: Ends a folder's name, such as `/`. Objects whose names have it behind
            the prefix are counted as one folder. None are, if it is empty.
        after: Leave out what is not behind this object or folder.
        limit: Most objects and folders together.
    """
    objects: list[ObjectInfo] = []
    folders: list[str] = []
    last: str | None = None
    at = 0
    while at < len(infos):
        info = infos[at]
        name = info.name
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = name if cut < 0 else name[: cut + len(delimiter)]
        if cut < 0:
            at += 1
        else:
            # Names with one prefix stand together.
            key = partial(_beginning, length=len(entry))
            at = bisect_right(infos, entry, at, key=key)
        if entry <= after:
            continue
        if limit is not None and len(objects) + len(folders) >= limit:
            return Listing(objects=objects, folders=folders, after=last)
        last = entry
        if cut < 0:
            objects.append(info)
        else:
            folders.append(entry)
    return Listing(objects=objects, folders=folders)


def _beginning(info: ObjectInfo, length: int) -> str:
    return info.name[:length]
