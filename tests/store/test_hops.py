"""Blocking functions that run in a few threads."""

import asyncio
import threading

import pytest

from faststream_objstore.store import hops as module
from faststream_objstore.store.hops import Hops
from tests.store.support import soon

pytestmark = pytest.mark.anyio


async def test_each_caller_gets_the_result_or_the_error_of_its_own_function() -> None:
    hops = Hops()

    def fail() -> int:
        raise OSError("the disk is full")

    first, second, third = await soon(
        asyncio.gather(
            *(hops.run(one) for one in (lambda: 1, fail, lambda: 3)), return_exceptions=True
        )
    )

    assert (first, third) == (1, 3)
    assert isinstance(second, OSError)
    assert str(second) == "the disk is full"


async def test_function_whose_caller_is_cancelled_before_it_begins_is_not_run() -> None:
    hops = Hops()
    go = threading.Event()
    started = threading.Semaphore(0)
    ran: list[str] = []

    def block() -> None:
        started.release()
        assert go.wait(10)

    blocking = asyncio.ensure_future(hops.run(block))
    try:
        # It keeps the only thread busy.
        assert await soon(asyncio.to_thread(started.acquire, timeout=10))
        dropped = asyncio.ensure_future(hops.run(lambda: ran.append("dropped")))
        kept = asyncio.ensure_future(hops.run(lambda: ran.append("kept")))
        await asyncio.sleep(0)
        dropped.cancel()
        await asyncio.gather(dropped, return_exceptions=True)
    finally:
        go.set()
    await soon(asyncio.gather(blocking, kept))

    assert ran == ["kept"]


async def test_caller_that_comes_again_as_soon_as_its_function_has_ended_is_served() -> None:
    hops = Hops()

    async def again_and_again() -> int:
        return sum([await hops.run(lambda: 1) for _ in range(20)])

    assert sum(await soon(asyncio.gather(again_and_again(), again_and_again()))) == 40


async def test_slow_disk_is_waited_for_in_several_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each function counts as slow.
    monkeypatch.setattr(module, "_SLOW_SECONDS", -1.0)
    hops = Hops()
    for _ in range(3):
        await soon(hops.run(lambda: None))

    # All of them have to run at the same time to end.
    barrier = threading.Barrier(4)
    await soon(asyncio.gather(*(hops.run(lambda: barrier.wait(10)) for _ in range(4))))
