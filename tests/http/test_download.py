"""GET and HEAD: what a client gets of an object, and what it is told of it."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from faststream_objstore import ObjectStore
from tests.http.support import pattern_bytes, soon

DATA = pattern_bytes(1000)


@pytest.fixture
async def cat(store: ObjectStore) -> bytes:
    await soon(
        store.put("ann/cat.png", DATA, headers={"Content-Type": "image/png"}, chunk_size=128)
    )
    return DATA


async def test_an_object_is_sent_whole_and_described(
    client: httpx.AsyncClient, store: ObjectStore, cat: bytes
) -> None:
    got = await client.get("/ann/cat.png")

    info = await store.get_info("ann/cat.png")
    assert (got.status_code, got.content) == (200, cat)
    assert info.mtime is not None
    digest = base64.b64encode(hashlib.sha256(cat).digest()).decode()
    expected = {
        "content-length": "1000",
        "content-type": "image/png",
        "accept-ranges": "bytes",
        "last-modified": info.mtime.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "repr-digest": f"sha-256=:{digest}:",
        "content-disposition": 'attachment; filename="cat.png"',
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }
    assert {name: got.headers[name] for name in expected} == expected
    assert re.fullmatch(rf'"{info.revision}-[0-9a-f]{{12}}"', got.headers["etag"])
    assert "sandbox" in got.headers["content-security-policy"]


async def test_head_says_what_get_would_and_sends_nothing(
    client: httpx.AsyncClient, cat: bytes
) -> None:
    got, head = await client.get("/ann/cat.png"), await client.head("/ann/cat.png")

    said = [
        {name: value for name, value in answer.headers.items() if name != "date"}
        for answer in (got, head)
    ]
    assert said[0] == said[1]
    assert (head.status_code, head.content) == (200, b"")


async def test_an_empty_object_is_sent(client: httpx.AsyncClient, store: ObjectStore) -> None:
    await soon(store.put("empty", b""))

    got = await client.get("/empty")
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")


async def test_an_etag_is_of_one_version(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    etags = set()
    for _ in range(2):
        await soon(store.put("a", b"the same"))
        etags.add((await client.get("/a")).headers["etag"])

    assert len(etags) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_what_was_never_there_is_404_and_what_was_deleted_is_410(
    client: httpx.AsyncClient, store: ObjectStore, method: str
) -> None:
    await soon(store.put("deleted", b"x"))
    await soon(store.delete("deleted"))

    assert (await client.request(method, "/never")).status_code == 404
    assert (await client.request(method, "/deleted")).status_code == 410


async def test_an_error_is_a_problem_and_does_not_name_the_bucket(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    got = await client.get("/never")

    assert got.headers["content-type"] == "application/problem+json"
    assert got.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such object.",
    }
    assert store.bucket not in got.text
    assert got.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "asked, expected",
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=900-", (900, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-2000", (0, 1000)),
        ("bytes=0-", (0, 1000)),
        ("bytes=500-99999999999999999999999", (500, 1000)),
        ("Bytes = 5-6", None),
        ("BYTES=5-6", (5, 7)),
        # One of them does not exist, or they touch: one part is left.
        ("bytes=5-6, 2000-3000", (5, 7)),
        ("bytes=0-9,10-19", (0, 20)),
        ("bytes=,5-6,,", (5, 7)),
    ],
)
async def test_a_range_is_sent_alone(
    client: httpx.AsyncClient, cat: bytes, asked: str, expected: tuple[int, int] | None
) -> None:
    got = await client.get("/ann/cat.png", headers={"Range": asked})

    start, stop = expected or (5, 7)
    assert got.status_code == 206
    assert got.content == cat[start:stop]
    assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/1000"
    assert got.headers["content-length"] == str(stop - start)
    assert got.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=a-b",
        "bytes=5-4",
        "bytes=",
        "bytes=-",
        "bytes",
        "chars=0-1",
        "bytes=0-1;2-3",
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 200, 2)),
    ],
)
async def test_a_range_that_does_not_parse_or_goes_too_far_is_ignored(
    client: httpx.AsyncClient, cat: bytes, asked: str
) -> None:
    got = await client.get("/ann/cat.png", headers={"Range": asked})

    assert (got.status_code, got.content) == (200, cat)


@pytest.mark.parametrize(
    "asked", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=" + "9" * 5000 + "-"]
)
async def test_a_range_of_nothing_is_416_with_the_size(
    client: httpx.AsyncClient, cat: bytes, asked: str
) -> None:
    got = await client.get("/ann/cat.png", headers={"Range": asked})

    assert (got.status_code, got.headers["content-range"]) == (416, "bytes */1000")


async def test_several_ranges_are_parts_in_the_order_they_were_asked_for(
    client: httpx.AsyncClient, cat: bytes
) -> None:
    got = await client.get("/ann/cat.png", headers={"Range": "bytes=900-,0-1, 300-499,1-2"})

    assert got.status_code == 206
    boundary = got.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
    assert got.headers["content-length"] == str(len(got.content))
    parts = got.content.split(f"--{boundary}".encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    assert parts[1:-1] == [
        b"\r\nContent-Type: image/png\r\nContent-Range: bytes %d-%d/1000\r\n\r\n%s\r\n"
        % (start, stop - 1, cat[start:stop])
        for start, stop in [(900, 1000), (0, 3), (300, 500)]
    ]


async def test_head_has_no_ranges(client: httpx.AsyncClient, cat: bytes) -> None:
    got = await client.head("/ann/cat.png", headers={"Range": "bytes=0-1"})

    assert (got.status_code, got.headers["content-length"]) == (200, "1000")


async def test_a_part_is_of_the_version_that_the_client_has_or_it_gets_the_whole(
    client: httpx.AsyncClient, store: ObjectStore, cat: bytes
) -> None:
    etag = (await client.head("/ann/cat.png")).headers["etag"]
    asked = {"Range": "bytes=0-9", "If-Range": etag}
    before = await client.get("/ann/cat.png", headers=asked)
    await soon(store.put("ann/cat.png", b"another"))
    after = await client.get("/ann/cat.png", headers=asked)

    assert (before.status_code, before.content) == (206, cat[:10])
    assert (after.status_code, after.content) == (200, b"another")


@pytest.mark.parametrize("condition", ["date", "weak", "other"])
async def test_a_part_is_not_sent_for_what_does_not_name_one_version(
    client: httpx.AsyncClient, cat: bytes, condition: str
) -> None:
    head = await client.head("/ann/cat.png")
    value = {
        "date": head.headers["last-modified"],
        "weak": "W/" + head.headers["etag"],
        "other": '"1-000000000000"',
    }[condition]
    got = await client.get("/ann/cat.png", headers={"Range": "bytes=0-9", "If-Range": value})

    assert (got.status_code, got.content) == (200, cat)


async def test_a_link_is_followed_within_the_bucket(
    client: httpx.AsyncClient, store: ObjectStore, cat: bytes
) -> None:
    await soon(store.add_link("newest", "ann/cat.png"))
    before = await client.get("/newest")
    await soon(store.put("ann/cat.png", b"another"))
    after = await client.get("/newest")

    assert (before.content, before.headers["content-type"]) == (cat, "image/png")
    assert after.content == b"another"
    assert before.headers["etag"] != after.headers["etag"]
    partly = await client.get(
        "/newest", headers={"Range": "bytes=0-2", "If-Range": after.headers["etag"]}
    )
    assert partly.content == b"ano"


@pytest.mark.parametrize(
    "name, filename, expected",
    [
        ("a.txt", None, 'filename="a.txt"'),
        ("x/y/a b.txt", None, 'filename="a b.txt"'),
        ("a/", None, 'filename="a"'),
        ("ä.txt", None, "filename=\"_.txt\"; filename*=UTF-8''%C3%A4.txt"),
        (
            'a"\r\nSet-Cookie: x=1',
            None,
            "filename=\"a___Set-Cookie_ x_1\"; filename*=UTF-8''a%22__Set-Cookie%3A%20x%3D1",
        ),
        ("x", "..\\..\\evil.exe", 'filename="evil.exe"'),
        ("x", "/etc/passwd", 'filename="passwd"'),
        ("...", None, 'filename="file"'),
    ],
)
async def test_a_download_is_saved_under_the_last_part_of_its_name(
    client: httpx.AsyncClient,
    store: ObjectStore,
    name: str,
    filename: str | None,
    expected: str,
) -> None:
    await soon(store.put(name, b"x", filename=filename))
    got = await client.get("/" + quote(name, safe=""))

    assert got.status_code == 200
    assert got.headers["content-disposition"] == f"attachment; {expected}"
    assert "set-cookie" not in got.headers


@pytest.mark.parametrize(
    "headers, expected",
    [
        ({"Content-Type": "text/html\r\nX-Evil: 1"}, "text/plain"),
        ({"Content-Type": "nonsense"}, "text/plain"),
        ({"content-type": "image/gif"}, "image/gif"),
        ({"Content-Type": 'text/csv; charset="utf-8"'}, 'text/csv; charset="utf-8"'),
        ({"Content-Type": "täxt/html"}, "text/plain"),
        (None, "text/plain"),
    ],
)
async def test_a_type_that_cannot_be_sent_is_taken_from_the_name(
    client: httpx.AsyncClient, store: ObjectStore, headers: Any, expected: str
) -> None:
    await soon(store.put("a.txt", b"x", headers=headers))

    got = await client.get("/a.txt")
    assert got.headers["content-type"] == expected
    assert "x-evil" not in got.headers


async def test_what_was_said_of_its_encoding_goes_with_it(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    said = {"Cache-Control": "max-age=60", "Content-Language": "de", "X-Other": "1"}
    await soon(store.put("a.txt", b"x", headers=said))

    got = await client.get("/a.txt")
    assert got.headers["cache-control"] == "max-age=60"
    assert got.headers["content-language"] == "de"
    assert "x-other" not in got.headers
