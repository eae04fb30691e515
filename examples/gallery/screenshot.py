"""The picture of the page that the README shows.

    python -m examples.gallery.screenshot docs/images/gallery.png

starts the service with its samples, looks at it in headless Chromium (`CHROMIUM`, else the
`chromium` on the path), and slowly uploads one more photo.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .samples import SCENES, Scene, paint

LATE = Scene(
    (1600, 1067),
    [(98, 74, 150), (232, 140, 152), (255, 214, 170)],
    ((206, 150, 170), (72, 42, 84)),
    sun=(0.62, 0.4, 0.075),
    horizon=0.5,
    rough=0.35,
    trees=True,
)
SIZE = (1280, 832)
SHOWN = re.compile(r"Uploading (5[5-9]|[67]\d) %")


def chromium() -> str | None:
    """The browser's executable, if there is one."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium")


@contextmanager
def browser(executable: str) -> Iterator[Browser]:
    """A headless Chromium with an empty profile."""
    with sync_playwright() as playwright:
        options = (
            "--no-sandbox",  # which root cannot have
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        )
        launched = playwright.chromium.launch(executable_path=executable, args=options)
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def gallery(*options: str) -> Iterator[str]:
    """The service in a separate process; yields its address."""
    command = [sys.executable, "-m", "examples.gallery", "--port", "0", *options]
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit(f"The gallery did not start: exit code {process.wait()}.")
            yield line.split()[2]
        finally:
            process.terminate()


def upload_slowly(page: Page) -> None:
    """Start an upload, and wait until about two thirds have been sent."""
    network = page.context.new_cdp_session(page)
    network.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": 30_000,
        },
    )
    content = BytesIO()
    paint(LATE, "first light").save(content, "PNG")
    page.set_input_files(
        "#files",
        {"name": "first-light.png", "mimeType": "image/png", "buffer": content.getvalue()},
    )
    expect(page.locator(".upload .state")).to_have_text(SHOWN, timeout=60_000)


def take(path: Path, executable: str) -> None:
    with gallery("--samples") as url, browser(executable) as chromium:
        page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(url)
        for name in SCENES:
            image = page.locator(f'.tile[data-name="{name}"] img')
            image.wait_for(timeout=120_000)
            image.evaluate("image => image.decode()")
        upload_slowly(page)
        # Dropping the lowest bit, which nobody sees, makes it a third smaller.
        shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        ImageOps.posterize(shot, 7).save(path, "PNG", optimize=True)


def main() -> None:
    executable = chromium()
    if len(sys.argv) != 2 or executable is None:
        sys.exit(
            "usage: python -m examples.gallery.screenshot FILE.png\n"
            "It needs Chromium (on Debian: apt-get install chromium), or CHROMIUM=path."
        )
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    take(path, executable)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
