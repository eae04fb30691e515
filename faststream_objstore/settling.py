"""Work that must reach its end once it has begun, cancelled or not."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ("to_its_end",)

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; if the caller is cancelled meanwhile, finish it first.

    For the short steps in which stopping half-way would leave something behind: a
    metadata write whose answer is still out, the removal of chunks. `work` bounds its
    own waits.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; `work` has ended by then.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            # The cancellation is what the caller hears of; asyncio would otherwise
            # report the error as never retrieved.
            task.exception()
        raise cancelled
    return task.result()
