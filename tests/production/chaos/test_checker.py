"""The checker of chaos runs, on histories written by hand: times, revisions and outcomes."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.production.chaos.checker import figures, violations
from tests.production.chaos.history import (
    History,
    Leftovers,
    Operation,
    Outcome,
    Recorder,
    Seen,
    content,
    recorded,
    token_of,
)
from tests.production.chaos.steps import Step, noted

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


def put(
    token: str, at: float, revision: int = 0, *, name: str = "a", **more: Any
) -> Operation:
    """A put of a second; acknowledged if it has a revision."""
    seen = (Seen(name, revision, f"digest {token}", token),) if revision else ()
    outcome = OK if revision else UNKNOWN
    fields: dict[str, Any] = {"name": name, "token": token, "digest": f"digest {token}"}
    fields |= {
        "mark": token,
        "outcome": outcome,
        "seen": seen,
        "invoked": at,
        "returned": at + 1,
    }
    return Operation(kind="put", **fields | more)


def get(token: str, at: float, revision: int, *, name: str = "a", **more: Any) -> Operation:
    """A get of a second, that shows what was put."""
    seen = (Seen(name, revision, f"digest {token}", token),)
    fields = {"kind": "get", "name": name, "seen": seen, "read": token, "outcome": OK}
    return Operation(**fields | {"invoked": at, "returned": at + 1} | more)


def told(error: str, kind: str, at: float, *, name: str = "a", **more: Any) -> Operation:
    """A call of a second that was refused."""
    fields = {"kind": kind, "name": name, "error": error, "outcome": FAILED}
    return Operation(**fields | {"invoked": at, "returned": at + 1} | more)


def delete(at: float, outcome: Outcome = OK, *, name: str = "a", **more: Any) -> Operation:
    was_live = True if outcome is OK else None
    fields = {"name": name, "outcome": outcome, "was_live": was_live}
    return Operation(kind="delete", **fields | {"invoked": at, "returned": at + 1} | more)


def moved(
    kind: str, token: str, at: float, revision: int = 0, *, name: str = "a", to: str = "b"
) -> Operation:
    """A rename or a copy of a second; acknowledged if it has a revision."""
    seen = (Seen(to, revision, f"digest {token}", token),) if revision else ()
    outcome = OK if revision else UNKNOWN
    return Operation(
        kind=kind, name=name, to=to, invoked=at, returned=at + 1, outcome=outcome, seen=seen
    )


def listed(at: float, *seen: Seen) -> Operation:
    return Operation(kind="list", invoked=at, returned=at + 1, outcome=OK, seen=seen)


def updated(token: str, at: float, revision: int) -> Operation:
    """An update_meta of a second, that kept the content of `token`."""
    seen = (Seen("a", revision, f"digest {token}", "m"),)
    return Operation(
        kind="update_meta", name="a", mark="m", invoked=at, returned=at + 1, outcome=OK,
        seen=seen,
    )  # fmt: skip


def rules(*operations: Operation, **leftovers: Any) -> list[str]:
    """The rules that these calls show to be broken."""
    history = History(operations=operations, leftovers=Leftovers(**leftovers))
    return [one.rule for one in violations(history, timeout=2.0, bound=20.0)]


GOOD = {
    "reads of what was put": [put("x", 0, 1), get("x", 2, 1), put("y", 4, 2), get("y", 6, 2)],
    "a replica that is behind shows the old version": [
        put("x", 0, 1), put("y", 2, 2), get("x", 4, 1)
    ],
    "a read beside a put shows either": [
        put("x", 0, 1), put("y", 2, 2), get("x", 2.5, 1), get("y", 2.5, 2)
    ],
    "an unknown put landed": [put("x", 0, 1), put("y", 2), get("y", 4, 2)],
    "an unknown put did not land": [put("x", 0, 1), put("y", 2), get("x", 4, 1)],
    "missing, before it was put": [told("ObjectNotFoundError", "get", 0), put("x", 2, 1)],
    "missing, while it is put": [put("x", 0, 1), told("ObjectNotFoundError", "get", 0.5)],
    "missing, after a delete": [
        put("x", 0, 1), delete(2), told("ObjectDeletedError", "get", 4)
    ],
    "missing, after a delete of unknown outcome": [
        put("x", 0, 1), delete(2, UNKNOWN), told("ObjectDeletedError", "get", 4)
    ],
    "missing, after a delete that a put did not wait for": [
        delete(0, UNKNOWN, returned=3), put("x", 1, 1), told("ObjectDeletedError", "get", 4)
    ],
    "missing, after a rename": [
        put("x", 0, 1), moved("rename", "x", 2, 2), told("ObjectDeletedError", "get", 4)
    ],
    "missing, after a process was killed in a rename": [
        put("x", 0, 1), moved("rename", "x", 2), told("ObjectDeletedError", "get", 4)
    ],
    "content that was renamed": [
        put("x", 0, 1), moved("rename", "x", 2, 2), get("x", 4, 2, name="b")
    ],
    "content that came over two names": [
        put("x", 0, 1), moved("copy", "x", 2, 2), moved("rename", "x", 4, name="b", to="c"),
        get("x", 6, 3, name="c"),
    ],
    "a compare-and-set that won": [put("x", 0, 1), put("y", 2, 2, mode=1)],
    "a compare-and-set that lost": [
        put("x", 0, 1), put("y", 2, 2), told("RevisionMismatchError", "put", 4, mode=1)
    ],
    "a compare-and-set that an unknown write beat": [
        put("x", 0, 1), put("y", 2), told("RevisionMismatchError", "put", 4, mode=1)
    ],
    "a delete of the revision that was there": [put("x", 0, 1), delete(2, mode=1)],
    "a rename on condition, that left a note first": [
        put("x", 0, 1), get("x", 2, 2), replace(moved("rename", "x", 1.5, 3), mode=1)
    ],
    "a put under the old name of a rename that had left its note": [
        put("x", 0, 1), put("y", 2, 2), replace(moved("rename", "x", 1.5, 3), mode=1)
    ],
    "a compare-and-set that lost against the note of a rename that was refused": [
        put("x", 0, 1), told("ObjectAlreadyExists", "rename", 2, to="b"),
        put("z", 0, 2, name="b"), told("RevisionMismatchError", "put", 4, mode=1),
    ],
    "a delete of another revision": [
        put("x", 0, 1), put("y", 2, 2), told("RevisionMismatchError", "delete", 4, mode=1)
    ],
    "a create after a delete": [put("x", 0, 1), delete(2), put("y", 4, 3, mode="create")],
    "a create that was refused": [
        put("x", 0, 1), told("ObjectAlreadyExists", "put", 2, mode="create")
    ],
    "a create that an unknown put was before": [
        put("x", 0), told("ObjectAlreadyExists", "put", 2, mode="create")
    ],
    "a create beside a rename that is withdrawn": [
        told("ObjectNotFoundError", "rename", 0, name="b", to="a"),
        told("ObjectAlreadyExists", "put", 0.5, mode="create"),
    ],
    "a list beside a delete": [put("x", 0, 1), delete(2), listed(2.5)],
    "a list that began while a leader was elected": [
        put("x", 0, 1), told("StoreAPIError", "put", 2, returned=5), listed(3)
    ],
    "an update of the newest content": [put("x", 0, 1), updated("x", 2, 2), get("x", 4, 1)],
    "an update of content that nobody was told of": [
        put("x", 0, 1), put("y", 2), updated("y", 4, 3)
    ],
    "the newest is there in the end": [put("x", 0, 1), get("x", 9, 1, kind="final")],
    "nothing is there in the end": [
        put("x", 0, 1), delete(2), told("ObjectDeletedError", "final", 9)
    ],
    "an unknown put is there in the end": [
        put("x", 0, 1), delete(2, UNKNOWN), put("y", 2), get("y", 9, 3, kind="final")
    ],
    "a rename that another one had made": [
        put("x", 0, 1), moved("rename", "x", 2, 3), get("x", 4, 3, name="b"),
        moved("rename", "x", 6, 3),
    ],
    "a call that used its time": [told("StoreAPIError", "get", 0, returned=1.1)],
}  # fmt: skip

BAD: dict[str, tuple[list[Operation], list[str]]] = {
    "missing, though it was put": (
        [put("x", 0, 1), told("ObjectNotFoundError", "get", 2)], ["reported missing"]
    ),
    "deleted, though it was put again": (
        [put("x", 0, 1), delete(2), put("y", 4, 3), told("ObjectDeletedError", "open", 6)],
        ["reported missing"],
    ),
    # It began after the unknown delete had ended, so that can do nothing any more.
    "deleted, though a put came after the delete of unknown outcome": (
        [delete(0, UNKNOWN), put("x", 2, 2), told("ObjectDeletedError", "get", 4)],
        ["reported missing"],
    ),
    "nothing to rename, though it was put": (
        [put("x", 0, 1), told("ObjectNotFoundError", "rename", 2, to="b")],
        ["reported missing"],
    ),
    "a delete that found it deleted": (
        [put("x", 0, 1), delete(2, was_live=False)], ["reported missing"]
    ),
    "a marker of a deletion that was long ago": (
        [
            delete(0), put("x", 2, 2),
            get("", 4, 1, seen=(Seen("a", 1, deleted=True),), read=""),
        ],
        ["reported missing"],
    ),
    "left out of a list": (
        [put("x", 0, 1), put("z", 0, 2, name="b"), listed(2, Seen("a", 1, "digest x", "x"))],
        ["reported missing"],
    ),
    "left out of a list that began after an election": (
        [put("x", 0, 1), told("StoreAPIError", "put", 2, returned=5), listed(5.5)],
        ["reported missing"],
    ),
    "incomplete": ([put("x", 0, 1), told("IncompleteObjectError", "get", 2)], ["damaged"]),
    "other bytes": ([put("x", 0, 1), told("DigestMismatchError", "get", 2)], ["damaged"]),
    "bytes of two puts": (
        [put("x", 0, 1), get("x", 2, 1, damage="x's, but for b'y' at 9")], ["mixed content"]
    ),
    "bytes of one put, metadata of another": (
        [put("x", 0, 1), put("y", 2, 2), get("x", 4, 1, read="y")], ["mixed content"]
    ),
    "bytes that nobody put": (
        [get("x", 0, 1)], ["mixed content", "unknown content"]
    ),
    "content of a name that was never copied": (
        [put("x", 0, 1), get("x", 2, 2, name="b")], ["another's content"]
    ),
    "content of a put that was refused": (
        [
            told("RevisionMismatchError", "put", 0, token="x", digest="digest x"),
            get("x", 2, 2),
        ],
        ["refused, but stored"],
    ),
    "content before it was put": (
        [get("x", 0, 1), put("x", 2, 1)], ["revisions went back", "read before it was put"]
    ),
    "one revision, two versions": (
        [put("x", 0, 1), put("y", 0.5, 1)], ["revision given twice"]
    ),
    "a write that is older than what was known": (
        [put("x", 0, 5), put("y", 2, 3)], ["revisions went back"]
    ),
    "two won the same compare-and-set": (
        [put("x", 0, 1), put("y", 2, 2, mode=1), put("z", 2.5, 3, mode=1)],
        ["compare-and-set won wrongly"],
    ),
    "a rename of a revision that was replaced": (
        [put("x", 0, 1), put("y", 2, 2), replace(moved("rename", "y", 4, 3), mode=1)],
        ["compare-and-set won wrongly"],
    ),
    "a rename that moved what was put meanwhile": (
        [put("x", 0, 1), put("y", 2, 2), replace(moved("rename", "y", 1.5, 3), mode=1)],
        ["compare-and-set won wrongly"],
    ),
    "a rename of a revision that was updated before": (
        [put("x", 0, 1), updated("x", 2, 2), replace(moved("rename", "x", 4, 3), mode=1)],
        ["compare-and-set won wrongly"],
    ),
    "a rename of a revision that was updated meanwhile": (
        [put("x", 0, 1), updated("x", 2, 2), replace(moved("rename", "x", 2, 3), mode=1)],
        ["compare-and-set won wrongly"],
    ),
    "a delete of a revision that was replaced": (
        [put("x", 0, 1), put("y", 2, 2), delete(4, mode=1)], ["compare-and-set won wrongly"]
    ),
    "a create replaced an object": (
        [put("x", 0, 1), put("y", 2, 2, mode="create")], ["compare-and-set won wrongly"]
    ),
    "a compare-and-set that nobody beat": (
        [put("x", 0, 1), told("RevisionMismatchError", "put", 2, mode=1)],
        ["compare-and-set lost wrongly"],
    ),
    "a version that nobody replaced": (
        [put("x", 0, 1), told("ObjectChangedError", "get_version", 2, mode=1)],
        ["compare-and-set lost wrongly"],
    ),
    "a create that nothing stood against": (
        [put("x", 0, 1), delete(2), told("ObjectAlreadyExists", "put", 4, mode="create")],
        ["compare-and-set lost wrongly"],
    ),
    "a create after a rename that was not withdrawn": (
        [
            told("ObjectNotFoundError", "rename", 0, name="b", to="a"),
            told("ObjectAlreadyExists", "put", 2, mode="create"),
        ],
        ["compare-and-set lost wrongly"],
    ),
    "a rename that was refused is there in the end": (
        [
            put("x", 0, 1, name="b"), put("y", 0, 2), delete(2),
            told("ObjectAlreadyExists", "rename", 2.5, name="b", to="a"),
            get("x", 9, 3, kind="final"),
        ],
        ["deleted, and there again"],
    ),
    "an update that brought old content back": (
        [put("x", 0, 1), put("y", 2, 2), updated("x", 4, 3)], ["lost by update_meta"]
    ),
    "an older version in the end": (
        [put("x", 0, 1), put("y", 2, 2), get("x", 9, 1, kind="final")],
        ["acknowledged and lost"],
    ),
    "nothing in the end": (
        [put("x", 0, 1), told("ObjectNotFoundError", "final", 9)], ["reported missing"]
    ),
    "there in the end, though it was deleted": (
        [put("x", 0, 1), delete(2), get("x", 9, 1, kind="final")],
        ["deleted, and there again"],
    ),
    "unreadable in the end": (
        [put("x", 0, 1), told("StoreTimeoutError", "final", 9)], ["unreadable in the end"]
    ),
    "a call that took too long": ([put("x", 0, 1, returned=20.5)], ["late"]),
    "a call that gave up on an election": (
        [told("StoreAPIError", "get", 0, returned=0.9)], ["gave up early"]
    ),
    "an error of the program": ([told("KeyError", "get", 0)], ["unexpected error"]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_history_that_keeps_the_promises_passes(case: str) -> None:
    assert rules(*GOOD[case]) == []


@pytest.mark.parametrize("case", BAD)
def test_history_that_breaks_a_promise_is_told_by_its_rule(case: str) -> None:
    operations, broken = BAD[case]
    assert rules(*operations) == broken


def test_orphans_are_told() -> None:
    assert rules(put("x", 0, 1), orphans=("nuid",)) == ["orphan"]


def test_two_names_of_the_same_chunks_are_told_unless_a_rename_never_ended() -> None:
    pair = (("a", "b"),)
    assert rules(put("x", 0, 1), moved("rename", "x", 2, 2), shared=pair) == ["shared chunks"]
    assert rules(put("x", 0, 1), moved("rename", "x", 2), shared=pair) == []


def test_violation_shows_the_calls_that_prove_it() -> None:
    put_, got = put("x", 0, 1, process=1, number=7), told("ObjectNotFoundError", "get", 2)
    [found] = violations(History(operations=(put_, got)), timeout=2, bound=20)
    assert found.operations == (put_, got)
    assert str(found).splitlines() == [
        "reported missing: a: ObjectNotFoundError",
        "    [1.7 put a (0.000 to 1.000) ok a@1]",
        "    [0.0 get a (2.000 to 3.000) failed ObjectNotFoundError]",
    ]


def test_figures_count_outcomes_and_reads_that_are_behind() -> None:
    history = History(
        operations=(
            put("x", 0, 1),
            put("y", 2, 2),
            put("z", 4),
            get("x", 6, 1),
            get("y", 8, 2),
        )
    )
    assert figures(history) == {"operations": 5, "ok": 4, "unknown": 1, "reads behind": 1}


def test_bytes_tell_whose_they_are_wherever_they_are_cut() -> None:
    whole = content("0000000a", 1_000)
    assert len(whole) == 1_000
    for start in range(40):
        assert token_of(whole[start : start + 31], start) == ("0000000a", "")
    assert token_of(whole[5:], 6)[1] != ""
    mixed = whole[:512] + content("0000000b", 1_000)[512:]
    assert token_of(mixed) == (
        "0000000a",
        "1000 bytes from 0 on are 0000000a's, but for b'b000000200000000' at 519",
    )


def test_call_that_was_under_way_when_its_process_died_is_unknown(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "client")
    first, second = put("x", 1, 3, number=1), put("y", 3, number=2, returned=float("inf"))
    recorder.begun(replace(first, seen=(), outcome=UNKNOWN, returned=float("inf")))
    recorder.ended(first)
    recorder.begun(second)
    assert recorded({tmp_path / "client": 9.5}) == [
        first,
        replace(second, returned=9.5, error="Killed"),
    ]


def write(
    at: float,
    sequence: int,
    expected: int = 0,
    *,
    name: str = "a",
    nuid: str = "N",
    **more: Any,
) -> Step:
    """A metadata message of a tenth of a second; without an answer if it has no sequence."""
    fields: dict[str, Any] = {"kind": "write", "under": "1.1", "live": True, "nuid": nuid}
    fields |= {"name": name, "began": at, "ended": at + 0.1, "expected": expected}
    return Step(**fields | {"sequence": sequence} | more)


def purge(at: float, *, nuid: str = "N", purged: int = 1) -> Step:
    """A removal of a tenth of a second."""
    fields: dict[str, Any] = {"kind": "purge", "under": "2.2", "nuid": nuid}
    return Step(**fields, began=at, ended=at + 0.1, purged=purged, why="a was replaced by @9")


def found_in(*steps: Step) -> list[str]:
    history = History(operations=(), steps=steps)
    return [one.rule for one in violations(history, timeout=2, bound=24)]


def test_chunks_of_a_version_that_was_replaced_may_be_removed() -> None:
    assert found_in(write(1, 5), write(2, 9, 5, nuid="M"), purge(3)) == []
    # By a marker, or by a write whose answer was lost.
    assert found_in(write(1, 5), write(2, 9, 5, live=False), purge(3)) == []
    assert found_in(write(1, 5), write(2, 0, 5, nuid="M"), purge(3)) == []


def test_chunks_of_a_put_that_was_never_stored_may_be_removed() -> None:
    assert found_in(write(1, 0, 5, refused=True), purge(2)) == []


def test_a_removal_of_chunks_that_an_object_has_is_named() -> None:
    steps = (write(1, 5), write(2, 9, 5), purge(3))
    [violation] = violations(History(operations=(), steps=steps), timeout=2, bound=24)
    assert violation.rule == "removed, and needed"
    assert "2.2 purge (3.000 to 3.100) took 1 chunks of N: a was replaced by @9" in str(
        violation
    )
    assert "1.1 write (2.000 to 2.100) a: N over @5 @9" in str(violation)
    # A refused write replaces nothing, nor does one of another name, nor a later one.
    assert found_in(write(1, 5), write(2, 0, 5, refused=True), purge(3)) != []
    assert found_in(write(1, 5), write(2, 9, 5, name="b", nuid="M"), purge(3)) != []
    assert found_in(write(1, 5), purge(3), write(4, 9, 5, nuid="M")) != []
    # Another name has them, as after a rename.
    moved = write(2, 8, name="b"), write(2.5, 9, 5, live=False)
    assert found_in(write(1, 5), *moved, purge(3)) == ["removed, and needed"]


def test_a_removal_that_found_nothing_is_harmless() -> None:
    assert found_in(write(1, 5), purge(3, purged=0)) == []


def test_a_write_of_a_killed_process_may_be_stored(tmp_path: Path) -> None:
    begun = write(1, 0, 5)
    ended = write(2, 9, 5)
    lines = [asdict(replace(begun, ended=0.0)), asdict(replace(ended, ended=0.0, sequence=0))]
    path = tmp_path / "client-1.steps"
    path.write_text("\n".join(map(json.dumps, [*lines, asdict(ended)])) + "\n")
    assert noted([path]) == [replace(begun, ended=0.0), ended]


def told_in(partition: tuple[float, float], *operations: Operation) -> list[str]:
    history = History(operations=operations, partitions=(partition,))
    return [one.rule for one in violations(history, timeout=2, bound=24)]


def test_a_deposed_leader_may_lack_what_came_after_it_was_parted_from_the_others() -> None:
    late = put("x", 16, 1), told("ObjectNotFoundError", "get", 18)
    assert told_in((10, 20), *late) == []
    # It has healed, or was too short for an election.
    assert told_in((2, 12), *late) == ["reported missing"]
    assert told_in((15, 18), *late) == ["reported missing"]
    # What was acknowledged before, it knows; and in the end all have heard of each other.
    early = put("x", 8, 1), told("ObjectNotFoundError", "get", 18)
    assert told_in((10, 20), *early) == ["reported missing"]
    final = put("x", 16, 1), told("ObjectNotFoundError", "final", 22)
    assert told_in((10, 20), *final) == ["reported missing"]
    # It may refuse a write on condition, and never wins one.
    lost = put("x", 16, 1), told("RevisionMismatchError", "put", 18, mode=1)
    assert told_in((10, 20), *lost) == []
    won = put("x", 12, 1), put("y", 14, 2, mode=1), put("z", 16, 3, mode=1)
    assert told_in((10, 20), *won) == ["compare-and-set won wrongly"]
