"""Services in processes of their own, and the journal that they write together."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nats.aio.client import Client

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a replica does; see `replica.py`."""

    url: str
    bucket: str
    journal: str
    durable: str | None = "worker"
    subscribers: int = 1
    workers: int = 4
    seconds: float = 0.0
    ack_wait: float = 2.0
    replay: bool = False
    graceful: float = 15.0


@dataclass(frozen=True)
class Entry:
    """A handler that has begun, or is done."""

    what: str
    pid: int
    name: str
    revision: int
    deleted: bool
    at: float


class Journal:
    """What the replicas have written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0
        self._entries: list[Entry] = []
        path.touch()

    def entries(self, what: str = "done") -> list[Entry]:
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            # The last line may be half there: a read meets a write in its middle.
            written, _, _ = file.read().rpartition(b"\n")
        if written:
            self._entries += [Entry(**json.loads(line)) for line in written.split(b"\n")]
            self._read_to += len(written) + 1
        return [entry for entry in self._entries if entry.what == what]

    def versions(self) -> set[tuple[str, int]]:
        return {(entry.name, entry.revision) for entry in self.entries()}

    async def wait_until(
        self, holds: Callable[["Journal"], object], *, seconds: float = 60.0
    ) -> None:
        """Look again and again: other processes write it."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds(self):
            if asyncio.get_running_loop().time() > deadline:
                message = f"not so after {seconds} s"
                raise TimeoutError(message)
            await asyncio.sleep(0.05)


class Replica:
    """One process; use `started`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def cpu_seconds(self) -> float:
        """What it has used so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return float(await self._line())

    async def ready(self) -> None:
        assert await self._line() == b"ready\n"

    async def kill(self) -> None:
        """As the kernel does when memory is short."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def terminate(self) -> int:
        """As an orchestrator does; the exit code."""
        if self._process.returncode is None:
            self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), START_SECONDS)

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)


async def start(settings: Settings) -> Replica:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.production.replica", json.dumps(asdict(settings)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    replica = Replica(process)
    try:
        await replica.ready()
    except BaseException:
        await replica.kill()
        raise
    return replica


@contextlib.asynccontextmanager
async def started(settings: Settings, count: int = 1) -> AsyncIterator[list[Replica]]:
    replicas: list[Replica] = []
    try:
        replicas += await asyncio.gather(*(start(settings) for _ in range(count)))
        yield replicas
    finally:
        for replica in replicas:
            await replica.kill()


async def left_over(client: Client, bucket: str, durable: str) -> int:
    """Changes that a consumer has not settled yet."""
    info = await client.jetstream().consumer_info(f"OBJ_{bucket}", durable)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def settled(client: Client, bucket: str, durable: str) -> None:
    """Wait until a consumer has nothing left: acknowledgements come after the journal."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while left := await left_over(client, bucket, durable):
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.05)
