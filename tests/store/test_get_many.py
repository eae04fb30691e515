"""`get_many`: in the order given, together where that works, and as `get` would everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from faststream_objstore import ObjectInfo, ObjectStore, wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    DigestMismatchError,
    IncompleteObjectError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
)
from tests.store.conftest import CreateBucket
from tests.store.support import (
    KIB,
    Audit,
    everything,
    pattern_bytes,
    soon,
    spied,
    write_chunks,
    write_raw,
)
from tests.store.test_expiry import until_expired


async def filled(store: ObjectStore, count: int) -> list[ObjectInfo]:
    """Objects `0`, `1`, ..., which hold `content 0`, `content 1`, ..."""
    return [await store.put(str(number), f"content {number}") for number in range(count)]


async def test_objects_of_every_kind_come_in_the_order_given(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    large = pattern_bytes(300 * KIB)
    await store.put("small", b"small")
    await store.put("empty", b"")
    await store.put("large", large)
    await store.put("chunks", b"0123456789", chunk_size=3)
    await store.put("one chunk", pattern_bytes(200 * KIB), chunk_size=500 * KIB)
    await other_store.put("far", b"elsewhere")
    await store.add_link("near link", "small")
    await store.add_link("far link", await other_store.get_info("far"))
    wanted = {
        "large": large,
        "small": b"small",
        "near link": b"small",
        "chunks": b"0123456789",
        "empty": b"",
        "far link": b"elsewhere",
        "one chunk": pattern_bytes(200 * KIB),
    }
    for names in (list(wanted), [*wanted, *reversed(wanted)]):
        for concurrency in (1, 3, 16):
            got = await everything(store.get_many(names, concurrency=concurrency))
            assert got == [wanted[name] for name in names]
    infos = [await store.get_info(name) for name in wanted]
    got = await everything(store.get_many(infos))
    assert got == list(wanted.values())
    assert [one.info.name for one in got] == [
        *("large", "small", "small", "chunks", "empty", "far", "one chunk")
    ]


async def test_each_result_is_what_get_returns(store: ObjectStore) -> None:
    await filled(store, 5)
    await store.put("with", b"x", description="d", headers={"a": "b"}, metadata={"c": "d"})
    names = [info.name for info in await store.list()]

    got = await everything(store.get_many(names))

    for one in got:
        single = await store.get(one.info.name)
        assert (one, one.info) == (single, single.info)


async def test_one_request_reads_64_small_objects(backend: Backend) -> None:
    await filled(ObjectStore.on(backend), 130)
    names = [str(number) for number in range(130)]
    store, spy = spied(backend)

    got = await everything(store.get_many(names))
    assert got == [f"content {number}".encode() for number in range(130)]
    # 64, 64 and 2: metadata and contents.
    assert spy.calls == ["last_messages"] * 6

    spy.calls.clear()
    infos = await ObjectStore.on(backend).list()
    assert len(await everything(store.get_many(infos))) == 130
    assert spy.calls == ["last_messages"] * 3


async def test_what_cannot_be_read_raises_at_its_place_as_get_does(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await filled(store, 3)
    await store.put("gone", b"x")
    await store.delete("gone")
    await store.put("big", b"x" * 100)
    damaged = await store.put("damaged", b"right")
    await backend.purge(wire.chunk_subject(backend.bucket, damaged.nuid))
    await write_chunks(backend, damaged.nuid, b"wrong")
    short = await store.put("short", b"right")
    await backend.purge(wire.chunk_subject(backend.bucket, short.nuid))
    await write_chunks(backend, short.nuid, b"righ")
    lacking = await store.put("lacking", b"right")
    await backend.purge(wire.chunk_subject(backend.bucket, lacking.nuid))
    errors = {
        "never": ObjectNotFoundError,
        "gone": ObjectDeletedError,
        "big": ObjectTooLargeError,
        "damaged": DigestMismatchError,
        "short": IncompleteObjectError,
        "lacking": IncompleteObjectError,
        "": InvalidObjectNameError,
    }
    for name, error in errors.items():
        got: list[bytes] = []
        with pytest.raises(error) as raised:
            async for data in store.get_many(["0", "1", name, "2"], max_size=50):
                got.append(data)  # noqa: PERF401
        assert got == [b"content 0", b"content 1"]
        with pytest.raises(error) as single:
            await store.get(name, max_size=50)
        assert str(raised.value) == str(single.value)


async def test_versions_are_exactly_those_that_are_given(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    infos = await filled(store, 4)
    await store.put("2", b"newer")
    elsewhere = await other_store.put("elsewhere", b"x")
    marker = replace(infos[1], deleted=True)
    for wrong, error in (
        (infos[2], ObjectChangedError),
        (elsewhere, InvalidOptionError),
        (marker, ObjectDeletedError),
    ):
        got: list[bytes] = []
        with pytest.raises(error):
            async for data in store.get_many([infos[0], infos[3], wrong]):
                got.append(data)  # noqa: PERF401
        assert got == [b"content 0", b"content 3"]


async def test_an_object_that_is_replaced_meanwhile_is_read_anew(backend: Backend) -> None:
    plain = ObjectStore.on(backend)
    await filled(plain, 3)
    store, spy = spied(backend)

    async def then_replace() -> None:
        async def replace_it() -> None:
            await plain.put("1", b"newest")

        # Between the metadata and the contents.
        spy.before["last_messages"] = replace_it

    spy.before["last_messages"] = then_replace
    got = await everything(store.get_many(["0", "1", "2"]))

    assert got == [b"content 0", b"newest", b"content 2"]
    assert got[1].info == await plain.get_info("1")


async def test_what_is_not_known_to_be_live_is_asked_of_the_leader(backend: Backend) -> None:
    plain = ObjectStore.on(backend)
    await filled(plain, 3)
    subjects = {name: wire.metadata_subject(backend.bucket, name) for name in ("0", "1", "2")}
    await plain.delete("1")
    old = await backend.last_message(subjects["1"], leader=True)
    fresh = await plain.put("1", b"back")

    class Lagging:
        """Replicas that still have a marker, and lack the metadata of 0 and the chunk of 2."""

        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def last_messages(self, asked: list[str], *, size: int = 0) -> Any:
            found = await backend.last_messages(asked, size=size)
            found.pop(subjects["0"], None)
            if old is not None and subjects["1"] in found:
                found[subjects["1"]] = old
            return {one: found[one] for one in found if ".C." not in one}

    got = await everything(ObjectStore.on(Lagging()).get_many(["0", "1", "2"]))  # type: ignore[arg-type]

    assert got == [b"content 0", b"back", b"content 2"]
    assert got[1].info.revision == fresh.revision


async def test_expired_objects_are_missing(
    create_bucket: CreateBucket, bucket_name: str, audit: Audit
) -> None:
    audit.orphans = True
    store = ObjectStore.on(await create_bucket(bucket_name, object_ttl=1))
    stays = await store.put("stays", b"1", ttl=3600)
    goes = await store.put("goes", b"2", ttl=1)
    long = await store.put("long", b"3", ttl=0)

    await until_expired(store, "goes")
    assert await everything(store.get_many([stays, long])) == [b"1", b"3"]
    assert await everything(store.get_many(["stays", "long"])) == [b"1", b"3"]
    with pytest.raises(ObjectNotFoundError):
        await everything(store.get_many(["stays", "goes", "long"]))
    with pytest.raises(ObjectChangedError):
        await everything(store.get_many([stays, goes, long]))


async def test_metadata_of_other_clients_is_read_as_get_reads_it(
    backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    store = ObjectStore.on(backend)
    info = await store.put("ours", b"ours")
    body = {
        "name": "theirs",
        "bucket": backend.bucket,
        "nuid": "THEIRS",
        "size": 6,
        "chunks": 1,
    }
    await write_chunks(backend, "THEIRS", b"theirs")
    await write_raw(backend, "theirs", body | {"size": 6, "chunks": 1})
    await write_raw(backend, "unreadable", b"no JSON")
    star = replace(info, nuid="a.*")

    assert await everything(store.get_many(["ours", "theirs"])) == [b"ours", b"theirs"]
    for wrong in ("unreadable", star):
        with pytest.raises(Exception) as many:  # noqa: PT011 - whatever `get` raises
            await everything(store.get_many([info, "theirs", wrong]))
        with pytest.raises(type(many.value)) as single:
            await store.get(wrong)
        assert str(many.value) == str(single.value)


async def test_a_result_does_not_wait_for_more_names(store: ObjectStore) -> None:
    await filled(store, 3)
    goes_on = asyncio.Event()

    async def slowly() -> AsyncIterator[str]:
        yield "0"
        await goes_on.wait()
        yield "1"
        yield "2"

    contents = store.get_many(slowly())
    async with aclosing(contents):
        assert await soon(contents.__anext__()) == b"content 0"
        goes_on.set()
        assert await everything(contents) == [b"content 1", b"content 2"]


async def test_what_the_source_raises_comes_after_what_it_gave(store: ObjectStore) -> None:
    await filled(store, 2)

    async def broken() -> AsyncIterator[str]:
        yield "0"
        yield "1"
        msg = "broken"
        raise LookupError(msg)

    got: list[bytes] = []
    with pytest.raises(LookupError, match="broken"):
        async for data in store.get_many(broken()):
            got.append(data)  # noqa: PERF401
    assert got == [b"content 0", b"content 1"]
    assert await everything(store.get_many([])) == []


async def test_no_more_is_read_ahead_than_the_concurrency_says(backend: Backend) -> None:
    plain = ObjectStore.on(backend)
    for number in range(12):
        await plain.put(f"large {number:02}", b"0123456789", chunk_size=3)
    names = [f"large {number:02}" for number in range(12)]
    for number in range(100):
        await plain.put(f"small {number:02}", b"x")
    store, spy = spied(backend)
    taken = given = 0
    async for _ in store.get_many(names, concurrency=2):
        taken += 1
        assert spy.calls.count("messages") <= taken + 2
        # Give what is read ahead its turns.
        await store.get("small 00")
    assert taken == 12

    async def counted() -> AsyncIterator[str]:
        nonlocal given
        for number in range(100):
            given += 1
            assert given <= taken + 8 * 2
            yield f"small {number:02}"

    taken = 0
    async for _ in store.get_many(counted(), concurrency=2):
        taken += 1
        await store.get("small 00")
    assert taken == given == 100


async def test_leaving_early_stops_what_is_read_ahead(store: ObjectStore) -> None:
    # The fixture fails the test if a task or a consumer is left behind.
    await filled(store, 200)
    for number in range(3):
        await store.put(f"large {number}", pattern_bytes(300 * KIB))
    names = [str(number) for number in range(200)]
    contents = store.get_many(["0", "large 0", "large 1", "large 2", *names])
    assert await soon(contents.__anext__()) == b"content 0"
    await soon(contents.aclose())

    async def read() -> None:
        async for _ in store.get_many(["large 0", "large 1", *names]):
            reached.set()
            await asyncio.Event().wait()

    reached = asyncio.Event()
    task = asyncio.ensure_future(read())
    await soon(reached.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)
