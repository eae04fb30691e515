"""What a history shows that the guarantees exclude: a pure function, `violations`.

How it can tell, although many outcomes are unknown: every metadata write names the revision
that it replaces, and reads that revision before its call ends. So a call that has ended
can take effect no more once a later call has changed the same name; and the stream's sequence
orders whatever was acknowledged or seen.

A read may be a moment behind, on a replica that lags (ADR-31); the checker counts such reads
and accepts them. What it does not accept is that such a replica makes an object missing,
deleted, or damaged.

A leader that was parted from the others for long enough is deposed, and answers reads with
what it knew until it hears of that. What it made a call believe, it cannot make true; so then
a call may be told that an object is missing, or that another version is there.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from tests.production.chaos.history import History, Operation, Outcome, Seen
from tests.production.chaos.steps import needed

WRITES = frozenset({"put", "delete", "update_meta", "rename", "copy"})
UNAVAILABLE = frozenset({"JetStreamNotEnabledError", "StoreAPIError"})
DAMAGED = frozenset({"IncompleteObjectError", "DigestMismatchError", "BadObjectMetaError"})
MISSING = frozenset({"ObjectNotFoundError", "ObjectDeletedError"})
EXPECTED = (
    MISSING
    | {"ObjectAlreadyExists", "RevisionMismatchError", "ObjectChangedError", "BucketFullError"}
    | {"StoreTimeoutError", "ConnectionLostError", "NotConnectedError", "CancelledError"}
    | {"ServerUnreachableError", "Killed"}
    | UNAVAILABLE
)


# No leader is elected sooner than that after the last one was heard, and none believes for
# longer that it leads, once it hears the others again.
ELECTION_SECONDS, HEALING_SECONDS = 4.0, 3.0


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and the calls that show it."""

    rule: str
    text: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.text}", *map(str, self.operations)])


def violations(history: History, *, timeout: float, bound: float) -> list[Violation]:
    """Every promise that the history shows to be broken.

    Args:
        history: What was done.
        timeout: The stores' own. No call gives up on a cluster in half of it.
        bound: Seconds that a call may take.
    """
    checker = _Checker(history)
    return [
        *checker.errors(),
        *checker.purges(),
        *checker.late(bound),
        *checker.early(timeout),
        *checker.revisions(),
        *checker.contents(),
        *checker.missing(),
        *checker.conditions(),
        *checker.amendments(),
        *checker.in_the_end(),
        *checker.left_over(),
    ]


def figures(history: History) -> dict[str, int]:
    """Operations by outcome, and reads that were behind."""
    counts = Counter(one.outcome.value for one in history.operations)
    acknowledged = _Checker(history).acknowledged
    behind = sum(
        bool(one.seen) and one.seen[0].revision < newest
        for one in history.operations
        if one.kind in {"get", "open", "get_info"} and one.name is not None
        for newest in [acknowledged[one.name].latest(one.invoked)]
    )
    return {"operations": len(history.operations), **counts, "reads behind": behind}


def makes_live(operation: Operation) -> str | None:
    """The name that a call may bring to life."""
    if operation.kind in {"put", "update_meta"}:
        return operation.name
    return operation.to if operation.kind in {"rename", "copy"} else None


def makes_missing(operation: Operation) -> str | None:
    """The name that a call may take away."""
    if operation.kind == "rename" or (
        operation.kind == "delete" and operation.was_live is not False
    ):
        return operation.name
    return None


def has_effect(operation: Operation) -> bool:
    """Whether it may have changed anything.

    A rename that is refused may have stood under its new name until it was withdrawn.
    """
    return operation.outcome is not Outcome.FAILED or operation.kind == "rename"


def _later_begun(one: Operation, other: Operation) -> Operation:
    return other if other.invoked > one.invoked else one


