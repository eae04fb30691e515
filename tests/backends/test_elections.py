"""While a leader is elected, calls use their timeout; answers that are garbage are told."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.exceptions import StoreAPIError, StoreTimeoutError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.settled import settled
from tests.store.support import soon

pytestmark = pytest.mark.timeout(60)

ELECTING: dict[str, Any] = {
    "error": {"code": 503, "err_code": 10008, "description": "temporarily unavailable"}
}


class Leaderless:
    """Answers for the JetStream API, as servers do before a leader is elected.

    The first requests of each kind are refused; then they are handed to the real server.
    """

    def __init__(self, client: Client, prefix: str, refusals: int) -> None:
        self.client = client
        self.prefix = prefix
        self.refusals = refusals
        self.asked: dict[str, int] = {}

    async def start(self) -> None:
        await self.client.subscribe(f"{self.prefix}.>", cb=self._answer)
        # Requests may come over another connection.
        await settled(self.client)

    async def _answer(self, message: Any) -> None:
        verb = message.subject.removeprefix(self.prefix + ".")
        kind = ".".join(verb.split(".")[:2])
        self.asked[kind] = self.asked.get(kind, 0) + 1
        if self.asked[kind] <= self.refusals and not verb.startswith("CONSUMER.MSG"):
            await message.respond(json.dumps(ELECTING).encode())
            return
        await self.client.publish(f"$JS.API.{verb}", message.data, reply=message.reply)


async def test_requests_are_made_again_while_a_leader_is_elected(
    nats_client: Client, bucket_name: str
) -> None:
    prefix = f"electing.{bucket_name}"
    leaderless = Leaderless(nats_client, prefix, refusals=2)
    await leaderless.start()
    server = JetStreamServer(nats_client, prefix=prefix, timeout=10)
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    config["allow_direct"] = False
    store = ObjectStore.on(await soon(server.create(bucket_name, config)))

    await soon(store.put("cat", bytes(300_000)))
    assert len(await soon(store.get("cat"))) == 300_000
    assert [one.name for one in await soon(store.list())] == ["cat"]
    assert await soon(store.delete("cat"))
    assert leaderless.asked["STREAM.CREATE"] == 3
    assert leaderless.asked["STREAM.MSG"] >= 3
    assert leaderless.asked["CONSUMER.CREATE"] >= 3
    await soon(server.delete(bucket_name))


class Silent(Leaderless):
    """Answers nothing at first, as a server that is killed with the requests in hand."""

    async def _answer(self, message: Any) -> None:
        verb = message.subject.removeprefix(self.prefix + ".")
        kind = ".".join(verb.split(".")[:2])
        self.asked[kind] = self.asked.get(kind, 0) + 1
        if self.asked[kind] > self.refusals:
            await self.client.publish(f"$JS.API.{verb}", message.data, reply=message.reply)


@pytest.mark.parametrize("direct", [True, False])
async def test_reads_are_asked_again_while_nobody_answers(
    nats_client: Client, bucket_name: str, direct: bool
) -> None:
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    config["allow_direct"] = direct
    real = JetStreamServer(nats_client)
    await soon(
        ObjectStore.on(await soon(real.create(bucket_name, config))).put("cat", b"meow")
    )
    silent = Silent(nats_client, f"silent.{bucket_name}", refusals=1)
    await silent.start()

    store = ObjectStore.on(
        await soon(
            JetStreamServer(nats_client, prefix=silent.prefix, timeout=8).open(bucket_name)
        )
    )
    assert (await soon(store.get_info("cat"))).size == 4

    assert silent.asked.keys() == {"STREAM.INFO", "DIRECT.GET" if direct else "STREAM.MSG"}
    # Answered at the second time, though a busy machine may not see it before the third.
    assert min(silent.asked.values()) >= 2
    await soon(real.delete(bucket_name))


async def test_what_changes_something_is_asked_once(
    nats_client: Client, bucket_name: str
) -> None:
    silent = Silent(nats_client, f"silent.{bucket_name}", refusals=100)
    await silent.start()
    server = JetStreamServer(nats_client, prefix=silent.prefix, timeout=1.5)

    with pytest.raises(StoreTimeoutError, match=r"within 1\.5 s"):
        await soon(server.delete(bucket_name))

    assert silent.asked["STREAM.DELETE"] == 1


async def test_an_election_that_takes_longer_than_the_timeout_is_told(
    nats_client: Client, bucket_name: str
) -> None:
    prefix = f"electing.{bucket_name}"
    leaderless = Leaderless(nats_client, prefix, refusals=1_000_000)
    await leaderless.start()
    server = JetStreamServer(nats_client, prefix=prefix, timeout=0.5)
    with pytest.raises(StoreAPIError, match="temporarily unavailable") as caught:
        await soon(server.open(bucket_name))
    assert caught.value.code == 503
    assert leaderless.asked["STREAM.INFO"] >= 3


class Untaken:
    """A stream that exists, by what the API says, and that nobody leads for a while.

    It is created when its information has been asked for several times.
    """

    def __init__(self, client: Client, bucket: str, *, until: int = 3) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = f"electing.{bucket}"
        self.real = JetStreamServer(client)
        self.config = wire.stream_config(ObjectStoreConfig(bucket=bucket))
        self.config["allow_direct"] = False
        self.asked = 0
        self._until = until

    async def start(self) -> JetStreamBackend:
        await self.client.subscribe(f"{self.prefix}.>", cb=self._answer)
        # Requests may come over another connection.
        await settled(self.client)
        return JetStreamBackend(
            JetStreamServer(self.client, prefix=self.prefix), self.bucket, self.config
        )

    async def _answer(self, message: Any) -> None:
        verb = message.subject.removeprefix(self.prefix + ".")
        mine = verb.endswith(f"OBJ_{self.bucket}")
        if mine and verb.startswith("STREAM.INFO"):
            self.asked += 1
            if self.asked == self._until:
                await self.real.create(self.bucket, self.config)
            state = {
                "messages": 0,
                "bytes": 0,
                "last_seq": 0,
                "last_ts": "2026-01-01T00:00:00Z",
            }
            info = {"config": self.config, "state": state, "created": "2026-01-01T00:00:00Z"}
            await message.respond(json.dumps(info).encode())
            return
        if mine and self.asked < self._until and verb.startswith(("DIRECT", "STREAM.MSG")):
            missing = {"error": {"code": 404, "err_code": 10037, "description": "no message"}}
            await message.respond(json.dumps(missing).encode())
            return
        await self.client.publish(f"$JS.API.{verb}", message.data, reply=message.reply)

    async def holds(self, name: str, content: bytes) -> None:
        """The object is there, and nothing of the attempts that nobody took."""
        assert self.asked >= self._until
        store = ObjectStore.on(await self.real.open(self.bucket))
        assert await store.get(name) == content
        # Each chunk takes some bytes of its own.
        assert (await store.status()).size < len(content) + 100_000
        await self.real.delete(self.bucket)


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_put_waits_for_a_stream_that_takes_no_messages_just_now(
    nats_client: Client, bucket_name: str, size: int
) -> None:
    untaken = Untaken(nats_client, bucket_name)
    backend = await untaken.start()
    content = bytes(size)

    await soon(ObjectStore.on(backend).put("cat", content))

    await untaken.holds("cat", content)


@pytest.mark.parametrize("size", [10, 300_000, 30_000_000])
async def test_a_put_of_an_iterable_waits_for_a_stream_that_takes_no_messages_just_now(
    nats_client: Client, bucket_name: str, size: int
) -> None:
    untaken = Untaken(nats_client, bucket_name)
    backend = await untaken.start()
    # It has replicas, of which one is to be elected.
    backend._replicas = 3
    content = bytes(range(250)) * (size // 250) or b"0123456789"
    step = 100_000

    await soon(
        ObjectStore.on(backend).put(
            "cat", (content[at : at + step] for at in range(0, len(content), step))
        )
    )

    await untaken.holds("cat", content)


async def test_an_iterable_that_fails_while_a_leader_is_elected_is_not_put_in_part(
    nats_client: Client, bucket_name: str
) -> None:
    untaken = Untaken(nats_client, bucket_name)
    backend = await untaken.start()

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(200_000)
        message = "the source is elected, too"
        raise StoreAPIError(message, code=503)

    with pytest.raises(StoreAPIError, match="the source is elected, too"):
        await soon(ObjectStore.on(backend).put("cat", pieces()))
    await untaken.real.create(bucket_name, untaken.config)
    assert not await ObjectStore.on(await untaken.real.open(bucket_name)).exists("cat")
    await untaken.real.delete(bucket_name)


async def test_a_copy_waits_for_a_stream_that_takes_no_messages_just_now(
    nats_client: Client, bucket_name: str
) -> None:
    untaken = Untaken(nats_client, bucket_name, until=4)
    await untaken.start()
    source = f"{bucket_name}-source"
    config = wire.stream_config(ObjectStoreConfig(bucket=source))
    content = bytes(range(250)) * 20_000
    await soon(ObjectStore.on(await untaken.real.create(source, config)).put("cat", content))
    server = JetStreamServer(nats_client, prefix=untaken.prefix)

    await soon(ObjectStore.on(await server.open(source)).copy("cat", "dog", bucket_name))

    await untaken.holds("dog", content)
    await untaken.real.delete(source)


STATE = b'{"state": 5, "message": {}}'
CALLS: dict[str, tuple[str, Callable[[JetStreamBackend], Awaitable[Any]]]] = {
    "state": ("STREAM.INFO.OBJ_b", lambda one: one.state()),
    "subjects": ("STREAM.INFO.OBJ_b", lambda one: one.subjects(">")),
    "leader": ("STREAM.MSG.GET.OBJ_b", lambda one: one.last_message("x", leader=True)),
    "purge": ("STREAM.PURGE.OBJ_b", lambda one: one.purge("x")),
    "consumers": ("CONSUMER.LIST.OBJ_b", lambda one: one.consumers()),
    "buckets": ("STREAM.NAMES", lambda one: one._server.buckets()),
    "create": ("STREAM.CREATE.OBJ_b", lambda one: one._server.create("b", {})),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [b"[]", b"null", b"\xff", b'{"error": 5}', b'"x"', b"{}", STATE],
)
async def test_an_answer_that_is_garbage_names_its_subject(
    nats_client: Client, bucket_name: str, call: str, answer: bytes
) -> None:
    prefix = f"garbage.{bucket_name}"

    async def respond(message: Any) -> None:
        await message.respond(answer)

    await nats_client.subscribe(f"{prefix}.>", cb=respond)
    await settled(nats_client)
    backend = JetStreamBackend(JetStreamServer(nats_client, prefix=prefix), "b")
    subject, act = CALLS[call]
    if call in {"purge", "consumers", "buckets"} and answer in {b"{}", STATE}:
        # That nothing is there is an answer to these.
        assert not await soon(act(backend))
        return
    with pytest.raises(StoreAPIError) as caught:
        await soon(act(backend))
    assert f"'{prefix}.{subject}'" in str(caught.value)


async def test_an_acknowledgement_that_is_garbage_is_no_failure(
    nats_client: Client,
) -> None:
    async def respond(message: Any) -> None:
        await message.respond(b'{"stream": "OBJ_garbled"}')

    await nats_client.subscribe("$O.garbled.M.>", cb=respond)
    await settled(nats_client)
    backend = JetStreamBackend(JetStreamServer(nats_client), "garbled")
    with pytest.raises(StoreTimeoutError, match=r"\$O\.garbled\.M\.x"):
        await soon(backend.publish_metadata("$O.garbled.M.x", b"{}", expected_sequence=0))
