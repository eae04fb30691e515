"""The memory of large objects: what it is, and where the kernel may use huge pages for it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faststream_objstore.models import ObjectInfo
from faststream_objstore.store.allocation import _proven, allocate
from tests.store.support import MIB

HUGE_PAGE = 2 * MIB


@pytest.fixture(autouse=True)
def not_proven_yet() -> Iterator[None]:
    _proven.cache_clear()
    yield
    _proven.cache_clear()


def info(size: int) -> ObjectInfo:
    return ObjectInfo(name="name", bucket="bucket", size=size)


# In a process of its own, where nothing that was freed has left its advice behind.
HUGE = f"""
from pathlib import Path
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store.allocation import allocate

def is_advised(address):
    inside = False
    for line in Path("/proc/self/smaps").read_text("ascii").splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            low, high = (int(bound, 16) for bound in first.split("-"))
            inside = low <= address < high
        elif inside and first == "VmFlags:":
            return "hg" in rest

def advised(size):
    data, view = allocate(ObjectInfo(name="name", bucket="bucket", size=size))
    begin = id(data) + bytes.__basicsize__ - 1
    first = -(-begin // {HUGE_PAGE}) * {HUGE_PAGE}
    end = (begin + size) // {HUGE_PAGE} * {HUGE_PAGE}
    return [is_advised(address) for address in (begin, first, end - 1, begin + size)]

print(advised(3 * {MIB}), advised(9 * {MIB} + 5))
"""


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no huge pages"
)
def test_huge_pages_are_asked_for_within_the_content_of_a_large_object() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUGE], check=True, capture_output=True, text=True, timeout=60
    )

    small, large = "[False, False, False, False]", "[False, True, True, False]"
    assert done.stdout == f"{small} {large}\n"


@pytest.mark.parametrize("missing", ["mmap", "madvise"])
def test_large_content_is_the_same_without_huge_pages(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "mmap":
        monkeypatch.setitem(sys.modules, "mmap", None)
    else:
        monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    size = 5 * MIB + 3

    data, view = allocate(info(size))
    view[:] = b"x" * size

    assert data == b"x" * size
    assert data.info.size == size
