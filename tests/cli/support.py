"""The real program, run as its user would."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "faststream_objstore.cli"]


class Program:
    """`objstore`, in a folder and for a server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "NATS_URL": self.url,
            "PYTHONPATH": str(ROOT),
            # Help is wrapped to the terminal's width.
            "COLUMNS": "200",
            "TERM": "dumb",
            "NO_COLOR": "1",
        }

    def run(self, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            timeout=90,
            check=False,
        )

    def shell(self, command: str, before: str = "") -> "subprocess.CompletedProcess[bytes]":
        """Run a command of the program as a shell does, with its redirections."""
        return subprocess.run(
            ["sh", "-c", f"{before} {shlex.join(COMMAND)} {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=90,
            check=False,
        )

    def __call__(self, *arguments: str, given: bytes = b"") -> str:
        """What it prints; it must not fail."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr == b""
        return done.stdout.decode()

    def values(self, *arguments: str) -> list[Any]:
        """The JSON that it prints."""
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]

    def failing(self, *arguments: str, code: int = 1) -> str:
        """What it says when it fails; nothing else is printed."""
        done = self.run(*arguments)
        said = done.stderr.decode()
        assert (done.returncode, done.stdout) == (code, b""), said
        assert "Traceback" not in said
        return said

    def start(self, *arguments: str, stdin: int | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
