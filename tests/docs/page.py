"""The code blocks of a page, and how a test runs them where they stand."""

import ast
import asyncio
import contextlib
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_SECONDS = 20.0

_FENCE = re.compile(
    r"^(?P<fence>```|~~~)(?P<language>\w+)?(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n"
    r"(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the file that its title names, its text, its line."""

    language: str
    title: str | None
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page of `docs/`, in order."""
    text = (DOCS / page).read_text()
    return [
        Block(
            found["language"] or "",
            found["title"],
            found["text"],
            text.count("\n", 0, found.start("text")),
        )
        for found in _FENCE.finditer(text)
    ]


def program_of(page: str, title: str | None = None) -> str:
    """The Python blocks of one title, as a reader would paste them into one file."""
    texts = [
        one.text for one in blocks_of(page) if (one.language, one.title) == ("python", title)
    ]
    assert texts, f"{page} has no Python block with the title {title}"
    return "\n".join(texts)


@contextlib.asynccontextmanager
async def ran(
    page: str, folder: Path, title: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Run the Python blocks of one title one after the other, as one module.

    A block may `await` at its top level. Lines in tracebacks are those of the page. A
    `broker` that the blocks make is stopped in the end.

    Args:
        page: The page.
        folder: Where to leave the module's source.
        title: The title of the blocks; without one, those that have none.

    Yields:
        The module's names.
    """
    blocks = [one for one in blocks_of(page) if (one.language, one.title) == ("python", title)]
    assert blocks, f"{page} has no Python block with the title {title}"
    source = folder / f"{page.removesuffix('.md').replace('-', '_')}.py"
    source.write_text("")
    module = types.ModuleType(f"docs_{source.stem}")
    # Annotations are looked up in the module that a class or a handler is of.
    sys.modules[module.__name__] = module
    try:
        for block in blocks:
            text = source.read_text()
            # As a file too, because FastStream reads the source of who enters a test broker.
            text += "\n" * (block.line - text.count("\n")) + block.text
            source.write_text(text)
            code = compile(
                "\n" * block.line + block.text,
                str(source),
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            )
            result = eval(code, module.__dict__)
            if inspect.iscoroutine(result):
                await result
        yield module.__dict__
    finally:
        if (broker := module.__dict__.get("broker")) is not None:
            await broker.stop()


def run(*command: object, folder: Path, url: str = "") -> "subprocess.CompletedProcess[str]":
    """Run this Python with arguments in a folder; without a URL no server is there."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NATS_URL": url or "nats://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Service:
    """A program in a process of its own; use `service`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: list[str] = []

    async def wait_for(self, text: str) -> None:
        """Read what it writes until a line has this text."""
        output = self._process.stdout
        assert output is not None
        while True:
            line = (await asyncio.wait_for(output.readline(), _SECONDS)).decode()
            self._lines.append(line)
            if text in line:
                return
            assert line, "it has ended: " + "".join(self._lines)

    async def end(self) -> None:
        """Stop it, as an orchestrator does."""
        if self._process.returncode is None:
            self._process.terminate()
        await asyncio.wait_for(self._process.wait(), _SECONDS)


@contextlib.asynccontextmanager
async def service(app: str, *, folder: Path, url: str) -> AsyncIterator[Service]:
    """`faststream run` of an app in a folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faststream", "run", app,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NATS_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    running = Service(process)
    try:
        yield running
    finally:
        await running.end()


def pages() -> list[str]:
    """All pages, as paths below `docs/`."""
    return [str(one.relative_to(DOCS)) for one in sorted(DOCS.rglob("*.md"))]
