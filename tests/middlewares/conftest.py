"""A broker with a claim check, in memory and on the server."""

import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import nats
import pytest
from faststream import BaseMiddleware
from faststream.nats import JStream, NatsBroker, PullSub, TestNatsBroker
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, soon

_numbers = itertools.count(1)

MIB = 1024 * 1024


class World:
    """One test's services: their buckets, streams and subjects have names of their own."""

    def __init__(self, url: str, *, in_memory: bool) -> None:
        self.url = url
        self.in_memory = in_memory
        number = f"{os.getpid()}-{next(_numbers)}"
        self.claims = Bucket(f"claims-{number}", ttl=timedelta(hours=1))
        self.subject = f"subject-{number}"
        self.stream = f"stream-{number}"
        self.streams = {f"OBJ_{self.claims.name}", self.stream}
        self.buckets = Buckets(self.claims)

    def check(self, **options: Any) -> ClaimCheckMiddleware:
        return ClaimCheckMiddleware(self.claims, **options)

    def broker(self, *middlewares: Any, **options: Any) -> NatsBroker:
        """A broker that has the bucket."""
        broker = self.plain(*middlewares, **options)
        self.buckets.attach(broker)
        return broker

    def plain(self, *middlewares: Any, **options: Any) -> NatsBroker:
        """A broker that does not have it."""
        return NatsBroker(self.url, logger=None, middlewares=middlewares, **options)

    def heard_by(self, broker: NatsBroker) -> Seen[str]:
        """What a subscriber of this broker gets on the subject."""
        seen = Seen[str]()

        @broker.subscriber(self.subject)
        async def handle(body: str) -> None:
            await seen.add(body)

        return seen

    @asynccontextmanager
    async def running(self, *brokers: NatsBroker) -> AsyncIterator[ObjectStore]:
        async with AsyncExitStack() as stack:
            if self.in_memory:
                await stack.enter_async_context(TestNatsBroker(*brokers))
            else:
                for broker in brokers:
                    await stack.enter_async_context(broker)
                    await soon(broker.start())
            yield await soon(self.buckets.open(self.claims))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client that knows nothing of claims."""
        client = await nats.connect(self.url)
        try:
            yield client
        finally:
            await client.close()

    async def delete_streams(self) -> None:
        async with self.client() as client:
            for stream in self.streams:
                try:
                    await client.jetstream().delete_stream(stream)
                except NotFoundError:
                    continue


@pytest.fixture(params=["in memory", "on the server"])
async def world(
    request: pytest.FixtureRequest, nats_server: NatsServer
) -> AsyncIterator[World]:
    world = World(nats_server.url, in_memory=request.param == "in memory")
    yield world
    if not world.in_memory:
        await world.delete_streams()


@pytest.fixture
async def on_server(nats_server: NatsServer) -> AsyncIterator[World]:
    """For what has no counterpart in memory."""
    world = World(nats_server.url, in_memory=False)
    yield world
    await world.delete_streams()


@pytest.fixture
def in_memory() -> World:
    return World("nats://nowhere", in_memory=True)


class Errors:
    """A middleware that keeps what went wrong with each message it saw."""

    def __init__(self) -> None:
        self.seen: list[type[BaseException] | None] = []

    def __call__(self, msg: Any, /, *, context: Any) -> "BaseMiddleware[Any, Any]":
        errors = self

        class Keep(BaseMiddleware[Any, Any]):
            async def after_processed(
                self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None
            ) -> bool | None:
                errors.seen.append(exc_type)
                return False

        return Keep(msg, context=context)


async def deleted(store: ObjectStore, count: int = 1) -> list[str]:
    """Wait until this many objects have been deleted; their names."""
    names: list[str] = []
    async with store.watch() as changes:
        while len(names) < count:
            info = await changes.updates(timeout=20)
            if info is not None and info.deleted:
                names.append(info.name)
    return names


async def only(store: ObjectStore) -> ObjectInfo:
    """The one object that there is."""
    (info,) = await store.list()
    return info


def reference_to(info: ObjectInfo, **changes: Any) -> str:
    """What the header says, written down independently of the code that writes it."""
    fields = {
        "bucket": info.bucket,
        "name": info.name,
        "size": info.size,
        "digest": info.digest,
    }
    return json.dumps(fields | changes)


def queue(
    world: World, broker: Any, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A work queue's subscriber."""
    subscriber: Callable[[Callable[..., Any]], Callable[..., Any]] = broker.subscriber(
        world.subject,
        stream=JStream(world.stream),
        durable="d",
        pull_sub=PullSub(**{"batch_size": 1, "timeout": 5.0, **options.pop("pull", {})}),
        **options,
    )
    return subscriber
