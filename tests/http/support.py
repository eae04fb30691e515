"""A bucket behind a real HTTP server, and the programs that other people wrote."""

import asyncio
import hashlib
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.store.support import pattern_bytes, soon

__all__ = ("pattern_bytes", "run", "serve", "sha256_of", "soon", "started", "tool")

LIMIT = 60.0
"""Seconds that a program may take."""


@asynccontextmanager
async def serve(app: Callable[..., Any], **options: Any) -> AsyncIterator[str]:
    """The app on a port of its own, in this process; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_level="critical",
        timeout_graceful_shutdown=2,
        **{"lifespan": "off", **options},
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await soon(serving)
        listening.close()


def tool(name: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@asynccontextmanager
async def started(*command: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs, and is ended."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*command: str | Path, check: bool = True) -> tuple[int, str]:
    """Run a program to its end: its status and what it printed."""
    async with started(*command) as process:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode is not None
        if check:
            assert process.returncode == 0, err.decode()
        return process.returncode, out.decode()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )
