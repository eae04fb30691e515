import asyncio

import pytest

from faststream_objstore.backends.jetstream import budget as budget_module
from faststream_objstore.backends.jetstream.budget import Budget, Share

LONG = 30.0


async def soon(task: "asyncio.Task[bool]") -> None:
    assert await asyncio.wait_for(task, 5)


def waits(share: Share, size: int, seconds: float = LONG) -> "asyncio.Task[bool]":
    return asyncio.ensure_future(share.acquire(size, seconds))


def taking(budget: Budget, size: int) -> Share:
    share = budget.share()
    assert share.take(size)
    return share


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_fits_is_there_at_once() -> None:
    budget = Budget(10)

    taking(budget, 6)
    taking(budget, 4)
    assert not budget.share().take(1)


async def test_first_come_first_served() -> None:
    budget = Budget(10)
    first = taking(budget, 10)
    one, other = budget.share(), budget.share()
    large, small = waits(one, 8), waits(other, 1)
    await turn()

    first.release(5)
    await turn()
    # Five bytes are free, and belong to whoever came first.
    assert not large.done()
    assert not small.done()
    assert not budget.share().take(1)

    first.release(3)
    await soon(large)
    assert not small.done()
    one.release(8)
    await soon(small)
    assert (first.size, one.size, other.size) == (2, 0, 1)


async def test_more_than_there_is_gets_everything_alone() -> None:
    budget = Budget(10)
    first = taking(budget, 1)
    share = budget.share()
    huge = waits(share, 1000)
    await turn()
    assert not huge.done()

    first.release(1)
    await soon(huge)
    assert not budget.share().take(1)
    share.release(1000)
    taking(budget, 10)


@pytest.mark.parametrize("granted", [False, True])
async def test_who_is_cancelled_takes_nothing_and_holds_up_nobody(granted: bool) -> None:
    budget = Budget(10)
    held = taking(budget, 10)
    first, second = waits(budget.share(), 10), waits(budget.share(), 3)
    await turn()
    if granted:
        held.release(10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    if not granted:
        held.release(10)

    await soon(second)
    taking(budget, 7)
    assert not budget.share().take(1)


async def test_what_was_under_way_on_a_lost_connection_is_free_on_the_next() -> None:
    connections = [0]
    budget = Budget(10, lambda: connections[0])
    paused = taking(budget, 10)
    share = budget.share()
    waiting = waits(share, 8)
    await turn()
    assert not waiting.done()

    connections[0] = 1
    await soon(waiting)
    # What the old one gives back now is not taken from the new one's.
    paused.release(10)
    assert not budget.share().take(3)
    taking(budget, 2)
    assert paused.size == 0
    # And it may take part again.
    share.release(8)
    assert paused.take(5)
    assert paused.size == 5


async def test_who_waits_while_nothing_comes_for_anybody_is_told_so() -> None:
    budget = Budget(10)
    held = taking(budget, 10)
    assert not await asyncio.wait_for(budget.share().acquire(5, 0.05), 5)

    # It holds up nobody afterwards.
    held.release(4)
    taking(budget, 4)


async def test_who_waits_while_others_move_waits_for_its_turn() -> None:
    budget = Budget(10)
    held = taking(budget, 10)
    waiting = waits(budget.share(), 10, 2.0)
    for _ in range(9):
        await asyncio.sleep(0.25)
        held.release(1)
    assert not waiting.done()
    held.release(1)
    await soon(waiting)


async def test_a_reader_whose_messages_never_come_does_not_keep_its_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = Budget(10)
    stuck = taking(budget, 10)
    waiting = waits(budget.share(), 5)
    await turn()
    assert not waiting.done()

    monkeypatch.setattr(budget_module, "_STUCK_SECONDS", 0.0)
    await soon(waiting)
    assert stuck.size == 0
