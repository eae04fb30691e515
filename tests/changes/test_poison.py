"""Changes that no handler can digest: called a bounded number of times, then told."""

import asyncio
import json
import logging
from typing import Any

import nats
import pytest
from faststream import BaseMiddleware
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import Bucket, Buckets, ObjectInfo, Retry, wire
from faststream_objstore.testing import NatsServer
from tests.settled import settled

from .support import Names, consumers_of, running, soon, store_of

pytestmark = pytest.mark.anyio


async def letters_on(client: Client, subject: str) -> "asyncio.Queue[Msg]":
    letters: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(subject, cb=letters.put)
    await settled(client)
    return letters


TWICE = Retry(attempts=2, delays=(0.01,))


def failing(bucket: Bucket, error: Exception, retry: Retry | None) -> Names:
    """A handler that fails for every object, and then tells `dead.<bucket>`; its calls."""
    calls = Names()

    @bucket.on_put(durable="worker", retry=retry, dead_letter=f"dead.{bucket.name}")
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        raise error

    return calls


async def unacknowledged(client: Client, bucket: str, durable: str = "worker") -> int:
    info = await client.jetstream().consumer_info(f"OBJ_{bucket}", durable)
    return int(info.num_ack_pending or 0)


async def test_letter_that_only_fits_without_its_headers_does_not_close_the_connection(
    bucket_name: str,
) -> None:
    async with NatsServer(config="max_payload: 64KB") as server:
        client = await nats.connect(server.url)
        letters = await letters_on(client, "dead")
        bucket = Bucket(bucket_name)

        @bucket.on_put(durable="worker", retry=None, dead_letter="dead")
        async def handle(info: ObjectInfo) -> None:
            if info.name != "good":
                raise ValueError("no image")
            await calls.take(info)

        calls = Names()
        async with running(server.url, bucket) as buckets:
            store = await store_of(buckets, bucket)
            await store.put("a", b"", metadata={"k": "x"})
            small = await soon(letters.get())
            # The body of the next one is as long as a message may be, headers included.
            filler = "x" * (1 + 64 * 1024 - len(small.data))
            await store.put("b", b"", metadata={"k": filler})
            letter = json.loads((await soon(letters.get())).data)
            assert letter["object"]["name"] == "b"
            assert letter["object"]["metadata"] is None
            assert letter["left_out"] == ["metadata"]
            assert letter["error"] == "ValueError: no image"
            await store.put("good", b"")
            await calls.wait_for(1)
            connection: Any = buckets.broker
            assert connection._connection.stats["reconnects"] == 0
        await client.close()


