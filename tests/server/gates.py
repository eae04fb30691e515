"""Interleavings on demand: a backend that stops before each of its requests."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from faststream_objstore.backends.base import Backend, MessageStream

# What a race is made of; everything else goes on unheard.
_STEPS = frozenset({"last_message", "publish_metadata", "purge"})

Permit: TypeAlias = Callable[[str], Awaitable[None]]


class Gated:
    """A backend that asks `permit` before each step; all else is the inner one's."""

    def __init__(self, inner: Backend, permit: Permit) -> None:
        self._inner = inner
        self._permit = permit

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._inner, attribute)
        if attribute == "messages":
            return lambda *args, **kwargs: _Late(value(*args, **kwargs), self._permit)
        if attribute not in _STEPS:
            return value

        async def step(*args: Any, **kwargs: Any) -> Any:
            await self._permit(attribute)
            return await value(*args, **kwargs)

        return step


class _Late:
    """A message stream that asks before it is opened."""

    def __init__(self, stream: MessageStream, permit: Permit) -> None:
        self._stream = stream
        self._permit = permit

    async def __aenter__(self) -> MessageStream:
        await self._permit("messages")
        return await self._stream.__aenter__()

    async def __aexit__(self, *error: Any) -> None:  # noqa: PYI036 - handed on as it is
        await self._stream.__aexit__(*error)


class Hold:
    """Stops the n-th step of a kind until `release`.

    Args:
        step: The backend's method.
        number: Which call of it, from 1.
    """

    def __init__(self, step: str, number: int = 1) -> None:
        self._step = step
        self._left = number
        self.reached = asyncio.Event()
        self._go = asyncio.Event()

    async def permit(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                await self._go.wait()

    def release(self) -> None:
        self._go.set()


class Schedule:
    """Runs works one step at a time, in an order that a seed decides.

    While one work takes a step all others stand at their gates, so a seed gives the same
    interleaving each time: what fails can be run again.

    Args:
        seed: Decides where `order` does not.
        order: Labels of the works that take the first steps.
    """

    def __init__(self, seed: int, order: Sequence[str] = ()) -> None:
        self._random = random.Random(seed)
        self._order = list(order)
        self._changed = asyncio.Event()
        self._turns: list[tuple[str, asyncio.Future[None]]] = []
        self.steps: list[str] = []

    def permit_of(self, label: str) -> Permit:
        """What the `Gated` backend of one work asks."""

        async def permit(step: str) -> None:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.append((f"{label}: {step}", turn))
            self._changed.set()
            await turn

        return permit

    async def run(self, works: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """The results, or the errors, of all works."""
        tasks = [asyncio.ensure_future(work) for work in works]
        for task in tasks:
            task.add_done_callback(lambda _: self._changed.set())
        while running := sum(not task.done() for task in tasks):
            self._changed.clear()
            if len(self._turns) < running:
                await self._changed.wait()
                continue
            index = self._random.randrange(len(self._turns))
            if self._order:
                label = self._order.pop(0)
                for number, (step, _) in enumerate(self._turns):
                    if step.startswith(f"{label}:"):
                        index = number
            step, turn = self._turns.pop(index)
            self.steps.append(step)
            turn.set_result(None)
        return await asyncio.gather(*tasks, return_exceptions=True)
