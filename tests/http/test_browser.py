"""A real browser: a video that seeks, an image, a download, an upload with progress."""

import base64
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Page, async_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi
from tests.http.support import pattern_bytes, serve, tool

pytestmark = pytest.mark.once

PAGE = "<!doctype html><title>Test</title><body><script src=/page.js></script></body>"
SCRIPT = (Path(__file__).parent / "page.js").read_text()


def site() -> Starlette:
    """A page that can do what page.js has."""
    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(PAGE)),
            Route("/page.js", lambda _: Response(SCRIPT, media_type="text/javascript")),
        ]
    )


@pytest.fixture
async def page(server_store: ObjectStore, options: dict[str, Any]) -> AsyncIterator[Page]:
    """A page of the same origin as the bucket, which is at /files."""
    app = site()
    inline = ("image/png", "video/*", "audio/*", "text/html", "image/svg+xml")
    app.mount("/files", make_bucket_asgi(server_store, **options | {"inline": inline}))
    async with serve(app) as base, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=tool("chromium"), args=["--no-sandbox"]
        )
        try:
            page = await browser.new_page()
            await page.goto(base)
            yield page
        finally:
            await browser.close()


def sound(seconds: int) -> bytes:
    """Silence, as a browser can play it and jump in it."""
    made = BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(bytes(4 * 44_100 * seconds))
    return made.getvalue()


async def ranges_of(page: Page) -> list[str]:
    """The ranges that the page's media element asks for, as they are answered."""
    found: list[str] = []

    def note(response: Any) -> None:
        if response.status == 206:
            found.append(response.headers["content-range"])

    page.on("response", note)
    return found


async def test_a_sound_is_played_from_where_the_listener_jumps_to(
    page: Page, server_store: ObjectStore
) -> None:
    content = sound(600)
    await server_store.put("long.wav", content, headers={"Content-Type": "audio/wav"})
    ranges = await ranges_of(page)
    told = await page.evaluate("playSound('/files/long.wav', 550)")

    assert told == [600, 550]
    # It began at the start, and went on far behind without what is between.
    starts = [int(one.removeprefix("bytes ").partition("-")[0]) for one in ranges]
    assert starts[0] == 0
    assert max(starts) > len(content) * 0.8


async def test_a_video_plays_and_seeks(page: Page, server_store: ObjectStore) -> None:
    film = base64.b64decode(await page.evaluate("recordVideo(3000)"))
    await server_store.put("film.webm", film, headers={"Content-Type": "video/webm"})
    ranges = await ranges_of(page)
    size = await page.evaluate("playVideo('/files/film.webm', 1.5)")

    assert size == [320, 240]
    assert ranges


async def test_an_image_is_shown(page: Page, server_store: ObjectStore) -> None:
    made = BytesIO()
    Image.new("RGB", (30, 20), "teal").save(made, "PNG")
    await server_store.put("a b/c.png", made.getvalue(), headers={"Content-Type": "image/png"})
    size = await page.evaluate("showImage('/files/a%20b%2Fc.png')")
    await page.goto(page.url + "files/a%20b%2Fc.png")
    opened = await page.evaluate("document.images[0].naturalWidth")

    assert size == [30, 20]
    assert opened == 30


async def test_a_download_is_saved_under_its_name(
    page: Page, server_store: ObjectStore, tmp_path: Path
) -> None:
    content = pattern_bytes(5_000_000)
    await server_store.put("ann/ü report.bin", content)
    async with page.expect_download() as started:
        await page.evaluate("location.href = '/files/ann/ü%20report.bin'")
    download = await started.value
    await download.save_as(tmp_path / "saved")

    assert download.suggested_filename == "ü report.bin"
    assert (tmp_path / "saved").read_bytes() == content


async def test_an_upload_tells_its_progress(page: Page, server_store: ObjectStore) -> None:
    seen, status, etag = await page.evaluate("upload('/files/up.bin', 30_000_000)")

    info = await server_store.get_info("up.bin")
    assert (status, info.size) == (201, 30_000_000)
    assert etag.startswith(f'"{info.revision}-')
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == 1


async def test_an_upload_that_is_too_large_is_told_so(
    page: Page, server_store: ObjectStore
) -> None:
    """And not that the connection was lost, though the body is still on its way."""
    app = site()
    app.mount(
        "/files",
        make_bucket_asgi(
            server_store, methods=("PUT",), authorize=lambda *_: True, max_size=1_000_000
        ),
    )
    async with serve(app) as base:
        await page.goto(base)
        _, status, _ = await page.evaluate("upload('/files/up.bin', 30_000_000)")

    assert status == 413
    assert not await server_store.exists("up.bin")


EVIL = "<script>document.title = 'evil'</script>"


@pytest.mark.parametrize(
    "kind, content",
    [
        ("text/html", EVIL),
        ("image/svg+xml", f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>"),
    ],
)
async def test_what_was_uploaded_runs_no_script_even_if_it_is_shown(
    page: Page, server_store: ObjectStore, kind: str, content: str
) -> None:
    await server_store.put("page", content, headers={"Content-Type": kind})
    base = page.url
    await page.goto(base + "files/page")

    assert await page.evaluate("document.title") != "evil"
    assert await page.evaluate("self.origin") == "null"
