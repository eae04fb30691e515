"""Blocking work of many tasks, done in a thread a batch at a time.

Handing one small file to a thread and waiting for it costs more than reading or writing it.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ("Hops",)

T = TypeVar("T")

_Waiting = tuple[Callable[[], Any], "asyncio.Future[Any]"]

# Threads at a time: a slow file system is waited for in each, and more of them only compete.
_THREADS = 4


class Hops:
    """Runs functions in threads; whatever waits when a thread is free goes there together."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, act: Callable[[], T]) -> T:
        """Call `act` in a thread.

        If the caller is cancelled while the function runs, it is run to its end; if it has not
        begun, it is not run.

        Returns:
            What it returns; what it raises is raised.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((act, future))
        if len(self._running) < _THREADS:
            task = asyncio.ensure_future(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return cast("T", await future)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await asyncio.to_thread(_each, batch)
            except BaseException as error:
                # No thread could be started, or the loop is ending.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                raise
            for (_, future), (result, failure) in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if failure is None:
                    future.set_result(result)
                else:
                    future.set_exception(failure)


def _each(batch: list[_Waiting]) -> list[tuple[Any, BaseException | None]]:
    outcomes: list[tuple[Any, BaseException | None]] = []
    for act, future in batch:
        if future.cancelled():
            outcomes.append((None, None))
            continue
        try:
            outcomes.append((act(), None))
        except BaseException as error:  # noqa: BLE001 - raised to the task that waits for it
            outcomes.append((None, error))
    return outcomes
