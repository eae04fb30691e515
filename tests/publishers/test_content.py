"""What a handler returns, as the content of an object and its content type."""

import dataclasses
import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NewType, Protocol, TypeVar
from urllib.parse import unquote

import pytest
from faststream import Response
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI
from pydantic import BaseModel
from typing_extensions import TypeAliasType

from faststream_objstore import Bucket, ObjectInfo, ObjectResponse
from faststream_objstore.exceptions import UnsupportedDataError
from tests.publishers.support import in_memory

JSON, BINARY, TEXT = (
    "application/json",
    "application/octet-stream",
    "text/plain; charset=utf-8",
)


DAY = date(2026, 1, 2)


class Report(BaseModel):
    day: date
    words: int


@dataclasses.dataclass
class Point:
    x: int
    read: str = "a field, not a file"


def sync_pieces() -> Iterator[bytes]:
    yield b"one "
    yield b"two"


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in sync_pieces():
        yield piece


def a_file() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the publisher closes it
    file.write(b"left out: one two")
    file.seek(10)
    return file


async def made_of(
    returned: Callable[[], Any], name: str = "result", **options: Any
) -> tuple[bytes, ObjectInfo]:
    sources, results = Bucket("sources"), Bucket("results")

    async def handler(info: ObjectInfo) -> Any:
        return returned()

    sources.on_put()(results.publisher(name, **options)(handler))
    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("source", b"")
        data = await (await service.store(results)).get(name)
        return bytes(data), data.info


@pytest.mark.parametrize(
    "returned, content, content_type",
    [
        (lambda: b"one two", b"one two", BINARY),
        (lambda: bytearray(b"one two"), b"one two", BINARY),
        (lambda: memoryview(b"one two"), b"one two", BINARY),
        (lambda: "fünf", "fünf".encode(), TEXT),
        (lambda: "", b"", TEXT),
        (sync_pieces, b"one two", BINARY),
        (async_pieces, b"one two", BINARY),
        (lambda: iter([b"one", b" two"]), b"one two", BINARY),
        (lambda: io.BytesIO(b"one two"), b"one two", BINARY),
        (a_file, b"one two", BINARY),
        (
            lambda: Report(day=date(2026, 1, 2), words=3),
            b'{"day":"2026-01-02","words":3}',
            JSON,
        ),
        (lambda: Point(1), b'{"x":1,"read":"a field, not a file"}', JSON),
        (lambda: {"a": [1, None]}, b'{"a":[1,null]}', JSON),
        (lambda: ["a", "b"], b'["a","b"]', JSON),
        (lambda: 5, b"5", JSON),
    ],
)
async def test_whatever_is_returned_is_stored_with_its_content_type(
    returned: Callable[[], Any], content: bytes, content_type: str
) -> None:
    data, info = await made_of(returned)

    assert data == content
    assert info.headers is not None
    assert info.headers["Content-Type"] == [content_type]


class Reader:
    """A file that belongs to no class of `io`."""

    def __init__(self) -> None:
        self._file = io.BytesIO(b"one two")

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


Download = NewType("Download", Path)
Pieces = TypeAliasType("Pieces", AsyncIterator[bytes])
AnyPath = TypeVar("AnyPath", bound=Path)


@pytest.mark.parametrize(
    "annotation, returned",
    [
        (Iterable[bytes], lambda _: sync_pieces()),
        (Download, Download),
        (Pieces | None, lambda _: async_pieces()),
        (AnyPath, lambda path: path),
        (Reader, lambda _: Reader()),
        (Readable, lambda _: Reader()),
    ],
)
async def test_return_type_that_names_a_stream_in_any_way_is_stored_once_and_no_failure(
    annotation: Any, returned: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"one two")
    sources, results = Bucket("sources"), Bucket("results")

    async def handler(info: ObjectInfo) -> Any:
        return returned(path)

    handler.__annotations__["return"] = annotation
    sources.on_put()(results.publisher("result")(handler))
    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("source", b"")

        assert await (await service.store(results)).get("result") == b"one two"
    # A test server has channels of its own.
    payload = binary_of(payload_of(service.broker))
    assert (payload["type"], payload["format"]) == ("string", "binary")


@pytest.mark.parametrize("annotation", [ObjectResponse, ObjectResponse | None, Response])
async def test_stream_in_a_response_is_stored_once_and_no_failure(annotation: Any) -> None:
    sources, results = Bucket("sources"), Bucket("results")

    async def handler(info: ObjectInfo) -> Any:
        kind = Response if annotation is Response else ObjectResponse
        return kind(sync_pieces())

    handler.__annotations__["return"] = annotation
    sources.on_put()(results.publisher("result")(handler))
    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("source", b"")

        assert await (await service.store(results)).get("result") == b"one two"


async def test_list_of_a_handler_that_promises_an_iterable_is_encoded() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result")
    async def handler() -> Iterable[Report]:
        return [Report(day=DAY, words=3)]

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("source", b"")

        stored = await (await service.store(results)).get("result")
    assert stored == b'[{"day":"2026-01-02","words":3}]'


def payload_of(broker: NatsBroker) -> dict[str, Any]:
    document = AsyncAPI(broker).to_specification().to_jsonable()["components"]
    (message,) = [one for key, one in document["messages"].items() if "Publisher" in key]
    payload: dict[str, Any] = message["payload"]
    while "$ref" in payload:
        payload = document["schemas"][unquote(payload["$ref"].rpartition("/")[2])]
    return payload


