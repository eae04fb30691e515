"""The photo service, asked over HTTP, with buckets in memory."""

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from io import BytesIO

import httpx
import pytest
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker, TestNatsBroker
from PIL import Image

from examples.gallery.app import build
from examples.gallery.live import MOST_WAITING, Live, event
from examples.gallery.thumbnails import LARGEST_PHOTO
from faststream_objstore import Buckets
from tests.examples.gallery_support import photo_of, picture, put, thumb_of, tiles

HOSTILE = [
    "../../etc/passwd",
    "a//b/./c/",
    "<img src=x onerror=alert(1)>.png",
    "100% & more + ?#;=.png",
    "日本語/ü \u202egnp.exe",
    "line\r\nSet-Cookie: a=b",
    "\0",
    ".",
    "n" * 2800,
]


def declared_png(width: int, height: int) -> bytes:
    """The head of a PNG of that size, with next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


# In memory: a put calls the handlers inline.


@pytest.fixture
def built() -> tuple[AsgiFastStream, Buckets]:
    return build("nats://nobody.invalid")


@pytest.fixture
def buckets(built: tuple[AsgiFastStream, Buckets]) -> Buckets:
    return built[1]


@pytest.fixture
async def client(
    built: tuple[AsgiFastStream, Buckets],
) -> AsyncIterator[httpx.AsyncClient]:
    app, _ = built
    assert isinstance(app.broker, NatsBroker)
    async with (
        TestNatsBroker(app.broker),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://gallery"
        ) as client,
    ):
        yield client


async def test_upload_becomes_a_thumbnail_and_a_tile(client: httpx.AsyncClient) -> None:
    photo = await put(client, "sea.png", picture(1000, 500))

    (tile,) = (await tiles(client)).values()
    assert (tile["name"], tile["width"], tile["height"]) == ("sea.png", 1000, 500)
    assert (tile["photo"], tile["error"], tile["deleted"]) == (photo, None, False)
    assert tile["size"] == len(picture(1000, 500))
    response = await client.get(thumb_of("sea.png"))
    assert response.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(response.content)).size == (640, 320)


async def test_picture_that_a_camera_turned_is_shown_upright(
    client: httpx.AsyncClient,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    await put(client, "turned.jpg", picture(1200, 600, "JPEG", exif=exif))

    tile = (await tiles(client))["turned.jpg"]
    assert (tile["width"], tile["height"]) == (600, 1200)
    thumb = await client.get(thumb_of("turned.jpg"))
    assert Image.open(BytesIO(thumb.content)).size == (320, 640)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "not a picture"),
        (b"just text", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (picture()[:200], "a damaged picture"),
        (declared_png(1000, 1000), "a damaged picture"),
        (declared_png(8000, 8000), "too many pixels: 8000 by 8000"),
        (declared_png(12_000, 12_000), "too many pixels"),
        (declared_png(200_000, 200_000), "too many pixels"),
    ],
)
async def test_what_has_no_thumbnail_is_a_tile_that_says_why(
    client: httpx.AsyncClient, content: bytes, reason: str
) -> None:
    await put(client, "bad.png", content)

    assert (await tiles(client))["bad.png"]["error"] == reason
    assert (await client.get(thumb_of("bad.png"))).content == b""


async def test_new_picture_of_the_same_name_replaces_tile_and_thumbnail(
    client: httpx.AsyncClient,
) -> None:
    await put(client, "one.png", b"oops")
    before = (await tiles(client))["one.png"]
    await put(client, "one.png", picture(30, 20))

    (tile,) = (await tiles(client)).values()
    assert (tile["width"], tile["height"], tile["error"]) == (30, 20, None)
    assert tile["revision"] > before["revision"]
    assert tile["photo"] > before["photo"]


async def test_delete_removes_photo_and_tile(client: httpx.AsyncClient) -> None:
    await put(client, "gone.png", picture())

    assert (await client.delete(photo_of("gone.png"))).status_code == 204
    assert await tiles(client) == {}
    assert (await client.get(photo_of("gone.png"))).status_code == 410
    assert (await client.get(thumb_of("gone.png"))).status_code == 410
    assert (await client.delete(photo_of("gone.png"))).status_code == 410
    assert (await client.delete(photo_of("never"))).status_code == 404


@pytest.mark.parametrize("name", HOSTILE)
async def test_any_name_can_be_put_shown_fetched_and_deleted(
    client: httpx.AsyncClient, name: str
) -> None:
    await put(client, name, picture())

    assert list(await tiles(client)) == [name]
    response = await client.get(photo_of(name))
    assert (response.status_code, response.content) == (200, picture())
    assert "\n" not in response.headers["content-disposition"]
    assert (await client.get(thumb_of(name))).status_code == 200
    assert (await client.delete(photo_of(name))).status_code == 204
    assert await tiles(client) == {}


async def test_uploads_are_never_served_as_pages(client: httpx.AsyncClient) -> None:
    await put(client, "page.html", b"<script>alert(1)</script>", "text/html")

    response = await client.get(photo_of("page.html"))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["content-security-policy"].endswith("; sandbox")


async def test_link_that_another_client_made_has_no_thumbnail(
    client: httpx.AsyncClient, buckets: Buckets
) -> None:
    await put(client, "real.png", picture())
    await (await buckets.open("photos")).add_link("link.png", "real.png")

    assert (await tiles(client))["link.png"]["error"] == "a link"


async def test_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in ("/", "/gallery.css", "/gallery.js", "/icon.svg"):
        response = await client.get(path)
        assert response.status_code == 200
        assert "//" not in response.text.replace("http://www.w3.org/2000/svg", "").replace(
            "// ", ""
        )
        again = await client.get(path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.post(photo_of("a"))).status_code == 405
    assert (await client.get("/photo/a")).status_code == 404


async def test_upload_over_the_limit_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_PHOTO // 2**20 + 1):
            yield bytes(2**20)

    streamed = await client.put("/photos/huge", content=endless())
    declared = await client.put(
        "/photos/huge", headers={"Content-Length": str(LARGEST_PHOTO + 1)}
    )

    for response in (streamed, declared):
        assert response.status_code == 413
        assert response.json()["detail"] == "The content may have 26214400 bytes."
    assert (await client.get("/photos/huge")).status_code == 404


async def test_browser_that_does_not_keep_up_is_told_to_load_the_list() -> None:
    fan = Live()
    async with aclosing(fan.stream()) as stream:
        assert await anext(stream) == b"retry: 1000\n\n"
        for number in range(MOST_WAITING):
            fan.publish(event("tile", number, number=number))
        kept = await anext(stream)
        assert kept.count(b"event: tile") == MOST_WAITING

        for number in range(MOST_WAITING * 10 + 1):
            fan.publish(event("tile", number, number=number))
        kept = await anext(stream)
        assert kept.startswith(b"id: 0\nevent: reload\ndata: null\n\n")
        assert kept.count(b"\n\n") <= MOST_WAITING
    assert fan.listening == 0
