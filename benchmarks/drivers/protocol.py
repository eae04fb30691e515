"""What a driver is: a process that measures when told to, in JSON lines.

A request is `{"op": "get_large", ...arguments}`, its answer a JSON object, or
`{"error": "..."}`. Time is taken here, around the calls of the client alone, by a
monotonic clock and after a warm-up; the parent only says whose turn it is.

Runs in the environment of each Python client: standard library only.
"""

import asyncio
import contextlib
import gc
import json
import os
import platform
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ("MIB", "Client", "Driver", "Memory", "serve")

KIB, MIB = 1024, 1024 * 1024
_WARM_UP_CALLS = 20


class Driver:
    """Answers requests: `op` is a coroutine method `do_<op>`."""

    packages: tuple[str, ...] = ()
    """Distributions whose versions are reported."""

    async def connect(self, url: str) -> None:
        """Prepare; called once."""

    async def close(self) -> None:
        """The end; called once."""

    async def do_versions(self) -> dict[str, Any]:
        """What is measured."""
        found = {"Python": platform.python_version()}
        for name in self.packages:
            # A checkout need not be installed.
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return {"versions": found}


class Client(Driver, ABC):
    """A client of an object store; what is measured of each one is written once, here."""

    most_gets: int | None = None
    """How many gets of a bucket work."""

    def __init__(self) -> None:
        self._data = b""

    @abstractmethod
    async def open(self, bucket: str) -> Any:
        """The store of a bucket that exists."""

    @abstractmethod
    async def put(self, store: Any, name: str, data: bytes) -> None:
        """Store an object, in chunks of 128 KiB."""

    @abstractmethod
    async def get(self, store: Any, name: str) -> int:
        """Read an object into memory; its size."""

    async def get_large(self, store: Any, name: str) -> int:
        """As `get`, for what is many chunks."""
        return await self.get(store, name)

    @abstractmethod
    async def list(self, store: Any) -> int:
        """List the bucket; how many objects there are."""

    async def do_put_large(self, bucket: str, name: str, size: int) -> dict[str, Any]:
        """Seconds of one put from memory."""
        store, data = await self.open(bucket), self._bytes(size)
        await self.put(store, "warm-up", data[:MIB])
        return {"seconds": await _seconds(lambda: self.put(store, name, data))}

    async def do_get_large(self, bucket: str, name: str, size: int) -> dict[str, Any]:
        """Seconds of one get into memory."""
        self._data = b""
        store = await self.open(bucket)
        await self.get(store, "warm-up")
        gc.collect()
        began = time.perf_counter()
        received = await self.get_large(store, name)
        seconds = time.perf_counter() - began
        _require(received == size, f"{received} of {size} bytes")
        return {"seconds": seconds}

    async def do_put_small(self, bucket: str, size: int, count: int) -> dict[str, Any]:
        """The latency of each of `count` puts, one after the other."""
        store, data = await self.open(bucket), self._bytes(size)
        return await _latencies(count, lambda i: self.put(store, f"small-{i}", data))

    async def do_get_small(
        self, bucket: str, size: int, count: int, warm_up: int = _WARM_UP_CALLS
    ) -> dict[str, Any]:
        """The latency of each of `count` gets, one after the other."""
        store, data = await self.open(bucket), self._bytes(size)
        await self.put(store, "small", data)
        return await _latencies(count, lambda _: self.get(store, "small"), warm_up=warm_up)

    async def do_put_many(
        self, bucket: str, size: int, count: int, workers: int, seconds: float
    ) -> dict[str, Any]:
        """Puts by `workers` tasks: at least `count`, and for at least `seconds`."""
        store, data = await self.open(bucket), self._bytes(size)
        return await _rate(
            lambda i: self.put(store, f"many-{i}", data),
            count=count,
            workers=workers,
            seconds=seconds,
        )

    async def do_get_many(
        self, bucket: str, size: int, count: int, workers: int, seconds: float
    ) -> dict[str, Any]:
        """Gets by `workers` tasks, each of an object of its own."""
        store, data = await self.open(bucket), self._bytes(size)
        for i in range(workers):
            await self.put(store, f"many-{i}", data)
        return await _rate(
            lambda i: self.get(store, f"many-{i % workers}"),
            count=count,
            workers=workers,
            seconds=seconds,
            most=self.most_gets,
        )

    async def do_get_first(
        self, bucket: str, size: int, count: int, workers: int
    ) -> dict[str, Any]:
        """Gets of objects that were not read before: the latency of each, and the rate.

        `count` are read one after the other, and then `count` others by `workers` tasks.
        """
        store, data = await self.open(bucket), self._bytes(size)
        for i in range(-_WARM_UP_CALLS, 2 * count + workers):
            await self.put(store, f"first-{i}", data)
        one = await _latencies(count, lambda i: self.get(store, f"first-{i}"))
        many = await _rate(
            lambda i: self.get(store, f"first-{count + i}"),
            count=count,
            workers=workers,
            seconds=0,
            most=count,
        )
        return {**one, **many}

    async def do_list(self, bucket: str, count: int) -> dict[str, Any]:
        """Seconds of a list of a bucket with `count` objects."""
        store = await self.open(bucket)
        listed = 0

        async def run() -> None:
            nonlocal listed
            listed = await self.list(store)

        seconds = await _seconds(run)
        _require(listed == count, f"{listed} of {count} objects")
        return {"seconds": seconds}

    def _bytes(self, size: int) -> bytes:
        if len(self._data) != size:
            self._data = os.urandom(size)
        return self._data


class Memory:
    """How far the process's resident memory rises, as the kernel counts it; Linux."""

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        self._idle = self._kib("VmRSS")

    def above_idle(self) -> int:
        """Bytes between the highest since this object was made, and the state then."""
        return (self._kib("VmHWM") - self._idle) * KIB

    @staticmethod
    def _kib(field: str) -> int:
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0])
        raise OSError(field)


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    gc.collect()
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _latencies(
    count: int,
    work: Callable[[int], Awaitable[object]],
    *,
    warm_up: int = _WARM_UP_CALLS,
) -> dict[str, Any]:
    for i in range(warm_up):
        await work(-1 - i)
    gc.collect()
    result = []
    for i in range(count):
        began = time.perf_counter()
        await work(i)
        result.append(time.perf_counter() - began)
    return {"latencies": result}


async def _rate(
    work: Callable[[int], Awaitable[object]],
    *,
    count: int,
    workers: int,
    seconds: float,
    most: int | None = None,
) -> dict[str, Any]:
    await asyncio.gather(*(work(-1 - i) for i in range(workers)))
    gc.collect()
    done = begun = 0
    began = time.perf_counter()

    async def worker() -> None:
        nonlocal done, begun
        while begun < count or time.perf_counter() - began < seconds:
            if most is not None and begun >= most:
                return
            begun += 1
            await work(begun)
            done += 1

    await asyncio.gather(*(worker() for _ in range(workers)))
    return {"rate": done / (time.perf_counter() - began), "count": done}


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise RuntimeError(text)


async def _serve(driver: Driver, url: str) -> None:
    await driver.connect(url)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        work = getattr(driver, f"do_{request.pop('op')}")
        try:
            answer = await work(**request)
        except Exception as error:  # noqa: BLE001 - the parent reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await driver.close()


def serve(driver: Driver) -> None:
    """Run a driver against the server that the command line names, until input ends."""
    asyncio.run(_serve(driver, sys.argv[1]))
