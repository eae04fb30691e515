"""Work that must reach its end once it has begun, cancelled or not."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

__all__ = ("to_its_end",)

T = TypeVar("T")


def _wake(ended: "asyncio.Future[None]", _: object) -> None:
    if not ended.done():
        ended.set_result(None)


async def to_its_end(work: "Coroutine[Any, Any, T] | asyncio.Future[T]") -> T:
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
        # `asyncio.wait` does the same, and costs as much as the rest of a small put.
        ended = task.get_loop().create_future()
        wake = partial(_wake, ended)
        task.add_done_callback(wake)
        try:
            await ended
        except asyncio.CancelledError as error:
            cancelled = error
        finally:
            task.remove_done_callback(wake)
    if cancelled is not None:
        if not task.cancelled():
            # The cancellation is what the caller hears of; asyncio would otherwise
            # report the error as never retrieved.
            task.exception()
        raise cancelled
    return task.result()
