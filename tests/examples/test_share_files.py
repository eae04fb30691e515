"""The example that shares files: over real connections, on a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from faststream.nats import NatsBroker

from examples import share_files
from faststream_objstore import Buckets
from faststream_objstore.testing import NatsServer
from tests.http.support import serve

ANN = {"X-User": "ann"}


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    # Not the session's server: the name of the bucket is fixed.
    async with NatsServer() as server:
        broker = NatsBroker(server.url, logger=None)
        Buckets(broker, share_files.files)
        monkeypatch.setattr(share_files, "broker", broker)
        async with (
            serve(share_files.api, lifespan="on") as base,
            httpx.AsyncClient(base_url=base) as client,
        ):
            yield client


def test_it_has_less_than_sixty_lines() -> None:
    assert len(Path(share_files.__file__).read_text().splitlines()) < 60


async def test_files_are_uploaded_downloaded_and_never_overwritten_unseen(
    client: httpx.AsyncClient,
) -> None:
    made = await client.put("/files/ann/a.txt", content=b"one", headers=ANN)
    seen = {**ANN, "If-Match": made.headers["etag"]}
    first = await client.put("/files/ann/a.txt", content=b"two", headers=seen)
    second = await client.put("/files/ann/a.txt", content=b"three", headers=seen)
    got = await client.get("/files/ann/a.txt", headers=ANN)
    listed = await client.get("/files/", params={"prefix": "ann/"}, headers=ANN)

    assert [one.status_code for one in (made, first, second)] == [201, 204, 412]
    assert got.text == "two"
    assert [one["name"] for one in listed.json()["objects"]] == ["ann/a.txt"]


async def test_nobody_reaches_the_files_of_another_but_by_a_link(
    client: httpx.AsyncClient,
) -> None:
    await client.put("/files/ann/a b.txt", content=b"hers", headers=ANN)
    bob = {"X-User": "bob"}
    refused = [
        await client.get("/files/ann/a b.txt", headers=bob),
        await client.get("/files/", headers=bob),
        await client.post("/share/ann/a b.txt", headers=bob),
        await client.get("/shared/ann/a b.txt"),
    ]
    link = (await client.post("/share/ann/a b.txt", headers=ANN)).json()
    shared = link.removeprefix("http://127.0.0.1:8000")

    assert [one.status_code for one in refused] == [403] * 4
    assert (await client.get(shared)).text == "hers"
    assert (await client.put(shared, content=b"mine")).status_code == 405
    assert (await client.get(shared.replace("a%20b", "c"))).status_code == 403


async def test_the_routes_are_documented(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]

    assert sorted(paths) == ["/files/", "/files/{name}", "/share/{name}", "/shared/{name}"]
