"""The console as people use it: headless Chromium, by keyboard and accessible names."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    FilePayload,
    Page,
    Route,
    expect,
)

from examples.gallery import screenshot
from faststream_objstore import Bucket, Buckets
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http import make_console_asgi
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
PROGRAM = (sys.executable, "-m", "tests.http.console_service")
Start = Callable[[bool], str]


@pytest.fixture
def start(nats_server: NatsServer, bucket_name: str) -> Iterator[Start]:
    """Start the service, writable or not; gives the console's address."""
    with ExitStack() as stack:

        def begin(writable: bool) -> str:
            mode = "writable" if writable else "read-only"
            process = stack.enter_context(
                subprocess.Popen(
                    [*PROGRAM, nats_server.url, bucket_name, mode],
                    cwd=Path(__file__).parents[2],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert process.stdout.readline() == "filled\n"
            return url

        yield begin


@pytest.fixture
def page() -> Iterator[Page]:
    assert CHROMIUM is not None
    errors: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # A request that is refused on purpose, or a file that is no video, is no fault.
        if message.type in {"error", "warning"} and "412" not in message.text:
            errors.append(f"{message.text} {message.location}")

    with screenshot.browser(CHROMIUM) as browser:
        page = _page(browser)
        page.on("console", hear)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


def _page(browser: Browser) -> Page:
    return browser.new_context(viewport={"width": 1300, "height": 900}).new_page()


def names(page: Page) -> list[str]:
    return page.get_by_role("table", name="Objects").get_by_role("button").all_inner_texts()


def test_buckets_folders_and_previews_by_keyboard(
    start: Start, page: Page, bucket_name: str
) -> None:
    page.goto(start(False))
    bucket = page.get_by_role("navigation", name="Buckets").get_by_role(
        "button", name=bucket_name
    )
    expect(bucket.first).to_contain_text("257 objects")
    expect(page.get_by_role("meter", name=f"{bucket_name}: used")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_text("In order", exact=True)).to_be_visible()

    objects = page.get_by_role("table", name="Objects")
    folder = objects.get_by_role("button", name="a/", exact=True)
    expect(folder).to_be_visible()
    assert names(page) == ["a/", "b/", "long.txt", "many/"]

    # From the page's start to the folder, and into it.
    for _ in range(40):
        page.keyboard.press("Tab")
        if folder.evaluate("one => one === document.activeElement"):
            break
    expect(folder).to_be_focused()
    page.keyboard.press("Enter")
    picture = objects.get_by_role("button", name="picture.svg")
    expect(picture).to_be_visible()
    assert names(page) == ["clip.mp4", "data.json", "deep/", "picture.svg", "unknown"]

    preview = page.get_by_role("complementary", name="Preview")
    picture.press("Enter")
    image = preview.get_by_role("img", name="a/picture.svg")
    expect(image).to_have_js_property("naturalWidth", 20)
    expect(preview.get_by_role("heading", name="a/picture.svg")).to_be_focused()
    page.keyboard.press("Escape")
    expect(preview).to_be_hidden()
    expect(picture).to_be_focused()

    objects.get_by_role("button", name="data.json").press("Enter")
    expect(preview.locator("pre")).to_have_text('{\n  "answer": 42\n}')
    with page.expect_download() as download:
        preview.get_by_role("link", name="Download a/data.json").press("Enter")
    assert Path(download.value.path()).read_text() == '{"answer":42}'
    assert download.value.suggested_filename == "data.json"

    objects.get_by_role("button", name="unknown").press("Enter")
    expect(preview).to_contain_text("There is no preview of this type.")
    objects.get_by_role("button", name="clip.mp4").press("Enter")
    expect(preview.locator("video")).to_have_attribute("aria-label", "a/clip.mp4")

    # Without the permission to write, there is nothing to write with.
    expect(page.get_by_role("button", name="Delete a/clip.mp4")).to_have_count(0)
    expect(page.get_by_label("Upload")).to_be_hidden()

    objects.get_by_role("button", name="deep/").press("Enter")
    objects.get_by_role("button", name="er/").press("Enter")
    objects.get_by_role("button", name="text.txt").press("Enter")
    expect(preview.locator("pre")).to_have_text("<b>plain</b>")
    crumbs = page.get_by_role("navigation", name="Folder")
    expect(crumbs).to_have_text(f"{bucket_name}/a/deep/er")
    page.go_back()
    expect(crumbs).to_have_text(f"{bucket_name}/a/deep")
    crumbs.get_by_role("link", name=bucket_name).press("Enter")
    expect(objects.get_by_role("button", name="long.txt")).to_be_visible()


def test_pages_long_texts_and_names_that_are_markup(start: Start, page: Page) -> None:
    page.goto(start(False))
    objects = page.get_by_role("table", name="Objects")
    objects.get_by_role("button", name="long.txt").click()
    preview = page.get_by_role("complementary", name="Preview")
    expect(preview.locator("pre")).to_contain_text("… the first 64.0 KiB of 97.7 KiB")

    objects.get_by_role("button", name="b/").click()
    objects.get_by_role("button", name="<img src=x onerror=alert(1)>.txt").click()
    expect(preview.get_by_role("heading")).to_have_text("b/<img src=x onerror=alert(1)>.txt")
    expect(preview.locator("pre")).to_have_text("x")
    expect(page.locator("img")).to_have_count(0)

    page.go_back()
    objects.get_by_role("button", name="many/").click()
    expect(objects.get_by_role("button", name="0099")).to_be_visible()
    assert len(names(page)) == 100
    more = page.get_by_role("button", name="Show more")
    more.press("Enter")
    # Whoever uses the keyboard goes on with what is new.
    expect(objects.get_by_role("button", name="0100")).to_be_focused()
    more.press("Enter")
    expect(objects.get_by_role("button", name="0249")).to_be_visible()
    expect(more).to_be_hidden()
    assert names(page) == [f"{number:04}" for number in range(250)]


def test_uploads_replacements_and_deletions(start: Start, page: Page) -> None:
    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", agree)
    page.goto(start(True))
    objects = page.get_by_role("table", name="Objects")
    objects.get_by_role("button", name="b/").click()
    status = page.locator("#message")

    def upload(text: str) -> None:
        file: FilePayload = {
            "name": "new.txt", "mimeType": "text/plain", "buffer": text.encode()
        }  # fmt: skip
        page.get_by_label("Upload").set_input_files(file)

    upload("first")
    expect(status).to_have_text("new.txt is stored.")
    preview = page.get_by_role("complementary", name="Preview")
    objects.get_by_role("button", name="new.txt").click()
    expect(preview.locator("pre")).to_have_text("first")
    feed = page.get_by_role("log", name="Changes")
    expect(feed).to_contain_text("b/new.txt (5 B)")

    upload("second!")
    expect(feed).to_contain_text("b/new.txt (7 B)")
    assert asked == ["Replace b/new.txt?"]
    objects.get_by_role("button", name="new.txt").click()
    expect(preview.locator("pre")).to_have_text("second!")

    page.get_by_role("button", name="Delete b/new.txt").press("Enter")
    expect(status).to_have_text("b/new.txt is deleted.")
    assert asked[1:] == ["Delete b/new.txt?"]
    expect(objects.get_by_role("button", name="new.txt")).to_have_count(0)
    expect(feed).to_contain_text("/b/new.txt")
    expect(feed.get_by_role("listitem").first).to_contain_text("deleted")


def test_an_object_whose_name_looks_like_a_path_is_not_another_object(
    start: Start, page: Page, bucket_name: str
) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    url = start(True)
    other = f"{url}objects/{bucket_name}/long.txt"
    dotted = f"{url}objects/{bucket_name}/b%2F..%2Flong.txt"
    assert httpx.put(dotted, content=b"dots").status_code == 201
    page.goto(f"{url}#{bucket_name}/b/../")
    page.get_by_role("table", name="Objects").get_by_role("button", name="long.txt").click()
    preview = page.get_by_role("complementary", name="Preview")
    expect(preview.locator("pre")).to_have_text("dots")

    page.get_by_role("button", name="Delete b/../long.txt").click()
    expect(page.locator("#message")).to_have_text("b/../long.txt is deleted.")
    assert httpx.get(dotted).status_code == 410
    assert httpx.get(other).content == b"x" * 100_000


def test_a_preview_that_is_older_than_the_first_state_can_be_deleted(
    start: Start, page: Page, bucket_name: str
) -> None:
    held: list[Route] = []
    page.route("**/state", lambda route: held.append(route))  # noqa: PLW0108 - not a builtin
    page.goto(f"{start(True)}#{bucket_name}/")
    page.get_by_role("table", name="Objects").get_by_role("button", name="long.txt").click()
    expect(page.get_by_role("complementary", name="Preview").locator("pre")).to_be_visible()
    delete = page.get_by_role("button", name="Delete long.txt")
    expect(delete).to_have_count(0)

    held[0].continue_()
    expect(delete).to_be_visible()


def test_an_object_whose_name_has_no_address_is_not_taken_for_its_folder(
    start: Start, page: Page, bucket_name: str
) -> None:
    page.goto(f"{start(True)}#{bucket_name}-notes/")
    page.get_by_role("table", name="Objects").get_by_role("button", name=".").click()
    preview = page.get_by_role("complementary", name="Preview")
    expect(preview).to_contain_text("It cannot be shown: no URL leads to an object named .")
    expect(page.get_by_role("button", name="Delete .")).to_have_count(0)
    expect(page.get_by_role("link", name="Download .")).to_have_count(0)


def test_nothing_is_offered_that_changes_a_bucket_that_can_only_be_read(
    start: Start, page: Page, bucket_name: str
) -> None:
    page.goto(start(True))
    buckets = page.get_by_role("navigation", name="Buckets")
    expect(page.get_by_text("Upload", exact=True)).to_be_visible()

    buckets.get_by_role("button", name=f"{bucket_name}-copy").click()
    objects = page.get_by_role("table", name="Objects")
    expect(page.get_by_role("navigation", name="Folder")).to_have_text(f"{bucket_name}-copy")
    objects.get_by_role("button", name="long.txt").click()
    expect(page.get_by_role("link", name="Download long.txt")).to_be_visible()
    expect(page.get_by_role("button", name="Delete long.txt")).to_have_count(0)
    expect(page.get_by_text("Upload", exact=True)).to_be_hidden()

    page.go_back()
    expect(page.get_by_text("Upload", exact=True)).to_be_visible()


def test_subscriber_that_retries_and_a_bucket_that_is_deleted_are_seen(
    start: Start, page: Page, bucket_name: str, nats_server: NatsServer
) -> None:
    url = start(True)
    page.goto(url)
    table = page.get_by_role("table", name="Subscribers")
    work = table.get_by_role("row", name=f"Work {bucket_name}: put **")
    expect(work).to_contain_text("handled 257")
    expect(work).to_contain_text("receiving")
    cells = work.get_by_role("cell")
    expect(cells.nth(1)).to_have_text("worker")
    expect(cells.nth(3)).to_have_text("0")

    assert httpx.put(f"{url}objects/{bucket_name}/bad", content=b"x").status_code == 201
    expect(work).to_contain_text("retried 1")
    # It waits for its second attempt, in five minutes.
    expect(cells.nth(4)).to_have_text("1")
    expect(cells.nth(2)).not_to_have_text("0 s")

    _delete_stream(nats_server, f"OBJ_{bucket_name}-notes")
    problems = page.get_by_role("list", name="Problems")
    expect(problems).to_contain_text(f"{bucket_name}-notes: bucket missing")
    expect(page.get_by_text("1 problem", exact=True)).to_be_visible()


def _delete_stream(server: NatsServer, stream: str) -> None:
    program = (
        "import asyncio, nats, sys\n"
        "async def main():\n"
        "    client = await nats.connect(sys.argv[1])\n"
        "    await client.jetstream().delete_stream(sys.argv[2])\n"
        "    await client.close()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program, server.url, stream], check=True, timeout=60)


def test_whoever_is_not_authorized_sees_and_changes_nothing(
    start: Start, bucket_name: str
) -> None:
    url = start(False)
    refused = {"X-Refused": "1"}
    for path in ("", "console.js", "state", "changes", f"objects/{bucket_name}/long.txt"):
        assert httpx.get(url + path, headers=refused).status_code == 403, path
    assert httpx.get(url).status_code == 200
    assert httpx.get(f"{url}objects/nothing/a").status_code == 404
    assert httpx.get(f"{url}objects/{bucket_name}/long.txt").content == b"x" * 100_000
    put = httpx.put(f"{url}objects/{bucket_name}/long.txt", content=b"y")
    assert put.status_code == 405
    assert httpx.post(f"{url}state").status_code == 405
    there = httpx.get(url.rstrip("/"))
    assert there.status_code == 307
    assert httpx.get(url.rstrip("/"), follow_redirects=True).url == url


@pytest.mark.parametrize("authorize", [None, True, "token"])
def test_console_without_a_function_that_authorizes_is_refused(authorize: object) -> None:
    with pytest.raises(InvalidOptionError, match="decides who may see"):
        make_console_asgi(Buckets(Bucket("photos")), authorize=authorize)  # type: ignore[arg-type]
