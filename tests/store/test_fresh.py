"""Memory for large objects, provided by the kernel before they arrive."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from faststream_objstore.store import ObjectStore, fresh
from faststream_objstore.store.fresh import FreshMemory
from tests.store.support import MIB, pattern_bytes, soon

linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux does")

# In a process of its own, whose memory is not that of earlier tests.
PROGRAM = f"""
import mmap
from pathlib import Path
from faststream_objstore.store.fresh import FreshMemory

def resident():
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE

memory = memoryview(mmap.mmap(-1, 32 * {MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
memory[3:6] = b"abc"
memory[12 * {MIB} : 12 * {MIB} + 3] = b"def"
fresh = FreshMemory(memory)
before = resident()
fresh.provide(0, 16 * {MIB})
middle = resident()
fresh.provide(0, 16 * {MIB})
fresh.provide(8 * {MIB}, 1024 * {MIB})
end = resident()
print(round((middle - before) / {MIB}), round((end - before) / {MIB}))
print(bytes(memory[3:6]), bytes(memory[12 * {MIB} : 12 * {MIB} + 3]))
"""


@linux
def test_memory_is_there_as_far_as_asked_and_its_content_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60
    )

    counts, content = done.stdout.splitlines()
    middle, end = map(int, counts.split())
    # Pieces of 4 MiB; at the ends, up to one huge page is left to the first write.
    assert 14 <= middle <= 24
    assert 28 <= end <= 40
    assert content == "b'abc' b'def'"


class Kernel:
    """Stands in for kernels and machines that the tests do not run on."""

    def __init__(self, *, ns_a_byte: float = 0.0, error: int = 0) -> None:
        self.huge: list[tuple[int, int]] = []
        self.populated: list[tuple[int, int]] = []
        self.now = 0
        self._ns_a_byte = ns_a_byte
        self._error = error

    def madvise(self, address: int, size: int, advice: int) -> int:
        if advice == fresh._MADV_HUGEPAGE:
            self.huge.append((address, size))
            return 0
        self.populated.append((address, size))
        self.now += int(size * self._ns_a_byte)
        return self._error


Boot = Callable[[Kernel], Kernel]


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Boot:
    def booted(kernel: Kernel) -> Kernel:
        monkeypatch.setattr(fresh, "_madvise", lambda: kernel.madvise)
        clock = SimpleNamespace(thread_time_ns=lambda: kernel.now)
        monkeypatch.setattr(fresh, "time", clock)
        return kernel

    return booted


@pytest.fixture
def memory() -> memoryview:
    return memoryview(bytearray(32 * MIB))


def within(memory: memoryview, kernel: Kernel) -> bool:
    one = FreshMemory(memory)
    begin, end = one._begin, one._begin + memory.nbytes
    return all(
        begin <= address and address + size <= end and address % (2 * MIB) == 0
        for address, size in kernel.populated + kernel.huge
    )


def test_huge_pages_are_asked_for_while_they_are_fast(memory: memoryview, boot: Boot) -> None:
    kernel = boot(Kernel(ns_a_byte=0.1))
    FreshMemory(memory).provide(0, memory.nbytes)

    assert kernel.huge == kernel.populated
    assert len(kernel.populated) in {7, 8}
    assert within(memory, kernel)


def test_slow_huge_pages_are_asked_for_once(memory: memoryview, boot: Boot) -> None:
    kernel = boot(Kernel(ns_a_byte=1.5))
    FreshMemory(memory).provide(0, memory.nbytes)

    assert kernel.huge == kernel.populated[:1]
    assert len(kernel.populated) in {7, 8}
    assert within(memory, kernel)


def test_an_older_kernel_is_asked_once(memory: memoryview, boot: Boot) -> None:
    kernel = boot(Kernel(error=-1))
    one = FreshMemory(memory)
    one.provide(0, 8 * MIB)
    one.provide(8 * MIB, 16 * MIB)

    assert len(kernel.populated) == 1


@pytest.mark.parametrize("missing", ["ctypes function", "Linux"])
async def test_large_content_is_the_same_where_the_kernel_cannot_be_asked(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    fresh._madvise.cache_clear()
    if missing == "Linux":
        monkeypatch.setattr(fresh, "sys", SimpleNamespace(platform="another"))
    else:
        monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    content = pattern_bytes(9 * MIB + 5)
    await soon(store.put("name", content))

    data = await soon(store.get("name"))
    fresh._madvise.cache_clear()

    assert data == content
