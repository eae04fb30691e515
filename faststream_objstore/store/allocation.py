"""An `ObjectData` whose memory is written before anybody sees it.

An instance of a subclass of `bytes` can otherwise only be made as a copy of finished bytes:
twice the memory, and for 256 MiB a quarter of the time of a read, because fresh memory costs
as much as the network does.
"""
# What is used of CPython's C API: PyBytes objects may be filled while nobody else has them
# (`PyBytes_FromStringAndSize`, `PyBytes_AsString`), and `PyObject_GC_NewVar` allocates an
# instance without touching its memory.

import gc
import sys
from collections.abc import Callable
from functools import cache

from ..models import ObjectData, ObjectInfo

__all__ = ("allocate",)

# The layouts that are known; anything else is copied.
_KNOWN = (3, 10) <= sys.version_info[:2] <= (3, 13) and sys.implementation.name == "cpython"

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
        track(data)
        return data, memoryview((ctypes.c_char * size).from_address(start)).cast("B")

    return allocated


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
    return True
