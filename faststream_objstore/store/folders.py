"""Folders: a page of a listing, with what shares a prefix folded into one entry."""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo

__all__ = ("Listing", "fold", "require_page")

# Objects that are looked for first in a folder whose first one is deleted.
_FIRST = 64


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


Look = Callable[[Sequence[str]], Awaitable[Sequence[ObjectInfo | None]]]
"""The objects behind names; `None` for what is not there any more."""


class _Entry(NamedTuple):
    """An object or a folder of a listing: a part of the sorted names."""

    text: str
    start: int
    stop: int
    is_folder: bool


async def fold(
    names: Sequence[str],
    look: Look,
    *,
    prefix: str = "",
    delimiter: str = "",
    after: str = "",
    limit: int | None = None,
) -> Listing:
    """A page of objects and folders, as a file browser shows them.

    Args:
        names: All names that begin with the prefix, sorted; some may be deleted objects'.
        look: Finds out which of them are there. It is asked for no more than the page takes,
            unless much is deleted.
        prefix: What the names begin with.
        delimiter: Ends a folder's name, such as `/`. Objects whose names have it behind
            the prefix are counted as one folder. None are, if it is empty.
        after: Leave out what is not behind this object or folder.
        limit: Most objects and folders together.
    """
    objects: list[ObjectInfo] = []
    folders: list[str] = []
    last: str | None = None
    entries = _entries(names, prefix, delimiter, after)
    count: int | None = None
    while True:
        if limit is not None:
            # One more, to know whether it is the last page.
            missing = limit + 1 - len(objects) - len(folders)
            count = missing if count is None else max(missing, 2 * count)
        some = list(islice(entries, count))
        if not some:
            return Listing(objects=objects, folders=folders)
        firsts = await look([names[one.start] for one in some])
        for one, info in zip(some, firsts, strict=True):
            if info is None and not (
                one.is_folder and await _any(names[one.start + 1 : one.stop], look)
            ):
                continue
            if len(objects) + len(folders) == limit:
                return Listing(objects=objects, folders=folders, after=last)
            last = one.text
            if one.is_folder:
                folders.append(one.text)
            elif info is not None:
                objects.append(info)


def _entries(
    names: Sequence[str], prefix: str, delimiter: str, after: str
) -> Iterator[_Entry]:
    at = bisect_right(names, after)
    while at < len(names):
        name, start = names[at], at
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            at += 1
            yield _Entry(name, start, at, is_folder=False)
            continue
        folder = name[: cut + len(delimiter)]
        # Names with one prefix stand together.
        at = bisect_right(names, folder, at, key=lambda one: one[: len(folder)])
        if folder > after:
            yield _Entry(folder, start, at, is_folder=True)


async def _any(names: Sequence[str], look: Look) -> bool:
    """Whether one of them is there."""
    at, count = 0, _FIRST
    while at < len(names):
        if any(info is not None for info in await look(names[at : at + count])):
            return True
        at, count = at + count, 2 * count
    return False
