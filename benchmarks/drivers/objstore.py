"""This package, as a service uses it: a `NatsBroker` and a `Buckets`."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from faststream.nats import NatsBroker

import faststream_objstore
from benchmarks.drivers.protocol import MIB, Client, Memory, serve
from faststream_objstore import Buckets, ObjectInfo, ObjectStore


class Objstore(Client):
    """faststream-objstore."""

    packages = ("faststream-objstore", "faststream", "nats-py", "pydantic")

    async def connect(self, url: str) -> None:
        """Connect."""
        self._broker = NatsBroker(url, logger=None)
        self._objstore = Buckets(self._broker)
        self._connection = await self._broker.connect()

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.stop()

    async def do_versions(self) -> dict[str, Any]:
        """And where the package is."""
        source = str(Path(faststream_objstore.__file__).parent)
        return await super().do_versions() | {"source": source}

    async def open(self, bucket: str) -> ObjectStore:
        """The store."""
        return await self._objstore.object_store(bucket)

    async def put(self, store: ObjectStore, name: str, data: bytes) -> None:
        """Put bytes."""
        await store.put(name, data)

    async def get(self, store: ObjectStore, name: str) -> int:
        """Get bytes."""
        return len(await store.get(name))

    async def list(self, store: ObjectStore) -> int:
        """List."""
        return len(await store.list())

    async def do_ping(self, count: int) -> dict[str, Any]:
        """The round trip to the server, by PING and PONG."""
        result = []
        for _ in range(count):
            began = perf_counter()
            await self._connection.flush()
            result.append(perf_counter() - began)
        return {"latencies": result}

    async def do_iter(self, bucket: str, count: int) -> dict[str, Any]:
        """Memory that `iter` takes."""
        store = await self.open(bucket)
        await store.exists("nothing")
        memory = Memory()
        listed = 0
        began = perf_counter()
        async for _ in store.iter():
            listed += 1
        seconds = perf_counter() - began
        if listed != count:
            msg = f"{listed} of {count} objects"
            raise RuntimeError(msg)
        return {"bytes": memory.above_idle(), "seconds": seconds}

    async def do_scale(self, bucket: str, count: int, calls: int) -> dict[str, Any]:
        """Seconds, and memory above idle, of what may grow with the number of objects."""
        store = await self.open(bucket)
        await store.exists("nothing")

        async def listed() -> int:
            return len(await store.list())

        async def watched() -> int:
            seen = 0
            async with store.watch() as watcher:
                while not watcher.synced.is_set():
                    await anext(watcher)
                    seen += 1
            return seen

        async def status() -> int:
            for _ in range(calls):
                await store.status(count=False)
            return count

        async def get_info() -> int:
            for number in range(calls):
                await store.get_info(f"folder-{number % 100}/object-{number}")
            return count

        async def swept() -> int:
            return count + await store.sweep()

        result: dict[str, Any] = {}
        works: dict[str, tuple[Callable[[], Awaitable[int]], int]] = {
            "status": (status, calls),
            "get_info": (get_info, calls),
            "sweep": (swept, 1),
            "watch": (watched, 1),
            "list": (listed, 1),
        }
        for name, (work, times) in works.items():
            memory = Memory()
            began = perf_counter()
            found = await work()
            seconds = (perf_counter() - began) / times
            if found != count:
                msg = f"{name}: {found} of {count} objects"
                raise RuntimeError(msg)
            result[name] = {"seconds": seconds, "bytes": memory.above_idle()}
        return result

    async def do_bulk(self, bucket: str, count: int) -> dict[str, Any]:
        """Objects per second of calls for many of 1 KiB, and of a call for each."""
        store, data = await self._warm(bucket), os.urandom(1024)
        names = [f"folder-{number // 100}/file-{number}" for number in range(count)]
        rates: dict[str, Any] = {}

        async def measure(verb: str, work: Awaitable[int]) -> None:
            gc.collect()
            began = perf_counter()
            done = await work
            rates[verb] = count / (perf_counter() - began)
            if done != count:
                msg = f"{verb}: {done} of {count} objects"
                raise RuntimeError(msg)

        async def each(act: Callable[[str], Awaitable[object]]) -> int:
            waiting = iter(names)

            async def work() -> int:
                return sum([bool(await act(name)) for name in waiting])

            return sum(await asyncio.gather(*(work() for _ in range(64))))

        async def many(wanted: Sequence[str | ObjectInfo]) -> int:
            return sum([len(data) == 1024 async for data in store.get_many(wanted)])

        async def put_dir() -> int:
            return len((await store.put_dir(tree, "dir/")).done)

        async def get_dir() -> int:
            return len((await store.get_dir("dir/", copy)).done)

        async def sync() -> int:
            return len((await store.sync(tree, "dir/")).unchanged)

        # The memory, where there is such a folder: disks differ more than programs.
        memory = Path("/dev/shm")  # noqa: S108
        with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            tree, copy = Path(folder, "tree"), Path(folder, "copy")
            for name in names:
                path = tree / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            await measure("put", each(lambda name: store.put(f"one/{name}", data)))
            await measure("put_dir", put_dir())
            await measure("get", each(lambda name: store.get(f"one/{name}")))
            await measure("get_dir", get_dir())
            await measure("sync", sync())
        await measure("get_many_names", many([f"one/{name}" for name in names]))
        await measure("get_many_infos", many(await store.list(prefix="one/")))
        await measure("delete_all", store.delete_all(prefix="one/"))
        return rates

    async def do_put_stream(self, bucket: str, name: str, size: int) -> dict[str, Any]:
        """Memory, and seconds, of a put of an async iterable."""
        store = await self._warm(bucket)
        memory = Memory()
        began = perf_counter()
        await store.put(name, _blocks(size))
        return {"seconds": perf_counter() - began, "bytes": memory.above_idle()}

    async def do_get_stream(self, bucket: str, name: str, size: int) -> dict[str, Any]:
        """Memory, and seconds, of reading through `open`."""
        store = await self._warm(bucket)
        memory = Memory()
        received = 0
        began = perf_counter()
        async with store.open(name) as reader:
            async for chunk in reader:
                received += len(chunk)
        seconds = perf_counter() - began
        if received != size:
            msg = f"{received} of {size} bytes"
            raise RuntimeError(msg)
        return {"seconds": seconds, "bytes": memory.above_idle()}

    async def do_get_range(
        self, bucket: str, name: str, start: int, stop: int
    ) -> dict[str, Any]:
        """Seconds of one range; the proxy counts what is transferred."""
        store = await self.open(bucket)
        began = perf_counter()
        part = await store.get_range(name, start, stop)
        seconds = perf_counter() - began
        if len(part) != stop - start:
            msg = f"{len(part)} of {stop - start} bytes"
            raise RuntimeError(msg)
        return {"seconds": seconds}

    async def _warm(self, bucket: str) -> ObjectStore:
        store = await self.open(bucket)
        if not await store.exists("warm-up"):
            await store.put("warm-up", b"warm-up")
        await store.get("warm-up")
        return store


async def _blocks(size: int) -> AsyncIterator[bytes]:
    rest = bytes(MIB - 8)
    for number in range(size // MIB):
        # Each one is new memory: blocks that are held back would show.
        yield number.to_bytes(8, "big") + rest


if __name__ == "__main__":
    serve(Objstore())
