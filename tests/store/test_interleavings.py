"""Every order in which the steps of two changes can happen, on the memory backend.

A step is one request to the stream. While one change takes a step the other stands still, so
an order is a list of choices, and all of them are tried, depth first.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import WrongRevision
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore, amend, metadata

BUCKET = "interleaved"
STEPS = frozenset({"last_message", "publish_metadata", "publish_batch", "purge"})

OLD = b"the old content"

Act: TypeAlias = Callable[[ObjectStore], Coroutine[Any, Any, object]]

ACTS: dict[str, Act] = {
    "rename a to b": lambda s: s.rename("a", "b"),
    "rename a to c": lambda s: s.rename("a", "c"),
    "rename b to a": lambda s: s.rename("b", "a"),
    "rename b to c": lambda s: s.rename("b", "c"),
    "put a": lambda s: s.put("a", b"put a", chunk_size=4),
    "put b": lambda s: s.put("b", b"put b", chunk_size=4),
    "delete a": lambda s: s.delete("a"),
    "delete b": lambda s: s.delete("b"),
    "update a": lambda s: s.update_meta("a", ObjectMeta(description="updated a")),
    "update b": lambda s: s.update_meta("b", ObjectMeta(description="updated b")),
    "copy a to b": lambda s: s.copy("a", "b"),
    "copy a to c": lambda s: s.copy("a", "c"),
    "copy b to a": lambda s: s.copy("b", "a"),
    "link b to a": lambda s: s.add_link("b", "a"),
    "link c to b": lambda s: s.add_link("c", "b"),
    "rename a to b, if unchanged": lambda s: s.rename("a", "b", mode=_newest["a"]),
    "update a, if unchanged": lambda s: s.update_meta(
        "a", ObjectMeta(description="updated a"), mode=_newest["a"]
    ),
}

# The revision that a conditional change names: the newest one before the changes begin.
_newest: dict[str, int] = {}
CONDITIONAL = "rename a to b, if unchanged"

# Tried are the orders in which the turn goes over three times, which found all that was ever
# wrong. OBJSTORE_ORDERS=all tries all of them, a minute or two for each pair of changes; but
# two renames of one name to different ones, which finish each other's, have too many (it did
# not end in seven minutes): of those, the orders in which the turn goes over five times.
ALL = os.environ.get("OBJSTORE_ORDERS") == "all"


def switches_of(act: str, other: str) -> int | None:
    """How often the turn goes over."""
    if not ALL:
        return 3
    one, another = act.split(), other.split()
    same = one[:2] == another[:2] and one[0] == "rename"
    return 5 if same and one != another else None


pytestmark = pytest.mark.timeout(3600 if ALL else 120)


class Stepped:
    """A backend that waits for its turn before each step."""

    def __init__(self, inner: Any, turn: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._turn = turn
        # What it asks for side by side is one step after the other.
        self._one = asyncio.Lock()
        self.seen: list[object] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in STEPS:
            return value

        async def step(*args: Any, **options: Any) -> Any:
            async with self._one:
                await self._turn()
            try:
                result = await value(*args, **options)
            except Exception as error:
                self.seen.append((name, args, repr(error)))
                raise
            seen = result[:3] if isinstance(result, tuple) else result
            self.seen.append((name, args, seen))
            return result

        return step


class Stopped(Exception):  # noqa: N818 - no error
    """The rest of this order has been seen."""


class Order:
    """Runs changes one step at a time; the choices come first, then always the first one.

    Args:
        choices: Which of the changes that can go on takes each step.
        known: The states that earlier orders have gone on from; where this one comes to one
            of them, there is nothing left to choose.
        state: What tells states apart.
        after_each: Called after each step.
        switches: How often the turn may go from one change to the other while that one could
            go on; `None` for no limit.
    """

    def __init__(
        self,
        choices: list[int],
        known: set[object],
        state: Callable[[], object],
        after_each: Callable[[], None],
        switches: int | None,
    ) -> None:
        self.choices = choices
        self._switches = switches
        self._last = 0
        self._known = known
        self._state = state
        self.stopped = False
        self.taken: list[int] = []
        self.options: list[int] = []
        self._after_each = after_each
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def turn_of(self, number: int) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            self._waiting[number] = asyncio.get_running_loop().create_future()
            await self._waiting[number]
            if self.stopped:
                raise Stopped

        return turn

    async def run(self, works: list[Coroutine[Any, Any, object]]) -> list[object]:
        tasks = [asyncio.ensure_future(work) for work in works]
        while not all(task.done() for task in tasks):
            # All that is not a step is a few turns of the loop.
            while any(
                not task.done() and number not in self._waiting
                for number, task in enumerate(tasks)
            ):
                await asyncio.sleep(0)
            self._after_each()
            able = sorted(self._waiting)
            if not able:
                break
            if self._last in able:
                able.remove(self._last)
                able.insert(0, self._last)
                if self._switches == 0:
                    del able[1:]
            at = len(self.taken)
            state = (self._state(), self._switches, self._last)
            if at >= len(self.choices) and state in self._known:
                self.stopped = True
                for turn in self._waiting.values():
                    turn.set_result(None)
                break
            self._known.add(state)
            choice = self.choices[at] if at < len(self.choices) else 0
            self.taken.append(choice)
            self.options.append(len(able))
            if choice and self._last in able and self._switches:
                self._switches -= 1
            self._last = able[choice]
            self._waiting.pop(able[choice]).set_result(None)
            # So that the one that was let go stands at its next step before we look.
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    def next_choices(self) -> list[int] | None:
        """The choices of the next order, depth first; `None` after the last."""
        taken = list(self.taken)
        for at in range(len(taken) - 1, -1, -1):
            if taken[at] + 1 < self.options[at]:
                return [*taken[:at], taken[at] + 1]
        return None


class Bucket:
    """A fresh bucket in memory, and what must hold of it at any moment."""

    def __init__(self, server: MemoryServer, backend: Any) -> None:
        self.server = server
        self.backend = backend
        self.store = ObjectStore.on(backend)

    @classmethod
    async def fresh(cls) -> "Bucket":
        server = MemoryServer()
        config = wire.stream_config(ObjectStoreConfig(bucket=BUCKET))
        return cls(server, await server.create(BUCKET, config))

    def live(self) -> dict[str, dict[str, Any]]:
        """The JSON of each live object that is not a link, by name."""
        stream = self.server.find(BUCKET)
        found: dict[str, dict[str, Any]] = {}
        for subject, messages in stream.subjects.items():
            if ".M." in subject:
                said = json.loads(next(reversed(messages.values())).data)
                if not said.get("deleted") and not (said.get("options") or {}).get("link"):
                    found[said["name"]] = said
        return found

    def contents(self) -> dict[str, bytes]:
        """The content of each live object; fails if one is not whole."""
        found: dict[str, bytes] = {}
        for name, said in self.live().items():
            chunks = self.server.find(BUCKET).matching(f"$O.{BUCKET}.C.{said['nuid']}")
            content = b"".join(one.data for one in chunks)
            sha256 = hashlib.sha256(content).digest()
            assert said["digest"] == wire.encode_digest(sha256), f"{name!r} is broken"
            found[name] = content
        return found


async def none_before(store: ObjectStore) -> None:
    await store.put("a", OLD, chunk_size=4)


async def deleted_before(store: ObjectStore) -> None:
    await store.put("b", b"gone", chunk_size=4)
    await store.delete("b")
    await store.put("a", OLD, chunk_size=4)


async def broken_off_before(store: ObjectStore) -> None:
    """A rename of a to b that died before it marked the old name."""
    await store.put("a", OLD, chunk_size=4)
    backend: Any = await store._source()
    writes = 0

    class Dies:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def publish_metadata(self, *args: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == 3:
                raise ConnectionResetError
            return await backend.publish_metadata(*args, **options)

    with pytest.raises(ConnectionResetError):
        await ObjectStore.on(Dies()).rename("a", "b")
    assert await store.get("a") == await store.get("b") == OLD


async def moved_before(store: ObjectStore) -> None:
    """b was a, and has its note still."""
    await store.put("a", OLD, chunk_size=4)
    await store.rename("a", "b")


_before = ["before"]
_who: ContextVar[list[str]] = ContextVar("who")


async def named(who: str, work: Coroutine[Any, Any, object]) -> object:
    """Do it with nuids that say who made them, the same in each order."""
    _who.set([who])
    return await work


def _nuid(_: int) -> str:
    made = _who.get(_before)
    made.append("")
    return f"{made[0]}n{len(made)}"


@pytest.fixture(autouse=True)
def nuids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "token_hex", _nuid)
    # Whose turn it is decides who comes first, not the clock.
    monkeypatch.setattr(amend, "_PAUSE_SECONDS", 0)


async def orders_of(
    before: Act,
    acts: list[str],
    judge: Callable[..., Awaitable[None]],
    switches: int | None,
    *,
    known_acts: dict[str, Act] = ACTS,
    atomic: bool = False,
) -> int:
    """Try every order; how many there were. With `atomic`, the bucket has transactions."""
    choices: list[int] | None = []
    orders = 0
    known: set[object] = set()
    while choices is not None:
        bucket = await Bucket.fresh()
        await before(bucket.store)
        bucket.server.find(BUCKET).config["allow_atomic"] = atomic
        _newest["a"] = (await bucket.store.get_info("a", show_deleted=True)).revision

        def whole(bucket: Bucket = bucket) -> None:
            bucket.contents()

        stepped: list[Stepped] = []

        def state(bucket: Bucket = bucket, stepped: list[Stepped] = stepped) -> object:
            held = bucket.server.find(BUCKET).messages.values()
            return repr(([one.seen for one in stepped], [one[:3] for one in held]))

        order = Order(choices, known, state, whole, switches)
        stepped += [
            Stepped(bucket.backend, order.turn_of(number)) for number in range(len(acts))
        ]
        try:
            results = await order.run(
                [
                    named(str(number), known_acts[act](ObjectStore.on(stepped[number])))
                    for number, act in enumerate(acts)
                ]
            )
            if not order.stopped:
                whole()
                await judge(bucket, acts, results)
        except AssertionError as error:
            pytest.fail(f"{acts}, order {order.taken}: {error}")
        orders += 1
        choices = order.next_choices()
    return orders


async def judge(bucket: Bucket, acts: list[str], results: list[object]) -> None:
    """What must hold at the end, whatever the order was."""
    for act, result in zip(acts, results, strict=True):
        assert not isinstance(result, BaseException) or isinstance(
            result, (ObjectNotFoundError, ObjectAlreadyExists)
        ), f"{act}: {result!r}"
    contents = bucket.contents()
    live = bucket.live()
    by_nuid: dict[str, list[str]] = {}
    for name, said in live.items():
        by_nuid.setdefault(said["nuid"], []).append(name)
    shared = [names for names in by_nuid.values() if len(names) > 1]
    for names in shared:
        assert {live[name].get("objstore-move") is not None for name in names} == {True}, names

    # What was written last is there, unless the other change took it away afterwards.
    done = dict(zip(acts, results, strict=True))
    for act, result in done.items():
        other = ([one for one in acts if one != act] or [act])[0]
        if isinstance(result, ObjectInfo) and act.startswith("put"):
            written = act.encode()
            gone = other.startswith(("put", "delete", "copy")) and not isinstance(
                done[other], BaseException
            )
            assert written in contents.values() or gone, f"{act} is lost: {contents}"
    if not any(act.startswith(("put", "delete", "copy")) for act in acts):
        assert OLD in contents.values(), f"the object is lost: {contents}"

    # The store agrees, and nothing is left when it was swept.
    for name, content in contents.items():
        assert await bucket.store.get(name) == content
    await bucket.store.sweep(older_than=timedelta(0))
    assert bucket.contents() == contents
    held = {f"$O.{BUCKET}.C.{said['nuid']}" for said in live.values()}
    stored = {one for one in bucket.server.find(BUCKET).subjects if ".C." in one}
    assert stored == held, "orphans"


@pytest.mark.parametrize("other", [one for one in ACTS if "if unchanged" not in one])
@pytest.mark.parametrize(
    "before",
    [none_before, deleted_before, broken_off_before, moved_before],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("act", ["rename a to b", "rename b to a"])
async def test_a_rename_against_any_change_in_every_order_keeps_each_object_whole(
    before: Act, act: str, other: str
) -> None:
    acts = [act, other]
    assert await orders_of(before, acts, judge, switches_of(act, other)) > 1


async def judge_condition(bucket: Bucket, acts: list[str], results: list[object]) -> None:
    """What must hold where nothing replaces or deletes the content."""
    done = dict(zip(acts, results, strict=True))
    for act, result in done.items():
        refusals: tuple[type[Exception], ...] = (ObjectNotFoundError, ObjectAlreadyExists)
        if "if unchanged" in act:
            refusals += (RevisionMismatchError,)
        assert isinstance(result, (ObjectInfo, *refusals)), f"{act}: {result!r}"
    contents = bucket.contents()
    live = bucket.live()
    assert list(contents.values()) == [OLD], f"{contents}, {done}"
    renamed, *others = [done[act] for act in acts]
    if isinstance(renamed, ObjectInfo):
        assert list(live) == ["b"], live
        assert not any(isinstance(one, ObjectInfo) for one in others), f"not refused: {done}"
    for act, result in done.items():
        if act.startswith("update") and isinstance(result, ObjectInfo):
            said = [one.get("description") for one in live.values()]
            assert said == ["updated a"], f"the update is lost: {live}, {done}"
    await bucket.store.sweep(older_than=timedelta(0))
    assert bucket.contents() == contents
    held = {f"$O.{BUCKET}.C.{said['nuid']}" for said in live.values()}
    stored = {one for one in bucket.server.find(BUCKET).subjects if ".C." in one}
    assert stored == held, "orphans"


@pytest.mark.parametrize(
    "others",
    [
        ["update a"],
        ["update a, if unchanged"],
        ["rename a to c"],
        ["update a", "rename a to c"],
        ["update a, if unchanged", "rename a to c"],
    ],
    ids=" and ".join,
)
@pytest.mark.parametrize("before", [none_before, deleted_before], ids=lambda one: one.__name__)
async def test_a_conditional_rename_in_every_order_loses_neither_the_object_nor_an_update(
    before: Act, others: list[str]
) -> None:
    acts = [CONDITIONAL, *others]
    switches = 5 if ALL else 3
    assert await orders_of(before, acts, judge_condition, switches) > 1


async def _update_unsettled(store: ObjectStore) -> None:
    """As a client does that keeps what it does not know, and so does not settle a move."""
    backend: Any = await store._source()
    subject = metadata.subject_of(backend, "a")
    while (info := (entry := await metadata.find(backend, subject)).live) is not None:
        updated = replace(info, description="updated a")
        with suppress(WrongRevision):
            await metadata.write(
                backend, subject, updated, replaces=entry.revision, raw=entry.raw
            )
            return


async def judge_unsettled(bucket: Bucket, acts: list[str], results: list[object]) -> None:
    assert list(bucket.contents().values()) == [OLD], f"{bucket.contents()}, {results}"


async def test_a_conditional_rename_and_a_client_that_keeps_its_note_do_not_lose_the_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ACTS, "update", _update_unsettled)
    acts = [CONDITIONAL, "update", "rename a to c"]
    assert await orders_of(none_before, acts, judge_unsettled, 3) > 1


async def judge_update(bucket: Bucket, acts: list[str], results: list[object]) -> None:
    """An update that succeeded is there, whichever of the renames has the object."""
    await judge(bucket, acts, results)
    updated = dict(zip(acts, results, strict=True))["update a"]
    if isinstance(updated, ObjectInfo):
        said = [one.get("description") for one in bucket.live().values()]
        assert "updated a" in said, f"the update is lost: {bucket.live()}, {results}"


async def test_an_update_beside_two_renames_is_lost_in_no_order() -> None:
    acts = ["rename a to b", "update a", "rename a to c"]
    assert await orders_of(none_before, acts, judge_update, 5 if ALL else 3) > 1