class _Intervals:
    """Calls on one name, to be asked which of them can have come between others."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.all = sorted(operations, key=lambda one: one.invoked)
        self._invoked = [one.invoked for one in self.all]
        self._last_return = list(accumulate((one.returned for one in self.all), max))
        ended = sorted(self.all, key=lambda one: one.returned)
        self._ended = [one.returned for one in ended]
        self._newest = list(accumulate(ended, _later_begun))

    def newest_before(self, time: float) -> Operation | None:
        """Of those that ended before, the one that began last."""
        index = bisect_left(self._ended, time)
        return self._newest[index - 1] if index else None

    def any_between(self, begin: float, end: float) -> bool:
        """Whether one began before `end` and had not ended before `begin`."""
        index = bisect_left(self._invoked, end)
        return bool(index) and self._last_return[index - 1] >= begin

    def between(self, begin: float, end: float) -> Iterator[Operation]:
        """Those that began before `end` and had not ended before `begin`."""
        first = bisect_left(self._last_return, begin)
        for one in self.all[first : bisect_left(self._invoked, end)]:
            if one.returned >= begin:
                yield one


class _Newest:
    """The largest revision that had been told by a time."""

    def __init__(self) -> None:
        self._told: list[tuple[float, int]] = []
        self._times: list[float] = []
        self._largest: list[int] = []

    def add(self, time: float, revision: int) -> None:
        self._told.append((time, revision))
        self._times = []

    def latest(self, before: float) -> int:
        if not self._times and self._told:
            self._told.sort()
            self._times = [time for time, _ in self._told]
            self._largest = list(accumulate((one for _, one in self._told), max))
        index = bisect_left(self._times, before)
        return self._largest[index - 1] if index else 0


class _Checker:
    def __init__(self, history: History) -> None:
        self.history = history
        self.operations = history.operations
        self.names = {
            name for one in self.operations for name in (one.name, one.to) if name is not None
        }
        self.puts = {one.token: one for one in self.operations if one.kind == "put"}
        self.by_digest = {one.digest: one for one in self.puts.values()}
        done = [one for one in self.operations if one.outcome is Outcome.OK]
        effective = [one for one in self.operations if has_effect(one)]
        # What is known to have happened, and what may have.
        self.alive = self._by_name(done, makes_live)
        self.dead = self._by_name(done, makes_missing)
        self.maybe_alive = self._by_name(effective, makes_live)
        self.maybe_dead = self._by_name(
            (one for one in effective if one.outcome is not Outcome.FAILED), makes_missing
        )
        # A rename writes a note under the old name, even if it is refused later.
        self.moved = self._by_name(
            (one for one in effective if one.kind == "rename"), lambda one: one.name
        )
        self.versions: defaultdict[int, list[Seen]] = defaultdict(list)
        for one in self.operations:
            for seen in one.seen:
                self.versions[seen.revision].append(seen)
        self.unavailable = _Intervals(
            one for one in self.operations if one.error in UNAVAILABLE
        )
        self.writer: dict[int, Operation] = {}
        self.acknowledged: defaultdict[str, _Newest] = defaultdict(_Newest)
        for one in done:
            if one.kind in WRITES:
                for seen in one.seen:
                    self.writer.setdefault(seen.revision, one)
                    self.acknowledged[seen.name].add(one.returned, seen.revision)

    def _by_name(
        self, operations: Iterable[Operation], name_of: Callable[[Operation], str | None]
    ) -> dict[str, _Intervals]:
        found: dict[str, list[Operation]] = {name: [] for name in self.names}
        for one in operations:
            name = name_of(one)
            if name is not None:
                found[name].append(one)
        return {name: _Intervals(some) for name, some in found.items()}

    def errors(self) -> Iterator[Violation]:
        for one in self.operations:
            if one.error in DAMAGED:
                yield Violation("damaged", one.message, (one,))
            elif one.error and one.error not in EXPECTED:
                yield Violation("unexpected error", f"{one.error}: {one.message}", (one,))

    def purges(self) -> Iterator[Violation]:
        """Chunks are removed when no object has them any more."""
        for purge, holder in needed(self.history.steps):
            text = f"{purge} although {holder}"
            by = [one for one in self.operations if one.under in {purge.under, holder.under}]
            yield Violation("removed, and needed", text, tuple(by))

    def late(self, bound: float) -> Iterator[Violation]:
        for one in self.operations:
            # A process that was killed has no time of its own for the end.
            if one.returned - one.invoked > bound and one.error != "Killed":
                took = one.returned - one.invoked
                yield Violation("late", f"{took:.1f} s, and {bound:.1f} s are allowed", (one,))

    def early(self, timeout: float) -> Iterator[Violation]:
        """A cluster that elects a leader is waited for."""
        for one in self.operations:
            took = one.returned - one.invoked
            if one.error in UNAVAILABLE and took < timeout / 2:
                text = f"after {took:.3f} s, of {timeout:.1f} s: {one.message}"
                yield Violation("gave up early", text, (one,))

    def revisions(self) -> Iterator[Violation]:
        """A revision is one version of one object for ever, and newer ones are larger."""
        first: dict[int, tuple[Seen, Operation]] = {}
        told = _Newest()
        for one in self.operations:
            for seen in one.seen:
                before, by = first.setdefault(seen.revision, (seen, one))
                if before != seen:
                    text = f"revision {seen.revision} is {before} and {seen}"
                    yield Violation("revision given twice", text, (by, one))
                told.add(one.returned, seen.revision)
        for one in self.operations:
            # A rename may find that another one has made the move.
            written = one.kind in WRITES and one.kind != "rename"
            if written and one.outcome is Outcome.OK and one.seen:
                newest = told.latest(one.invoked)
                if min(seen.revision for seen in one.seen) <= newest:
                    text = f"revision {newest} was known before the write"
                    yield Violation("revisions went back", text, (one, first[newest][1]))

    def contents(self) -> Iterator[Violation]:
        sources = self._sources()
        for one in self.operations:
            if one.damage:
                yield Violation("mixed content", one.damage, (one,))
            elif one.read:
                put = self.puts.get(one.read)
                if put is None:
                    yield Violation("mixed content", f"nobody put {one.read}", (one,))
                elif one.seen and one.seen[0].digest != put.digest:
                    yield Violation("mixed content", "the metadata is another's", (one, put))
            for seen in one.seen:
                if seen.deleted:
                    continue
                put = self.by_digest.get(seen.digest)
                if put is None:
                    yield Violation("unknown content", f"of {seen}", (one,))
                elif put.outcome is Outcome.FAILED:
                    yield Violation("refused, but stored", put.error, (put, one))
                elif put.invoked > one.returned:
                    yield Violation("read before it was put", "", (one, put))
                elif put.name not in sources[seen.name]:
                    text = f"{put.name} was never moved to {seen.name}"
                    yield Violation("another's content", text, (put, one))

    def _sources(self) -> dict[str, set[str]]:
        """The names from which content can have come to a name."""
        sources = {name: {name} for name in self.names}
        moves = {
            (one.name, one.to)
            for one in self.operations
            if one.name and one.to and has_effect(one)
        }
        grown = True
        while grown:
            grown = False
            for name, to in moves:
                new = sources[name] - sources[to]
                sources[to] |= new
                grown = grown or bool(new)
        return sources

    def missing(self) -> Iterator[Violation]:
        """What was put before a call began, and not taken away since, is there."""
        for one in self.operations:
            if one.kind == "list" and self._in_election(one):
                # A leader that has just been elected answers before it has applied all that
                # was acknowledged before, and its word is the last there is.
                continue
            for name in self._told_missing(one):
                put = self.alive[name].newest_before(one.invoked)
                if put is None or self.maybe_dead[name].any_between(put.invoked, one.returned):
                    continue
                if self._may_not_know(one, put):
                    continue
                said = one.error or ("left out" if one.kind == "list" else "deleted")
                yield Violation("reported missing", f"{name}: {said}", (put, one))

    def _may_not_know(self, one: Operation, change: Operation | None) -> bool:
        """Whether a call may have been answered by a deposed leader that lacks a change."""
        return (
            change is not None
            and one.kind != "final"
            and any(
                one.returned >= begin + ELECTION_SECONDS
                and one.invoked <= end + HEALING_SECONDS
                # What was acknowledged before, it knows.
                and change.returned >= begin
                for begin, end in self.history.partitions
                if end - begin >= ELECTION_SECONDS
            )
        )

    def _in_election(self, one: Operation) -> bool:
        """Whether the stream had no leader when a call began."""
        return self.unavailable.any_between(one.invoked, one.invoked)

    def _told_missing(self, one: Operation) -> Iterable[str]:
        if one.kind == "list":
            listed = {seen.name for seen in one.seen if not seen.deleted}
            return self.names - listed if one.outcome is Outcome.OK else ()
        if one.error in MISSING or (
            one.outcome is Outcome.OK
            and (one.was_live is False or any(seen.deleted for seen in one.seen))
        ):
            return (one.name,) if one.name else ()
        return ()

    def conditions(self) -> Iterator[Violation]:
        """Compare-and-set: whoever succeeded was right, and whoever failed had to."""
        seen_of = self._revisions_of()
        order = {name: sorted(some) for name, some in seen_of.items()}
        for one in self.operations:
            name = one.name
            if name is None:
                continue
            if one.kind in WRITES and one.outcome is Outcome.OK:
                # A delete does not tell the revision of its marker.
                end = one.seen[0].revision if one.seen else inf
                known = order.get(name, [])
                if isinstance(one.mode, int):
                    first, last = bisect_right(known, one.mode), bisect_left(known, end)
                    yield from self._won(one, [seen_of[name][r] for r in known[first:last]])
                elif one.mode == "create" and (index := bisect_left(known, end)):
                    yield from self._created(one, self.writer.get(known[index - 1]))
            elif one.error in {"RevisionMismatchError", "ObjectChangedError"}:
                yield from self._refused(one, name)
            elif one.error == "ObjectAlreadyExists":
                yield from self._taken(one, one.to or name)

    def _won(self, one: Operation, newer: list[Operation]) -> Iterator[Violation]:
        """Nobody may have written between the expected revision and the write."""
        assert isinstance(one.mode, int)
        for other in newer:
            before = other.returned < one.invoked
            if one.kind == "rename" and self._same(one.name, one.mode, other):
                # Its own note under the old name.
                continue
            if (
                one.kind == "rename"
                and not before
                and other.kind in {"put", "copy"}
                and self._moved_what_was_expected(one)
            ):
                # A rename is decided by its note. What is put under the old name after the
                # note comes after the rename, although the new name is written later still.
                continue
            if before or one.seen:
                text = f"{one.mode} was replaced before"
                yield Violation("compare-and-set won wrongly", text, (one, other))

    def _moved_what_was_expected(self, rename: Operation) -> bool:
        """Whether the new name has the content of the revision that was to be moved."""
        assert isinstance(rename.mode, int)
        expected = {one.digest for one in self.versions[rename.mode]}
        return {one.digest for one in rename.seen} <= expected

    def _same(self, name: str | None, revision: int, other: Operation) -> bool:
        """Whether a call has seen what a revision had said before: content and metadata."""
        said = {(one.digest, one.mark) for one in self.versions[revision]}
        return any((one.digest, one.mark) in said for one in other.seen if one.name == name)

    def _created(self, one: Operation, before: Operation | None) -> Iterator[Violation]:
        """What was there must have been taken away."""
        [mine] = one.seen
        if before is None or makes_live(before) != mine.name:
            return
        if not self.maybe_dead[mine.name].any_between(before.invoked, one.returned):
            yield Violation("compare-and-set won wrongly", "it was there", (before, one))

    def _refused(self, one: Operation, name: str) -> Iterator[Violation]:
        """An expected revision that was the newest all the while."""
        if not isinstance(one.mode, int):
            return
        current = self.writer.get(one.mode)
        if current is None or current.returned > one.invoked:
            return
        for written in (self.maybe_alive[name], self.maybe_dead[name], self.moved[name]):
            for other in written.between(current.invoked, one.returned):
                revisions = [seen.revision for seen in other.seen if seen.name == name]
                if (
                    other is not current
                    and other is not one
                    and (not revisions or max(revisions) > one.mode)
                ):
                    return
        if not self._may_not_know(one, current):
            yield Violation("compare-and-set lost wrongly", "nobody wrote it", (current, one))

    def _taken(self, one: Operation, name: str) -> Iterator[Violation]:
        """A name that was free all the while."""
        dead = self.dead[name].newest_before(one.invoked)
        begin = -1.0 if dead is None else dead.invoked
        for other in self.maybe_alive[name].between(begin, one.returned):
            withdrawn = other.outcome is Outcome.FAILED and other.returned < one.invoked
            if other is not one and not withdrawn:
                return
        known = () if dead is None else (dead,)
        if not self._may_not_know(one, dead):
            yield Violation("compare-and-set lost wrongly", "nothing was there", (*known, one))

    def _revisions_of(self) -> defaultdict[str, dict[int, Operation]]:
        found: defaultdict[str, dict[int, Operation]] = defaultdict(dict)
        for one in self.operations:
            for seen in one.seen:
                found[seen.name].setdefault(seen.revision, one)
        return found

    def amendments(self) -> Iterator[Violation]:
        """update_meta keeps the content of the version before it, which is not lost by it."""
        versions: defaultdict[str, dict[int, Seen]] = defaultdict(dict)
        for one in self.operations:
            for seen in one.seen:
                versions[seen.name][seen.revision] = seen
        order = {name: sorted(some) for name, some in versions.items()}
        for one in self.operations:
            if one.kind != "update_meta" or one.outcome is not Outcome.OK or not one.seen:
                continue
            [mine] = one.seen
            index = bisect_left(order[mine.name], mine.revision)
            if not index:
                continue
            before = versions[mine.name][order[mine.name][index - 1]]
            if before.deleted or before.digest == mine.digest:
                continue
            by = self.writer.get(before.revision)
            if not self._brought_unseen(mine, by, one):
                text = f"{before} was before it, and {mine} is after it"
                yield Violation("lost by update_meta", text, (*([by] if by else []), one))

    def _brought_unseen(self, seen: Seen, since: Operation | None, one: Operation) -> bool:
        """Whether a write that nobody saw can have brought that content."""
        begin = -1.0 if since is None else since.invoked
        for other in self.maybe_alive[seen.name].between(begin, one.returned):
            if other is one or other is since or other.outcome is Outcome.OK:
                continue
            if other.kind in {"rename", "copy"} or other.digest == seen.digest:
                return True
        return False

    def in_the_end(self) -> Iterator[Violation]:
        """What every server agrees on when all is over is the newest that was acknowledged."""
        for one in self.operations:
            if one.kind != "final" or one.name is None:
                continue
            if one.outcome is not Outcome.OK:
                if one.error not in MISSING:
                    yield Violation("unreadable in the end", one.message, (one,))
                continue
            newest = self.acknowledged[one.name].latest(one.invoked)
            if one.seen[0].revision < newest:
                text = f"revision {newest} was acknowledged"
                yield Violation("acknowledged and lost", text, (self.writer[newest], one))
            dead = self.dead[one.name].newest_before(one.invoked)
            if dead is not None and not any(
                other.outcome is not Outcome.FAILED
                for other in self.maybe_alive[one.name].between(dead.invoked, one.returned)
            ):
                yield Violation("deleted, and there again", one.name, (dead, one))

    def left_over(self) -> Iterator[Violation]:
        for subject in self.history.leftovers.orphans:
            yield Violation("orphan", f"{subject} belongs to no object")
        for pair in self.history.leftovers.shared:
            unfinished = [
                one
                for one in self.operations
                if one.kind == "rename"
                and {one.name, one.to} == set(pair)
                and one.outcome is Outcome.UNKNOWN
            ]
            # A rename that never ended may leave both names; renaming again finishes it.
            if not unfinished:
                yield Violation("shared chunks", f"{pair[0]} and {pair[1]}")


def summary(found: Sequence[Violation]) -> dict[str, int]:
    """How many of each rule."""
    return dict(Counter(one.rule for one in found).most_common())
