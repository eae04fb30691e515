"""The folder itself: objects and folders as JSON, page by page."""

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from faststream_objstore import ObjectStore

NAMES = ["a", "a/1", "a/2/x", "b", "c/1", "c/2", "d"]


async def names_of(
    client: httpx.AsyncClient, **query: Any
) -> tuple[list[str], list[str], Any]:
    got = await client.get("/", params=query)
    assert got.status_code == 200, got.text
    page = got.json()
    return [one["name"] for one in page["objects"]], page["folders"], page["after"]


@pytest.fixture
async def filled(store: ObjectStore) -> ObjectStore:
    for name in NAMES:
        await store.put(name, name.encode())
    await store.put("gone", b"x")
    await store.delete("gone")
    return store


async def test_an_entry_says_what_a_download_would(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await store.put("a", b"four")
    got = await client.get("/")
    entry = got.json()["objects"][0]

    assert (entry["name"], entry["size"]) == ("a", 4)
    head = await client.head("/a")
    assert entry["etag"] == head.headers["etag"]
    modified = datetime.strptime(entry["modified"], "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=timezone.utc
    )
    assert abs(modified - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert got.headers["cache-control"] == "no-store"


async def test_all_live_objects_are_listed_by_name(
    client: httpx.AsyncClient, filled: ObjectStore
) -> None:
    assert await names_of(client) == (NAMES, [], None)


async def test_folders_are_listed_page_by_page(
    client: httpx.AsyncClient, filled: ObjectStore
) -> None:
    query = {"delimiter": "/", "limit": "2"}

    assert await names_of(client, **query) == (["a"], ["a/"], "a/")
    assert await names_of(client, **query, after="a/") == (["b"], ["c/"], "c/")
    assert await names_of(client, **query, after="c/") == (["d"], [], None)


async def test_a_folder_is_listed_by_its_prefix(
    client: httpx.AsyncClient, filled: ObjectStore
) -> None:
    assert await names_of(client, prefix="a/", delimiter="/") == (["a/1"], ["a/2/"], None)
    assert await names_of(client, prefix="nothing") == ([], [], None)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1e3", "٣", "9" * 5000])
async def test_a_limit_that_cannot_work_is_400(client: httpx.AsyncClient, limit: str) -> None:
    assert (await client.get("/", params={"limit": limit})).status_code == 400


async def test_a_link_is_listed_as_what_it_leads_to(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    await store.put("a", b"four")
    await store.add_link("link", "a")
    entries = {one["name"]: one for one in (await client.get("/")).json()["objects"]}

    assert entries["link"]["size"] == 4
    assert entries["link"]["etag"] == (await client.head("/link")).headers["etag"]


async def test_head_of_a_listing_is_allowed(client: httpx.AsyncClient) -> None:
    assert (await client.head("/")).status_code == 200
