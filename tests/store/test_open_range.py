"""A part of an object as a stream: the bytes of the range, in constant memory."""

from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import InvalidOptionError, ObjectChangedError
from faststream_objstore.store import ObjectStore
from tests.store.support import Bench, everything, pattern_bytes, soon, spied

DATA = pattern_bytes(95)


async def part(store: ObjectStore, name: Any, start: int, stop: int | None) -> bytes:
    async with store.open(name, start=start, stop=stop) as reader:
        return b"".join(await everything(reader))


async def test_every_part_that_is_read_as_a_stream_is_what_a_slice_is(
    store: ObjectStore,
) -> None:
    data = pattern_bytes(13)
    await soon(store.put("name", data, chunk_size=5))

    for start in range(15):
        assert await part(store, "name", start, None) == data[start:]
        for stop in range(start, 16):
            assert await part(store, "name", start, stop) == data[start:stop]


async def test_a_part_comes_in_pieces_no_larger_than_a_chunk(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name", start=15, stop=45) as reader:
        assert reader.info.size == 95
        pieces = await everything(reader)

    assert pieces == [DATA[15:20], DATA[20:30], DATA[30:40], DATA[40:45]]


async def test_a_part_can_be_read_like_a_file(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name", start=15, stop=45) as reader:
        assert await soon(reader.read(12)) == DATA[15:27]
        assert await soon(reader.read()) == DATA[27:45]
        assert await soon(reader.read(1)) == b""


async def test_a_part_transfers_only_the_chunks_that_it_needs(backend: Backend) -> None:
    store, spy = spied(backend)
    await soon(store.put("name", pattern_bytes(1000), chunk_size=10))
    spy.transferred = 0
    assert await part(store, "name", 500, 520) == pattern_bytes(1000)[500:520]

    # Two that hold it, up to two before them, and the last.
    assert 2 <= spy.transferred <= 5


async def test_a_small_window_gives_the_whole_and_a_part(
    store: ObjectStore, bench: Bench, backend: Backend
) -> None:
    data = pattern_bytes(1_000_003)
    info = await soon(store.put("name", data, chunk_size=10_000))

    async with store.open(info, window=30_000) as reader:
        assert b"".join(await everything(reader)) == data
    async with store.open(info, start=5, stop=900_001, window=30_000) as reader:
        assert b"".join(await everything(reader)) == data[5:900_001]
    assert await soon(bench.consumers(backend.bucket)) == []


async def test_a_part_of_a_version_that_was_replaced_is_an_error(store: ObjectStore) -> None:
    info = await soon(store.put("name", DATA, chunk_size=10))
    await soon(store.put("name", b"another", chunk_size=10))

    with pytest.raises(ObjectChangedError):
        await part(store, info, 15, 35)


async def test_leaving_a_part_early_leaves_no_consumer(
    store: ObjectStore, bench: Bench, backend: Backend
) -> None:
    await soon(store.put("name", DATA, chunk_size=10))
    async with store.open("name", start=15, stop=90) as reader:
        assert await soon(reader.read(3)) == DATA[15:18]

    assert await soon(bench.consumers(backend.bucket)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"start": -1},
        {"start": 2, "stop": 1},
        {"stop": -1},
        {"start": "1"},
        {"start": True},
        {"window": 0},
        {"window": "1"},
    ],
)
async def test_a_part_that_cannot_work_is_refused_at_once(
    store: ObjectStore, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOptionError, match="must "):
        store.open("name", **options)
