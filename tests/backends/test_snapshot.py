"""A walk over the newest messages remembers in little memory which subjects it has seen."""

import tracemalloc
from collections.abc import Sequence

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream import snapshot
from faststream_objstore.backends.jetstream.snapshot import Snapshot

MIB = 1024 * 1024


def message(subject: str, sequence: int) -> StoredMessage:
    return StoredMessage(subject, b"{}", sequence, 0)


def subject_of(number: int) -> str:
    return wire.metadata_subject("b", f"folder-{number % 100}/object-{number}")


class Leader:
    """What the stream's leader has; `asked` are the subjects that it was asked for."""

    def __init__(self, *subjects: str) -> None:
        self.subjects = subjects
        self.asked: list[str] = []

    async def all(self) -> Sequence[str]:
        return self.subjects

    async def newest(self, subject: str) -> StoredMessage | None:
        self.asked.append(subject)
        return message(subject, 100 + self.subjects.index(subject))

    async def last(self) -> int:
        return 100 + len(self.subjects)

    def walk(self) -> Snapshot:
        return Snapshot(9, subjects=self.all, newest=self.newest, last=self.last)


@pytest.mark.parametrize("block", [1, 12, 50, 256 * 1024])
async def test_only_subjects_that_were_not_seen_are_read_by_name(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(snapshot, "_BLOCK_BYTES", block)
    # Beginnings and ends of one another; what another client has written is not base64.
    seen = ["$O.b.M.a", "$O.b.M.aa", "$O.b.M.żółw", "$O.b.M.gone", "$O.b.M.a"]
    leader = Leader("$O.b.M.a", "$O.b.M.aaa", "$O.b.M.żółw", "$O.b.M.ż", "$O.b.M.aa")
    walk = leader.walk()
    for number in range(0, 4, 2):
        walk.saw([message(one, number) for one in seen[number : number + 2]])
    walk.saw([message(seen[4], 10)])

    assert [one.subject for one in await walk.rest()] == ["$O.b.M.aaa", "$O.b.M.ż"]
    assert sorted(leader.asked) == ["$O.b.M.aaa", "$O.b.M.ż"]
    assert walk.passed


async def test_hundred_thousand_subjects_are_remembered_in_a_mebibyte() -> None:
    leader = Leader(*(subject_of(number) for number in range(0, 100_100, 1_000)))
    walk = leader.walk()
    tracemalloc.start()
    try:
        for start in range(0, 100_000, 1_000):
            walk.saw([message(subject_of(n), n + 1) for n in range(start, start + 1_000)])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < MIB
    assert [one.subject for one in await walk.rest()] == [subject_of(100_000)]