def binary_of(payload: dict[str, Any]) -> dict[str, Any]:
    """The member of a union that is not null."""
    members = [one for one in payload.get("anyOf", [payload]) if one.get("type") != "null"]
    assert len(members) == 1
    found: dict[str, Any] = members[0]
    return found


@pytest.mark.parametrize(
    "name, returned, content_type",
    [
        ("a/cat.webp", lambda: b"", "image/webp"),
        ("page.html", lambda: "<p>", "text/html"),
        ("notes.md", lambda: "# a", "text/markdown"),
        ("script.js", lambda: "", "text/javascript"),
        ("config.json", lambda: "{}", JSON),
        ("notes.txt", lambda: "", TEXT),
        ("notes.txt", lambda: b"", "text/plain"),
        ("list.pdf", lambda: [1], JSON),
        ("data.json.gz", lambda: b"", BINARY),
    ],
)
async def test_the_end_of_the_name_tells_the_content_type(
    name: str, returned: Callable[[], Any], content_type: str
) -> None:
    _, info = await made_of(returned, name)

    assert info.headers is not None
    assert info.headers["Content-Type"] == [content_type]


async def test_file_is_stored_by_its_path_and_lends_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "drawing.svg"
    path.write_bytes(b"<svg/>")

    data, info = await made_of(lambda: path)

    assert data == b"<svg/>"
    assert info.headers is not None
    assert info.headers["Content-Type"] == ["image/svg+xml"]


async def test_file_in_a_folder_of_a_dependency_is_read_before_that_is_removed() -> None:
    from typing import Annotated

    from faststream import Depends

    def scratch() -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result.txt")
    async def write(folder: Annotated[Path, Depends(scratch)]) -> Path:
        (folder / "draft").write_text("draft")
        return folder / "draft"

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("source", b"")
        assert await (await service.store(results)).get("result.txt") == b"draft"


async def test_returned_file_is_closed_and_so_is_one_that_is_not_stored() -> None:
    files = [io.BytesIO(b"one"), io.BytesIO(b"two")]
    sources, results, others = Bucket("sources"), Bucket("results"), Bucket("others")

    @sources.on_put("1")
    @results.publisher("1")
    async def stored() -> Any:
        return files[0]

    @sources.on_put("2")
    @results.publisher("2")
    @others.publisher("2")
    async def refused() -> Any:
        return files[1]

    async with in_memory(sources, results, others) as service:
        store = await service.store(sources)
        await store.put("1", b"")
        with pytest.raises(UnsupportedDataError):
            await store.put("2", b"")

    assert [file.closed for file in files] == [True, True]


@pytest.mark.parametrize(
    "publisher, response, expected",
    [
        ("a/b", lambda: b"", "a/b"),
        (None, lambda: ObjectResponse(b"", content_type="x/y"), "x/y"),
        ("a/b", lambda: ObjectResponse(b"", content_type="x/y"), "x/y"),
        ("a/b", lambda: Response(b"", headers={"content-type": "c/d"}), "c/d"),
        ("a/b", lambda: {"json": 1}, "a/b"),
        (
            None,
            lambda: ObjectResponse(b"", headers={"Content-Type": "c/d"}, content_type="x/y"),
            "x/y",
        ),
    ],
)
async def test_content_type_of_the_response_wins_over_the_publishers(
    publisher: str | None, response: Callable[[], Any], expected: str
) -> None:
    _, info = await made_of(response, content_type=publisher)

    assert info.headers is not None
    assert {k: v for k, v in info.headers.items() if k.lower() == "content-type"} == {
        "Content-Type": [expected]
    }


async def test_headers_and_metadata_of_the_response_win_over_the_publishers() -> None:
    _, info = await made_of(
        lambda: ObjectResponse(
            b"", headers={"x-made": "here"}, metadata={"width": "5", "unit": "px"}
        ),
        headers={"X-Made": "there", "X-Kept": "yes"},
        metadata={"width": "1", "kept": "yes"},
    )

    assert info.headers is not None
    assert info.metadata is not None
    assert {k: v for k, v in info.headers.items() if k.lower().startswith("x-")} == {
        "x-made": ["here"],
        "X-Kept": ["yes"],
    }
    assert {k: v for k, v in info.metadata.items() if not k.startswith("objstore.")} == {
        "width": "5",
        "unit": "px",
        "kept": "yes",
    }


async def test_streams_of_a_response_keep_what_it_says() -> None:
    data, info = await made_of(
        lambda: ObjectResponse(async_pieces(), metadata={"pages": "2"}, content_type="x/y")
    )

    assert data == b"one two"
    assert info.headers is not None
    assert info.metadata is not None
    assert info.headers["Content-Type"] == ["x/y"]
    assert info.metadata["pages"] == "2"


async def test_bodies_go_through_the_codec_of_the_broker() -> None:
    class Codec:
        async def encode(self, msg: Any, serializer: Any = None) -> tuple[bytes, str | None]:
            return f"<{msg}>".encode(), "text/x-codec"

        async def decode(self, msg: Any) -> Any:
            return msg.body

    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result")
    async def handler() -> list[int]:
        return [1, 2]

    broker = NatsBroker(logger=None, codec=Codec())
    async with in_memory(sources, results, broker=broker) as service:
        await (await service.store(sources)).put("source", b"")
        data = await (await service.store(results)).get("result")

    assert data == b"<[1, 2]>"
    assert data.info.headers is not None
    assert data.info.headers["Content-Type"] == ["text/x-codec"]
