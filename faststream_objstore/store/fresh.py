"""Fresh memory that is there before it is written, so that the event loop does not wait.

The kernel provides memory when it is first written, a page at a time: for 256 MiB, it is
entered 65,536 times, a third of the time that the event loop takes to receive them. In a
thread, and for many pages at once, it takes less time, and none of the event loop's. With huge
pages (2 MiB) it takes a third of that; most distributions give them only to those who ask.
"""

import sys
import time
from collections.abc import Callable
from functools import cache

__all__ = ("PAGED_FROM", "FreshMemory")

PAGED_FROM = 8 * 1024 * 1024
"""For less memory, handing over to a thread is not worth it."""

_HUGE_PAGE = 2 * 1024 * 1024
_PIECE = 2 * _HUGE_PAGE
# Some virtual machines return free huge pages to their host, from which they come back slowly
# (1.5 ns a byte). Small pages, of which enough are at hand, are then faster (0.3 ns); on all
# other machines huge ones are (0.1 ns).
_SLOW_NS_A_BYTE = 0.5

# Of Linux, the same on all architectures; `mmap` has no name for the second, of Linux 5.14.
_MADV_HUGEPAGE = 14
_MADV_POPULATE_WRITE = 23

_Advise = Callable[[int, int, int], int]


class FreshMemory:
    """A large memory that nobody has written to so far.

    Args:
        memory: The memory, of bytes.
    """

    def __init__(self, memory: memoryview) -> None:
        import ctypes  # noqa: PLC0415 - for those who read large objects

        self._memory = memory
        self._begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        # Only whole pages: what is around them belongs to others.
        self._next = _up(self._begin)
        self._end = (self._begin + memory.nbytes) // _HUGE_PAGE * _HUGE_PAGE
        self._huge = True

    def provide(self, start: int, stop: int) -> None:
        """Have the memory between two offsets there; blocks, so it belongs in a thread.

        It does not change the content, only how long the first write takes. Only one thread
        at a time may call it.
        """
        self._next = max(self._next, _up(self._begin + start))
        until = min(self._begin + stop, self._end)
        madvise = _madvise() if self._next < until else None
        while madvise is not None and self._next < until:
            size = min(_PIECE, self._end - self._next)
            if self._huge:
                # A kernel that was built without them refuses, which changes nothing.
                madvise(self._next, size, _MADV_HUGEPAGE)
            began = time.thread_time_ns()
            if madvise(self._next, size, _MADV_POPULATE_WRITE):
                # It is older, or has no memory left; whoever writes will find out.
                self._end = 0
                return
            if time.thread_time_ns() - began > size * _SLOW_NS_A_BYTE:
                self._huge = False
            self._next += size


def _up(address: int) -> int:
    return (address + _HUGE_PAGE - 1) // _HUGE_PAGE * _HUGE_PAGE


@cache
def _madvise() -> _Advise | None:
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # noqa: PLC0415 - for those who read large objects

        # It releases the interpreter lock.
        madvise = ctypes.CDLL(None).madvise
    except (ImportError, OSError, AttributeError):
        return None
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    advise: _Advise = madvise
    return advise
