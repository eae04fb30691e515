"""Chunks that are requested with the metadata: one round trip, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore.backends.jetstream import (
    JetStreamBackend,
    JetStreamServer,
    connection,
)
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.lane import Lanes, keeper
from faststream_objstore.exceptions import ObjectTooLargeError
from faststream_objstore.models import ObjectData, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import chunk_subject, metadata_subject, stream_config
from tests.settled import settled
from tests.store.support import soon, until

from .proxy import Proxy, between

pytestmark = pytest.mark.timeout(60)


class Line:
    """A bucket behind a proxy; `asked` has the subjects of all direct gets."""

    def __init__(self, proxy: Proxy, client: Client, backend: JetStreamBackend) -> None:
        self.proxy = proxy
        self.client = client
        self.backend = backend
        self.store = ObjectStore.on(backend)
        self.asked: list[str] = []

    async def hear(self, message: Msg) -> None:
        self.asked.append(message.subject.split(".", 5)[-1])

    async def forget(self) -> None:
        """Forget what was asked so far, all of which has been heard then."""
        await soon(self.store.exists("end"))
        end = metadata_subject(self.backend.bucket, "end")
        # Requests of a connection arrive in order.
        await until(lambda: end in self.asked)
        self.asked.clear()

    async def stalled_get(self) -> "asyncio.Future[ObjectData]":
        """Begin a get of `cat`, which was read twice before; no answer to it comes."""
        info = await soon(self.store.put("cat", b"a cat"))
        for _ in range(2):
            assert await soon(self.store.get("cat")) == b"a cat"
        await self.forget()
        self.proxy.stall()
        getting = asyncio.ensure_future(self.store.get("cat"))
        # Both requests have reached the server.
        await until(lambda: set(self.asked) == self.subjects("cat", info.nuid))
        return getting

    def subjects(self, name: str, nuid: str) -> set[str]:
        bucket = self.backend.bucket
        return {metadata_subject(bucket, name), chunk_subject(bucket, nuid)}

    @property
    def connections(self) -> list[Connection]:
        ordinary = self.backend._api.ordinary
        lane = Lanes.of(ordinary).current
        return [ordinary] if lane is None else [ordinary, lane]


@pytest.fixture(params=[False, True], ids=["ordinary", "lane"])
async def line(
    request: pytest.FixtureRequest,
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Line]:
    monkeypatch.setattr(keeper, "_MANY_STEPS", 1 if request.param else 1 << 62)
    # Requests are counted, so none may be repeated because the machine is busy.
    monkeypatch.setattr(connection, "REPEAT_SECONDS", 60.0)
    async with between(nats_server) as proxy:
        client = await nats.connect(proxy.url)
        config = stream_config(ObjectStoreConfig(bucket=bucket_name))
        backend = await soon(
            JetStreamServer(client, lane=request.param).create(bucket_name, config)
        )
        line = Line(proxy, client, backend)
        await nats_client.subscribe(f"$JS.API.DIRECT.GET.OBJ_{bucket_name}.>", cb=line.hear)
        await settled(nats_client)
        await soon(line.store.exists("nothing"))
        if request.param:
            await until(lambda: Lanes.of(backend._api.ordinary).current is not None)
        yield line
        assert not any(one._replies for one in line.connections)
        await client.close()


async def test_an_object_that_did_not_change_is_read_in_one_round_trip(line: Line) -> None:
    getting = await line.stalled_get()
    assert not getting.done()
    line.proxy.go_on()

    assert await soon(getting) == b"a cat"
    assert len(line.asked) == 2


async def test_an_object_that_has_just_changed_is_read_without_a_guess(line: Line) -> None:
    for number in range(3):
        await soon(line.store.put("cat", b"%d" % number))
        await soon(line.store.get("cat"))
    subject = metadata_subject(line.backend.bucket, "cat")
    await line.forget()
    line.proxy.stall()

    getting = asyncio.ensure_future(line.store.get("cat"))
    await until(lambda: line.asked)
    # The early request would have been the first.
    assert line.asked == [subject]
    line.proxy.go_on()

    assert await soon(getting) == b"2"


async def test_nothing_is_requested_early_that_is_too_large_for_the_caller(line: Line) -> None:
    info = await soon(line.store.put("cat", b"a cat"))
    for _ in range(2):
        await soon(line.store.get("cat"))
    with pytest.raises(ObjectTooLargeError):
        await soon(line.store.get("cat", max_size=4))
    # Requests arrive in order.
    await soon(line.store.exists("end"))
    end = metadata_subject(info.bucket, "end")
    await until(lambda: end in line.asked)
    assert line.asked.count(chunk_subject(info.bucket, info.nuid)) == 2


async def test_few_are_requested_early_while_many_others_wait(line: Line) -> None:
    names = [f"cat-{number}" for number in range(30)]
    for name in names:
        await soon(line.store.put(name, name.encode()))
        for _ in range(2):
            await soon(line.store.get(name))
    wanted = {metadata_subject(line.backend.bucket, name) for name in names}
    await line.forget()
    line.proxy.stall()

    getting = asyncio.gather(*map(line.store.get, names))
    await until(lambda: wanted <= set(line.asked))
    # On a lane, two requests of each of the first four; then there are eight.
    assert 30 < len(line.asked) <= 34
    line.proxy.go_on()

    assert await soon(getting) == [name.encode() for name in names]


async def test_a_get_that_is_cancelled_leaves_nothing(line: Line) -> None:
    getting = await line.stalled_get()

    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(getting)

    assert not any(one._replies for one in line.connections)
    assert all(one._small._taken == 0 for one in line.connections)
    line.proxy.go_on()
    assert await soon(line.store.get("cat")) == b"a cat"


async def test_a_get_survives_a_lost_connection(line: Line) -> None:
    getting = await line.stalled_get()

    line.proxy.cut()

    assert await soon(getting) == b"a cat"
    assert all(one._small._taken == 0 for one in line.connections)


async def test_a_request_that_is_lost_is_made_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await soon(line.store.put("cat", b"a cat"))
    for _ in range(2):
        await soon(line.store.get("cat"))
    for one in line.connections:
        # Nothing is sent, and so never answered.
        monkeypatch.setattr(one, "_publish_with_next", lambda *_: True)

    line.backend.timeout = 600
    assert await soon(line.store.get("cat")) == b"a cat"


async def test_early_messages_are_those_that_are_stored(line: Line) -> None:
    backend = line.backend
    info = await soon(line.store.put("cat", b"a cat"))
    chunks = chunk_subject(info.bucket, info.nuid)
    for subject, expected in ((chunks, b"a cat"), (chunk_subject(info.bucket, "X"), None)):
        early = backend.early_message(subject, size=5)
        assert early is not None
        assert early.subject == subject
        # On a lane it is sent with what follows, or at the end of this turn.
        message = await soon(early.message())
        early.close()
        assert (None if message is None else message.data) == expected
