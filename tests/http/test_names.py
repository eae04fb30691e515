"""Names that are odd in a path mean the object that they name, or none."""

from urllib.parse import quote

import httpx
import pytest

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi
from tests.http.support import serve, soon


@pytest.mark.parametrize(
    "name",
    [
        "a/../b",
        "../b",
        "./b",
        "a//b",
        "/a",
        "a/",
        "a/b",
        "a\x00b",
        "a\r\nb",
        "a?b=c#d",
        "100%",
        "%2e%2e",
        "ä ö/漢字 🐈",
        "\ufffd",
        " a ",
        "C:\\x",
        "x" * 2700,
    ],
)
async def test_an_odd_name_is_stored_and_found(
    client: httpx.AsyncClient, store: ObjectStore, name: str
) -> None:
    path = "/" + quote(name, safe="")
    put = await client.put(path, content=b"x")

    assert put.status_code == 201
    assert [info.name for info in await store.list()] == [name]
    assert (await client.get(path)).content == b"x"
    assert (await client.delete(path)).status_code == 204


async def test_an_encoded_slash_is_a_slash(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await store.put("a/b", b"x")

    assert (await client.get("/a%2Fb")).content == b"x"
    assert (await client.get("/a/b")).content == b"x"


@pytest.mark.parametrize(
    "path, status", [("/%FF", 400), ("/" + "x" * 3100, 400), ("/%C3", 400)]
)
async def test_what_is_no_name_is_400(
    client: httpx.AsyncClient, store: ObjectStore, path: str, status: int
) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert (await client.request(method, path)).status_code == status
    assert await store.list() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_the_folder_itself_is_not_written(
    client: httpx.AsyncClient, store: ObjectStore, method: str
) -> None:
    assert (await client.request(method, "/")).status_code == 405


async def test_without_a_listing_the_folder_itself_is_404(store: ObjectStore) -> None:
    await soon(store.put("a", b"x"))
    async with serve(make_bucket_asgi(store)) as base, httpx.AsyncClient() as client:
        assert (await client.get(base + "/")).status_code == 404
