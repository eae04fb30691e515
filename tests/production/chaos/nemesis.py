"""What goes wrong in a chaos run: one fault after the other, chosen by a seed."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import nats
from nats.aio.client import Client as Connection

from faststream_objstore.exceptions import (
    BucketFullError,
    ObjStoreError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.store import ObjectStore
from tests.production.chaos.servers import LinkedCluster, pause, resume

# An election takes 4 to 9 s.
FAULT_SECONDS = (1.0, 12.0)
CALM_SECONDS = (0.5, 3.0)
# Not among the names that the clients use.
FILLER = "filler"
FILLER_SIZES = (1024 * 1024, 32 * 1024, 1024)

Fault = Callable[[float], Awaitable[None]]


class Nemesis:
    """Breaks things, one at a time, and mends them again.

    Args:
        cluster: What it breaks.
        bucket: Whose stream is led, filled, and read by consumers.
        restart_client: Kills a client, and starts another one.
        seed: Decides what is done, and for how long.
    """

    def __init__(
        self,
        cluster: LinkedCluster,
        bucket: str,
        restart_client: Callable[[random.Random], Awaitable[None]],
        seed: int,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.partitions: list[tuple[float, float]] = []
        """When servers could not hear each other."""
        self._cluster = cluster
        self._bucket = bucket
        self._restart_client = restart_client
        self._random = random.Random(seed)
        self._faults: dict[str, tuple[int, Fault]] = {
            "kill": (3, self._kill),
            "pause": (3, self._pause),
            "isolate": (3, self._isolate),
            "stall": (2, self._stall),
            "cut": (2, self._cut),
            "delay": (4, self._delay),
            "step down": (3, self._step_down),
            "fill": (2, self._fill),
            "delete consumers": (2, self._delete_consumers),
            "kill a client": (2, self._kill_client),
        }
        # Each once before any comes again, so that a short run has most of them.
        self._left: list[str] = []

    async def run(self) -> None:
        """Go on until cancelled; then everything is mended."""
        try:
            while True:
                if not self._left:
                    self._left = [
                        name for name, (n, _) in self._faults.items() for _ in range(n)
                    ]
                    self._random.shuffle(self._left)
                name = self._left.pop()
                print(f"{asyncio.get_running_loop().time():.1f} {name}", flush=True)
                await self._faults[name][1](self._random.uniform(*FAULT_SECONDS))
                self.done[name] += 1
                await asyncio.sleep(self._random.uniform(*CALM_SECONDS))
        finally:
            self._cluster.heal()
            await self._cluster.start_all()

    def _victim(self) -> str:
        return self._random.choice(list(self._cluster.servers))

    async def _kill(self, seconds: float) -> None:
        server = self._cluster.servers[self._victim()]
        await server.kill()
        await asyncio.sleep(seconds)
        await server.start()

    async def _pause(self, seconds: float) -> None:
        server = self._cluster.servers[self._victim()]
        pause(server)
        try:
            await self._parted(seconds)
        finally:
            resume(server)

    async def _isolate(self, seconds: float) -> None:
        links = self._cluster.of(self._victim())
        for link in links:
            link.cut()
        await self._parted(seconds)
        for link in links:
            link.heal()

    async def _stall(self, seconds: float) -> None:
        links = self._cluster.of(self._victim())
        for link in links:
            link.stall()
        await self._parted(seconds)
        for link in links:
            link.heal()

    async def _cut(self, seconds: float) -> None:
        link = self._random.choice(list(self._cluster.links.values()))
        link.cut()
        await self._parted(seconds)
        link.heal()

    async def _parted(self, seconds: float) -> None:
        began = time.monotonic()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.partitions.append((began, time.monotonic()))

    async def _delay(self, seconds: float) -> None:
        """One server is behind, so that reads from it are; or all are far from each other."""
        links, delays = self._cluster.of(self._victim()), (0.02, 0.5)
        if self._random.random() < 0.5:
            links, delays = list(self._cluster.links.values()), (0.005, 0.05)
        for link in links:
            link.delay = self._random.uniform(*delays)
        await asyncio.sleep(seconds)
        for link in links:
            link.heal()

    async def _step_down(self, _: float) -> None:
        """As an operator does who restarts one server after the other."""
        async with self._connected() as connection:
            with contextlib.suppress(nats.errors.Error):
                await connection.request(
                    f"$JS.API.STREAM.LEADER.STEPDOWN.OBJ_{self._bucket}", b"", timeout=5
                )

    async def _fill(self, seconds: float) -> None:
        """Until there is no room for one more small object."""
        async with self._connected() as connection:
            with contextlib.suppress(StoreTimeoutError, StoreAPIError):
                store = await ObjectStore.bind(connection, self._bucket, timeout=3)
                for size in FILLER_SIZES:
                    with contextlib.suppress(BucketFullError):
                        for number in range(1_000):
                            await store.put(f"{FILLER} {size} {number}", bytes(size))
            await asyncio.sleep(min(seconds, 4))
            await emptied(connection, self._bucket)

    async def _delete_consumers(self, seconds: float) -> None:
        """Again and again, while calls use them."""
        async with self._connected() as connection:
            loop = asyncio.get_running_loop()
            until = loop.time() + min(seconds, 4)
            js = connection.jetstream(timeout=1)
            while loop.time() < until:
                with contextlib.suppress(nats.errors.Error):
                    for consumer in await js.consumers_info(f"OBJ_{self._bucket}"):
                        await js.delete_consumer(f"OBJ_{self._bucket}", consumer.name)
                await asyncio.sleep(0.05)

    async def _kill_client(self, _: float) -> None:
        await self._restart_client(self._random)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await self._cluster.connect()
        try:
            yield connection
        finally:
            await connection.close()


async def emptied(connection: Connection, bucket: str) -> None:
    """Delete what filled the bucket, however long the servers take for it."""
    while True:
        try:
            store = await ObjectStore.bind(connection, bucket, timeout=3)
            for info in await store.list(prefix=FILLER):
                await store.delete(info.name)
            return
        except ObjStoreError:
            await asyncio.sleep(0.2)
