"""Several changes in one step: all of it, or nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketFullError,
    FeatureNotEnabledError,
    IncompleteObjectError,
    InvalidLinkError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
    RevisionMismatchError,
    StoreTimeoutError,
    TransactionEndedError,
)
from faststream_objstore.models import ObjectLink, ObjectMeta, ObjectMetaOptions
from faststream_objstore.store import ObjectStore, transaction
from tests.store.conftest import CreateBucket
from tests.store.support import DELETED, LINK, Audit, layout, soon

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def backend(create_bucket: CreateBucket, bucket_name: str) -> Backend:
    return await create_bucket(bucket_name, transactions=True)


class Meanwhile:
    """A backend on which something happens right before, or right after, a batch is stored."""

    def __init__(
        self,
        inner: Backend,
        *,
        before: Callable[[], Awaitable[object]] | None = None,
        after: Callable[[], Awaitable[object]] | None = None,
        times: int = 1,
    ) -> None:
        self._inner = inner
        self._before = before
        self._after = after
        self._times = times
        self.batches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish_batch(self, writes: Any) -> Any:
        self.batches += 1
        now = self.batches <= self._times
        if now and self._before is not None:
            await self._before()
        messages = await self._inner.publish_batch(writes)
        if now and self._after is not None:
            await self._after()
        return messages


async def lose() -> None:
    msg = "no answer"
    raise StoreTimeoutError(msg)


async def test_all_of_it_is_there_after_the_block(
    backend: Backend, store: ObjectStore
) -> None:
    await store.put("old.json", b"old", chunk_size=1)
    await store.put("tmp/b", b"bb", chunk_size=1)

    async with store.transaction() as tx:
        await tx.put("a.json", b"four", chunk_size=1)
        await tx.put("index.json", b"a,b", chunk_size=2)
        assert await tx.delete("old.json") is True
        await tx.rename("tmp/b", "b")

    assert await soon(layout(backend)) == {
        "a.json": 4,
        "index.json": 2,
        "old.json": DELETED,
        "tmp/b": DELETED,
        "b": 2,
    }
    assert await store.get("a.json") == b"four"
    assert await store.get("b") == b"bb"
    # 3 + 1 and 2 + 1 messages, 4 and 2 chunks; then the metadata, next to each other.
    assert {name: info.revision for name, info in tx.committed.items()} == {
        "a.json": 14,
        "index.json": 15,
        "old.json": 16,
        "b": 17,
        "tmp/b": 18,
    }
    for name, info in tx.committed.items():
        assert await store.get_info(name, show_deleted=True) == info


async def test_a_put_takes_its_metadata_as_that_of_the_store_does(store: ObjectStore) -> None:
    async with store.transaction() as tx:
        await tx.put("a", b"1", ObjectMeta(description="first", headers={"k": "v"}))

    info = await soon(store.get_info("a"))
    assert (info.description, info.headers) == ("first", {"k": ["v"]})


async def test_a_watcher_sees_nothing_before_the_end_and_then_all_in_order(
    store: ObjectStore,
) -> None:
    await store.put("gone", b"x")
    async with store.watch(updates_only=True) as watcher:
        async with store.transaction() as tx:
            await tx.put("index", b"1")
            await tx.put("part", b"2")
            await tx.delete("gone")
            await tx.put("index", b"3")
            assert [info.name for info in await store.list()] == ["gone"]
        await store.put("after", b"")
        seen = [await soon(anext(watcher)) for _ in range(4)]

    # Where a name was changed twice, the last change counts.
    assert [(one.name, one.deleted) for one in seen] == [
        ("part", False),
        ("gone", True),
        ("index", False),
        ("after", False),
    ]
    assert await store.get("index") == b"3"


async def test_an_error_in_the_block_leaves_nothing(
    backend: Backend, store: ObjectStore
) -> None:
    await store.put("a", b"old", chunk_size=1)

    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as tx:
            await tx.put("a", b"newer", chunk_size=1)
            await tx.put("b", b"new", chunk_size=1)
            await tx.delete("a")
            raise ZeroDivisionError

    assert await soon(layout(backend)) == {"a": 3}
    assert await store.get("a") == b"old"


async def test_a_cancellation_in_the_block_leaves_nothing(
    backend: Backend, store: ObjectStore
) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as tx:
            await tx.put("a", b"new", chunk_size=1)
            begun.set()
            await asyncio.sleep(3600)

    task = asyncio.ensure_future(work())
    await soon(begun.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert await soon(layout(backend)) == {}


async def test_a_cancellation_while_it_is_written_leaves_all_of_it(backend: Backend) -> None:
    writing = asyncio.Event()

    async def hold() -> None:
        writing.set()
        await asyncio.sleep(0.05)

    store = ObjectStore.on(Meanwhile(backend, before=hold))

    async def work() -> None:
        async with store.transaction() as tx:
            await tx.put("a", b"new", chunk_size=1)
            await tx.put("b", b"new", chunk_size=1)

    task = asyncio.ensure_future(work())
    await soon(writing.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert await soon(layout(backend)) == {"a": 3, "b": 3}


async def test_a_change_that_fails_leaves_the_others(
    backend: Backend, store: ObjectStore
) -> None:
    def half() -> Any:
        yield b"xy"
        raise UnicodeError

    async with store.transaction() as tx:
        await tx.put("a", b"new", chunk_size=1)
        with pytest.raises(UnicodeError):
            await tx.put("b", half(), chunk_size=1)
        with pytest.raises(ObjectNotFoundError):
            await tx.delete("missing")
        with pytest.raises(ObjectNotFoundError):
            await tx.rename("missing", "c")
        with pytest.raises(ObjectAlreadyExists):
            await tx.put("a", b"again", mode="create", chunk_size=1)

    assert await soon(layout(backend)) == {"a": 3}


async def test_a_lost_race_with_a_mode_names_the_object_and_leaves_nothing(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)
    seen = await rival.put("index", b"1", chunk_size=1)
    await rival.put("old", b"1", chunk_size=1)

    async def interfere() -> None:
        await rival.put("index", b"22", chunk_size=1)

    store = ObjectStore.on(Meanwhile(backend, before=interfere))
    with pytest.raises(RevisionMismatchError, match="'index' is at revision") as caught:
        async with store.transaction() as tx:
            await tx.put("part", b"x", chunk_size=1)
            await tx.delete("old")
            await tx.put("index", b"333", mode=seen, chunk_size=1)

    assert caught.value.name == "index"
    assert await soon(layout(backend)) == {"index": 2, "old": 1}


async def test_a_mode_that_does_not_hold_is_refused_at_once(
    backend: Backend, store: ObjectStore
) -> None:
    first = await store.put("a", b"1")
    await store.put("a", b"2")

    async with store.transaction() as tx:
        with pytest.raises(RevisionMismatchError):
            await tx.put("a", b"3", mode=first)
        with pytest.raises(RevisionMismatchError):
            await tx.delete(first)
        with pytest.raises(ObjectAlreadyExists):
            await tx.put("a", b"3", mode="create")

    assert await soon(layout(backend)) == {"a": 1}


async def test_a_lost_race_without_a_mode_is_decided_anew(backend: Backend) -> None:
    rival = ObjectStore.on(backend)
    await rival.put("a", b"1", chunk_size=1)
    await rival.put("old", b"1", chunk_size=1)
    await rival.put("moving", b"first", chunk_size=1)

    async def interfere() -> None:
        await rival.put("a", b"22", chunk_size=1)
        await rival.put("moving", b"second", chunk_size=1)
        await rival.delete("old")

    between = Meanwhile(backend, before=interfere)
    store = ObjectStore.on(between)
    async with store.transaction() as tx:
        await tx.update_meta("a", ObjectMeta(description="described"))
        await tx.rename("moving", "moved")
        await tx.delete("old")
        await tx.put("new", b"new", chunk_size=1)

    assert between.batches == 2
    assert await soon(layout(backend)) == {
        "a": 2,
        "moving": DELETED,
        "moved": 6,
        "old": DELETED,
        "new": 3,
    }
    assert (await rival.get_info("a")).description == "described"
    assert await rival.get("moved") == b"second"


async def test_what_cannot_be_done_any_more_is_the_error_of_the_block(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)
    await rival.put("moving", b"1", chunk_size=1)

    async def interfere() -> None:
        await rival.delete("moving")

    store = ObjectStore.on(Meanwhile(backend, before=interfere))
    with pytest.raises(ObjectDeletedError):
        async with store.transaction() as tx:
            await tx.put("new", b"new", chunk_size=1)
            await tx.rename("moving", "moved")

    assert await soon(layout(backend)) == {"moving": DELETED}


async def test_after_many_lost_races_it_is_given_up(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = ObjectStore.on(backend)

    async def interfere() -> None:
        await rival.put("contended", b"x", chunk_size=1)

    between = Meanwhile(backend, before=interfere, times=1000)
    with pytest.raises(RevisionMismatchError, match="first 50 times") as caught:
        async with ObjectStore.on(between).transaction() as tx:
            await tx.put("quiet", b"1", chunk_size=1)
            await tx.put("contended", b"11", chunk_size=1)

    assert caught.value.name == "contended"
    assert between.batches == 50
    assert await soon(layout(backend)) == {"contended": 1}


async def test_changes_of_one_object_fold_into_one(
    backend: Backend, store: ObjectStore
) -> None:
    await store.put("gone", b"x", chunk_size=1)

    async with store.transaction() as tx:
        await tx.put("a", b"1", chunk_size=1)
        await tx.put("a", b"22", chunk_size=1)
        await tx.update_meta("a", ObjectMeta(description="d", metadata={"k": "v"}))
        await tx.put("never", b"333", chunk_size=1)
        await tx.delete("never")
        await tx.delete("gone")
        await tx.put("gone", b"4444", mode="create", chunk_size=1)

    # "never" was never there, so that there is nothing to mark.
    assert await soon(layout(backend)) == {"a": 2, "gone": 4}
    info = await store.get_info("a")
    assert (info.description, info.metadata) == ("d", {"k": "v"})
    assert (await store.get("a"), await store.get("gone")) == (b"22", b"4444")


async def test_two_names_change_places(backend: Backend, store: ObjectStore) -> None:
    await store.put("live", b"blue", chunk_size=1)
    await store.put("next", b"greener", chunk_size=1)

    async with store.transaction() as tx:
        await tx.rename("live", "aside")
        await tx.rename("next", "live")
        await tx.rename("aside", "next")

    assert await soon(layout(backend)) == {"live": 7, "next": 4}
    assert (await store.get("live"), await store.get("next")) == (b"greener", b"blue")


async def test_both_names_of_a_rename_are_replaced_in_one_step(
    backend: Backend, store: ObjectStore
) -> None:
    await store.put("a", b"old", chunk_size=1)
    await store.rename("a", "b")

    async with store.transaction() as tx:
        await tx.put("b", b"bb", chunk_size=1)
        await tx.put("a", b"a", chunk_size=1)

    # The old chunks are gone at once, although "b" notes that it was "a".
    assert await soon(layout(backend)) == {"a": 1, "b": 2}


async def test_a_name_that_was_moved_away_is_put_again(
    backend: Backend, store: ObjectStore
) -> None:
    await store.put("current", b"one", chunk_size=1)
    await store.put("previous", b"zero", chunk_size=1)

    async with store.transaction() as tx:
        await tx.delete("previous")
        await tx.rename("current", "previous")
        await tx.put("current", b"two!!", chunk_size=1)

    assert await soon(layout(backend)) == {"current": 5, "previous": 3}
    assert await store.get("previous") == b"one"


async def test_what_it_has_put_is_moved_copied_and_linked(
    backend: Backend, store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"1,2,3")
    await store.put("before", b"before", description="b", chunk_size=2)

    async with store.transaction() as tx:
        await tx.put_file("file", path, chunk_size=1)
        await tx.put("tmp", b"moved", chunk_size=1)
        await tx.rename("tmp", "moved")
        await tx.add_link("link", "moved")
        await tx.copy("moved", "copied")
        await tx.copy("link", "through link")
        await tx.copy("before", "copy of before")
        with pytest.raises(InvalidLinkError):
            await tx.add_link("bad", "link")
        with pytest.raises(ObjectDeletedError):
            await tx.add_link("bad", "tmp")
        with pytest.raises(InvalidOptionError, match="add_link"):
            meta = ObjectMeta(options=ObjectMetaOptions(link=ObjectLink(store.bucket, "file")))
            await tx.update_meta("link", meta)

    assert await soon(layout(backend)) == {
        "file": 5,
        "moved": 5,
        "link": LINK,
        "copied": 5,
        "through link": 5,
        "before": 3,
        "copy of before": 3,
    }
    assert (await store.get_info("file")).metadata == {"filename": "report.csv"}
    assert await store.get("link") == b"moved"
    assert await store.get("through link") == b"moved"
    assert (await store.get_info("copy of before")).description == "b"


async def test_a_link_to_another_bucket(store: ObjectStore, other_store: ObjectStore) -> None:
    there = await other_store.put("there", b"content")

    async with store.transaction() as tx:
        await tx.add_link("object", there)
        await tx.add_bucket_link("bucket", other_store)

    assert await store.get("object") == b"content"
    assert (await store.get_info("bucket")).link == ObjectLink(other_store.bucket)


async def test_a_thousand_names_are_the_most(backend: Backend, store: ObjectStore) -> None:
    async with store.transaction() as tx:
        for number in range(1000):
            await tx.put(f"n{number}", b"")
        with pytest.raises(InvalidOptionError, match="1000 names at most"):
            await tx.put("one more", b"12", chunk_size=1)
        with pytest.raises(InvalidOptionError, match="1000 names at most"):
            await tx.rename("n7", "another")

    # Written, replaced and removed: all in one go each.
    assert len(await store.list()) == 1000
    # The two chunks of the one too many came before, and are removed.
    assert [info.revision for info in tx.committed.values()] == list(range(3, 1003))
    async with store.transaction() as tx:
        for number in range(1000):
            await tx.delete(f"n{number}")
    assert await store.list() == []


async def test_a_commit_whose_answer_is_lost_is_settled_by_asking_again(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)
    await rival.put("old", b"old", chunk_size=1)
    between = Meanwhile(backend, after=lose)

    async with ObjectStore.on(between).transaction() as tx:
        await tx.put("a", b"new", chunk_size=1)
        await tx.delete("old")

    # 4 messages, 3 chunks, then these.
    assert {name: info.revision for name, info in tx.committed.items()} == {"a": 8, "old": 9}
    assert await soon(layout(backend)) == {"a": 3, "old": DELETED}
    assert await rival.get_info("old", show_deleted=True) == tx.committed["old"]


async def test_a_lost_answer_is_settled_although_some_of_it_was_replaced(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)

    async def replace_and_lose() -> None:
        await rival.put("a", b"newer", chunk_size=1)
        await lose()

    async with ObjectStore.on(Meanwhile(backend, after=replace_and_lose)).transaction() as tx:
        await tx.put("a", b"new", chunk_size=1)
        await tx.put("b", b"new", chunk_size=1)

    assert {name: info.revision for name, info in tx.committed.items()} == {"a": 7, "b": 8}
    assert await soon(layout(backend)) == {"a": 5, "b": 3}


async def test_a_lost_attempt_that_was_not_stored_is_decided_anew(backend: Backend) -> None:
    rival = ObjectStore.on(backend)

    async def be_first_and_lose() -> None:
        await rival.put("a", b"rival", chunk_size=1)
        await lose()

    async with ObjectStore.on(
        Meanwhile(backend, before=be_first_and_lose)
    ).transaction() as tx:
        await tx.put("a", b"new", chunk_size=1)
        await tx.put("b", b"new", chunk_size=1)

    assert await soon(layout(backend)) == {"a": 3, "b": 3}
    assert await rival.get("a") == b"new"
    assert tx.committed.keys() == {"a", "b"}


async def test_a_rivals_same_marker_is_not_taken_for_a_commit(backend: Backend) -> None:
    rival = ObjectStore.on(backend)
    await rival.put("old", b"old", chunk_size=1)

    async def delete_and_lose() -> None:
        await rival.delete("old")
        await lose()

    async with ObjectStore.on(Meanwhile(backend, before=delete_and_lose)).transaction() as tx:
        await tx.delete("old")
        await tx.put("new", b"new", chunk_size=1)

    assert await soon(layout(backend)) == {"old": DELETED, "new": 3}
    assert tx.committed.keys() == {"new"}


async def test_an_unknown_outcome_removes_nothing(backend: Backend, audit: Audit) -> None:
    audit.orphans = True
    rival = ObjectStore.on(backend)

    async def replace_all_and_lose() -> None:
        await rival.rename("a", "kept")
        await rival.put("a", b"1", chunk_size=1)
        await rival.put("b", b"1", chunk_size=1)
        await lose()

    store = ObjectStore.on(Meanwhile(backend, after=replace_all_and_lose))
    with pytest.raises(StoreTimeoutError, match="whether it came before is not known"):
        async with store.transaction() as tx:
            await tx.put("a", b"new", chunk_size=1)
            await tx.put("b", b"new", chunk_size=1)

    assert await rival.get("kept") == b"new"
    await rival.sweep(timedelta(0))
    assert await soon(layout(backend)) == {"a": 1, "b": 1, "kept": 3}


async def test_chunks_that_were_swept_meanwhile_are_no_object(
    backend: Backend, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_SAFE_SECONDS", 0.0)
    with pytest.raises(IncompleteObjectError, match="'a': 3 of its 3 chunks"):
        async with store.transaction() as tx:
            await tx.put("b", b"b", chunk_size=1)
            info = await tx.put("a", b"new", chunk_size=1)
            await backend.purge(wire.chunk_subject(backend.bucket, info.nuid))

    assert await soon(layout(backend)) == {}


async def test_replaced_versions_stay_for_a_while(
    create_bucket: CreateBucket, bucket_name: str, audit: Audit
) -> None:
    audit.orphans = True
    backend = await create_bucket(bucket_name, transactions=True, keep_replaced=3600)
    store = ObjectStore.on(backend)
    old = await store.put("a", b"old", chunk_size=1)
    moved = await store.put("b", b"moved", chunk_size=1)
    gone = await store.put("c", b"gone", chunk_size=1)

    async with store.transaction() as tx:
        await tx.put("a", b"new", chunk_size=1)
        await tx.delete("c")
        await tx.rename("b", "c")

    assert await store.get(old) == b"old"
    assert await store.get(gone) == b"gone"
    assert await store.get("c") == await store.get(moved) == b"moved"
    assert await store.sweep(timedelta(0)) == 0


async def test_a_full_bucket_takes_none_of_it(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, transactions=True, max_bytes=8000)
    store = ObjectStore.on(backend)
    with pytest.raises(BucketFullError):
        async with store.transaction() as tx:
            for name in "abcd":
                await tx.put(name, b"x", description="d" * 2500)

    assert await soon(layout(backend)) == {}


async def test_a_bucket_without_them_says_what_to_do(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    store = ObjectStore.on(await create_bucket(f"{bucket_name}-without"))

    with pytest.raises(FeatureNotEnabledError, match=r"transactions=True .*nats-server 2\.12"):
        async with store.transaction():
            raise AssertionError


async def test_a_handle_sees_that_they_were_switched_on(
    create_bucket: CreateBucket, bucket_name: str, bench: Any
) -> None:
    backend = await create_bucket(f"{bucket_name}-later")
    store = ObjectStore.on(backend)
    config = (await backend.state()).config
    await bench.server.update(backend.bucket, config | {"allow_atomic": True})

    async with store.transaction() as tx:
        await tx.put("a", b"1")

    assert await store.get("a") == b"1"
    assert (await store.status()).transactions is True


async def test_a_transaction_is_for_one_block(store: ObjectStore) -> None:
    tx = store.transaction()
    with pytest.raises(TransactionEndedError, match="or not begun"):
        await tx.put("a", b"1")
    async with tx:
        await tx.put("a", b"1")
    with pytest.raises(TransactionEndedError, match="has ended"):
        await tx.delete("a")
    with pytest.raises(TransactionEndedError, match="begin another"):
        async with tx:
            raise AssertionError


async def test_a_put_that_ends_after_the_block_leaves_nothing(
    backend: Backend, store: ObjectStore
) -> None:
    go = asyncio.Event()

    async def slow() -> Any:
        yield b"xy"
        await go.wait()

    async with store.transaction() as tx:
        await tx.put("a", b"1", chunk_size=1)
        late = asyncio.ensure_future(tx.put("late", slow(), chunk_size=1))
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(TransactionEndedError):
        await soon(late)

    assert await soon(layout(backend)) == {"a": 1}


async def test_an_empty_block_writes_nothing(backend: Backend, store: ObjectStore) -> None:
    await store.put("a", b"1")
    async with store.transaction() as tx:
        pass

    assert tx.committed == {}
    assert (await backend.state()).last_sequence == 2


async def test_many_at_a_time(backend: Backend, store: ObjectStore) -> None:
    # More than the 50 batches that a stream may have open.
    async def one(number: int) -> None:
        async with store.transaction() as tx:
            await tx.put(f"a{number}", b"1", chunk_size=1)
            await tx.put(f"b{number}", b"2", chunk_size=1)

    await soon(asyncio.gather(*(one(number) for number in range(120))))

    assert len(await soon(layout(backend))) == 240


async def test_rename_is_one_step(backend: Backend, store: ObjectStore) -> None:
    await store.put("a", b"content", description="d", chunk_size=2)
    between = Meanwhile(backend)

    info = await ObjectStore.on(between).rename("a", "b")

    assert between.batches == 1
    assert (info.name, info.description, info.revision) == ("b", "d", 6)
    assert await soon(layout(backend)) == {"a": DELETED, "b": 4}
    assert (await store.get_info("a", show_deleted=True)).revision == 7
    with pytest.raises(ObjectDeletedError):
        await store.rename("a", "c")
    await store.put("a", b"1")
    with pytest.raises(ObjectAlreadyExists):
        await store.rename("a", "b")
