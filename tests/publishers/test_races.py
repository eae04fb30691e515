"""Whatever replica is faster: every order of the steps of all that happens at once."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore import wire
from faststream_objstore.backends.memory.backend import MemoryBackend
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.changes.inprocess import InProcessChange
from faststream_objstore.changes.subscriber import ChangeSubscriber
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.publishers.stepper import Gated, Step, Stepper, each_schedule, gate

SOURCE, RESULT = "cat.png", "cat.webp"


class World:
    """Sources, results, and a subscriber whose replicas handle what they are told to."""

    def __init__(self, bucket: str) -> None:
        sources, results = Bucket(f"{bucket}-s"), Bucket(f"{bucket}-r")
        self.names = sources.name, results.name
        self.subject = wire.metadata_subject(sources.name, SOURCE)
        self.nothing_of: set[int] = set()
        """Revisions whose handler returns nothing."""
        self.subscriber: ChangeSubscriber = sources.on_put("{stem}.png")
        self.subscriber(results.publisher("{stem}.webp")(self._handler))
        self._declared = sources, results
        self._backends: dict[str, Gated] = {}

    async def _handler(self, info: ObjectInfo) -> bytes | None:
        return None if info.revision in self.nothing_of else b"%d" % info.revision

    @contextlib.asynccontextmanager
    async def entered(self, server: NatsServer | None) -> AsyncIterator["World"]:
        """In memory, or on a server."""
        async with contextlib.AsyncExitStack() as stack:
            if server is None:
                broker = NatsBroker(logger=None)
                buckets = Buckets(broker, *self._declared)
                await stack.enter_async_context(TestNatsBroker(broker))
            else:
                broker = NatsBroker(server.url, logger=None)
                buckets = Buckets(broker, *self._declared)
                # Not started: it is said here what a replica is told of, and when.
                await stack.enter_async_context(broker)
            binding = await buckets._attached.bound()
            for name, backend in binding.backends.items():
                if isinstance(backend, MemoryBackend):
                    # Changes are handled when a replica has its turn, not by the put.
                    backend._server._subscribers.clear()
                self._backends[name] = Gated(backend)
            binding.backends.update(self._backends)
            # What the user does is one step, whatever it consists of.
            self.sources, self.results = (
                ObjectStore.on(self._backends[name].ungated) for name in self.names
            )
            yield self

    async def empty(self) -> None:
        for name, backend in self._backends.items():
            for subject in await backend.subjects(f"$O.{name}.>"):
                await backend.purge(subject)

    async def newest(self) -> InProcessChange:
        """What a replica is told of the source as it is now."""
        stored = await self._backends[self.names[0]].ungated.last_message(
            self.subject, leader=True
        )
        return InProcessChange.of(stored, self.names[0])

    async def put(self) -> InProcessChange:
        await self.sources.put(SOURCE, b"source")
        return await self.newest()

    async def delete(self) -> InProcessChange:
        await self.sources.delete(SOURCE)
        return await self.newest()

    async def result(self) -> bytes | None:
        """The content of the result, if there is one; chunks of no other."""
        bucket = self.names[1]
        chunks = await self._backends[bucket].subjects(wire.all_chunks_subject(bucket))
        if not await self.results.exists(RESULT):
            assert chunks == {}
            return None
        data = await self.results.get(RESULT)
        assert chunks == {wire.chunk_subject(bucket, data.info.nuid): data.info.chunks}
        return bytes(data)


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.once)])
def server(request: pytest.FixtureRequest) -> NatsServer | None:
    found: NatsServer | None = None
    if request.param == "server":
        found = request.getfixturevalue("nats_server")
    return found


Story = Callable[["Game"], Coroutine[Any, Any, None]]


class Game:
    """One schedule in the world."""

    def __init__(self, world: World, stepper: Stepper) -> None:
        self.world = world
        self._stepper = stepper

    def replica(self, name: str, change: InProcessChange) -> None:
        """Have a replica handle a change, in turns."""
        self._stepper.spawn(name, self.world.subscriber.deliver(change), None)

    async def turn(self) -> None:
        """Wait for the user's next turn; the story begins in the first."""
        await gate(Step(self.world.subject, writes=True))


async def deleted(game: Game) -> None:
    game.replica("deletion", await game.world.delete())


async def overwritten(game: Game) -> None:
    game.replica("second put", await game.world.put())


async def deleted_and_put_again(game: Game) -> None:
    game.replica("deletion", await game.world.delete())
    await game.turn()
    game.replica("second put", await game.world.put())


async def deleted_unnoticed_and_put_again(game: Game) -> None:
    # The stream keeps one message for each object: nobody need have seen the marker.
    await game.world.delete()
    await game.turn()
    game.replica("second put", await game.world.put())


async def overwritten_by_what_has_no_result(game: Game) -> None:
    change = await game.world.put()
    game.world.nothing_of.add(change.info.revision)
    game.replica("second put", change)


async def put_again_and_deleted(game: Game) -> None:
    game.replica("second put", await game.world.put())
    await game.turn()
    game.replica("deletion", await game.world.delete())


@pytest.mark.parametrize(
    "story, newest_has_result",
    [
        (deleted, False),
        (overwritten, True),
        (deleted_and_put_again, True),
        (deleted_unnoticed_and_put_again, True),
        (overwritten_by_what_has_no_result, False),
        (put_again_and_deleted, False),
    ],
)
@pytest.mark.parametrize(
    "server, there_before",
    [
        ("memory", False),
        ("memory", True),
        # Long: each step is a round trip.
        pytest.param("server", True, marks=pytest.mark.once),
    ],
    indirect=["server"],
)
async def test_result_is_of_the_newest_source_in_every_order_of_the_steps(
    story: Story,
    newest_has_result: bool,
    there_before: bool,
    server: NatsServer | None,
    bucket_name: str,
    record_property: Callable[[str, object], None],
) -> None:
    async with World(bucket_name).entered(server) as world:

        async def play(stepper: Stepper) -> None:
            await world.empty()
            if there_before:
                # The result of an older version, so that a late one replaces something.
                await world.subscriber.deliver(await world.put())
            game = Game(world, stepper)
            game.replica("first put", await world.put())
            stepper.spawn("user", story(game), Step(world.subject, writes=True))
            if not await stepper.run():
                return
            newest = (await world.newest()).info
            expected = b"%d" % newest.revision if newest_has_result else None
            assert await world.result() == expected, stepper.trace

        record_property("schedules", await each_schedule(play))


async def test_change_that_two_replicas_handle_at_once_has_one_result(
    server: NatsServer | None, bucket_name: str
) -> None:
    async with World(bucket_name).entered(server) as world:

        async def play(stepper: Stepper) -> None:
            await world.empty()
            game = Game(world, stepper)
            change = await world.put()
            game.replica("one", change)
            game.replica("two", await world.newest())
            if await stepper.run():
                assert await world.result() == b"%d" % change.info.revision

        await each_schedule(play)
