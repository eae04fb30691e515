"""Ranges: just the bytes asked for, from the chunks that hold them."""

from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    IncompleteObjectError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    Audit,
    Bench,
    pattern_bytes,
    soon,
    spied,
    write_chunks,
    write_raw,
)

DATA = pattern_bytes(95)


@pytest.mark.parametrize(
    "start, stop, expected",
    [
        (0, 0, b""),
        (0, 1, b"a"),
        (2, 4, b"cd"),
        (3, 5, b"de"),
        (0, 10, b"abcdefghij"),
        (0, 99, b"abcdefghij"),
        (9, 10, b"j"),
        (9, 11, b"j"),
        (10, 11, b""),
        (50, 60, b""),
        (5, 5, b""),
        (1, 9, b"bcdefghi"),
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 3, 5, 10, 20])
async def test_a_range_is_what_a_slice_is(
    store: ObjectStore, chunk_size: int, start: int, stop: int, expected: bytes
) -> None:
    await soon(store.put("name", b"abcdefghij", chunk_size=chunk_size))

    assert await soon(store.get_range("name", start, stop)) == expected


async def test_every_range_of_an_object_is_what_a_slice_is(store: ObjectStore) -> None:
    data = pattern_bytes(23)
    await soon(store.put("name", data, chunk_size=5))

    for start in range(24):
        for stop in range(start, 25):
            assert await soon(store.get_range("name", start, stop)) == data[start:stop]


@pytest.mark.once
async def test_a_range_of_chunks_with_other_writers_between_them_is_right(
    store: ObjectStore, backend: Backend
) -> None:
    async def interrupted() -> Any:
        for at in range(0, 95, 5):
            yield DATA[at : at + 5]
            for number in range(at % 7):
                await store.put(f"other-{number}", b"abc", chunk_size=1)

    info = await soon(store.put("name", interrupted(), chunk_size=5))
    assert info.chunks == 19

    for start in range(0, 95, 3):
        for length in (1, 4, 5, 6, 40):
            got = await soon(store.get_range("name", start, start + length))
            assert got == DATA[start : start + length]


async def test_a_range_transfers_only_the_chunks_it_needs(backend: Backend) -> None:
    store, spy = spied(backend)
    await soon(store.put("name", pattern_bytes(1000), chunk_size=10))
    spy.transferred = 0
    await soon(store.get_range("name", 501, 509))

    # One that holds it, up to two neighbours, and the last.
    assert 1 <= spy.transferred <= 4


async def test_a_range_without_bytes_transfers_nothing(backend: Backend) -> None:
    store, spy = spied(backend)
    await soon(store.put("name", pattern_bytes(1000), chunk_size=10))
    spy.transferred = 0
    assert await soon(store.get_range("name", 2000, 3000)) == b""

    assert spy.transferred == 0


async def test_a_range_of_an_empty_object_is_empty(store: ObjectStore) -> None:
    await soon(store.put("name", b""))

    assert await soon(store.get_range("name", 0, 10)) == b""


@pytest.mark.parametrize(
    "start, stop",
    [(-1, 2), (2, 1), (0, -1), (0.0, 1), (0, "1"), (None, 1), (0, None), (True, 2)],
)
async def test_a_range_that_cannot_work_is_refused_before_anything_is_sent(
    backend: Backend, start: Any, stop: Any
) -> None:
    store, spy = spied(backend)

    with pytest.raises(InvalidOptionError, match="0 <= start <= stop") as caught:
        await soon(store.get_range("name", start, stop))

    assert f"Bucket '{backend.bucket}', object 'name'" in str(caught.value)
    assert spy.calls == []


async def test_a_range_of_nothing_is_an_error(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        await soon(store.get_range("name", 0, 1))

    await soon(store.put("name", b"x"))
    await soon(store.delete("name"))
    with pytest.raises(ObjectDeletedError):
        await soon(store.get_range("name", 0, 1))


@pytest.mark.parametrize("chunk_size", [10, 100])
async def test_a_range_of_an_info_is_of_that_version(
    store: ObjectStore, chunk_size: int
) -> None:
    info = await soon(store.put("name", DATA, chunk_size=chunk_size))
    assert await soon(store.get_range(info, 15, 35)) == DATA[15:35]
    await soon(store.put("name", DATA, chunk_size=chunk_size))

    with pytest.raises(ObjectChangedError):
        await soon(store.get_range(info, 15, 35))


async def test_a_range_follows_a_link(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))
    await soon(store.add_link("link", "name"))

    assert await soon(store.get_range("link", 15, 35)) == DATA[15:35]


@pytest.mark.parametrize("max_chunk_size", [None, 3, 4])
async def test_a_range_of_chunks_of_uneven_size_is_right(
    store: ObjectStore, backend: Backend, audit: Audit, max_chunk_size: int | None
) -> None:
    audit.orphans = True
    await write_chunks(backend, "N", b"a", b"bcd", b"ef", b"ghi")
    raw: dict[str, Any] = {"name": "name", "nuid": "N", "size": 9, "chunks": 4}
    if max_chunk_size is not None:
        raw["options"] = {"max_chunk_size": max_chunk_size}
    await write_raw(backend, "name", raw)

    for start in range(10):
        for stop in range(start, 10):
            got = await soon(store.get_range("name", start, stop))
            assert got == b"abcdefghi"[start:stop]


@pytest.mark.parametrize("missing", range(5))
@pytest.mark.parametrize("start, stop", [(0, 1), (2, 4), (4, 6), (0, 9), (8, 9)])
async def test_a_range_of_an_object_that_misses_a_chunk_is_an_error(
    store: ObjectStore, backend: Backend, audit: Audit, missing: int, start: int, stop: int
) -> None:
    audit.orphans = True
    chunks = [b"ab", b"cd", b"ef", b"gh", b"i"]
    del chunks[missing]
    await write_chunks(backend, "N", *chunks)
    raw = {"name": "name", "nuid": "N", "size": 9, "chunks": 5}
    await write_raw(backend, "name", raw | {"options": {"max_chunk_size": 2}})

    with pytest.raises(IncompleteObjectError, match=r"'name'.*put it again"):
        await soon(store.get_range("name", start, stop))


async def test_ranges_leave_no_consumer(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await soon(store.put("name", DATA, chunk_size=10))
    for start in range(0, 95, 10):
        await soon(store.get_range("name", start, start + 15))

    assert await soon(bench.consumers(backend.bucket)) == []
