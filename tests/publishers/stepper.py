"""Every order in which the steps of several replicas can follow each other.

A step is a call of the backend that reads or writes the metadata of one object: before each,
a replica waits for its turn. Orders that differ only in steps that cannot tell which of them
came first (of different objects, or both reads) are tried once: "sleep sets" (Godefroid).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ("Gated", "Step", "Stepper", "each_schedule", "gate")


class Step(NamedTuple):
    """What an actor is about to do."""

    subject: str
    writes: bool

    def commutes_with(self, other: "Step") -> bool:
        return self.subject != other.subject or not (self.writes or other.writes)


class Actor:
    """A task that waits for its turn before each step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.step: Step | None = None
        self.task: asyncio.Task[None] | None = None
        self._free = False
        self._arrived = asyncio.Event()
        self._turn = asyncio.Event()

    async def gate(self, step: Step) -> None:
        if self._free:
            return
        self.step = step
        self._arrived.set()
        await self._turn.wait()
        self._turn.clear()

    def take_turn(self) -> None:
        self.step = None
        self._arrived.clear()
        self._turn.set()

    def set_free(self) -> None:
        """Let it run to its end: what it does is not looked at any more."""
        self._free = True
        self._turn.set()

    async def settle(self) -> None:
        """Return once it waits for its turn or has ended; raises what it has raised."""
        assert self.task is not None
        arrived = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({arrived, self.task}, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if self.task.done():
            self.task.result()


_actor: ContextVar[Actor | None] = ContextVar("_actor", default=None)


async def gate(step: Step) -> None:
    """Wait for the turn of the actor whose task this is; outside of one, do not."""
    if (actor := _actor.get()) is not None:
        await actor.gate(step)


class Gated:
    """A backend whose metadata is read and written in turns."""

    def __init__(self, backend: Any) -> None:
        self.ungated = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ungated, name)

    async def last_message(self, subject: str, **options: Any) -> Any:
        await gate(Step(subject, writes=False))
        return await self.ungated.last_message(subject, **options)

    async def publish_metadata(self, subject: str, data: bytes, **options: Any) -> Any:
        await gate(Step(subject, writes=True))
        return await self.ungated.publish_metadata(subject, data, **options)


@dataclass
class _Node:
    """A moment at which an actor is chosen."""

    steps: dict[str, Step]
    asleep: set[str]
    tried: list[str] = field(default_factory=list)

    @property
    def untried(self) -> list[str]:
        return [name for name in self.steps if name not in self.asleep | {*self.tried}]


class Stepper:
    """Plays one schedule."""

    def __init__(self, path: list[_Node]) -> None:
        self.path = path
        self.trace: list[str] = []
        self._actors: list[Actor] = []
        self._over = False

    def spawn(self, name: str, work: Coroutine[Any, Any, None], first: Step | None) -> None:
        """Add an actor; `first` is a step of its own that `work` begins with."""
        actor = Actor(name)
        if self._over:
            actor.set_free()

        async def run() -> None:
            _actor.set(actor)
            if first is not None:
                await actor.gate(first)
            await work

        actor.task = asyncio.create_task(run(), name=name)
        self._actors.append(actor)

    async def run(self) -> bool:
        """Run all actors to their ends; `False` if another schedule has shown the same."""
        try:
            for place in range(10_000):
                # The list grows: an actor may spawn others.
                for actor in self._actors:
                    await actor.settle()
                waiting = {one.name: one for one in self._actors if one.step is not None}
                if not waiting:
                    return True
                if place == len(self.path):
                    self.path.append(self._node(waiting))
                    node = self.path[place]
                    if not node.untried:
                        return False
                    node.tried.append(node.untried[0])
                chosen = self.path[place].tried[-1]
                self.trace.append(chosen)
                waiting[chosen].take_turn()
            message = "the actors do not come to an end"
            raise AssertionError(message)
        finally:
            self._over = True
            for actor in self._actors:
                actor.set_free()
            for actor in self._actors:
                assert actor.task is not None
                await actor.task

    def _node(self, waiting: dict[str, Actor]) -> _Node:
        steps = {name: one.step for name, one in waiting.items() if one.step is not None}
        if not self.path:
            return _Node(steps, set())
        before = self.path[-1]
        chosen = before.steps[before.tried[-1]]
        asleep = {
            name
            for name in before.asleep | {*before.tried[:-1]}
            if before.steps[name].commutes_with(chosen)
        }
        return _Node(steps, asleep)


async def each_schedule(play: Callable[[Stepper], Awaitable[None]]) -> int:
    """Play all schedules, depth first; how many there were."""
    path: list[_Node] = []
    played = 0
    while True:
        await play(Stepper(path))
        played += 1
        while path and not path[-1].untried:
            path.pop()
        if not path:
            return played
        path[-1].tried.append(path[-1].untried[0])
