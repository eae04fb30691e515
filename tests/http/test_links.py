"""Signed links: for one name and one method, until their time, and nothing else."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from faststream_objstore import ObjectStore
from faststream_objstore.exceptions import InvalidObjectNameError, InvalidOptionError
from faststream_objstore.http import SignedLinks, make_bucket_asgi
from tests.http.support import serve

KEY = b"0123456789abcdef0123456789abcdef"
BASE = "https://example.com/photos/"
HOUR = timedelta(hours=1)

links = SignedLinks(KEY, base_url=BASE)


@pytest.fixture
async def client(store: ObjectStore) -> AsyncIterator[httpx.AsyncClient]:
    app = make_bucket_asgi(
        store,
        methods=("GET", "HEAD", "PUT", "DELETE"),
        links=SignedLinks(KEY, base_url=BASE),
        max_size=1000,
    )
    await store.put("ann/cat.png", b"miau")
    async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
        yield client


def below(url: str, **changes: Any) -> str:
    """What of a link stands behind the place of the app, with some of its query changed."""
    assert url.startswith(BASE)
    parts = urlsplit(url)
    query = {key: value[0] for key, value in parse_qs(parts.query).items()} | changes
    query = {key: value for key, value in query.items() if value is not None}
    return f"{parts.path.removeprefix('/photos')}?{urlencode(query)}"


async def test_a_link_opens_its_object(client: httpx.AsyncClient) -> None:
    url = below(links.sign("ann/cat.png", expires=HOUR))

    got = await client.get(url)
    assert (got.status_code, got.content) == (200, b"miau")
    assert (await client.head(url)).status_code == 200
    assert (await client.get(url, headers={"Range": "bytes=0-1"})).content == b"mi"


async def test_what_is_not_signed_is_refused_whether_it_is_there_or_not(
    client: httpx.AsyncClient,
) -> None:
    refused = [
        await client.request(method, path)
        for method in ("GET", "PUT", "DELETE")
        for path in ("/ann/cat.png", "/never")
    ]

    assert {(one.status_code, one.text) for one in refused} == {(403, refused[0].text)}


async def test_a_link_is_for_nothing_else(client: httpx.AsyncClient) -> None:
    url = below(links.sign("ann/cat.png", expires=HOUR))
    put = below(links.sign("ann/cat.png", expires=HOUR, method="PUT", max_size=10))

    statuses = {
        "another name": (await client.get(url.replace("cat", "dog"))).status_code,
        "a longer name": (await client.get(url.replace("cat.png", "cat.png/x"))).status_code,
        "another method": (await client.put(url, content=b"x")).status_code,
        "deletion": (await client.delete(url)).status_code,
        "reading what may be written": (await client.get(put)).status_code,
        "a later time": (
            await client.get(below(links.sign("ann/cat.png", expires=HOUR), expires="9" * 11))
        ).status_code,
        "twice": (await client.get(url + "&expires=1")).status_code,
        "a method that is added": (await client.put(url + "&method=PUT")).status_code,
        "a greater size": (
            await client.put(
                below(links.sign("a", expires=HOUR, method="PUT", max_size=1), max_size="9")
            )
        ).status_code,
        "no limit": (
            await client.put(
                below(links.sign("a", expires=HOUR, method="PUT", max_size=1), max_size=None)
            )
        ).status_code,
        "an empty signature": (
            await client.get(below(links.sign("ann/cat.png", expires=HOUR), signature=""))
        ).status_code,
    }

    assert set(statuses.values()) == {403}, statuses


async def test_a_link_of_another_key_or_place_is_refused(client: httpx.AsyncClient) -> None:
    other_key = SignedLinks("another secret key", base_url=BASE)
    other_place = SignedLinks(KEY, base_url="https://example.com/thumbs/")

    for signed in (
        other_key.sign("ann/cat.png", expires=HOUR),
        other_place.sign("ann/cat.png", expires=HOUR).replace("thumbs", "photos"),
    ):
        assert (await client.get(below(signed))).status_code == 403


async def test_a_link_ends_at_its_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.5
    monkeypatch.setattr("faststream_objstore.http.links.time.time", lambda: now)
    url = below(links.sign("ann/cat.png", expires=timedelta(seconds=60)))

    statuses = []
    for later in (0, 59.4, 60.4, 60.5, 1e6):
        monkeypatch.setattr(
            "faststream_objstore.http.links.time.time", lambda later=later: now + later
        )
        statuses.append((await client.get(url)).status_code)

    assert statuses == [200, 200, 200, 403, 403]


async def test_a_link_for_an_upload_limits_it(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    url = below(
        links.sign("new", expires=HOUR, method="PUT", max_size=10, content_type="image/png")
    )
    png = {"Content-Type": "image/png"}

    assert (await client.put(url, content=b"x" * 11, headers=png)).status_code == 413
    assert (await client.put(url, content=b"x")).status_code == 415
    html = await client.put(url, content=b"x", headers={"Content-Type": "text/html"})
    assert html.status_code == 415
    assert not await store.exists("new")
    assert (await client.put(url, content=b"x" * 10, headers=png)).status_code == 201
    assert (await store.get_info("new")).size == 10


async def test_a_link_does_not_lift_the_limit_of_the_app(
    client: httpx.AsyncClient, store: ObjectStore
) -> None:
    url = below(links.sign("new", expires=HOUR, method="PUT", max_size=10**9))

    assert (await client.put(url, content=bytes(1001))).status_code == 413


async def test_a_link_deletes(client: httpx.AsyncClient, store: ObjectStore) -> None:
    url = below(links.sign("ann/cat.png", expires=HOUR, method="DELETE"))

    assert (await client.delete(url)).status_code == 204
    assert not await store.exists("ann/cat.png")


async def test_keys_can_be_rotated(store: ObjectStore) -> None:
    await store.put("a", b"x")
    new = SignedLinks([b"n" * 32, KEY], base_url=BASE)
    urls = [below(one.sign("a", expires=HOUR)) for one in (links, new)]

    for one in (new, SignedLinks(b"n" * 32, base_url=BASE)):
        app = make_bucket_asgi(store, links=one)
        async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
            statuses = [(await client.get(url)).status_code for url in urls]
        assert statuses == ([200, 200] if one is new else [403, 200])


async def test_both_the_link_and_the_authorization_must_allow_it(store: ObjectStore) -> None:
    await store.put("a", b"x")
    app = make_bucket_asgi(
        store,
        links=SignedLinks(KEY, base_url=BASE),
        authorize=lambda request, _, __: "x-user" in request.headers,
    )
    url = below(links.sign("a", expires=HOUR))
    async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
        assert (await client.get(url)).status_code == 403
        assert (await client.get("/a", headers={"X-User": "ann"})).status_code == 403
        assert (await client.get(url, headers={"X-User": "ann"})).status_code == 200


@pytest.mark.parametrize(
    "name, path",
    [
        ("ann/cat.png", "ann/cat.png"),
        ("ä b?#%", "%C3%A4%20b%3F%23%25"),
        ("a/../b", "a%2F..%2Fb"),
        ("a//b", "a%2F%2Fb"),
        ("/a", "%2Fa"),
        ("a/", "a%2F"),
    ],
)
async def test_an_address_survives_what_rewrites_paths(
    client: httpx.AsyncClient, store: ObjectStore, name: str, path: str
) -> None:
    url = links.sign(name, expires=HOUR)
    await store.put(name, b"x")

    assert url.startswith(f"{BASE}{path}?expires=")
    assert (await client.get(below(url))).content == b"x"


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_a_name_without_an_address_is_refused(name: str) -> None:
    with pytest.raises(InvalidObjectNameError):
        links.sign(name, expires=HOUR)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"expires": timedelta(0)}, "positive timedelta"),
        ({"expires": 60}, "positive timedelta"),
        ({"method": "POST"}, "GET, PUT, DELETE"),
        ({"max_size": 1}, "PUT.* only"),
        ({"method": "PUT", "max_size": -1}, "number of bytes"),
        ({"method": "PUT", "content_type": "a\nb"}, "image/png"),
    ],
)
def test_a_link_that_cannot_work_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidOptionError, match=complaint):
        links.sign("a", **{"expires": HOUR} | options)


@pytest.mark.parametrize(
    "key, base_url, complaint",
    [
        (b"short", BASE, "16 bytes"),
        ([], BASE, "16 bytes"),
        ([KEY, "short"], BASE, "16 bytes"),
        (KEY, "/photos/", "base_url"),
        (KEY, "ftp://example.com/", "base_url"),
        (KEY, "https://example.com/?a=b", "not have a query"),
    ],
)
def test_links_that_cannot_work_are_refused(key: Any, base_url: str, complaint: str) -> None:
    with pytest.raises(InvalidOptionError, match=complaint):
        SignedLinks(key, base_url=base_url)


def test_a_key_is_shown_nowhere() -> None:
    assert "0123" not in repr(SignedLinks(KEY, base_url=BASE))


async def test_the_links_of_one_bucket_cannot_be_given_to_another(
    store: ObjectStore,
) -> None:
    shared = SignedLinks(KEY, base_url=BASE)
    make_bucket_asgi(store, links=shared)
    make_bucket_asgi(store, links=shared)
    other = ObjectStore("another", None)  # type: ignore[arg-type]

    with pytest.raises(InvalidOptionError, match=r"belong to bucket.*base_url"):
        make_bucket_asgi(other, links=shared)
