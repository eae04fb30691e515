"""The photo service as people see it: headless Chromium on the real service."""

import asyncio
import base64
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    expect,
)

from examples.gallery import screenshot
from examples.gallery.thumbnails import LARGEST_PHOTO
from faststream_objstore.testing import NatsServer

CHROMIUM = screenshot.chromium()
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="There is no Chromium: apt-get install chromium, or set CHROMIUM to its path.",
    ),
    # Python does not change what a browser does.
    pytest.mark.once,
    pytest.mark.timeout(300),
]

expect.set_options(timeout=30_000)

# Were it not text, it would run.
MARKUP = '<img src=x onerror="document.title=1">.png'


def picture(
    name: str, width: int = 800, height: int = 400, color: str = "teal"
) -> FilePayload:
    content = BytesIO()
    Image.new("RGB", (width, height), color).save(content, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


class Viewer:
    """Somebody who looks at the page in a browser of their own."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        expect(self.page.locator("#live")).to_have_text("Live")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.text} {message.location}")

    def upload(self, *files: FilePayload) -> None:
        self.page.set_input_files("#files", list(files))

    def tile(self, name: str) -> Locator:
        """The photo in the grid, not the upload of it."""
        return self.page.locator(".tile[data-name]").filter(
            has=self.page.locator(".name").get_by_text(name, exact=True)
        )

    @property
    def cards(self) -> Locator:
        return self.page.locator(".tile.upload")

    @property
    def news(self) -> Locator:
        return self.page.get_by_role("status")

    def sees(self, name: str) -> None:
        """The thumbnail is there, and is a picture."""
        image = self.tile(name).locator("img")
        expect(image).to_be_visible(timeout=20_000)
        expect(image).to_have_js_property("complete", value=True)
        assert image.evaluate("image => image.naturalWidth") > 0


@pytest.fixture
def url() -> Iterator[str]:
    with screenshot.gallery() as url:
        yield url


@pytest.fixture
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with screenshot.browser(CHROMIUM) as browser:
        yield browser


@pytest.fixture
def ann(browser: Browser, url: str) -> Iterator[Viewer]:
    with browser.new_context() as context:
        viewer = Viewer(context, url)
        yield viewer
        assert viewer.errors == []


# Two contexts share no cache and no connection.
bob = ann


def test_two_people_see_uploads_and_deletions_of_each_other(ann: Viewer, bob: Viewer) -> None:
    expect(ann.page.get_by_role("heading", name="No photos yet")).to_be_visible()

    ann.upload(picture("sea.png", 800, 400), picture("tower.png", 300, 600))
    for viewer in (ann, bob):
        viewer.sees("sea.png")
        viewer.sees("tower.png")
        expect(viewer.page.locator("#count")).to_have_text(re.compile(r"2 photos, "))
        expect(viewer.page.get_by_role("heading", name="No photos yet")).to_be_hidden()
        expect(viewer.tile("sea.png").locator(".pixels")).to_have_text(
            "800 \N{MULTIPLICATION SIGN} 400 · "
        )
    expect(ann.cards).to_have_count(0)

    bob.tile("sea.png").hover()
    bob.page.get_by_role("button", name="Delete sea.png").click()
    question = bob.page.get_by_role("dialog", name="Delete this photo?")
    question.get_by_role("button", name="Cancel").click()
    expect(bob.tile("sea.png")).to_be_visible()
    bob.page.get_by_role("button", name="Delete sea.png").click()
    question.get_by_role("button", name="Delete").click()
    for viewer in (bob, ann):
        expect(viewer.tile("sea.png")).to_have_count(0)
        expect(viewer.news).to_have_text("sea.png was deleted")
        expect(viewer.tile("tower.png")).to_be_visible()

    ann.page.reload()
    ann.sees("tower.png")
    expect(ann.tile("sea.png")).to_have_count(0)


def test_photo_can_be_looked_at_and_downloaded(ann: Viewer, tmp_path: Path) -> None:
    files = picture("a/b.png"), picture("second.png", 500, 500, "olive")
    for file in files:
        ann.upload(file)
        ann.sees(file["name"])

    # With the keyboard alone.
    ann.tile("second.png").locator(".open").focus()
    ann.page.keyboard.press("Enter")
    viewer = ann.page.get_by_role("dialog")
    expect(viewer.get_by_role("heading")).to_have_text("second.png")
    expect(viewer.locator("#viewer-image")).to_have_js_property("naturalWidth", 500)
    ann.page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("heading")).to_have_text("a/b.png")
    expect(viewer.locator("#viewer-image")).to_have_js_property("naturalWidth", 800)
    with ann.page.expect_download() as begun:
        viewer.get_by_role("link", name="Download").click()
    assert begun.value.suggested_filename == "b.png"
    begun.value.save_as(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == files[0]["buffer"]
    ann.page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_upload_shows_how_far_it_is_and_can_be_cancelled(ann: Viewer) -> None:
    network = ann.context.new_cdp_session(ann.page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 100_000})
    file = picture("slow.png")
    file["buffer"] += bytes(1_500_000)  # decoders stop at the end of the picture
    ann.upload(file)

    bar = ann.page.get_by_role("progressbar", name="Upload of slow.png")
    expect(ann.cards.locator(".state")).to_have_text(re.compile(r"Uploading [1-9]\d? %"))
    first = float(bar.evaluate("bar => bar.value"))
    assert 0 < first < 1
    expect(bar).not_to_have_js_property("value", first)
    assert float(bar.evaluate("bar => bar.value")) > first
    ann.page.get_by_role("button", name="Cancel slow.png").click()
    expect(ann.cards).to_have_count(0)

    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    ann.upload(file)
    ann.sees("slow.png")
    expect(ann.cards).to_have_count(0)
    expect(ann.news).to_have_text("slow.png was uploaded")


def test_what_is_not_a_picture_says_so_to_everybody(ann: Viewer, bob: Viewer) -> None:
    ann.upload({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"})

    for viewer in (ann, bob):
        expect(viewer.tile("notes.txt")).to_contain_text("not a picture")
        expect(viewer.tile("notes.txt").locator(".open")).to_be_disabled()
    expect(ann.news).to_have_text("notes.txt: not a picture")
    expect(ann.cards).to_have_count(0)


def test_file_over_the_limit_is_not_sent(ann: Viewer, tmp_path: Path) -> None:
    large = tmp_path / "huge.png"
    with large.open("wb") as file:
        file.truncate(LARGEST_PHOTO + 1)
    sent: list[str] = []
    ann.page.on("request", lambda request: sent.append(request.method))

    ann.page.set_input_files("#files", large)
    expect(ann.cards).to_contain_text("Too large: at most 26 MB")
    assert "PUT" not in sent
    ann.page.get_by_role("button", name="Cancel huge.png").click()
    expect(ann.page.get_by_role("heading", name="No photos yet")).to_be_visible()


def test_names_are_text_and_nothing_else(ann: Viewer, bob: Viewer) -> None:
    names = [MARKUP, "../up & away?#.png", "ünïcode \u202egnp.png", "x" * 700 + ".png"]
    for name in names:
        ann.upload(picture(name))
    for viewer in (ann, bob):
        for name in names:
            viewer.sees(name)
        assert viewer.page.title() == "Gallery"
        assert viewer.page.locator("#grid img[src=x]").count() == 0
        # The longest of them does not stretch the page.
        width = "document => [document.scrollWidth, document.clientWidth]"
        assert len(set(viewer.page.locator("html").evaluate(width))) == 1


def test_files_can_be_dropped_anywhere(ann: Viewer) -> None:
    content = base64.b64encode(picture("")["buffer"]).decode()
    dropped = ann.page.evaluate_handle(
        """content => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        content,
    )
    ann.page.dispatch_event("h1", "dragover", {"dataTransfer": dropped})
    expect(ann.page.locator("#drop")).to_have_class("over")
    ann.page.dispatch_event("h1", "drop", {"dataTransfer": dropped})
    expect(ann.page.locator("#drop")).not_to_have_class("over")
    ann.sees("dropped.png")