async def test_text_of_an_error_is_bounded_in_the_letter_and_in_the_log(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    letters = await letters_on(nats_client, f"dead.{bucket_name}")
    bucket = Bucket(bucket_name)
    calls = failing(bucket, ValueError("é" * 1_000_000), TWICE)

    async with running(nats_server.url, bucket) as buckets:
        caplog.set_level(logging.DEBUG)
        store = await store_of(buckets, bucket)
        await store.put("a", b"")
        letter = json.loads((await soon(letters.get())).data)
    # "ValueError: " are 12 bytes, each "é" is 2 in UTF-8: 12 + 2 * 2042 = 4096.
    assert letter["error"] == f"ValueError: {'é' * 2042} … (1995916 bytes more)"
    assert letter["attempts"] == 2
    assert calls.all == ["a", "a"]
    assert await unacknowledged(nats_client, bucket_name) == 0


async def test_error_that_cannot_be_shown_is_bounded_by_attempts_too(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    letters = await letters_on(nats_client, f"dead.{bucket_name}")
    bucket = Bucket(bucket_name)

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    calls = failing(bucket, UnprintableError(), None)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"")
        letter = json.loads((await soon(letters.get())).data)
    assert letter["error"] == "UnprintableError: (its text raises RuntimeError)"
    assert calls.all == ["a"]
    assert await unacknowledged(nats_client, bucket_name) == 0


async def test_lone_surrogate_in_foreign_metadata_does_not_keep_the_letter_back(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    letters = await letters_on(nats_client, f"dead.{bucket_name}")
    bucket = Bucket(bucket_name)
    calls = failing(bucket, ValueError("no \udcff"), TWICE)

    async with running(nats_server.url, bucket):
        body = (
            f'{{"name": "a", "bucket": "{bucket_name}", "nuid": "n", "size": 0, "chunks": 0,'
            ' "description": "half \\ud800"}'
        )
        subject = wire.metadata_subject(bucket_name, "a")
        await nats_client.jetstream().publish(subject, body.encode())
        letter = json.loads((await soon(letters.get())).data)
    assert letter["object"]["description"] == "half \\ud800"
    assert letter["error"] == "ValueError: no \\udcff"
    assert calls.all == ["a", "a"]
    assert await unacknowledged(nats_client, bucket_name) == 0


@pytest.mark.parametrize("token", ["!!!", "YR==", "x.y", "/w=="])
async def test_subject_that_is_no_name_is_passed_over_in_one_short_line(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    token: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable="worker")(calls.take)
    broker = NatsBroker(nats_server.url, logger=logging.getLogger("test"))
    buckets = Buckets(broker, bucket)
    await broker.start()
    try:
        body = json.dumps(
            {"name": "a" * 100_000, "bucket": bucket_name, "nuid": "n", "size": 0, "chunks": 0}
        )
        await nats_client.jetstream().publish(f"$O.{bucket_name}.M.{token}", body.encode())
        await (await store_of(buckets, bucket)).put("good", b"")
        assert await calls.wait_for(1) == ["good"]
    finally:
        await broker.stop()
    assert await unacknowledged(nats_client, bucket_name) == 0
    [warning] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert token in warning.getMessage()
    assert len(warning.getMessage()) < 2_000


async def test_attempts_are_a_bound_though_the_letter_cannot_be_published(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refuse(BaseMiddleware):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            raise OSError("no way out")

    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(
        durable="worker", retry=Retry(attempts=2, delays=(0.01,)), dead_letter="dead"
    )
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        if info.name == "bad":
            raise ValueError("no image")

    broker = NatsBroker(
        nats_server.url, logger=logging.getLogger("test"), middlewares=[Refuse]
    )
    buckets = Buckets(broker, bucket)
    await broker.start()
    try:
        store = await store_of(buckets, bucket)
        await store.put("bad", b"")
        await store.put("good", b"")
        await calls.wait_until_last("good")
        while await unacknowledged(nats_client, bucket_name):
            await asyncio.sleep(0.05)
    finally:
        await broker.stop()
    assert sorted(calls.all) == ["bad", "bad", "good"]
    [told] = [one.getMessage() for one in caplog.records if "gave up on" in one.getMessage()]
    assert "'bad'" in told
    assert "no way out" in told
    assert "no image" in told


@pytest.mark.parametrize("given_back, called", [(22, False), (21, True)])
async def test_change_that_kills_its_process_is_called_at_most_twenty_times_more(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    given_back: int,
    called: bool,
) -> None:
    # To the server a process that died is a delivery without an answer; here nats-py gives
    # each back. With two attempts the 22nd delivery is the last that is handed over.
    letters = await letters_on(nats_client, f"dead.{bucket_name}")
    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(
        durable="worker",
        retry=Retry(attempts=2, delays=(0.01,)),
        dead_letter=f"dead.{bucket_name}",
    )
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        if info.name == "bad":
            raise ValueError("raised in the end")

    async with running(nats_server.url, bucket):
        pass
    assert await consumers_of(nats_client, bucket_name) == ["worker"]
    js = nats_client.jetstream()
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        await (await buckets.open(bucket_name)).put("bad", b"")
    pull = await js.pull_subscribe_bind("worker", f"OBJ_{bucket_name}")
    for _ in range(given_back):
        [message] = await pull.fetch(1, timeout=5)
        await message.nak()
    await settled(nats_client)

    async with running(nats_server.url, bucket) as buckets:
        letter = json.loads((await soon(letters.get())).data)
        await (await store_of(buckets, bucket)).put("good", b"")
        await calls.wait_until_last("good")
    assert calls.all == (["bad", "good"] if called else ["good"])
    assert letter["object"]["name"] == "bad"
    assert letter["attempts"] == given_back + 1
    assert letter["error"] == (
        "ValueError: raised in the end"
        if called
        else "delivered 23 times without an acknowledgement: its process died, or gave it back"
    )
    assert await unacknowledged(nats_client, bucket_name) == 0
