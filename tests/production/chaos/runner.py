"""One chaos run: a cluster, clients, a nemesis; then what they have written is checked."""

import asyncio
import base64
import contextlib
import json
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import nats
from nats.aio.client import Client as Connection

from faststream_objstore.exceptions import ObjStoreError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.production.chaos.checker import Violation, figures, summary, violations
from tests.production.chaos.client import Settings, arguments, steps_of
from tests.production.chaos.history import (
    History,
    Leftovers,
    Operation,
    Outcome,
    Seen,
    recorded,
    token_of,
)
from tests.production.chaos.nemesis import Nemesis, emptied
from tests.production.chaos.servers import LinkedCluster, linked_cluster
from tests.production.chaos.steps import Step, noted
from tests.production.cluster import ELECTION_SECONDS, SIZE
from tests.server.facts import messages, subjects

ROOT = Path(__file__).parents[3]
BUCKET = "chaos"
NAMES = [f"n{number}" for number in range(6)]
MAX_BYTES = 24 * 1024 * 1024
CLIENTS = 3
TIMEOUT = 2.0
# A put may wait a whole timeout for its chunks, twice for its metadata, once to look what
# became of it, and three times more if it is cancelled; the machine may be busy.
BOUND = 12 * TIMEOUT


@dataclass(frozen=True)
class Report:
    """A run and what was found."""

    seed: int
    history: History
    found: list[Violation]
    faults: dict[str, int]
    errors: dict[str, int]
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.seconds:.0f} s",
            f"  {figures(self.history)}",
            f"  faults: {self.faults}",
            f"  errors: {self.errors}",
            f"  violations: {summary(self.found) or 'none'}",
        ]
        return "\n".join(lines)


@dataclass
class _Process:
    settings: Settings
    process: asyncio.subprocess.Process
    ended: float = field(default=float("inf"))


class Clients:
    """The client processes of a run, those that were killed included."""

    def __init__(self, seed: int, urls: list[str], folder: Path, revert: str) -> None:
        self.all: list[_Process] = []
        self._seed = seed
        self._urls = urls
        self._folder = folder
        self._revert = revert
        self._started = 0

    async def start(self) -> None:
        self._started += 1
        number = self._started
        settings = Settings(
            process=number, seed=self._seed * 1_000 + number, urls=self._urls, bucket=BUCKET,
            names=NAMES, path=str(self._folder / f"client-{number}.jsonl"), timeout=TIMEOUT,
            revert=self._revert,
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *arguments(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.all.append(_Process(settings, process))
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), ELECTION_SECONDS)
        assert line == b"ready\n", line

    async def restart(self, random_: random.Random) -> None:
        """Kill one, as the kernel does when memory is short, and start another."""
        running = [one for one in self.all if one.process.returncode is None]
        if running:
            victim = random_.choice(running)
            victim.process.kill()
            await victim.process.wait()
            victim.ended = time.monotonic()
        await self.start()

    async def finish(self) -> None:
        """Let them end what they have begun."""
        for one in self.all:
            if one.process.returncode is None and one.process.stdin is not None:
                one.process.stdin.close()
        for one in self.all:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(one.process.wait(), 2 * ELECTION_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        for one in self.all:
            if one.process.returncode is None:
                one.process.kill()
            await one.process.wait()
            one.ended = min(one.ended, time.monotonic())

    def operations(self) -> list[Operation]:
        return recorded(
            {path: one.ended for one in self.all if (path := Path(one.settings.path)).exists()}
        )

    def steps(self) -> list[Step]:
        return noted(
            path for one in self.all if (path := steps_of(one.settings.path)).exists()
        )

    def exit_codes(self) -> list[int | None]:
        return [one.process.returncode for one in self.all]


async def run(seed: int, seconds: float, folder: Path, *, revert: str = "") -> Report:
    """Run clients and nemesis for a time, and check the history."""
    began = time.monotonic()
    async with linked_cluster() as cluster, _connected(cluster) as connection:
        await _make_bucket(cluster, connection)
        clients = Clients(seed, cluster.urls, folder, revert)
        nemesis = Nemesis(cluster, BUCKET, clients.restart, seed)
        try:
            await asyncio.gather(*(clients.start() for _ in range(CLIENTS)))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(nemesis.run(), seconds)
            await clients.finish()
        finally:
            await clients.kill()
        await cluster.settled(connection, f"OBJ_{BUCKET}")
        await emptied(connection, BUCKET)
        store = await ObjectStore.bind(connection, BUCKET)
        await store.sweep(timedelta(0))
        final = [await _final(store, number, name) for number, name in enumerate(NAMES)]
        leftovers = await _leftovers(connection)
    operations = clients.operations()
    history = History(
        operations=(*operations, *final), leftovers=leftovers, steps=tuple(clients.steps()),
        partitions=tuple(nemesis.partitions),
    )  # fmt: skip
    errors: dict[str, int] = {}
    for one in operations:
        if one.error:
            errors[one.error] = errors.get(one.error, 0) + 1
    return Report(
        seed,
        history,
        violations(history, timeout=TIMEOUT, bound=BOUND),
        dict(nemesis.done),
        dict(sorted(errors.items(), key=lambda item: -item[1])),
        time.monotonic() - began,
    )


@contextlib.asynccontextmanager
async def _connected(cluster: LinkedCluster) -> AsyncIterator[Connection]:
    async def silent(_: Exception) -> None:
        """The nemesis is why."""

    connection = await nats.connect(
        cluster.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=silent
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _make_bucket(cluster: LinkedCluster, connection: Connection) -> None:
    config = ObjectStoreConfig(bucket=BUCKET, replicas=SIZE, max_bytes=MAX_BYTES)
    deadline = time.monotonic() + ELECTION_SECONDS
    while True:
        try:
            await ObjectStore.bind(connection, config, declare=True, timeout=5)
            break
        except ObjStoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
    await cluster.settled(connection, f"OBJ_{BUCKET}")


async def _final(store: ObjectStore, number: int, name: str) -> Operation:
    """What is there when nothing is under way any more."""
    one = Operation(
        kind="final", name=name, process=-1, number=number, invoked=time.monotonic()
    )
    fields = vars(one)
    try:
        data = await store.get(name)
    except ObjStoreError as error:
        fields |= {
            "outcome": Outcome.FAILED,
            "error": type(error).__name__,
            "message": str(error),
        }
    else:
        info = data.info
        token, damage = token_of(bytes(data))
        mark = (info.metadata or {}).get("mark", "")
        fields |= {
            "outcome": Outcome.OK,
            "seen": (Seen(name, info.revision, info.digest, mark),),
            "read": token,
            "damage": damage,
        }
    return Operation(**fields | {"returned": time.monotonic()})


async def _leftovers(connection: Connection) -> Leftovers:
    """Read with nats-py alone."""
    owners: dict[str, list[str]] = {}
    chunks: set[str] = set()
    for subject in await subjects(connection, BUCKET):
        _, _, kind, rest = subject.split(".", 3)
        if kind == "C":
            chunks.add(rest)
            continue
        for body in await messages(connection, BUCKET, subject):
            said = json.loads(body)
            if not said.get("deleted") and said["chunks"]:
                name = base64.urlsafe_b64decode(rest).decode()
                owners.setdefault(said["nuid"], []).append(name)
    return Leftovers(
        orphans=tuple(sorted(chunks - owners.keys())),
        shared=tuple(
            (first, other)
            for first, *others in map(sorted, owners.values())
            for other in others
        ),
    )
