import asyncio

import pytest

from faststream_objstore.backends.jetstream.budget import Budget


async def soon(task: "asyncio.Task[None]") -> None:
    await asyncio.wait_for(task, 5)


def waits(budget: Budget, size: int) -> "asyncio.Task[None]":
    return asyncio.ensure_future(budget.acquire(size))


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_fits_is_there_at_once() -> None:
    budget = Budget(10)

    assert budget.take(6)
    assert budget.take(4)
    assert not budget.take(1)


async def test_first_come_first_served() -> None:
    budget = Budget(10)
    budget.take(10)
    large, small = waits(budget, 8), waits(budget, 1)
    await turn()

    budget.release(5)
    await turn()
    # One byte is free, and belongs to whoever came first.
    assert not large.done()
    assert not small.done()
    assert not budget.take(1)

    budget.release(3)
    await soon(large)
    assert not small.done()
    budget.release(8)
    await soon(small)


async def test_more_than_there_is_gets_everything_alone() -> None:
    budget = Budget(10)
    budget.take(1)
    huge = waits(budget, 1000)
    await turn()
    assert not huge.done()

    budget.release(1)
    await soon(huge)
    assert not budget.take(1)
    budget.release(1000)
    assert budget.take(10)


@pytest.mark.parametrize("granted", [False, True])
async def test_who_is_cancelled_takes_nothing_and_holds_up_nobody(granted: bool) -> None:
    budget = Budget(10)
    budget.take(10)
    first, second = waits(budget, 10), waits(budget, 3)
    await turn()
    if granted:
        budget.release(10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    if not granted:
        budget.release(10)

    await soon(second)
    assert budget.take(7)
    assert not budget.take(1)
