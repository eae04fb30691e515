"""PUT and DELETE: all of it or nothing, and never over what the client has not seen."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from faststream_objstore import (
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreConfig,
)
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.http import make_bucket_asgi
from faststream_objstore.wire import stream_config
from tests.http.support import pattern_bytes, serve, soon
from tests.store.support import write_raw

DATA = pattern_bytes(300_000)


@pytest.fixture
async def options(options: dict[str, Any]) -> dict[str, Any]:
    return options | {"max_size": 1_000_000}


async def test_a_put_makes_an_object_and_the_next_one_replaces_it(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    made = await client.put("/a/b.bin", content=DATA, headers={"Content-Type": "image/png"})
    first = await store.get("a/b.bin")
    replaced = await client.put("/a/b.bin", content=b"two")

    assert (made.status_code, replaced.status_code) == (201, 204)
    assert first == DATA
    assert first.info.headers == {"Content-Type": ["image/png"]}
    assert await store.get("a/b.bin") == b"two"
    # What it answers with is the version that a client then gets.
    assert (await client.head("/a/b.bin")).headers["etag"] == replaced.headers["etag"]
    assert made.headers["etag"] != replaced.headers["etag"]


async def test_a_put_after_a_delete_makes_it_anew(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await client.put("/a", content=b"x")
    deleted = await client.delete("/a")
    made = await client.put("/a", content=b"y")

    assert (deleted.status_code, made.status_code) == (204, 201)
    assert await store.get("a") == b"y"


async def test_a_delete_deletes(client: httpx.AsyncClient, store: ObjectStore) -> None:
    await store.put("a", b"x")

    assert (await client.delete("/a")).status_code == 204
    with pytest.raises(ObjectDeletedError):
        await store.get("a")


async def test_of_two_who_change_the_same_version_one_is_told(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    seen = (await client.put("/a", content=b"one")).headers["etag"]
    first = await client.put("/a", content=b"two", headers={"If-Match": seen})
    second = await client.put("/a", content=b"three", headers={"If-Match": seen})
    third = await client.delete("/a", headers={"If-Match": seen})

    assert [one.status_code for one in (first, second, third)] == [204, 412, 412]
    assert second.json()["status"] == 412
    assert await store.get("a") == b"two"
    newest = first.headers["etag"]
    assert (await client.delete("/a", headers={"If-Match": newest})).status_code == 204


async def test_a_version_that_changes_while_the_body_comes_is_not_overwritten(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    seen = (await client.put("/a", content=b"one")).headers["etag"]

    async def body() -> AsyncIterator[bytes]:
        yield DATA
        await soon(store.put("a", b"of another"))
        yield DATA

    put = await client.put("/a", content=body(), headers={"If-Match": seen})

    assert put.status_code == 412
    assert await store.get("a") == b"of another"


async def test_an_object_that_appears_while_the_body_comes_is_not_overwritten(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield DATA
        await soon(store.put("a", b"of another"))
        yield DATA

    put = await client.put("/a", content=body(), headers={"If-None-Match": "*"})

    assert put.status_code == 412
    assert await store.get("a") == b"of another"


@pytest.mark.parametrize(
    "headers, on_live, on_none",
    [
        ({"If-None-Match": "*"}, 412, 201),
        ({"If-Match": "*"}, 204, 412),
        ({"If-Match": '"1-abcdef012345"'}, 412, 412),
        ({"If-Match": "ETAG"}, 204, 412),
        ({"If-Match": '"1-abcdef012345", ETAG'}, 204, 412),
        ({"If-Match": "W/ETAG"}, 412, 412),
        ({"If-Match": "nonsense"}, 412, 412),
        ({"If-None-Match": "ETAG"}, 412, 201),
        ({"If-None-Match": "W/ETAG"}, 412, 201),
        ({"If-None-Match": '"1-abcdef012345"'}, 204, 201),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412, 412),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 204, 412),
        ({"If-Unmodified-Since": "nonsense"}, 204, 201),
        # If-Match decides alone.
        (
            {"If-Match": "ETAG", "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
            204,
            412,
        ),
        ({"If-Match": "ETAG", "If-None-Match": "ETAG"}, 412, 412),
        # For reads only.
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 204, 201),
    ],
)
async def test_a_put_keeps_to_its_condition(
    client: httpx.AsyncClient,
    store: ObjectStore,
    headers: dict[str, str],
    on_live: int,
    on_none: int,
) -> None:
    etag = (await client.put("/live", content=b"old")).headers["etag"]
    given = {name: value.replace("ETAG", etag) for name, value in headers.items()}
    live = await client.put("/live", content=b"new", headers=given)
    none = await client.put("/none", content=b"new", headers=given)

    assert (live.status_code, none.status_code) == (on_live, on_none)
    assert await store.get("live") == (b"new" if on_live == 204 else b"old")
    assert await store.exists("none") == (on_none == 201)


async def test_a_delete_on_condition_that_there_is_none_deletes_nothing(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await store.put("a", b"x")

    assert (await client.delete("/a", headers={"If-None-Match": "*"})).status_code == 412
    assert (await client.delete("/b", headers={"If-None-Match": "*"})).status_code == 404
    assert (await client.delete("/b", headers={"If-Match": "*"})).status_code == 412
    assert await store.get("a") == b"x"


def digests(content: bytes) -> list[str]:
    return [
        f"{name}=:{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}:"
        for name, algorithm in (("sha-256", "sha256"), ("sha-512", "sha512"))
    ]


@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest"])
async def test_what_has_another_digest_is_not_stored(
    client: httpx.AsyncClient, store: ObjectStore, header: str
) -> None:
    for at, digest in enumerate([*digests(DATA), ", ".join(digests(DATA)), "md9=:AA==:"]):
        put = await client.put(f"/good{at}", content=DATA, headers={header: digest})
        assert put.status_code == 201
    for digest in (*digests(b"other"), "sha-256=:AA:", "sha-256=:AA==:", "nonsense"):
        put = await client.put("/bad", content=DATA, headers={header: digest})
        assert put.status_code == 400
    assert not await store.exists("bad")


async def test_what_is_too_large_by_its_length_is_refused_before_it_comes(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n")
    try:
        status = await soon(reader.readline())
    finally:
        writer.close()

    assert b" 413 " in status
    assert not await store.exists("a")


async def test_what_turns_out_to_be_too_large_is_not_stored(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield DATA

    put = await client.put("/a", content=body())

    assert put.status_code == 413
    assert not await store.exists("a")
    assert (await client.put("/a", content=bytes(1_000_000))).status_code == 201


async def test_a_body_that_breaks_off_stores_nothing(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await store.put("a", b"old")
    before = (await store.status()).size
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + DATA)
    await writer.drain()

    async def has_begun() -> None:
        while (await store.status()).size == before:
            await asyncio.sleep(0.01)

    async def is_undone() -> None:
        while (await store.status()).size != before:
            await asyncio.sleep(0.01)

    await soon(has_begun())
    writer.close()
    await soon(is_undone())
    assert await store.get("a") == b"old"


async def test_who_stalls_is_given_up(store: ObjectStore, options: dict[str, Any]) -> None:
    app = make_bucket_asgi(store, **options | {"timeout": 0.2})
    async with serve(app) as base:
        url = httpx.URL(base)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nsome")
        status = await soon(reader.readline())
        writer.close()

    assert b" 408 " in status
    assert not await store.exists("a")


async def test_a_part_of_an_object_is_not_taken_for_the_whole(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    put = await client.put("/a", content=b"x", headers={"Content-Range": "bytes 0-0/2"})

    assert put.status_code == 400
    assert not await store.exists("a")


@pytest.mark.parametrize("kind", ["nonsense", "text/html; x", "a/" + "b" * 300])
async def test_a_type_that_is_none_is_not_kept(
    client: httpx.AsyncClient, store: ObjectStore, kind: str
) -> None:
    await client.put("/a", content=b"x", headers={"Content-Type": kind})

    assert not (await store.get_info("a")).headers


async def test_an_encoded_body_is_kept_and_sent_as_it_is(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    import gzip

    packed = gzip.compress(b"plain text")
    await client.put("/a.txt", content=packed, headers={"Content-Encoding": "gzip"})

    assert await store.get("a.txt") == packed
    assert (await client.get("/a.txt")).text == "plain text"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH", "OPTIONS", "FOO"])
async def test_what_is_not_allowed_is_405_and_says_what_is(
    store: ObjectStore, method: str
) -> None:
    await store.put("a", b"x")
    async with (
        serve(make_bucket_asgi(store)) as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        got = await client.request(method, "/a")

    assert (got.status_code, got.headers["allow"]) == (405, "GET, HEAD")
    assert await store.get("a") == b"x"


async def test_who_may_not_is_refused_before_anything_is_read(store: ObjectStore) -> None:
    asked: list[tuple[str, str, str | None]] = []

    async def authorize(request: Request, name: str, method: str) -> bool:
        asked.append((name, method, request.headers.get("x-user")))
        return request.headers.get("x-user") == "ann"

    await store.put("a", b"x")
    app = make_bucket_asgi(
        store, methods=("GET", "HEAD", "PUT", "DELETE"), authorize=authorize, listing=True
    )
    async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
        refused = [
            await client.request(method, path)
            for method in ("GET", "PUT", "DELETE")
            for path in ("/a", "/never")
        ]
        listing = await client.get("/", params={"prefix": "x/"})
        allowed = await client.get("/a", headers={"X-User": "ann"})

    # The same answer whether there is such an object or not.
    assert {(one.status_code, one.text) for one in [*refused, listing]} == {
        (403, refused[0].text)
    }
    assert asked[:3] == [("a", "GET", None), ("never", "GET", None), ("a", "PUT", None)]
    assert ("x/", "GET", None) in asked
    assert allowed.content == b"x"
    with pytest.raises(ObjectNotFoundError):
        await store.get("never")


async def test_an_authorization_may_say_by_itself_what_is_answered(store: ObjectStore) -> None:
    from starlette.exceptions import HTTPException

    def authorize(_request: Request, _name: str, _method: str) -> bool:
        raise HTTPException(401, "Log in.", {"WWW-Authenticate": "Bearer"})

    async with (
        serve(make_bucket_asgi(store, authorize=authorize)) as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        got = await client.get("/a")

    assert (got.status_code, got.json()["detail"]) == (401, "Log in.")
    assert got.headers["www-authenticate"] == "Bearer"


async def test_an_authorization_that_says_neither_refuses(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    authorize: Any = lambda *_: None  # noqa: E731
    await store.put("a", b"x")
    async with (
        serve(make_bucket_asgi(store, authorize=authorize)) as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        got = await client.get("/a")

    assert got.status_code == 403
    assert "authorize returned None" in caplog.text


async def test_metadata_that_does_not_parse_is_repaired_by_an_upload(bucket_name: str) -> None:
    config = stream_config(ObjectStoreConfig(bucket=bucket_name))
    backend = await MemoryServer().create(bucket_name, config)
    await write_raw(backend, "a", b"nonsense")
    store = ObjectStore.on(backend)
    app = make_bucket_asgi(store, methods=("GET", "PUT"), authorize=lambda *_: True)
    async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
        damaged = await client.get("/a")
        repaired = await client.put("/a", content=b"x")

    assert (damaged.status_code, repaired.status_code) == (500, 204)
    assert await store.get("a") == b"x"
