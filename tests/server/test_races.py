"""Races on the real server: several connections, one bucket.

After each: the metadata is valid, the content whole, not one chunk is an orphan, and no
consumer is left (`facts` checks it with nats-py alone).
"""

import asyncio
import hashlib
import io
import os
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import ordered
from faststream_objstore.exceptions import (
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectMeta
from faststream_objstore.store import ObjectStore
from tests.server.conftest import Connect
from tests.server.facts import consumers, facts, subjects
from tests.server.gates import Gated, Hold, Schedule

# OBJSTORE_RACES=20 runs twenty times as many rounds.
_MORE = int(os.environ.get("OBJSTORE_RACES", "1"))
ROUNDS = 4 * _MORE
WRITERS = 16
CONNECTIONS = 4
SCHEDULES = 25 * _MORE
CANCELLATIONS = 30 * _MORE
READS = 25 * _MORE
LISTS = 6 * _MORE

CHUNK = 512

pytestmark = [pytest.mark.once, pytest.mark.timeout(120 * _MORE)]


def version(number: int, chunks: int = 6) -> bytes:
    """Content that no other number has, of a size that hardly another has."""
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * (CHUNK // len(seed) * chunks))[: CHUNK * (chunks - 1) + 1 + number % CHUNK]


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*works, return_exceptions=True)


async def each_until(stop: asyncio.Event, work: Callable[[int], Awaitable[object]]) -> int:
    """Do `work` with 0, 1, 2 … until told to stop; how often."""
    for number in count():
        if stop.is_set():
            return number
        await work(number)
    return 0


async def test_sixteen_writers_of_one_name_leave_one_version_whole_and_no_orphan(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    stores = [await connect() for _ in range(CONNECTIONS)]
    for number in range(ROUNDS):
        contents = [version(number * WRITERS + writer) for writer in range(WRITERS)]
        infos = await asyncio.gather(
            *(
                stores[writer % CONNECTIONS].put("one", content, chunk_size=CHUNK)
                for writer, content in enumerate(contents)
            )
        )

        newest = max(infos, key=lambda info: info.revision)
        found = await facts(nats_client, store.bucket)
        assert found.contents == {"one": contents[infos.index(newest)]}
        assert found.consumers == 0
        assert len({info.revision for info in infos}) == WRITERS
        assert await store.get_info("one") == newest


async def test_of_sixteen_creators_exactly_one_succeeds(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    stores = [await connect() for _ in range(CONNECTIONS)]
    for number in range(ROUNDS):
        results = await together(
            *(
                stores[writer % CONNECTIONS].put(
                    f"new-{number}", version(writer), chunk_size=CHUNK, mode="create"
                )
                for writer in range(WRITERS)
            )
        )

        won = [writer for writer, result in enumerate(results) if type(result) is ObjectInfo]
        assert len(won) == 1
        assert sum(type(result) is ObjectAlreadyExists for result in results) == WRITERS - 1
        found = await facts(nats_client, store.bucket)
        assert found.contents[f"new-{number}"] == version(won[0])


async def test_of_sixteen_conditional_writers_exactly_one_replaces_the_revision(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    stores = [await connect() for _ in range(CONNECTIONS)]
    current = await store.put("counter", b"0")
    for number in range(ROUNDS):
        results = await together(
            *(
                stores[writer % CONNECTIONS].put(
                    "counter", version(number * WRITERS + writer), mode=current
                )
                for writer in range(WRITERS)
            )
        )

        won = [result for result in results if type(result) is ObjectInfo]
        assert len(won) == 1
        assert sum(type(result) is RevisionMismatchError for result in results) == WRITERS - 1
        current = won[0]
        found = await facts(nats_client, store.bucket)
        assert found.contents["counter"] == version(number * WRITERS + results.index(current))


async def test_put_against_delete_leaves_the_put_or_the_marker_and_nothing_else(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    other = await connect()
    for number in range(ROUNDS * 5):
        await store.put("one", version(0), chunk_size=CHUNK)
        info, was_live = await asyncio.gather(
            store.put("one", version(1 + number), chunk_size=CHUNK), other.delete("one")
        )

        found = await facts(nats_client, store.bucket)
        assert was_live is True
        newest = await store.get_info("one", show_deleted=True)
        if newest.deleted:
            assert newest.revision > info.revision
            assert found.contents == {}
        else:
            assert newest == info
            assert found.contents == {"one": version(1 + number)}
        assert found.consumers == 0


async def test_put_against_update_meta_never_loses_the_put(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    other = await connect()
    for number in range(ROUNDS * 5):
        await store.put("one", version(0), chunk_size=CHUNK)
        await asyncio.gather(
            store.put("one", version(1 + number), chunk_size=CHUNK),
            other.update_meta("one", ObjectMeta(description=str(number))),
        )

        found = await facts(nats_client, store.bucket)
        assert found.contents == {"one": version(1 + number)}
        assert found.metadata["one"].get("description") in {None, str(number)}


async def test_a_slow_metadata_update_never_overwrites_a_newer_put(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("one", version(1), chunk_size=CHUNK, headers={"of": "version 1"})
    hold = Hold("publish_metadata")
    slow = ObjectStore.on(Gated(await store._source(), hold.permit))

    updating = asyncio.create_task(slow.update_meta("one", ObjectMeta(description="slow")))
    await hold.reached.wait()
    newer = await store.put("one", version(2), chunk_size=CHUNK)
    hold.release()
    updated = await updating

    assert (updated.nuid, updated.size) == (newer.nuid, newer.size)
    found = await facts(nats_client, store.bucket)
    assert found.contents == {"one": version(2)}
    assert found.metadata["one"]["description"] == "slow"


async def test_a_slow_delete_deletes_the_version_that_is_there_when_it_lands(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("one", version(1), chunk_size=CHUNK)
    hold = Hold("publish_metadata")
    slow = ObjectStore.on(Gated(await store._source(), hold.permit))

    deleting = asyncio.create_task(slow.delete("one"))
    await hold.reached.wait()
    await store.put("one", version(2), chunk_size=CHUNK)
    hold.release()

    assert await deleting is True
    found = await facts(nats_client, store.bucket)
    assert found.contents == {}
    assert found.chunks == {}


Act: TypeAlias = Callable[[ObjectStore], Coroutine[Any, Any, object]]


def acts(number: int) -> dict[str, Act]:
    content = version(100 + number)
    return {
        "put a": lambda s: s.put("a", content, chunk_size=CHUNK),
        "put b": lambda s: s.put("b", content, chunk_size=CHUNK),
        "create b": lambda s: s.put("b", content, chunk_size=CHUNK, mode="create"),
        "delete a": lambda s: s.delete("a"),
        "delete b": lambda s: s.delete("b"),
        "rename a to b": lambda s: s.rename("a", "b"),
        "rename b to a": lambda s: s.rename("b", "a"),
        "rename a to c": lambda s: s.rename("a", "c"),
        "rename b to c": lambda s: s.rename("b", "c"),
        "update a": lambda s: s.update_meta("a", ObjectMeta(description=f"{number}")),
        "update b": lambda s: s.update_meta("b", ObjectMeta(description=f"{number}")),
        "link b to a": lambda s: s.add_link("b", "a"),
    }


PAIRS = [
    ("put a", "put a"),
    ("put a", "delete a"),
    ("put a", "update a"),
    ("put a", "rename a to b"),
    ("put b", "rename a to b"),
    ("create b", "rename a to b"),
    ("delete a", "rename a to b"),
    ("delete b", "rename a to b"),
    ("update a", "rename a to b"),
    ("update b", "rename a to b"),
    ("rename a to b", "rename a to b"),
    ("rename a to b", "rename b to a"),
    ("rename a to b", "rename a to c"),
    ("rename a to b", "rename b to c"),
    ("link b to a", "rename a to b"),
    ("link b to a", "put b"),
    ("delete a", "delete a"),
    ("delete a", "update a"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=" against ".join)
async def test_in_every_interleaving_of_two_changes_nothing_is_lost_or_left_behind(
    store: ObjectStore, nats_client: Client, pair: tuple[str, str]
) -> None:
    backend = await store._source()
    seen: set[tuple[str, ...]] = set()
    for seed in range(SCHEDULES):
        for name in ("a", "b", "c"):
            with suppress(ObjectNotFoundError):
                await store.delete(name)
        await store.put("a", version(0), chunk_size=CHUNK)
        schedule = Schedule(seed)
        works = [
            acts(number)[act](ObjectStore.on(Gated(backend, schedule.permit_of(act))))
            for number, act in enumerate(pair)
        ]
        results = await schedule.run(works)
        seen.add(tuple(schedule.steps))
        story = f"seed {seed}: {results}; {schedule.steps}"

        try:
            found = await facts(nats_client, store.bucket)
        except AssertionError as error:
            pytest.fail(f"{error}; {story}")
        failed = [result for result in results if isinstance(result, BaseException)]
        assert all(
            isinstance(error, (ObjectNotFoundError, ObjectAlreadyExists)) for error in failed
        ), story
        # What was put last, or never touched, is there once; only a delete that
        # succeeded, or a put over it, may take content away.
        contents = list(found.contents.values())
        assert len(set(contents)) == len(contents), story
        for number, act in enumerate(pair):
            put = act.startswith(("put", "create")) and type(results[number]) is ObjectInfo
            other = pair[1 - number]
            if put and not other.startswith(("put", "create", "delete")):
                assert version(100 + number) in contents, story
        if not any(act.startswith(("put", "create", "delete")) for act in pair):
            assert contents == [version(0)], story
    # A schedule that is always the same would prove nothing.
    assert len(seen) > 1


async def test_two_renames_that_undo_each_other_step_by_step_do_not_lose_the_object(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("a", version(0), chunk_size=CHUNK)
    # Each sees the other's new name before the old one is marked, and each loses the
    # race for the marker once.
    schedule = Schedule(0, order=["there"] * 4 + ["back"] * 4 + ["there"] * 6 + ["back"] * 3)
    backend = await store._source()
    there, back = (
        ObjectStore.on(Gated(backend, schedule.permit_of(label)))
        for label in ("there", "back")
    )

    await schedule.run([there.rename("a", "b"), back.rename("b", "a")])

    found = await facts(nats_client, store.bucket)
    assert list(found.contents.values()) == [version(0)]


async def test_put_against_rename_both_ways_loses_no_completed_put(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    other = await connect()
    for number in range(ROUNDS * 5):
        for name in ("a", "b"):
            with suppress(ObjectNotFoundError):
                await store.delete(name)
        await store.put("a", version(0), chunk_size=CHUNK)
        written, *renames = await together(
            store.put("a", version(1 + number), chunk_size=CHUNK),
            other.rename("a", "b"),
            other.rename("b", "a"),
        )

        assert type(written) is ObjectInfo
        assert all(
            type(one) is ObjectInfo
            or isinstance(one, (ObjectNotFoundError, ObjectAlreadyExists))
            for one in renames
        ), renames
        found = await facts(nats_client, store.bucket)
        assert version(1 + number) in found.contents.values()
        assert found.consumers == 0


async def test_list_under_constant_overwrites_misses_no_live_object(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    names = {f"object {number}" for number in range(60)}
    for name in names:
        await store.put(name, b"first")
    stop = asyncio.Event()
    writers = []
    for seed in range(3):
        other = await connect()
        chosen = random.Random(seed)
        ordered = sorted(names)

        async def overwrite(
            number: int,
            other: ObjectStore = other,
            chosen: random.Random = chosen,
            ordered: list[str] = ordered,
        ) -> None:
            await other.put(chosen.choice(ordered), f"version {number}")

        writers.append(asyncio.create_task(each_until(stop, overwrite)))
    try:
        for _ in range(LISTS):
            assert {info.name for info in await store.list()} == names
            assert {info.name async for info in store.iter()} == names
    finally:
        stop.set()
        written = await asyncio.gather(*writers)

    # The lists were really under fire.
    assert sum(written) > LISTS
    found = await facts(nats_client, store.bucket)
    assert found.contents.keys() == names
    assert found.consumers == 0


async def read_by_get(store: ObjectStore, path: Path) -> bytes:
    return await store.get("one")


async def read_by_writeinto(store: ObjectStore, path: Path) -> bytes:
    file = io.BytesIO()
    await store.get("one", writeinto=file)
    return file.getvalue()


async def read_by_open(store: ObjectStore, path: Path) -> bytes:
    async with store.open("one") as reader:
        return b"".join([chunk async for chunk in reader])


async def read_by_read(store: ObjectStore, path: Path) -> bytes:
    parts = []
    async with store.open("one") as reader:
        while part := await reader.read(700):
            parts.append(part)
    return b"".join(parts)


async def read_by_get_file(store: ObjectStore, path: Path) -> bytes:
    await store.get_file("one", path / "file")
    return (path / "file").read_bytes()


async def read_by_get_range(store: ObjectStore, path: Path) -> bytes:
    return await store.get_range("one", 0, 1_000_000)


Read: TypeAlias = Callable[[ObjectStore, Path], Coroutine[Any, Any, bytes]]
READERS: list[Read] = [
    read_by_get,
    read_by_writeinto,
    read_by_open,
    read_by_read,
    read_by_get_file,
    read_by_get_range,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
async def test_a_read_against_overwrites_and_deletes_gives_one_whole_version_or_an_error(
    store: ObjectStore,
    connect: Connect,
    nats_client: Client,
    tmp_path: Path,
    read: Read,
) -> None:
    other = await connect()
    whole: set[bytes] = set()
    stop = asyncio.Event()

    async def change(number: int) -> None:
        content = version(number, chunks=1 + number % 9)
        whole.add(content)
        await other.put("one", content, chunk_size=CHUNK)
        if number % 4 == 3:
            await other.delete("one")

    await change(0)
    changing = asyncio.create_task(each_until(stop, change))
    outcomes: dict[str, int] = {}
    try:
        for _ in range(READS):
            try:
                content = await read(store, tmp_path)
            except (ObjectChangedError, ObjectDeletedError) as error:
                outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
            else:
                assert content in whole
                outcomes["read"] = outcomes.get("read", 0) + 1
    finally:
        stop.set()
        changes = await changing
    assert changes > 1
    assert outcomes["read"] > 0
    assert await consumers(nats_client, store.bucket) == 0
    # Neither a temporary file nor half of one.
    assert [path.name for path in tmp_path.iterdir()] in ([], ["file"])


# Past the window of chunks that are fetched ahead.
LARGE = 24 * 1024 * 1024


@pytest.mark.parametrize("change", ["overwrite", "delete"])
async def test_an_open_reader_whose_version_goes_gets_an_error_and_never_a_short_read(
    store: ObjectStore, nats_client: Client, change: str
) -> None:
    await store.put("one", bytes(LARGE))

    async with store.open("one") as reader:
        await reader.read(1)
        if change == "overwrite":
            await store.put("one", b"new")
        else:
            await store.delete("one")
        with pytest.raises(ObjectChangedError, match="'one'"):
            while await reader.read(1024 * 1024):
                pass

    assert await consumers(nats_client, store.bucket) == 0
    assert (await facts(nats_client, store.bucket)).contents == (
        {"one": b"new"} if change == "overwrite" else {}
    )


async def test_get_of_one_exact_version_that_goes_meanwhile_raises_object_changed(
    store: ObjectStore,
) -> None:
    first = await store.put("one", version(1), chunk_size=CHUNK)
    hold = Hold("messages")
    slow = ObjectStore.on(Gated(await store._source(), hold.permit))

    reading = asyncio.create_task(slow.get(first))
    await hold.reached.wait()
    second = await store.put("one", version(2), chunk_size=CHUNK)
    hold.release()

    with pytest.raises(ObjectChangedError, match="'one'"):
        await reading
    with pytest.raises(ObjectChangedError, match="'one'"):
        await store.get(first)
    assert await store.get(second) == version(2)


async def test_get_of_a_name_that_is_overwritten_during_the_read_gives_the_newer_version(
    store: ObjectStore,
) -> None:
    await store.put("one", version(1), chunk_size=CHUNK)
    hold = Hold("messages")
    slow = ObjectStore.on(Gated(await store._source(), hold.permit))

    reading = asyncio.create_task(slow.get("one"))
    await hold.reached.wait()
    await store.put("one", version(2), chunk_size=CHUNK)
    hold.release()

    assert await reading == version(2)


def moments(rounds: int) -> Iterator[float]:
    """Delays that are dense where a put begins and reach past its end."""
    chosen = random.Random(20)
    for _ in range(rounds):
        yield chosen.random() ** 2


async def test_a_put_cancelled_at_any_moment_is_all_or_nothing(
    store: ObjectStore, nats_client: Client
) -> None:
    content = version(1, chunks=400)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await store.put("one", content, chunk_size=CHUNK)
    usual = loop.time() - began

    old, cancelled, done = content, 0, 0
    for number, moment in enumerate(moments(CANCELLATIONS)):
        new = version(2 + number, chunks=400)
        putting = asyncio.create_task(store.put("one", new, chunk_size=CHUNK))
        await asyncio.sleep(moment * usual * 1.3)  # the moment is what is under test
        putting.cancel()
        try:
            await putting
        except asyncio.CancelledError:
            cancelled += 1
        else:
            done += 1
            assert await store.get("one") == new

        found = await facts_of_one(nats_client, store, {old, new})
        old = found
    assert cancelled > 0
    assert await consumers(nats_client, store.bucket) == 0
    assert (await facts(nats_client, store.bucket)).contents == {"one": old}


async def facts_of_one(client: Client, store: ObjectStore, either: set[bytes]) -> bytes:
    """The content of `one`, which is the only thing that is there."""
    held = await subjects(client, store.bucket)
    content = bytes(await store.get("one"))
    assert content in either
    info = await store.get_info("one")
    chunks = {name: number for name, number in held.items() if ".C." in name}
    assert chunks == {f"$O.{store.bucket}.C.{info.nuid}": info.chunks}
    return content


async def test_a_put_cancelled_before_each_of_its_steps_is_all_or_nothing(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("one", version(1), chunk_size=CHUNK)
    backend = await store._source()
    for step, survives in (("last_message", 1), ("publish_metadata", 2), ("purge", 2)):
        hold = Hold(step)
        slow = ObjectStore.on(Gated(backend, hold.permit))
        putting = asyncio.create_task(slow.put("one", version(2), chunk_size=CHUNK))
        await hold.reached.wait()
        putting.cancel()
        hold.release()
        with pytest.raises(asyncio.CancelledError):
            await putting

        # Once its metadata is under way a put is finished, not broken off.
        found = await facts(nats_client, store.bucket)
        assert found.contents == {"one": version(survives)}, step
        await store.put("one", version(1), chunk_size=CHUNK)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
async def test_a_read_cancelled_at_any_moment_leaves_no_consumer_and_no_file(
    store: ObjectStore,
    nats_client: Client,
    tmp_path: Path,
    read: Read,
) -> None:
    await store.put("one", version(1, chunks=300), chunk_size=CHUNK)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await read(store, tmp_path)
    usual = loop.time() - began
    (tmp_path / "file").unlink(missing_ok=True)

    for moment in moments(CANCELLATIONS // 3):
        reading = asyncio.create_task(read(store, tmp_path))
        await asyncio.sleep(moment * usual * 1.2)  # the moment is what is under test
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        assert await consumers(nats_client, store.bucket) == 0
        assert [path.name for path in tmp_path.iterdir()] in ([], ["file"])


async def test_sweep_beside_writers_never_takes_a_chunk_of_theirs(
    store: ObjectStore, connect: Connect, nats_client: Client
) -> None:
    other = await connect()
    stop = asyncio.Event()

    async def overwrite(number: int) -> None:
        await other.put(f"object {number % 5}", version(number), chunk_size=CHUNK)

    writing = asyncio.create_task(each_until(stop, overwrite))
    try:
        for _ in range(ROUNDS * 3):
            assert await store.sweep() == 0
    finally:
        stop.set()
        await writing
    assert len((await facts(nats_client, store.bucket)).contents) > 0
    # And with nobody writing, not even the youngest are taken.
    assert await store.sweep(older_than=timedelta(0)) == 0


async def test_a_walk_has_what_the_server_has_lost_of_its_list(
    store: ObjectStore, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a message off the list even if the request for it has expired or is dead."""
    # Few messages are on their way while the loop's body is busy.
    monkeypatch.setattr(ordered, "_WINDOW_MESSAGES", 4)
    names = [f"{number:02}" for number in range(30)]
    for name in names:
        await store.put(name, b"")
    seen: list[str] = []
    async for info in store.iter():
        seen.append(info.name)
        if len(seen) == 1:
            [walk] = await nats_client.jetstream().consumers_info(f"OBJ_{store.bucket}")
            subject = f"$JS.API.CONSUMER.MSG.NEXT.OBJ_{store.bucket}.{walk.name}"
            await nats_client.publish(subject, b'{"batch": 1}', reply="_INBOX.gone.1")
            await nats_client.flush()

    assert sorted(seen) == names
