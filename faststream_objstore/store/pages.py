"""A listing of a part of a bucket: names first, and then the metadata that it takes.

Names are encoded on the wire, so the server cannot select by them; but it tells all of them in
one answer, for a sixth of what their metadata costs.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from .. import wire
from ..backends.base import TOGETHER, Backend, StoredMessage
from ..models import ObjectInfo
from .scan import everything, present
from .together import each

__all__ = ("Metadata", "matching_names")

# To read the metadata of single objects takes up to twice as long as if it comes with all of
# them, and the names have to be read first.
_SHARE = 4
_FEW = 100

# Names that are decoded before other tasks have a turn.
_TURN = 5000


async def matching_names(
    backend: Backend, prefix: str, matches: Callable[[str], bool] | None
) -> tuple[list[str], int]:
    """The names that match, sorted, and how many there are in all.

    Those of objects that were deleted or do not parse are among them.
    """
    subjects = list(await backend.subjects(wire.metadata_wildcard(backend.bucket)))
    start = wire.subject_start(backend.bucket, prefix)
    names: list[str] = []
    for at in range(0, len(subjects), _TURN):
        if at:
            await asyncio.sleep(0)
        for subject in subjects[at : at + _TURN]:
            if subject.startswith(start):
                name = wire.name_of(subject)
                if name is not None and (matches is None or matches(name)):
                    names.append(name)
    return sorted(names), len(subjects)


class Metadata:
    """The objects behind names; of few, one by one, and of many, in one pass over the bucket.

    Args:
        backend: The bucket.
        total: How many names it has.
        matches: Selects the names that are asked for.
        include_deleted: Whether delete markers count as objects.
    """

    def __init__(
        self,
        backend: Backend,
        total: int,
        matches: Callable[[str], bool] | None,
        *,
        include_deleted: bool,
    ) -> None:
        self._backend = backend
        self._matches = matches
        self._include_deleted = include_deleted
        # How many are still read one by one.
        self._left = max(total // _SHARE, _FEW)
        self._all: dict[str, ObjectInfo] | None = None

    async def of(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        """The object of each name, unless it is deleted, has expired or does not parse."""
        if self._all is None and len(names) > self._left:
            self._all = await everything(self._backend, self._matches)
        if self._all is not None:
            infos = self._all
        else:
            self._left -= len(names)
            infos = await self._some(names)
        return [
            info if info is not None and (self._include_deleted or not info.deleted) else None
            for info in map(infos.get, names)
        ]

    async def _some(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        backend = self._backend
        subjects = [wire.metadata_subject(backend.bucket, name) for name in names]
        found = await newest(backend, subjects)
        return {info.name: info for info in await present(backend, found.values())}


async def newest(backend: Backend, subjects: Sequence[str]) -> dict[str, StoredMessage]:
    """The newest message of each subject that has one.

    A replica may lag (ADR-31), so the leader is asked for what one lacks, and about its delete
    markers.
    """
    batches = [subjects[at : at + TOGETHER] for at in range(0, len(subjects), TOGETHER)]
    found: dict[str, StoredMessage] = {}
    for messages in await each(batches, backend.last_messages):
        found |= messages
    for leader in (False, True):
        asked = [
            subject
            for subject in subjects
            if subject not in found
            or (leader and backend.may_lag and wire.is_marker(found[subject]))
        ]
        answers = await each(asked, partial(backend.last_message, leader=leader))
        found |= {one.subject: one for one in answers if one is not None}
    return found
