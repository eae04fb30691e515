"""Invalid options are refused when the app is made, not when a client connects."""

from typing import Any

import httpx
import pytest

from faststream_objstore import Bucket, ObjectStore
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http import SignedLinks, make_bucket_asgi
from tests.http.support import serve

links = SignedLinks("k" * 32, base_url="https://example.com/")


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"methods": ("PUT",)}, "anyone could write"),
        ({"methods": ("GET", "DELETE")}, "anyone could write"),
        ({"methods": ("POST",)}, "must be some of GET, HEAD, PUT, DELETE"),
        ({"methods": "GET"}, "methods must be"),
        ({"methods": ()}, "methods must be"),
        ({"links": links, "listing": True}, "cannot be combined"),
        ({"inline": "image/png"}, "inline must"),
        ({"inline": ("png",)}, "inline must"),
        ({"max_size": -1}, "max_size must .* got -1"),
        ({"max_size": True}, "max_size must .* got True"),
        ({"timeout": 0}, "timeout must .* got 0"),
    ],
)
def test_an_option_that_cannot_work_is_refused(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidOptionError, match=rf"Bucket 'photos'.*{complaint}"):
        make_bucket_asgi(Bucket("photos"), **options)


def test_what_is_no_bucket_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'photos' is not a bucket"):
        make_bucket_asgi("photos")  # type: ignore[arg-type]


async def test_a_bucket_that_nobody_declares_is_unavailable_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serve(make_bucket_asgi(Bucket("photos"))) as base,
        httpx.AsyncClient() as client,
    ):
        got = await client.get(f"{base}/a")

    assert got.status_code == 503
    assert "Bucket 'photos' belongs to no Buckets" in caplog.text


@pytest.mark.parametrize(
    "inline, kind, shown",
    [
        ((), "image/png", "attachment"),
        (("image/png",), "image/png", "inline"),
        (("image/png",), "IMAGE/PNG; x=y", "inline"),
        (("image/*",), "image/gif", "inline"),
        (("image/*",), "text/html", "attachment"),
        (("image/png",), "image/pngx", "attachment"),
    ],
)
async def test_a_browser_shows_only_the_types_that_are_named(
    store: ObjectStore, inline: tuple[str, ...], kind: str, shown: str
) -> None:
    await store.put("a", b"x", headers={"Content-Type": kind})
    async with (
        serve(make_bucket_asgi(store, inline=inline)) as base,
        httpx.AsyncClient() as client,
    ):
        got = await client.get(f"{base}/a")

    assert got.headers["content-disposition"].partition(";")[0] == shown
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["x-content-type-options"] == "nosniff"


async def test_a_link_into_another_bucket_is_followed_only_where_it_is_allowed(
    server_store: ObjectStore, nats_server: Any, bucket_name: str
) -> None:
    import nats

    async with await nats.connect(nats_server.url) as connection:
        other = await ObjectStore.bind(connection, f"{bucket_name}-other", declare=True)
        await other.put("a", b"elsewhere")
        await server_store.add_link("link", (await other.get_info("a")))
        statuses = []
        for allowed in ((), (other,)):
            app = make_bucket_asgi(server_store, linked_buckets=allowed, listing=True)
            async with serve(app) as base, httpx.AsyncClient(base_url=base) as client:
                got = await client.get("/link")
                listed = [one["name"] for one in (await client.get("/")).json()["objects"]]
                statuses.append((got.status_code, got.content == b"elsewhere", listed))
        await connection.jetstream().delete_object_store(other.bucket)

    assert statuses == [(404, False, []), (200, True, ["link"])]