def test_page_recovers_when_nats_and_the_service_were_away(
    browser: Browser, tmp_path: Path
) -> None:
    server = NatsServer(store_dir=tmp_path)

    def run(work: Coroutine[Any, Any, None]) -> None:
        # Playwright keeps an event loop of its own in this thread.
        with ThreadPoolExecutor() as threads:
            threads.submit(asyncio.run, work).result()

    run(server.start())
    try:
        options = ("--nats", server.url)
        with screenshot.gallery(*options) as url:
            # The console does say what was away, so it is not looked at.
            viewer = Viewer(browser.new_context(), url)
            viewer.upload(picture("before.png"))
            viewer.sees("before.png")

            run(server.stop())
            viewer.upload(picture("lost.png"))
            expect(viewer.cards).to_have_class(re.compile("failed"))
            run(server.start())
            viewer.upload(picture("after.png"))
            viewer.sees("after.png")

        expect(viewer.page.locator("#live")).to_have_text("Reconnecting …")
        # What happens before it listens again, the page finds in the list.
        viewer.page.route("**/events", lambda route: route.abort())
        with (
            screenshot.gallery(*options, "--port", url.rpartition(":")[2]),
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            client.put("/photos/meanwhile.png", content=picture("")["buffer"])
            client.delete("/photos/before.png")
            shown: set[str] = set()
            while shown != {"after.png", "meanwhile.png"}:
                tiles = client.get("/tiles").json()["tiles"]
                shown = {tile["name"] for tile in tiles}
            viewer.page.unroute("**/events")
            viewer.sees("meanwhile.png")
            expect(viewer.tile("before.png")).to_have_count(0)
            expect(viewer.page.locator("#live")).to_have_text("Live")
    finally:
        run(server.stop())


def test_picture_of_the_readme_can_be_taken_anew(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    path = tmp_path / "gallery.png"

    screenshot.take(path, CHROMIUM)

    with Image.open(path) as image:
        assert image.size == screenshot.SIZE
        # Pictures, and not an empty page.
        assert len(image.convert("RGB").getcolors(2**24) or []) > 5000
    assert path.stat().st_size < 400_000
