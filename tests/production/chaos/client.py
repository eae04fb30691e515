"""A client of a chaos run, in a process of its own: `python -m ...chaos.client SETTINGS`.

It does one random call after the other, in several tasks, and records each until its standard
input is closed; then it ends what it has begun.
"""

import asyncio
import contextlib
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import nats
from nats.aio.client import Client as Connection

from faststream_objstore.exceptions import (
    BucketFullError,
    CorruptObjectError,
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjStoreError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectMeta
from faststream_objstore.store import ObjectStore
from faststream_objstore.wire import encode_digest
from tests.production.chaos import reverts, steps
from tests.production.chaos.history import (
    Operation,
    Outcome,
    Recorder,
    Seen,
    content,
    token_of,
)

# What a call that is refused so has not changed.
REFUSED = (
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
    BucketFullError,
    ObjectChangedError,
    CorruptObjectError,
)
READS = frozenset({"get", "get_version", "open", "get_range", "get_info", "list", "sweep"})
# Of each thousand calls.
MIX = {
    "put": 250, "get": 110, "get_version": 60, "open": 70, "get_range": 80, "get_info": 60,
    "list": 40, "delete": 80, "update_meta": 90, "rename": 120, "copy": 50, "sweep": 1,
}  # fmt: skip
# No put takes that long.
SWEPT = timedelta(seconds=40)
SIZES = (64, 60_000)
CHUNK_SIZES = (2_048, 8_192, 131_072)
# Part of the calls, and the time until they are cancelled.
CANCELLED, PATIENCE_SECONDS = 0.08, (0.0005, 0.5)
# All clients turn to the same two names for so long, with so many of their calls.
HOT_SECONDS, HOT = 0.25, 0.5
# A call that takes longer is taken to hang.
HANGS_SECONDS = 60.0

Call: TypeAlias = Callable[[], Awaitable[Operation]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a client does.

    Attributes:
        process: Its number; another process has another one.
        seed: Decides its calls, but not their outcome.
        tasks: How many calls are under way at once.
        timeout: The store's.
        pause: Mean seconds between the calls of a task.
        revert: A mend to do without, see `reverts`.
    """

    process: int
    seed: int
    urls: list[str]
    bucket: str
    names: list[str]
    path: str
    tasks: int = 4
    timeout: float = 2.0
    pause: float = 0.01
    revert: str = ""


@dataclass
class Known:
    """What this process has seen last of each object: what it expects of a revision."""

    infos: dict[str, ObjectInfo] = field(default_factory=dict)

    def note(self, info: ObjectInfo) -> Seen:
        if not info.deleted:
            self.infos[info.name] = info
        mark = (info.metadata or {}).get("mark", "")
        return Seen(info.name, info.revision, info.digest or None, mark, info.deleted)


class Client:
    """The calls of one process."""

    def __init__(self, settings: Settings, stores: list[ObjectStore]) -> None:
        self.settings = settings
        self.stores = stores
        self.known = Known()
        self.stopped = asyncio.Event()
        self._recorder = Recorder(Path(settings.path))
        self._count = 0
        self._random = random.Random(settings.seed)

    async def run(self) -> None:
        await asyncio.gather(*(self._task() for _ in range(self.settings.tasks)))

    async def _task(self) -> None:
        while not self.stopped.is_set():
            [kind] = self._random.choices(list(MIX), list(MIX.values()))
            await self.call(kind)
            with contextlib.suppress(asyncio.TimeoutError):
                pause = self._random.expovariate(1 / self.settings.pause)
                await asyncio.wait_for(self.stopped.wait(), pause)

    async def call(self, kind: str) -> None:
        """Do one call, and record it."""
        self._count += 1
        name, to = self._two_names()
        operation = Operation(
            kind=kind,
            name=None if kind in {"list", "sweep"} else name,
            to=to if kind in {"rename", "copy"} else None,
            process=self.settings.process,
            number=self._count,
            invoked=time.monotonic(),
        )
        store = self._random.choice(self.stores)
        prepared = getattr(self, f"_{kind}")(store, operation)
        if prepared is None:
            return
        operation, work = prepared
        operation = replace(operation, invoked=time.monotonic())
        self._recorder.begun(operation)
        patience = HANGS_SECONDS
        if self._random.random() < CANCELLED:
            # Most calls take a few milliseconds, and some as long as an election.
            least, most = PATIENCE_SECONDS
            patience = least * (most / least) ** self._random.random()
        steps.UNDER.set(operation.under)
        self._recorder.ended(await self._ended(operation, work(operation), patience))

    def _two_names(self) -> tuple[str, str]:
        names = self.settings.names
        if self._random.random() >= HOT:
            name, to = self._random.sample(names, 2)
            return name, to
        hot = random.Random(int(time.monotonic() / HOT_SECONDS))
        pair = hot.sample(names, 2)
        self._random.shuffle(pair)
        return pair[0], pair[1]

    async def _ended(
        self, operation: Operation, work: Awaitable[Operation], patience: float
    ) -> Operation:
        task = asyncio.ensure_future(work)
        await asyncio.wait((task,), timeout=patience)
        # What it does before it lets itself be cancelled is a part of the call.
        task.cancel()
        await asyncio.wait((task,), timeout=HANGS_SECONDS)
        returned = time.monotonic()
        if not task.done():
            return replace(operation, error="Hangs", returned=returned)
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is None:
            return replace(task.result(), outcome=Outcome.OK, returned=returned)
        refused = isinstance(error, REFUSED)
        if operation.kind == "rename" and isinstance(error, BucketFullError):
            # It writes more than once.
            refused = False
        return replace(
            operation,
            outcome=Outcome.FAILED if refused or operation.kind in READS else Outcome.UNKNOWN,
            error=type(error).__name__,
            message=str(error),
            returned=returned,
        )

    def _put(self, store: ObjectStore, one: Operation) -> Any:
        token = f"{self.settings.process:03x}{self._count:05x}"
        low, high = SIZES
        data = content(token, int(low * (high / low) ** self._random.random()))
        mode: Any = self._random.choice(["overwrite", "overwrite", "create", "revision"])
        if mode == "revision":
            known = self.known.infos.get(one.name or "")
            mode = "create" if known is None else known
        chunk_size = self._random.choice(CHUNK_SIZES)
        source: Any = data
        if self._random.random() < 0.3:
            source = iter([data[: len(data) // 2], data[len(data) // 2 :]])

        async def put(one: Operation) -> Operation:
            info = await store.put(
                one.name or "", source, metadata={"mark": token}, chunk_size=chunk_size,
                mode=mode,
            )  # fmt: skip
            return replace(one, seen=(self.known.note(info),))

        return replace(
            one,
            token=token,
            mark=token,
            digest=encode_digest(sha256(data).digest()),
            mode=mode.revision if isinstance(mode, ObjectInfo) else mode,
        ), put

    def _get(self, store: ObjectStore, one: Operation) -> Any:
        async def get(one: Operation) -> Operation:
            return self._read(one, await store.get(one.name or ""))

        return one, get

    def _get_version(self, store: ObjectStore, one: Operation) -> Any:
        known = self.known.infos.get(one.name or "")
        if known is None:
            return None

        async def get(one: Operation) -> Operation:
            return self._read(one, await store.get(known))

        return replace(one, mode=known.revision), get

    def _read(self, one: Operation, data: Any) -> Operation:
        return self._whole(one, bytes(data), data.info)

    def _whole(self, one: Operation, data: bytes, info: ObjectInfo) -> Operation:
        token, damage = token_of(data)
        if encode_digest(sha256(data).digest()) != info.digest:
            damage = damage or f"{len(data)} bytes, and the metadata says {info}"
        return replace(one, seen=(self.known.note(info),), read=token, damage=damage)

    def _open(self, store: ObjectStore, one: Operation) -> Any:
        slow = self._random.random() < 0.2

        async def read(one: Operation) -> Operation:
            async with store.open(one.name or "") as reader:
                data = await reader.read(1000)
                if slow:
                    # As somebody does who downloads over a bad line.
                    await asyncio.sleep(1)
                while piece := await reader.read(5000):
                    data += piece
                return self._whole(one, data, reader.info)

        return one, read

    def _get_range(self, store: ObjectStore, one: Operation) -> Any:
        start = self._random.choice([0, 0, 13, 2_048, 5_000])
        stop = start + self._random.choice([32, 100, 3_000, 20_000])

        async def read(one: Operation) -> Operation:
            data = await store.get_range(one.name or "", start, stop)
            # The object may end before, or after a few bytes.
            token, damage = token_of(data, start) if len(data) >= 31 else ("", "")
            return replace(one, read=token, damage=damage)

        return one, read

    def _get_info(self, store: ObjectStore, one: Operation) -> Any:
        show_deleted = self._random.random() < 0.5

        async def ask(one: Operation) -> Operation:
            info = await store.get_info(one.name or "", show_deleted)
            return replace(one, seen=(self.known.note(info),))

        return one, ask

    def _list(self, store: ObjectStore, one: Operation) -> Any:
        async def ask(one: Operation) -> Operation:
            infos = await store.list()
            return replace(
                one,
                seen=tuple(
                    self.known.note(info) for info in infos if info.name in self.settings.names
                ),
            )

        return one, ask

    def _sweep(self, store: ObjectStore, one: Operation) -> Any:
        async def sweep(one: Operation) -> Operation:
            await store.sweep(SWEPT, markers_older_than=SWEPT)
            return one

        return one, sweep

    def _amend_mode(self, one: Operation) -> tuple[Operation, Any]:
        """Some changes are on condition of the version that was seen last."""
        known = self.known.infos.get(one.name or "")
        if known is None or self._random.random() < 0.6:
            return one, "overwrite"
        return replace(one, mode=known.revision), known

    def _delete(self, store: ObjectStore, one: Operation) -> Any:
        one, mode = self._amend_mode(one)

        async def delete(one: Operation) -> Operation:
            return replace(one, was_live=await store.delete(one.name or "", mode=mode))

        return one, delete

    def _update_meta(self, store: ObjectStore, one: Operation) -> Any:
        mark = f"{self.settings.process:03x}{self._count:05x}"
        one, mode = self._amend_mode(one)

        async def update(one: Operation) -> Operation:
            meta = ObjectMeta(metadata={"mark": mark})
            info = await store.update_meta(one.name or "", meta, mode=mode)
            return replace(one, seen=(self.known.note(info),))

        return replace(one, mark=mark), update

    def _rename(self, store: ObjectStore, one: Operation) -> Any:
        one, mode = self._amend_mode(one)

        async def rename(one: Operation) -> Operation:
            info = await store.rename(one.name or "", one.to or "", mode=mode)
            return replace(one, seen=(self.known.note(info),))

        return one, rename

    def _copy(self, store: ObjectStore, one: Operation) -> Any:
        async def copy(one: Operation) -> Operation:
            info = await store.copy(one.name or "", one.to or "")
            return replace(one, seen=(self.known.note(info),))

        return one, copy


async def main(settings: Settings) -> None:
    logging.disable()
    reverts.apply(settings.revert)
    steps.record(steps_of(settings.path))

    async def silent(_: Exception) -> None:
        """Nodes go and come; the calls say what it means to them."""

    async with contextlib.AsyncExitStack() as stack:
        stores: list[ObjectStore] = []
        for _ in range(2):
            connection = await nats.connect(
                settings.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1,
                error_cb=silent,
            )  # fmt: skip
            stack.push_async_callback(connection.close)
            stores.append(await bound(connection, settings))
        client = Client(settings, stores)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        print("ready", flush=True)
        work = asyncio.create_task(client.run())
        # Nothing is written to it; it ends with the run, also when that is killed.
        end = asyncio.create_task(reader.read())
        await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
        client.stopped.set()
        await work


async def bound(connection: Connection, settings: Settings) -> ObjectStore:
    """The store, as soon as the bucket has a leader."""
    while True:
        try:
            return await ObjectStore.bind(
                connection, settings.bucket, timeout=settings.timeout
            )
        except ObjStoreError:
            await asyncio.sleep(0.2)


def steps_of(path: str) -> Path:
    """Where the steps of the calls in a file are."""
    return Path(path).with_suffix(".steps")


def arguments(settings: Settings) -> list[str]:
    """The command of a client."""
    return [
        sys.executable,
        "-m",
        "tests.production.chaos.client",
        json.dumps(asdict(settings)),
    ]


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
