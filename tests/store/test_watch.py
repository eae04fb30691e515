"""Watch: the present state, then every change, in order, until it is stopped."""

import asyncio
import logging
from typing import Any

import nats.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import ordered
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    InvalidOptionError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectInfo, ObjectMeta
from faststream_objstore.store import ObjectStore
from tests.store.support import Bench, eventually, soon, write_raw


async def fill(store: ObjectStore, *names: str) -> None:
    for name in names:
        await soon(store.put(name, name.encode()))


async def take(watcher: Any, count: int) -> list[ObjectInfo | None]:
    return [await soon(watcher.updates()) for _ in range(count)]


def told(infos: list[ObjectInfo | None]) -> list[Any]:
    return [info and (info.name, info.deleted) for info in infos]


# --- the three ways


async def test_iterating_gives_the_state_and_then_the_changes(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    seen = []
    async for info in store.watch():
        seen.append((info.name, info.deleted))
        if len(seen) == 2:
            await soon(store.put("c", b"c"))
            await soon(store.delete("a"))
        if len(seen) == 4:
            break

    assert seen == [("a", False), ("b", False), ("c", False), ("a", True)]


async def test_a_context_gives_the_changes_without_a_marker(store: ObjectStore) -> None:
    await fill(store, "a")
    async with store.watch() as watcher:
        seen = [(await soon(watcher.__anext__())).name]
        await soon(store.put("b", b"b"))
        seen.append((await soon(watcher.__anext__())).name)

    assert seen == ["a", "b"]


async def test_awaiting_gives_nats_pys_watcher_with_its_marker(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    watcher = await store.watch()
    try:
        assert told(await take(watcher, 3)) == [("a", False), ("b", False), None]
        await soon(store.put("c", b"c"))
        assert told(await take(watcher, 1)) == [("c", False)]
    finally:
        await soon(watcher.stop())


async def test_iterating_over_an_awaited_watcher_gives_the_marker(store: ObjectStore) -> None:
    await fill(store, "a")
    watcher = await store.watch()
    seen: list[Any] = []
    async for info in watcher:
        seen.append(info)
        if info is None:
            await soon(watcher.stop())

    assert told(seen) == [("a", False), None]


async def test_the_versions_watched_are_the_versions_stored(store: ObjectStore) -> None:
    first = await soon(store.put("a", b"hello", description="d", chunk_size=2))
    async with store.watch() as watcher:
        assert await soon(watcher.__anext__()) == first
        second = await soon(store.update_meta("a", ObjectMeta(description="D")))
        assert await soon(watcher.__anext__()) == second
        assert await soon(store.get(second)) == b"hello"


# --- synced


async def test_a_watch_of_an_empty_bucket_is_in_sync_at_once(store: ObjectStore) -> None:
    watcher = await store.watch()
    assert watcher.synced.is_set()
    assert await take(watcher, 1) == [None]
    await soon(watcher.stop())


async def test_synced_is_set_when_the_present_state_is_through(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    async with store.watch() as watcher:
        assert not watcher.synced.is_set()
        await soon(watcher.__anext__())
        assert not watcher.synced.is_set()
        await soon(watcher.__anext__())
        await soon(watcher.synced.wait())


async def test_a_state_of_delete_markers_alone_is_through_when_they_are_left_out(
    store: ObjectStore,
) -> None:
    await fill(store, "a", "b")
    await soon(store.delete("a"))
    await soon(store.delete("b"))
    watcher = await store.watch(ignore_deletes=True)
    assert told(await take(watcher, 1)) == [None]
    await soon(watcher.stop())


@pytest.mark.parametrize("body", [b"", b"not json", b"[]"])
async def test_metadata_that_does_not_parse_is_passed_over_and_holds_nothing_up(
    store: ObjectStore, backend: Backend, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    await fill(store, "a")
    await write_raw(backend, "bad", body)
    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        watcher = await store.watch()
        assert told(await take(watcher, 2)) == [("a", False), None]
        assert watcher.synced.is_set()
        await write_raw(backend, "worse", body)
        await fill(store, "b")
        assert told(await take(watcher, 1)) == [("b", False)]
        await soon(watcher.stop())

    messages = [record.getMessage() for record in caplog.records]
    assert ["'bad'" in messages[0], "'worse'" in messages[1], len(messages)] == [True, True, 2]
    await soon(store.delete("bad"))
    await soon(store.delete("worse"))


# --- options


async def test_updates_only_leaves_the_present_state_out(store: ObjectStore) -> None:
    await fill(store, "a")
    watcher = await store.watch(updates_only=True)
    assert watcher.synced.is_set()
    await fill(store, "b")
    assert told(await take(watcher, 1)) == [("b", False)]
    await soon(watcher.stop())


async def test_ignore_deletes_leaves_markers_out(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    await soon(store.delete("a"))
    watcher = await store.watch(ignore_deletes=True)
    assert told(await take(watcher, 2)) == [("b", False), None]
    await soon(store.delete("b"))
    await fill(store, "c")
    assert told(await take(watcher, 1)) == [("c", False)]
    await soon(watcher.stop())


async def test_markers_are_part_of_the_state(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    await soon(store.delete("a"))
    watcher = await store.watch()
    assert told(await take(watcher, 3)) == [("b", False), ("a", True), None]
    await soon(watcher.stop())


async def test_of_an_object_put_twice_the_state_has_the_newest(store: ObjectStore) -> None:
    await fill(store, "a", "b", "a")
    for history in (False, True):
        # Every write rolls up, so that no history is left to include.
        watcher = await store.watch(include_history=history)
        assert told(await take(watcher, 3)) == [("b", False), ("a", False), None]
        await soon(watcher.stop())


async def test_the_state_does_not_wait_for_what_was_overwritten_before_its_turn(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few messages are on their way while the watcher is busy.
    monkeypatch.setattr(ordered, "_WINDOW_MESSAGES", 4)
    names = [f"{number:02}" for number in range(50)]
    await fill(store, *names)
    seen: list[str] = []
    async with store.watch() as watcher:
        while (info := await watcher.updates(timeout=60)) is not None:
            seen.append(info.name)
            if len(seen) == 1:
                await fill(store, *names[12:-1])

    # Those that were on their way already come as they were, too.
    newest = [*dict.fromkeys(reversed(seen))][::-1]
    assert newest == [*names[:12], names[-1], *names[12:-1]]
    assert len(seen) < 60


async def test_history_that_another_client_left_is_included_when_asked_for(
    store: ObjectStore, backend: Backend
) -> None:
    subject = f"$O.{backend.bucket}.M.YQ=="
    upload = backend.upload(subject)
    for number in range(3):
        await upload.write(b'{"name":"a","nuid":"N","description":"%d"}' % number)
    await upload.finish()

    watcher = await store.watch(include_history=True)
    infos = await take(watcher, 4)
    assert [info and info.description for info in infos] == ["0", "1", "2", None]
    await soon(watcher.stop())
    watcher = await store.watch()
    assert [info and info.description for info in await take(watcher, 2)] == ["2", None]
    await soon(watcher.stop())
    await soon(store.delete("a"))


async def test_options_that_exclude_each_other_are_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidOptionError, match=f"'{store.bucket}'.*updates_only"):
        await store.watch(updates_only=True, include_history=True)
    with pytest.raises(InvalidOptionError):
        async with store.watch(updates_only=True, include_history=True):
            pytest.fail("it opened")


async def test_nats_pys_meta_only_changes_nothing(store: ObjectStore) -> None:
    await fill(store, "a")
    watcher = await store.watch(meta_only=True)
    assert told(await take(watcher, 2)) == [("a", False), None]
    await soon(watcher.stop())


# --- what is seen of each verb


async def test_every_change_is_seen_in_the_order_of_the_stream(store: ObjectStore) -> None:
    # A server shows the note that a rename leaves under the old name before the new one.
    on_server = (await soon(store.status())).backing_store == "JetStream"
    note = [("copy", False)] if on_server else []
    watcher = await store.watch(updates_only=True)
    infos = []
    for change, count in (
        (store.put("a", b"a"), 1),
        (store.update_meta("a", ObjectMeta(description="d")), 1),
        (store.add_link("link", "a"), 1),
        (store.copy("a", "copy"), 1),
        (store.rename("copy", "moved"), 2 + len(note)),
        (store.delete("a"), 1),
    ):
        await soon(change)
        infos += await take(watcher, count)
    await soon(watcher.stop())
    assert told(infos) == [
        ("a", False),
        ("a", False),
        ("link", False),
        ("copy", False),
        *note,
        ("moved", False),
        ("copy", True),
        ("a", True),
    ]
    revisions = [info.revision for info in infos if info]
    assert revisions == sorted(set(revisions))


async def test_many_changes_are_each_seen_once(store: ObjectStore) -> None:
    watcher = await store.watch(updates_only=True)
    await soon(asyncio.gather(*(store.put(f"{n}", b"x") for n in range(300))))

    infos = await take(watcher, 300)
    assert sorted(info.name for info in infos if info) == sorted(str(n) for n in range(300))
    with pytest.raises(StoreTimeoutError):
        await watcher.updates(timeout=0.05)
    await soon(watcher.stop())


# --- waiting, stopping


async def test_updates_wait_no_longer_than_they_are_told(store: ObjectStore) -> None:
    watcher = await store.watch(updates_only=True)
    with pytest.raises(StoreTimeoutError, match=f"'{store.bucket}': no change") as caught:
        await soon(watcher.updates(timeout=0.05))
    assert isinstance(caught.value, nats.errors.TimeoutError)
    assert isinstance(caught.value, asyncio.TimeoutError)
    # The change that comes after a time-out is not lost.
    await fill(store, "a")
    assert told(await take(watcher, 1)) == [("a", False)]
    await soon(watcher.stop())


async def test_a_wait_that_is_cancelled_loses_no_change(store: ObjectStore) -> None:
    watcher = await store.watch(updates_only=True)
    waiting = asyncio.ensure_future(watcher.updates(timeout=None))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await fill(store, "a")
    assert told(await take(watcher, 1)) == [("a", False)]
    await soon(watcher.stop())


async def test_stop_ends_a_pending_iteration(store: ObjectStore) -> None:
    async with store.watch() as watcher:
        names: list[str] = []
        begun = asyncio.Event()

        async def iterate() -> None:
            async for info in watcher:
                names.append(info.name)
                # The next one is asked for before anybody hears of this one.
                begun.set()

        task = asyncio.ensure_future(iterate())
        await store.put("a", b"")
        await soon(begun.wait())
        await soon(watcher.stop())
        await soon(task)
        assert names == ["a"]
        with pytest.raises(StopAsyncIteration):
            await soon(watcher.updates())
        await soon(watcher.stop())


async def test_stop_before_anything_was_read_is_clean(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await fill(store, "a")
    watcher = await store.watch()
    await soon(watcher.stop())

    assert await soon(bench.consumers(backend.bucket)) == []


async def test_two_tasks_on_one_watcher_each_get_their_share(store: ObjectStore) -> None:
    watcher = await store.watch(updates_only=True)
    waits = [asyncio.ensure_future(watcher.updates(timeout=None)) for _ in range(3)]
    await asyncio.sleep(0)
    await fill(store, "a", "b", "c")
    infos = await soon(asyncio.gather(*waits))
    await soon(watcher.stop())

    assert sorted(info.name for info in infos if info) == ["a", "b", "c"]


async def test_a_watch_that_is_left_by_an_error_leaves_nothing(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    with pytest.raises(LookupError):
        async with store.watch():
            raise LookupError

    assert await soon(bench.consumers(backend.bucket)) == []


async def test_a_cancelled_watch_leaves_nothing(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    started = asyncio.Event()

    async def follow() -> None:
        async with store.watch() as watcher:
            started.set()
            async for _ in watcher:
                pass

    task = asyncio.ensure_future(follow())
    await soon(started.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert await soon(bench.consumers(backend.bucket)) == []


async def test_an_iteration_that_is_closed_leaves_nothing(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await fill(store, "a")
    iterator: Any = store.watch().__aiter__()
    assert (await soon(iterator.__anext__())).name == "a"
    await soon(iterator.aclose())

    assert await soon(bench.consumers(backend.bucket)) == []


async def test_a_watch_of_a_bucket_that_is_gone_is_an_error(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await bench.server.delete(backend.bucket)

    with pytest.raises(BucketNotFoundError, match=backend.bucket):
        await store.watch()
    with pytest.raises(BucketNotFoundError):
        async for _ in store.watch():
            pytest.fail("it began")


async def test_a_bucket_deleted_under_a_watch_ends_it_with_an_error(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await fill(store, "a")
    watcher = await store.watch()
    assert told(await take(watcher, 2)) == [("a", False), None]
    await bench.server.delete(backend.bucket)

    with pytest.raises(BucketNotFoundError, match=backend.bucket):
        await soon(watcher.updates(timeout=20))
    await soon(watcher.stop())


async def test_several_watches_see_the_same(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    watchers = [await store.watch(updates_only=True) for _ in range(3)]
    await fill(store, "a", "b")
    for watcher in watchers:
        assert told(await take(watcher, 2)) == [("a", False), ("b", False)]
        await soon(watcher.stop())

    async def none_left() -> bool:
        return await bench.consumers(backend.bucket) == []

    await eventually(none_left)
