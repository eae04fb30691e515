"""Sweep: removes what is no longer needed from a bucket.

Writers that die leave chunks that no object refers to, deletions leave markers, and other
clients leave messages that belong to no object. Age is measured by the server's clock alone:
the time at which it stored a message, compared with its current time.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from .. import wire
from ..backends.base import Backend, ConsumerState, StoredMessage, StreamState
from ..exceptions import BadObjectMetaError, InvalidOptionError
from ..logs import log
from ..models import as_timedelta
from .handle import StoreHandle
from .kept import MOST
from .together import each

__all__ = ("SweepVerbs",)

# How many subjects one consumer reads: the server compares each with each.
_SUBJECTS = 512
# How many subjects a log line names.
_NAMED = 3
_SHOWN = 80


class SweepVerbs(StoreHandle):
    """The method of `ObjectStore` that removes what is no longer needed."""

    async def sweep(
        self,
        older_than: timedelta | float = timedelta(hours=1),
        *,
        markers_older_than: timedelta | float | None = None,
        purge_nameless: bool = False,
    ) -> int:
        """Remove chunks that no object refers to, such as those of writers that died.

        In a bucket that follows others, remove what its origins no longer have, whatever its
        age: they are asked, and the options do not matter.

        Example:
            ```python
            freed = await store.sweep(markers_older_than=timedelta(days=7))
            ```

        Args:
            older_than: Younger chunks are kept, because they may belong to an unfinished
                put. A `timedelta` or seconds. In a bucket with `keep_replaced`, replaced
                versions go when their time is over.
            markers_older_than: Also remove delete markers of this age, except those that a
                consumer of the stream has not passed: a change subscriber that is behind must
                still see them. Afterwards there is no trace of the deleted object. By default,
                markers are kept.
            purge_nameless: Also remove metadata messages whose subject is the base64url of no
                name. They belong to no object, and nothing else removes them; until then they
                are logged, and the chunks that they refer to are kept.

        Returns:
            Bytes of content freed.

        Raises:
            OriginRecreatedError: If the bucket follows one that was deleted and made anew.
            BadObjectMetaError: If an object's metadata cannot be parsed: it is then not known
                which chunks belong to it, and nothing is removed.
            InvalidOptionError: If an age is neither a `timedelta` nor seconds, or is negative.
        """
        backend = await self._source()
        older_than = _age(backend, "older_than", older_than)
        if markers_older_than is not None:
            markers_older_than = _age(backend, "markers_older_than", markers_older_than)
        if backend.origins:
            return await _sweep_followed(backend, older_than)
        state = await backend.state()
        stored = dict(await backend.subjects(wire.all_chunks_subject(backend.bucket)))
        stored.pop(wire.anchor_subject(backend.bucket), None)
        # Read after the chunks, so that everything committed in the meantime is seen.
        survey = await _survey(backend, state)
        wanted = survey.chunks(with_nameless=not purge_nameless)
        if survey.nameless:
            await _nameless(backend, survey.nameless, purge=purge_nameless)
        orphans = stored.keys() - wanted
        # No writer is about to commit these, however young they are.
        due = orphans & survey.due
        freed = await _remove_orphans(backend, due, state.time_ns)
        freed += await _remove_orphans(backend, orphans - due, _before(state, older_than))
        if markers_older_than is not None:
            await _remove_markers(backend, survey.markers, _before(state, markers_older_than))
        return freed


async def _sweep_followed(backend: Backend, older_than: timedelta) -> int:
    # Few buckets follow others.
    from .follow import gone_from_origins  # noqa: PLC0415

    state = await backend.state()
    gone = await gone_from_origins(backend)
    removed = await _remove_markers(
        backend,
        [_Marker(one.subject, one.sequence, one.time_ns) for one in gone.metadata],
        sys.maxsize,
    )
    sequences = {one.sequence for one in removed}
    wanted = {one.chunks for one in gone.held if one.sequence not in sequences}
    before_ns = sys.maxsize if gone.certain else _before(state, older_than)
    return await _remove_orphans(backend, gone.chunks - wanted, before_ns)


def _age(backend: Backend, option: str, given: object) -> timedelta:
    age = as_timedelta(given)
    if not isinstance(age, timedelta) or age < timedelta(0):
        msg = (
            f"Bucket '{backend.bucket}': {option} must be a timedelta or seconds, from 0, "
            f"got {given!r}."
        )
        raise InvalidOptionError(msg, bucket=backend.bucket)
    return age


def _before(state: StreamState, age: timedelta) -> int:
    return state.time_ns - age // timedelta(microseconds=1) * 1000


class _Marker(NamedTuple):
    subject: str
    sequence: int
    time_ns: int


class _Survey:
    """The content of a bucket's metadata, from the last message of each subject."""

    def __init__(self, bucket: str, state: StreamState) -> None:
        self._bucket = bucket
        keep = wire.keep_replaced(state.config.get("metadata") or {})
        self._kept_since_us = state.time_ns // 1000 - keep // timedelta(microseconds=1)
        self._noted: dict[str, tuple[list[wire.Replaced], list[wire.Replaced]]] = {}
        self._nuids: dict[str, str] = {}
        self._markers: dict[str, _Marker] = {}
        self._bad: dict[str, BadObjectMetaError] = {}
        self.nameless: list[StoredMessage] = []
        """Messages that belong to no object, without their bodies."""
        self._nameless_nuids: set[str] = set()

    @property
    def markers(self) -> list[_Marker]:
        """The delete markers, oldest first."""
        return sorted(self._markers.values(), key=lambda one: one.sequence)

    def add(self, message: StoredMessage) -> None:
        """Take a message into account; clients without rollup leave several per subject."""
        subject = message.subject
        self._nuids.pop(subject, None)
        self._markers.pop(subject, None)
        self._bad.pop(subject, None)
        self._noted.pop(subject, None)
        try:
            if not message.data and wire.name_of(subject) is not None:
                # The server's own marker for an object that has expired; it goes by itself,
                # except in a bucket that follows another one.
                if message.reason:
                    self._markers[subject] = _Marker(
                        subject, message.sequence, message.time_ns
                    )
                return
            info, raw = wire.info_of(message, self._bucket)
        except BadObjectMetaError as error:
            if wire.name_of(subject) is not None:
                self._bad[subject] = error
                return
            self.nameless.append(message._replace(data=b""))
            if nuid := wire.nuid_in(message.data):
                self._nameless_nuids.add(nuid)
            return
        young: list[wire.Replaced] = []
        if wire.has_replaced(raw):
            noted = wire.replaced_in(raw, message.time_ns)
            young = [one for one in noted if one.at_us > self._kept_since_us][-MOST:]
            self._noted[subject] = young, [one for one in noted if one not in young]
        # Markers and links have a nuid too, but no chunks. A marker that notes kept versions
        # is the only record of them, and is kept as long as they are.
        if info.deleted and not young:
            self._markers[subject] = _Marker(subject, message.sequence, message.time_ns)
        elif info.nuid and not info.deleted and not info.is_link():
            self._nuids[subject] = info.nuid

    def require_whole(self) -> None:
        """Raise the first error, if there is one."""
        for error in self._bad.values():
            raise error

    def chunks(self, *, with_nameless: bool) -> set[str]:
        """The subjects of chunks that metadata refers to."""
        nuids = set(self._nuids.values())
        nuids.update(one.nuid for young, _ in self._noted.values() for one in young)
        if with_nameless:
            nuids |= self._nameless_nuids
        return {wire.chunk_subject(self._bucket, nuid) for nuid in nuids}

    @property
    def due(self) -> set[str]:
        """The subjects of replaced versions that were kept and whose time is over."""
        return {
            wire.chunk_subject(self._bucket, one.nuid)
            for _, due in self._noted.values()
            for one in due
        }


