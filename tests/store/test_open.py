"""Open: a reader that iterates and reads like a file, and never ends too early."""

import asyncio
from pathlib import Path

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    DigestMismatchError,
    IncompleteObjectError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
)
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    Audit,
    Bench,
    everything,
    pattern_bytes,
    soon,
    write_chunks,
    write_raw,
)

DATA = pattern_bytes(95)


async def test_a_reader_gives_the_chunks_in_order(store: ObjectStore) -> None:
    info = await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        assert reader.info == info
        pieces = await everything(reader)

    assert b"".join(pieces) == DATA
    assert all(type(piece) is bytes for piece in pieces)
    assert [len(piece) for piece in pieces] == [10] * 9 + [5]


@pytest.mark.parametrize("size", [1, 3, 10, 11, 94, 95, 96, 1000])
@pytest.mark.parametrize("chunk_size", [10, 95, 200])
async def test_read_gives_as_many_bytes_as_asked_for_until_the_end(
    store: ObjectStore, size: int, chunk_size: int
) -> None:
    await soon(store.put("name", DATA, chunk_size=chunk_size))

    pieces = []
    async with store.open("name") as reader:
        while piece := await soon(reader.read(size)):
            pieces.append(piece)
        assert await soon(reader.read(size)) == b""
        assert await soon(reader.read()) == b""

    assert pieces == [DATA[at : at + size] for at in range(0, 95, size)]


async def test_read_without_a_size_gives_the_rest(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        assert await soon(reader.read(13)) == DATA[:13]
        assert await soon(reader.read(0)) == b""
        assert await soon(reader.read()) == DATA[13:]
    async with store.open("name") as reader:
        assert await soon(reader.read(-1)) == DATA


async def test_reads_and_iteration_can_be_mixed(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        assert await soon(reader.read(13)) == DATA[:13]
        pieces = await everything(reader)

    assert [len(piece) for piece in pieces] == [7] + [10] * 7 + [5]
    assert b"".join(pieces) == DATA[13:]


async def test_an_empty_object_has_no_piece(store: ObjectStore) -> None:
    await soon(store.put("name", b""))

    async with store.open("name") as reader:
        assert reader.info.size == 0
        assert await everything(reader) == []
        assert await soon(reader.read()) == b""


async def test_a_reader_can_be_left_early(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await soon(store.put("name", pattern_bytes(1000), chunk_size=10))

    async with store.open("name") as reader:
        async for _ in reader:
            break
    assert await soon(bench.consumers(backend.bucket)) == []

    async with store.open("name"):
        pass
    assert await soon(bench.consumers(backend.bucket)) == []


async def test_a_reader_can_be_closed_by_hand_and_more_than_once(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        await soon(reader.aclose())
        await soon(reader.aclose())


async def test_a_closed_reader_does_not_pass_for_one_at_its_end(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        await soon(reader.read(5))
    with pytest.raises(InvalidOptionError, match="'name': the reader is closed"):
        await soon(reader.read(5))
    with pytest.raises(InvalidOptionError, match="the reader is closed"):
        await everything(reader)


async def test_a_reader_that_was_not_entered_says_how_to_use_it(store: ObjectStore) -> None:
    reader = store.open("name")

    with pytest.raises(InvalidOptionError, match=r"async with store.open"):
        _ = reader.info
    with pytest.raises(InvalidOptionError, match=r"async with store.open"):
        await soon(reader.read())


async def test_an_error_in_the_body_leaves_nothing(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    with pytest.raises(LookupError):
        async with store.open("name"):
            raise LookupError
    assert await soon(bench.consumers(backend.bucket)) == []


async def test_open_of_nothing_is_an_error(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFoundError, match="has no object 'name'"):
        async with store.open("name"):
            pytest.fail("it opened")


async def test_open_of_a_deleted_object_is_an_error(store: ObjectStore) -> None:
    await soon(store.put("name", DATA))
    await soon(store.delete("name"))

    with pytest.raises(ObjectDeletedError):
        async with store.open("name"):
            pytest.fail("it opened")
    async with store.open("name", show_deleted=True) as reader:
        assert await soon(reader.read()) == b""


async def test_open_refuses_more_than_max_size(store: ObjectStore) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    with pytest.raises(ObjectTooLargeError, match="max_size=94"):
        async with store.open("name", max_size=94):
            pytest.fail("it opened")


async def test_open_of_a_replaced_version_is_an_error(store: ObjectStore) -> None:
    info = await soon(store.put("name", DATA, chunk_size=10))
    await soon(store.put("name", DATA))

    with pytest.raises(ObjectChangedError):
        async with store.open(info):
            pytest.fail("it opened")


async def test_open_follows_a_link_to_its_target(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    info = await soon(other_store.put("name", DATA, chunk_size=10))
    await soon(store.add_link("link", info))

    async with store.open("link") as reader:
        assert reader.info == info
        assert await soon(reader.read()) == DATA


async def test_an_object_replaced_in_mid_read_never_ends_as_if_it_were_whole(
    store: ObjectStore,
) -> None:
    # Larger than any window: what is under way already may still be read.
    data = pattern_bytes(24 * 1024 * 1024)
    await soon(store.put("name", data, chunk_size=1024 * 1024))

    async with store.open("name") as reader:
        await soon(reader.read(10))
        await soon(store.put("name", b"newer"))
        with pytest.raises(ObjectChangedError, match="replaced or deleted"):
            await soon(reader.read())
        # And an error is no end: whoever reads on gets another.
        with pytest.raises(IncompleteObjectError, match="open the object again"):
            await soon(reader.read())


async def test_a_read_that_timed_out_does_not_pass_for_the_end(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        assert await soon(reader.read(10)) == DATA[:10]
        task = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(task)
        with pytest.raises(IncompleteObjectError, match="cancelled"):
            await soon(reader.read())


async def test_a_wrong_digest_is_an_error_before_the_last_chunk_is_handed_out(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await write_chunks(backend, "N", b"hel", b"lO")
    digest = "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    raw = {"name": "name", "nuid": "N", "size": 5, "chunks": 2, "digest": digest}
    await write_raw(backend, "name", raw)

    async with store.open("name") as reader:
        assert await soon(reader.read(3)) == b"hel"
        with pytest.raises(DigestMismatchError):
            await soon(reader.read(2))
        with pytest.raises(IncompleteObjectError):
            await soon(reader.read(1))


async def test_a_reader_is_what_put_takes(
    store: ObjectStore, other_store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", DATA, chunk_size=10))

    async with store.open("name") as reader:
        info = await soon(other_store.put("copy", reader, chunk_size=7))

    assert info.chunks == 14
    assert await soon(other_store.get("copy")) == DATA
