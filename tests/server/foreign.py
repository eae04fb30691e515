"""Other projects' clients, each in an environment and a process of its own."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DRIVERS = Path(__file__).parent / "clients"
# Ignored by git, and kept, so that only a first run downloads.
CACHE = Path(__file__).parents[2] / ".venv" / "interop"

INSTALL_SECONDS = 120
ANSWER_SECONDS = 20


class ForeignError(Exception):
    """What the other client raised, as text."""


@dataclass
class Foreign:
    """One foreign client: a process that answers JSON lines."""

    name: str
    command: list[str]
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    async def start(self, url: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(part.replace("{url}", url) for part in self.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=64 * 1024 * 1024,
        )

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ANSWER_SECONDS)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()

    async def __call__(self, op: str, bucket: str, **arguments: Any) -> Any:
        """Do something, and return what it gave.

        Raises:
            ForeignError: What the client raised.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"op": op, "bucket": bucket, **arguments}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        line = await asyncio.wait_for(process.stdout.readline(), ANSWER_SECONDS)
        assert line, f"{self.name} has ended at {op}"
        answer = json.loads(line)
        if "error" in answer:
            raise ForeignError(f"{self.name}: {answer['error']}")
        return answer["ok"]

    async def put(self, bucket: str, name: str, data: bytes, **options: Any) -> None:
        encoded = base64.b64encode(data).decode()
        await self("put", bucket, name=name, data=encoded, **options)

    async def get(self, bucket: str, name: str) -> bytes:
        return base64.b64decode(await self("get", bucket, name=name))


def _folder() -> Path:
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
    except OSError:
        fallback = Path(tempfile.gettempdir()) / "faststream-objstore-interop"
        fallback.mkdir(exist_ok=True)
        return fallback
    return CACHE


def _run(*command: str, cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        pytest.skip(f"{command[0]} failed: {error} {said.decode(errors='replace')[-300:]}")


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of an environment, which is made whole or not at all."""
    target = _folder() / name
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=_folder(), prefix=f"{name}-") as making:
            install(Path(making))
            # A virtual environment may be moved; only its scripts know where it was.
            try:
                Path(making).rename(target)
            except OSError:
                # Another test run was faster.
                assert target.exists()
            Path(making).mkdir(exist_ok=True)
    return target


def _python(version: str) -> str | None:
    """An interpreter that really runs: pyenv's shims may not."""
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python")))
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-V"], check=False, capture_output=True)
        if done.returncode == 0:
            return candidate
    return None


def _python_client(name: str, package: str, interpreter: str) -> list[str]:
    def install(folder: Path) -> None:
        _run(interpreter, "-m", "venv", str(folder))
        _run(str(folder / "bin" / "python"), "-m", "pip", "install", "-q", package)

    folder = _installed(package.replace("==", "-"), install)
    return [str(folder / "bin" / "python"), str(DRIVERS / f"{name}_client.py"), "{url}"]


def nats_py() -> list[str]:
    return [sys.executable, str(DRIVERS / "nats_py_client.py"), "{url}"]


def natsio() -> list[str]:
    interpreter = _python("3.13")
    if interpreter is None:
        pytest.skip("natsio needs Python 3.13, and there is none")
    return _python_client("natsio", "natsio==1.0.1", interpreter)


def natsrpy() -> list[str]:
    return _python_client("natsrpy", "natsrpy==0.1.4", sys.executable)


def nats_js() -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("nats.js needs Node and npm, and one is missing")

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        packages = ("obj", "jetstream", "transport-node")
        _run(
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            *(f"@nats-io/{package}@3.4.0" for package in packages),
            cwd=folder,
        )

    folder = _installed("nats-js-3.4.0", install)
    return [node, str(DRIVERS / "nats_js_client.mjs"), "{url}", str(folder)]


CLIENTS = {"nats-py": nats_py, "natsio": natsio, "natsrpy": natsrpy, "nats.js": nats_js}


async def started(name: str, url: str) -> Foreign:
    """A running client; skips the test where it cannot be had."""
    if os.name == "nt":
        pytest.skip("the environments are laid out as on Unix")
    command = await asyncio.to_thread(CLIENTS[name])
    client = Foreign(name, command)
    await client.start(url)
    return client