async def _survey(backend: Backend, state: StreamState) -> _Survey:
    survey = _Survey(backend.bucket, state)
    # All messages, not only the newest of each subject: such a walk may end before it is up
    # to date, and may see neither of the two names of an object that is renamed meanwhile.
    # This one has seen the object under one of them by its end.
    async with backend.messages(wire.all_metadata_subject(backend.bucket)) as stream:
        while messages := await stream.take():
            for message in messages:
                survey.add(message)
    survey.require_whole()
    return survey


async def _nameless(
    backend: Backend, messages: Sequence[StoredMessage], *, purge: bool
) -> None:
    named = _listed(one.subject for one in messages)
    if not purge:
        text = (
            f"Bucket '{backend.bucket}': {len(messages)} metadata messages are no object's, "
            f"because their subjects are the base64url of no name ({named}). They stay; "
            "sweep(purge_nameless=True) removes them."
        )
        log(backend, logging.WARNING, text)
        return
    # One at a time: such a subject may contain wildcards, which would match every object.
    await each(messages, lambda one: backend.remove(one.sequence))
    text = (
        f"Bucket '{backend.bucket}': {len(messages)} metadata messages that were no object's "
        f"are removed ({named})."
    )
    log(backend, logging.INFO, text)


def _listed(subjects: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(subjects))
    named = ", ".join(repr(one[:_SHOWN]) for one in distinct[:_NAMED])
    more = len(distinct) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


async def _remove_orphans(backend: Backend, orphans: set[str], before_ns: int) -> int:
    """Remove the chunks of subjects whose newest is old enough; returns the bytes freed."""
    plain = sorted(one for one in orphans if not wire.has_wildcards(one))
    freed = 0
    for start in range(0, len(plain), _SUBJECTS):
        found = await _measured(backend, plain[start : start + _SUBJECTS])
        old = [one for one in found.items() if one[1].newest_ns <= before_ns]

        async def purge(one: tuple[str, "_Chunks"]) -> int:
            subject, chunks = one
            return chunks.size if await backend.purge(subject) else 0

        freed += sum(await each(old, purge))
    for subject in orphans.difference(plain):
        # Used as a filter, it would match every object's chunks.
        chunks = (await _measured(backend, subject)).get(subject)
        if chunks is not None and chunks.newest_ns <= before_ns:
            await each(chunks.sequences, backend.remove)
            freed += chunks.size
    return freed


class _Chunks:
    """The chunks of one subject."""

    def __init__(self) -> None:
        self.size = 0
        self.newest_ns = 0
        self.sequences: list[int] = []


async def _measured(backend: Backend, subject: str | Sequence[str]) -> dict[str, _Chunks]:
    found: dict[str, _Chunks] = {}
    async with backend.messages(subject, headers_only=True) as stream:
        while messages := await stream.take():
            for message in messages:
                chunks = found.setdefault(message.subject, _Chunks())
                chunks.size += message.size
                chunks.newest_ns = max(chunks.newest_ns, message.time_ns)
                if message.subject == subject:
                    chunks.sequences.append(message.sequence)
    return found


async def _remove_markers(
    backend: Backend, markers: list[_Marker], before_ns: int
) -> list[_Marker]:
    """Remove markers that are old enough and that every consumer has passed."""
    old = [one for one in markers if one.time_ns <= before_ns]
    if not old:
        return []
    behind = [one for one in await backend.consumers() if not one.idle]
    passed: list[_Marker] = []
    blocked: dict[str, int] = {}
    for marker in old:
        blocking = _blocking(behind, marker)
        if blocking is None:
            passed.append(marker)
        else:
            blocked[blocking.name] = blocked.get(blocking.name, 0) + 1
    for name, count in blocked.items():
        text = (
            f"Bucket '{backend.bucket}': {count} delete markers stay, because the consumer "
            f"{name!r} has not passed them. Delete the consumer if nothing uses it any more."
        )
        log(backend, logging.WARNING, text)
    # A version put under the name in the meantime is newer than the marker, and stays.
    await each(passed, partial(_remove_marker, backend))
    if passed:
        text = f"Bucket '{backend.bucket}': {len(passed)} delete markers are removed."
        log(backend, logging.INFO, text)
    return passed


async def _remove_marker(backend: Backend, marker: _Marker) -> None:
    if wire.has_wildcards(marker.subject):
        await backend.remove(marker.sequence)
    else:
        await backend.purge(marker.subject, up_to=marker.sequence)


def _blocking(behind: list[ConsumerState], marker: _Marker) -> ConsumerState | None:
    for consumer in behind:
        if not consumer.has_passed(marker.subject, marker.sequence):
            return consumer
    return None
