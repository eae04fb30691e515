"""Work that must run to completion once it has begun, even if the caller is cancelled."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

__all__ = ("run_to_completion",)

T = TypeVar("T")


def _wake(ended: "asyncio.Future[None]", _: object) -> None:
    if not ended.done():
        ended.set_result(None)


async def run_to_completion(work: "Coroutine[Any, Any, T] | asyncio.Future[T]") -> T:
    """Await `work`; if the caller is cancelled in the meantime, finish it first.

    For short steps that would leave something behind if stopped half-way: a metadata write
    whose response is pending, the removal of chunks. `work` limits its own waiting time.

    Args:
        work: The coroutine or future to await.

    Returns:
        Its result.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; `work` has ended by then.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        # `asyncio.wait` does the same, but costs as much as the rest of a small put.
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
            # The caller gets the cancellation; without this, asyncio would report the
            # error as never retrieved.
            task.exception()
        raise cancelled
    return task.result()
