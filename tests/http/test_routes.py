"""Routes of one's own: DownloadResponse and save_upload in Starlette and FastAPI."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faststream_objstore import ObjectChangedError, ObjectStore, ObjStoreError
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http import DownloadResponse, problem_response, save_upload
from tests.http.support import pattern_bytes, serve, soon

DATA = pattern_bytes(300_000)


@asynccontextmanager
async def route(
    endpoint: Callable[[Request], Any], path: str = "/{name:path}"
) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET", "PUT", "POST"])],
        exception_handlers={ObjStoreError: problem_response},
    )
    async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
        yield client


async def test_a_route_answers_with_an_object(store: ObjectStore) -> None:
    ended = asyncio.Event()

    async def download(request: Request) -> Response:
        answer = DownloadResponse(
            store,
            request.path_params["name"],
            filename="invoice.pdf",
            inline=True,
            headers={"X-Own": "1", "Cache-Control": "max-age=5"},
            background=BackgroundTask(ended.set),
        )
        answer.set_cookie("seen", "1")
        return answer

    await store.put("1.pdf", DATA)
    async with route(download) as client:
        got = await client.get("/1.pdf")
        part = await client.get("/1.pdf", headers={"Range": "bytes=5-9"})
        same = await client.get("/1.pdf", headers={"If-None-Match": got.headers["etag"]})
        none = await client.get("/2.pdf")

    await soon(ended.wait())
    assert (got.status_code, got.content) == (200, DATA)
    assert got.headers["content-disposition"] == 'inline; filename="invoice.pdf"'
    assert got.headers["content-type"] == "application/pdf"
    assert (got.headers["x-own"], got.headers["cache-control"]) == ("1", "max-age=5")
    assert got.cookies["seen"] == "1"
    assert (part.status_code, part.content) == (206, DATA[5:10])
    assert (same.status_code, same.content) == (304, b"")
    assert (none.status_code, none.json()["status"]) == (404, 404)


async def test_a_route_answers_with_exactly_one_version(store: ObjectStore) -> None:
    info = await store.put("a", DATA)

    async def download(_: Request) -> Response:
        return DownloadResponse(store, info)

    async with route(download) as client:
        before = await client.get("/a")
        await store.put("a", b"another")
        after = await client.get("/a")

    assert before.content == DATA
    assert after.status_code == 409


async def test_an_object_that_is_replaced_before_it_is_read_is_read_anew(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a", DATA, chunk_size=1000)
    opened = ObjectStore.open
    turns = iter([b"second", b"third"])

    def replaced(self: ObjectStore, name: Any, **options: Any) -> Any:
        reader = opened(self, name, **options)
        enter = reader._begin

        async def begin(version: Any) -> Any:
            if content := next(turns, None):
                await store.put("a", content, chunk_size=1000)
            return await enter(version)

        reader._begin = begin  # type: ignore[method-assign]
        return reader

    monkeypatch.setattr(ObjectStore, "open", replaced)

    async def download(_: Request) -> Response:
        return DownloadResponse(store, "a")

    async with route(download) as client:
        got = await client.get("/a")

    assert (got.status_code, got.content) == (200, b"third")


async def test_a_download_that_cannot_go_on_ends_short(
    server_store: ObjectStore,
) -> None:
    """Without `keep_replaced` an overwrite takes the chunks that are still to come."""
    await server_store.put("a", bytes(30_000_000))

    async def download(_: Request) -> Response:
        return DownloadResponse(server_store, "a")

    async with route(download) as client, client.stream("GET", "/a") as got:
        pieces = got.aiter_raw()
        first = await anext(pieces)
        await server_store.put("a", b"another")
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in pieces:
                pass

    assert (got.status_code, got.headers["content-length"]) == (200, "30000000")
    assert first


@pytest.mark.parametrize("extra", [{}, {"headers": {"content-type": "text/x-own"}}])
async def test_a_raw_body_is_stored_with_its_type(
    store: ObjectStore, extra: dict[str, Any]
) -> None:
    async def upload(request: Request) -> Response:
        info = await save_upload(
            request, store, request.path_params["name"], max_size=10**6, **extra
        )
        return JSONResponse({"size": info.size})

    async with route(upload) as client:
        put = await client.put("/a", content=DATA, headers={"Content-Type": "text/plain"})
        large = await client.put("/b", content=bytes(10**6 + 1))

    info = await store.get_info("a")
    assert put.json() == {"size": 300_000}
    assert list((info.headers or {}).values()) == [["text/x-own" if extra else "text/plain"]]
    assert large.status_code == 413
    assert not await store.exists("b")


async def test_a_route_can_say_what_may_be_replaced(store: ObjectStore) -> None:
    await store.put("a", b"old")

    async def upload(request: Request) -> Response:
        await save_upload(request, store, "a", max_size=None, mode="create")
        return Response()

    async with route(upload) as client:
        put = await client.put("/a", content=b"new", headers={"If-Match": "*"})

    assert put.status_code == 412
    assert await store.get("a") == b"old"


async def upload_to(store: ObjectStore, name: str = "a", max_size: int = 10**6) -> Any:
    async def upload(request: Request) -> Response:
        info = await save_upload(request, store, name, max_size=max_size)
        return JSONResponse({"size": info.size})

    return upload


async def test_the_file_of_a_form_is_stored_with_its_name_and_type(store: ObjectStore) -> None:
    async with route(await upload_to(store)) as client:
        put = await client.post(
            "/",
            data={"before": "1", "other": "x" * 1000},
            files={"file": ("C:\\dir\\ä cat.png", DATA, "image/png")},
        )

    assert put.json() == {"size": 300_000}, put.text
    stored = await store.get("a")
    assert stored == DATA
    assert stored.info.headers == {"Content-Type": ["image/png"]}
    assert stored.info.metadata == {"filename": "ä cat.png"}


async def test_an_empty_file_of_a_form_is_stored(store: ObjectStore) -> None:
    async with route(await upload_to(store)) as client:
        put = await client.post("/", files={"file": ("a.txt", b"", "text/plain")})

    assert put.json() == {"size": 0}, put.text
    assert await store.get("a") == b""


FORM = "multipart/form-data; boundary=xyz"
HEAD = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    "kind, body, status",
    [
        (FORM, HEAD + b"x" * 2000 + b"\r\n--xyz--\r\n", 413),
        (FORM, HEAD + b"x", 400),
        (FORM, HEAD + b"x\r\n--xyz\r\n", 400),
        (FORM, HEAD + b"x\r\n" + HEAD + b"y\r\n--xyz--\r\n", 400),
        (
            FORM,
            b'--xyz\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n--xyz--\r\n',
            400,
        ),
        (FORM, HEAD.replace(b'"a"', b'""') + b"\r\n--xyz--\r\n", 400),
        (FORM, b"nonsense", 400),
        (FORM, b"", 400),
        (FORM, b"--xyz\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 400),
        (
            FORM,
            HEAD.replace(b"\r\n\r\n", b"\r\nA: " + b"b" * 100_000 + b"\r\n\r\nx\r\n--xyz--"),
            400,
        ),
        (FORM, b"--xyz\r\n\r\n" + b"x" * 1_100_000 + b"\r\n", 413),
        ("multipart/form-data", HEAD, 400),
        ("multipart/form-data; boundary=" + "x" * 71, HEAD, 400),
    ],
)
async def test_a_form_that_is_malformed_or_too_large_stores_nothing(
    store: ObjectStore, kind: str, body: bytes, status: int
) -> None:
    async with route(await upload_to(store, max_size=1000)) as client:
        put = await client.post("/", content=body, headers={"Content-Type": kind})

    assert put.status_code == status
    assert await store.list() == []


async def test_a_form_that_breaks_off_stores_nothing(store: ObjectStore) -> None:
    before = (await store.status()).size
    async with route(await upload_to(store)) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nContent-Type: "
            + FORM.encode()
            + b"\r\n\r\n"
            + HEAD
            + DATA
        )
        while (await store.status()).size == before:
            await asyncio.sleep(0.01)
        writer.close()
        while (await store.status()).size != before:
            await asyncio.sleep(0.01)

    assert await store.list() == []


async def test_an_error_of_the_store_is_told_as_a_problem(store: ObjectStore) -> None:
    async with route(await upload_to(store, name="x" * 4000)) as client:
        put = await client.put("/", content=b"x")

    assert (put.status_code, put.json()["detail"]) == (400, "No object can have this name.")


async def test_a_route_of_fastapi_answers_with_an_object(store: ObjectStore) -> None:
    api = FastAPI()

    @api.get("/files/{name:path}")
    async def download(name: str) -> DownloadResponse:
        return DownloadResponse(store, name)

    await store.put("ann/a.txt", b"hello")
    async with serve(api) as base, httpx.AsyncClient(base_url=base) as client:
        got = await client.get("/files/ann/a.txt")
        none = await client.get("/files/b")

    assert (got.text, none.status_code) == ("hello", 404)


async def test_a_version_that_is_gone_is_not_taken_for_another(store: ObjectStore) -> None:
    info = await store.put("a", DATA)
    await store.put("a", b"another")
    with pytest.raises(ObjectChangedError):
        await store.get(info)


async def test_inline_that_is_text_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidOptionError, match=r"inline must be .* got 'image/png'"):
        DownloadResponse(store, "a", inline="image/png")
