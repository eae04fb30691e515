"""A process that answers JSON lines, from the side that asks."""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from typing import Any

from typing_extensions import Self

__all__ = ("DriverError", "Process")

_ANSWER_SECONDS = 180
_LIMIT = 64 * 1024 * 1024


class DriverError(Exception):
    """What went wrong in the driver, as text."""


class Process:
    """A driver, or the proxy.

    Args:
        command: How to start it.
        environment: Its variables, if not those of this process.
    """

    def __init__(
        self, command: list[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            # `-m` puts the folder it is started in before PYTHONPATH.
            cwd=tempfile.gettempdir(),
            limit=_LIMIT,
        )
        return self

    @property
    def ended(self) -> bool:
        """Whether it is not running any more."""
        return self._process is None or self._process.returncode is not None

    async def __call__(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Have something done.

        Raises:
            DriverError: What the driver raised, or that it has ended.
        """
        process = self._process
        if process is None or process.stdin is None:
            msg = "not started"
            raise DriverError(msg)
        process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        answer = await self.line()
        if "error" in answer:
            raise DriverError(answer["error"])
        return answer

    async def line(self) -> dict[str, Any]:
        """The next line that it prints."""
        if self._process is None or self._process.stdout is None:
            msg = "not started"
            raise DriverError(msg)
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _ANSWER_SECONDS)
        except asyncio.TimeoutError as error:
            await self.kill()
            msg = f"no answer in {_ANSWER_SECONDS} s"
            raise DriverError(msg) from error
        if not line:
            await self.kill()
            msg = "it has ended"
            raise DriverError(msg)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> None:
        """End its input, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End it now."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
