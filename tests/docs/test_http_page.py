"""The programs of the page on HTTP, asked over real connections."""

import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from faststream_objstore.testing import NatsServer
from tests.docs.page import program_of
from tests.http.support import serve

KEY = "0123456789abcdef"


@asynccontextmanager
async def program(
    title: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ModuleType]:
    """A program of the page, imported, on a server of its own."""
    path = folder / title
    path.write_text(program_of("http.md", title))
    async with NatsServer() as server:
        monkeypatch.setenv("NATS_URL", server.url)
        monkeypatch.setenv("TOKEN", "secret")
        monkeypatch.setenv("LINK_KEY", KEY)
        spec = importlib.util.spec_from_file_location(f"http_page_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # FastAPI looks annotations up where the module is.
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


async def test_service_of_the_page_on_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        program("service.py", tmp_path, monkeypatch) as page,
        serve(page.app, lifespan="on") as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        refused = await client.put("/photos/ann/cat.png", content=b"miau")
        token = {"Authorization": "Bearer secret"}
        made = await client.put("/photos/ann/cat.png", content=b"miau", headers=token)
        got = await client.get("/photos/ann/cat.png")
        listed = await client.get("/photos/?prefix=ann/&delimiter=/")
        shared = page.share("ann/cat.png").removeprefix("https://example.com")
        upload = page.upload_link("bob.png").removeprefix("https://example.com")
        png = {"Content-Type": "image/png"}

        assert (refused.status_code, made.status_code) == (403, 201)
        assert got.content == b"miau"
        assert got.headers["content-disposition"] == 'inline; filename="cat.png"'
        assert [one["name"] for one in listed.json()["objects"]] == ["ann/cat.png"]
        assert (await client.get(shared)).content == b"miau"
        assert (await client.get("/shared/ann/cat.png")).status_code == 403
        assert (await client.put(upload, content=b"x", headers=png)).status_code == 201
        assert (await client.put(upload, content=b"x")).status_code == 415


async def test_routes_of_the_page_on_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        program("api.py", tmp_path, monkeypatch) as page,
        serve(page.api, lifespan="on") as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        raw = await client.post("/invoices/1", content=b"%PDF")
        form = await client.post("/invoices/2", files={"file": ("a.pdf", b"%PDF-2")})
        got = await client.get("/invoices/2")

        assert (raw.json(), form.json()) == ({"size": 4}, {"size": 6})
        assert got.content == b"%PDF-2"
        assert got.headers["content-disposition"] == 'attachment; filename="invoice 2.pdf"'
        assert (await client.get("/invoices/3")).status_code == 404
