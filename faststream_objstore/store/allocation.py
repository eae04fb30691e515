"""An `ObjectData` whose memory is written before anybody sees it.

An instance of a subclass of `bytes` can otherwise only be made as a copy of finished bytes:
twice the memory, and for 256 MiB a quarter of the time of a read, because fresh memory costs
as much as the network does. Huge pages make it cheaper: the kernel is entered once for each
2 MiB instead of for each 4 KiB, and what reads the memory misses the TLB less often.
"""
# What is used of CPython's C API: PyBytes objects may be filled while nobody else has them
# (`PyBytes_FromStringAndSize`, `PyBytes_AsString`), and `PyObject_GC_NewVar` allocates an
# instance without touching its memory.

import gc
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType

from ..models import ObjectData, ObjectInfo

__all__ = ("allocate",)

# The layouts that are known; anything else is copied.
_KNOWN = (3, 10) <= sys.version_info[:2] <= (3, 13) and sys.implementation.name == "cpython"

# Where the kernel gives huge pages only to those who ask ("madvise", the default of most
# distributions), memory of this size is worth the call; numpy begins here too.
_HUGE_FROM = 4 * 1024 * 1024
_HUGE_PAGE = 2 * 1024 * 1024

_Allocate = Callable[[int], "tuple[ObjectData, memoryview]"]


def allocate(info: ObjectInfo) -> tuple[ObjectData, memoryview]:
    """Room for an object's content, and the memory to fill; its content is undefined so far.

    It takes microseconds whatever the size: memory is first touched when it is written.

    Raises:
        NotImplementedError: If this is not possible here.
        MemoryError, OverflowError: If there is not enough memory.
    """
    data, view = _proven()(info.size)
    data.info = info
    return data, view


@cache
def _proven() -> _Allocate:
    """The way to allocate, once it has proved to be right in this interpreter."""
    found = _made()
    if found is None or not _holds(found):
        raise NotImplementedError
    return found


def _made() -> _Allocate | None:
    # Free-threaded builds have another header, and so has `Py_TRACE_REFS`.
    if not _KNOWN or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    if hasattr(sys, "getobjects"):
        return None
    try:
        import ctypes  # noqa: PLC0415 - 10 ms, for those who read large objects
    except ImportError:
        return None
    word = ctypes.sizeof(ctypes.c_ssize_t)
    header = bytes.__basicsize__ - 1
    basic = ObjectData.__basicsize__
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_ssize_t)(
        ("_PyObject_GC_NewVar", ctypes.pythonapi)
    )
    track = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyObject_GC_Track", ctypes.pythonapi))
    advise = _advice(ctypes)

    def allocated(size: int) -> tuple[ObjectData, memoryview]:
        if size > sys.maxsize - basic - word:
            raise OverflowError
        data: ObjectData = new(ObjectData, size)
        start = id(data) + header
        # The hash that stands before the content is not computed yet.
        ctypes.c_ssize_t.from_address(start - word).value = -1
        # The final NUL, and the pointer to the attributes where that stands at the end.
        end = id(data) + (basic + size + word - 1) // word * word
        ctypes.memset(start + size, 0, end - start - size)
        if size >= _HUGE_FROM:
            advise(start, start + size)
        track(data)
        return data, memoryview((ctypes.c_char * size).from_address(start)).cast("B")

    return allocated


def _advice(ctypes: ModuleType) -> Callable[[int, int], None]:
    """What asks for huge pages between two addresses; it does nothing where there are none."""
    try:
        from mmap import MADV_HUGEPAGE  # noqa: PLC0415 - for those who read large objects

        madvise = ctypes.CDLL(None).madvise
    except (ImportError, AttributeError):
        return lambda _start, _end: None
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def advise(start: int, end: int) -> None:
        # Only whole pages between the two: the memory around them belongs to others.
        start = (start + _HUGE_PAGE - 1) // _HUGE_PAGE * _HUGE_PAGE
        end = end // _HUGE_PAGE * _HUGE_PAGE
        if start < end:
            # Advice that the kernel refuses, because it was built without huge pages, changes
            # nothing.
            madvise(start, end - start, MADV_HUGEPAGE)

    return advise


def _holds(allocated: _Allocate) -> bool:
    """Whether what is allocated cannot be told from an `ObjectData` that was made plainly."""
    info = ObjectInfo(name="self-test", bucket="self-test")
    for size in (0, 1, 7, 8, 9, 4095, 4096, 70_000):
        content = bytes(range(256)) * (size // 256 + 1)
        plain = ObjectData(content[:size], info)
        data, view = allocated(size)
        view[:] = plain
        data.info = info
        alike = (
            type(data) is ObjectData
            and data == plain
            and hash(data) == hash(plain)
            and len(data) == size
            and data + b"!" == plain + b"!"
            and vars(data) == vars(plain)
            and sys.getsizeof(data) == sys.getsizeof(plain)
            and sys.getrefcount(data) == sys.getrefcount(plain)
            and gc.is_tracked(data)
        )
        if not alike:
            return False
    # With the advice; not all of it, which would take milliseconds.
    data, view = allocated(_HUGE_FROM)
    view[0], view[_HUGE_FROM // 2], view[-1] = b"abc"
    return (len(data), data[0], data[_HUGE_FROM // 2], data[-1]) == (_HUGE_FROM, *b"abc")
