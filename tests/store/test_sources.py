"""What put takes, and what it refuses before anything is sent."""

import array
import asyncio
import ctypes
import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import UnsupportedDataError
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    MIB,
    layout,
    pattern_bytes,
    read_raw,
    soon,
    spied,
    tiny_pieces,
)

DATA = pattern_bytes(95)


class AsyncFile:
    """As aiofiles makes them: a coroutine over a file of bytes."""

    def __init__(self, data: bytes, at_most: int | None = None) -> None:
        self.file = io.BytesIO(data)
        self.at_most = at_most

    async def read(self, size: int = -1) -> bytes:
        await asyncio.sleep(0)
        return self.file.read(size if self.at_most is None else min(size, self.at_most))


class WrappedAsyncFile(AsyncFile):
    """Its read is a plain function that returns an awaitable."""

    def read(self, size: int = -1) -> Any:
        return super().read(size)


class SlowFile(io.RawIOBase):
    """A raw file that reads short."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.file.read(min(len(buffer), 7))
        buffer[: len(piece)] = piece
        return len(piece)


async def async_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for piece in tiny_pieces(data, size):
        yield piece


def reused_buffer(data: bytes, size: int) -> Iterator[memoryview]:
    """One buffer for all pieces, overwritten for the next one."""
    buffer = bytearray(size)
    for piece in tiny_pieces(data, size):
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


def stream_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


class Iterable:
    """Can be iterated over, and is neither a list nor a generator."""

    def __iter__(self) -> Iterator[bytes]:
        return tiny_pieces(DATA, 9)


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[bytes]:
        return async_pieces(DATA, 9)


SOURCES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: DATA,
    "bytearray": lambda: bytearray(DATA),
    "memoryview": lambda: memoryview(DATA),
    "a part of a memoryview": lambda: memoryview(b"xx" + DATA + b"yy")[2:-2],
    "a memoryview with gaps": lambda: memoryview(bytes(b for one in DATA for b in (one, 0)))[
        ::2
    ],
    "a memoryview backwards": lambda: memoryview(DATA[::-1])[::-1],
    "a memoryview of rows": lambda: memoryview(DATA).cast("B", [5, 19]),
    "an array": lambda: array.array("B", DATA),
    "BytesIO": lambda: io.BytesIO(DATA),
    "a buffered reader": lambda: io.BufferedReader(SlowFile(DATA)),
    "a raw file that reads short": lambda: SlowFile(DATA),
    "an async file": lambda: AsyncFile(DATA),
    "an async file that reads short": lambda: AsyncFile(DATA, 3),
    "a file with an awaitable read": lambda: WrappedAsyncFile(DATA, 11),
    "a StreamReader": lambda: stream_of(DATA),
    "a list": lambda: [DATA[:50], DATA[50:]],
    "a tuple with empty pieces": lambda: (b"", DATA[:1], b"", b"", DATA[1:], b""),
    "a generator of single bytes": lambda: tiny_pieces(DATA),
    "a generator of uneven pieces": lambda: tiny_pieces(DATA, 13),
    "a generator that reuses its buffer": lambda: reused_buffer(DATA, 7),
    "a generator of bytearrays": lambda: (bytearray(one) for one in tiny_pieces(DATA, 8)),
    "a generator of views": lambda: (memoryview(one) for one in tiny_pieces(DATA, 8)),
    "an iterable": Iterable,
    "an async generator": lambda: async_pieces(DATA, 9),
    "an async iterable": AsyncIterable,
}


@pytest.mark.parametrize("chunk_size", [1, 10, 95, 96, None])
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_every_source_is_cut_into_full_chunks(
    store: ObjectStore, backend: Backend, make: Callable[[], Any], chunk_size: int | None
) -> None:
    info = await soon(store.put("name", make(), chunk_size=chunk_size))

    size = chunk_size or 95
    expected = [DATA[at : at + size] for at in range(0, 95, size)]
    assert await soon(read_raw(backend, info)) == expected
    assert info.size == 95
    assert await soon(store.get("name")) == DATA


@pytest.mark.parametrize(
    "make",
    [
        lambda: "",
        lambda: b"",
        bytearray,
        lambda: memoryview(b""),
        lambda: memoryview(b"x")[:0],
        lambda: array.array("i"),
        list,
        lambda: [b"", b""],
        io.BytesIO,
        lambda: AsyncFile(b""),
        lambda: stream_of(b""),
        lambda: async_pieces(b"", 1),
    ],
)
async def test_every_empty_source_is_an_empty_object(
    store: ObjectStore, backend: Backend, make: Callable[[], Any]
) -> None:
    info = await soon(store.put("name", make()))

    assert (info.size, info.chunks) == (0, 0)
    assert await soon(layout(backend)) == {"name": 0}


async def test_text_is_stored_as_utf_8(store: ObjectStore) -> None:
    await soon(store.put("name", "grün", chunk_size=3))

    assert await soon(store.get("name")) == b"gr\xc3\xbcn"


async def test_text_that_has_no_utf_8_form_is_refused(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(UnsupportedDataError, match=r"'name'.*no UTF-8 form"):
        await soon(store.put("name", "a\ud800"))

    assert await soon(layout(backend)) == {}


@pytest.mark.parametrize(
    "data, expected",
    [
        (array.array("i", [1, -1]), b"\x01\x00\x00\x00\xff\xff\xff\xff"),
        (array.array("d", [1.0]), b"\x00\x00\x00\x00\x00\x00\xf0\x3f"),
        (memoryview(array.array("H", [1, 2, 3]))[::2], b"\x01\x00\x03\x00"),
        ((ctypes.c_int * 2)(1, 2), b"\x01\x00\x00\x00\x02\x00\x00\x00"),
        (ctypes.c_int(7), b"\x07\x00\x00\x00"),
    ],
)
async def test_typed_buffers_are_stored_as_their_bytes(
    store: ObjectStore, data: Any, expected: bytes
) -> None:
    info = await soon(store.put("name", data, chunk_size=3))

    assert info.size == len(expected)
    assert await soon(store.get("name")) == expected


async def test_a_path_is_stored_as_its_files_content(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    told: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.put("name", path, chunk_size=50, progress=note))

    assert await soon(store.get("name")) == DATA
    assert told == [(50, 95), (95, 95)]


async def test_a_text_that_looks_like_a_path_is_text(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    await soon(store.put("name", str(path)))

    assert await soon(store.get("name")) == str(path).encode()


async def test_any_path_like_is_a_path(store: ObjectStore, tmp_path: Path) -> None:
    class Somewhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "file")

    (tmp_path / "file").write_bytes(DATA)
    await soon(store.put("name", Somewhere()))

    assert await soon(store.get("name")) == DATA


async def test_a_file_is_read_from_where_it_stands_and_stays_open(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        file.seek(40)
        await soon(store.put("name", file, chunk_size=10))
        assert not file.closed
        assert file.tell() == 95
    with path.open("rb", buffering=0) as file:
        file.seek(90)
        await soon(store.put("raw", file))

    assert await soon(store.get("name")) == DATA[40:]
    assert await soon(store.get("raw")) == DATA[90:]


async def test_a_text_file_is_read_through_its_buffer(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\r\n" + DATA)
    with path.open(encoding="utf-8") as file:
        await soon(store.put("name", file))  # type: ignore[arg-type]

    assert await soon(store.get("name")) == b"\xff\r\n" + DATA


async def test_a_text_file_is_stored_from_where_it_was_read_to(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes("füñf\nsechs\nsieben\n".encode())
    with path.open(encoding="utf-8") as file:
        assert file.readline() == "füñf\n"
        await soon(store.put("rest", file))  # type: ignore[arg-type]

    assert await soon(store.get("rest")) == b"sechs\nsieben\n"


async def test_a_text_file_whose_position_has_no_byte_is_refused(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    with path.open(encoding="utf-8") as file:
        assert next(file) == "one\n"
        with pytest.raises(UnsupportedDataError, match="open it in binary mode") as error:
            await soon(store.put("name", file))  # type: ignore[arg-type]

    assert (error.value.bucket, error.value.name) == (store.bucket, "name")
    assert await soon(store.list()) == []


async def test_an_anyio_file_is_read(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    async with await anyio.open_file(path, "rb") as file:
        await soon(store.put("name", file, chunk_size=10))

    assert await soon(store.get("name")) == DATA


async def test_an_anyio_file_is_written(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    await soon(store.put("name", DATA, chunk_size=10))
    async with await anyio.open_file(path, "wb") as file:
        await soon(store.get("name", file))

    assert path.read_bytes() == DATA


async def test_a_temporary_file_is_read(store: ObjectStore) -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(DATA)
        file.seek(0)
        await soon(store.put("name", file))

    assert await soon(store.get("name")) == DATA


async def test_pieces_far_larger_than_a_chunk_are_cut(store: ObjectStore) -> None:
    data = pattern_bytes(2 * MIB + 3)
    info = await soon(store.put("name", iter([data[:MIB], data[MIB:]]), chunk_size=300_001))

    assert info.chunks == 7
    assert await soon(store.get("name")) == data


async def test_a_large_file_is_read_whole(store: ObjectStore, tmp_path: Path) -> None:
    data = pattern_bytes(3 * MIB + 3)
    path = tmp_path / "file"
    path.write_bytes(data)
    info = await soon(store.put("name", path))

    assert info.chunks == 25
    assert await soon(store.get("name")) == data


async def test_an_async_generator_is_closed_when_a_put_fails(store: ObjectStore) -> None:
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[Any]:
        try:
            yield b"abc"
            yield "text"
        finally:
            closed.set()

    with pytest.raises(UnsupportedDataError):
        await soon(store.put("name", pieces(), chunk_size=1))

    assert closed.is_set()


# --- refused


async def a_coroutine() -> bytes:
    return b"x"


def a_generator_function() -> Iterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    "data, named",
    [
        (None, "NoneType"),
        (5, "int"),
        (1.5, "float"),
        (True, "bool"),
        ({}, "dict"),
        ({b"a": b"b"}, "dict"),
        (object(), "object"),
        (bytes, "type"),
        (io.BytesIO, "type"),
        (Iterable, "type"),
        (Exception(), "Exception"),
        (a_coroutine, "function"),
        (a_generator_function, "function"),
        (lambda: b"x", "function"),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_anything_is_sent(
    backend: Backend, data: Any, named: str
) -> None:
    store, spy = spied(backend)

    with pytest.raises(UnsupportedDataError) as caught:
        await soon(store.put("name", data))

    assert isinstance(caught.value, TypeError)
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}', object 'name': {named} cannot be stored; give bytes, "
        "str, a Path, a binary file, or an (async) iterable of bytes."
    )
    assert spy.calls == []


async def test_a_coroutine_is_refused_before_anything_is_sent(backend: Backend) -> None:
    store, spy = spied(backend)
    data: Any = a_coroutine()

    with pytest.raises(UnsupportedDataError, match="coroutine cannot be stored"):
        await soon(store.put("name", data))

    data.close()
    assert spy.calls == []


class ReadsText:
    def read(self, size: int) -> str:
        return "text"


class NeverReady(io.RawIOBase):
    def read(self, size: int = -1) -> None:
        return None


class ReadsNumbers:
    async def read(self, size: int) -> int:
        return 5


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: io.StringIO("text"), "yielded str instead of bytes"),
        (ReadsText, "yielded str instead of bytes"),
        (ReadsNumbers, "yielded int instead of bytes"),
        (NeverReady, "non-blocking mode"),
        (lambda: [1, 2, 3], "yielded int instead of bytes"),
        (lambda: ["text"], "yielded str instead of bytes"),
        (lambda: [b"abc", None], "yielded NoneType instead of bytes"),
        (lambda: range(3), "yielded int instead of bytes"),
    ],
)
async def test_data_that_turns_out_not_to_be_bytes_leaves_nothing(
    store: ObjectStore, backend: Backend, make: Callable[[], Any], named: str
) -> None:
    with pytest.raises(UnsupportedDataError, match=named) as caught:
        await soon(store.put("name", make(), chunk_size=1))

    assert str(caught.value).startswith(f"Bucket '{backend.bucket}', object 'name': ")
    assert await soon(layout(backend)) == {}


class Failing:
    """A file that fails when half of it is read."""

    def __init__(self, error: BaseException) -> None:
        self.left = 5
        self.error = error

    def read(self, size: int) -> bytes:
        self.left -= 1
        if not self.left:
            raise self.error
        return b"0123456789"


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("x"), RuntimeError("y")])
async def test_a_file_that_fails_half_way_leaves_nothing(
    store: ObjectStore, backend: Backend, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        await soon(store.put("name", Failing(error), chunk_size=4))  # type: ignore[arg-type]

    assert caught.value is error
    assert await soon(layout(backend)) == {}
