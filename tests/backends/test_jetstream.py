"""What only a server does to the JetStream backend: crashes, deletions, cancellations."""

import asyncio
import hashlib
import json
import logging
import signal
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, TypeVar

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import Deliver, StoredMessage
from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.backends.jetstream import ordered as ordered_module
from faststream_objstore.backends.jetstream import stream as stream_module
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.ordered import OrderedConsumer
from faststream_objstore.backends.jetstream.waiting import wait_for
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjStoreError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.settling import run_to_completion
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import parse_time
from tests.settled import settled
from tests.store.support import until

pytestmark = pytest.mark.timeout(60)

T = TypeVar("T")

KIB = 1024
MIB = 1024 * 1024


async def soon(work: Awaitable[T], seconds: float = 30.0) -> T:
    """The result, or a failure: no test here waits for ever."""
    return await asyncio.wait_for(work, seconds)


async def quiet(_: Exception) -> None:
    """nats-py logs a lost connection as an error, which these tests provoke."""


def connect(server: NatsServer, **options: Any) -> Any:
    return nats.connect(
        server.url,
        error_cb=quiet,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        **options,
    )


async def create(
    client: Client, bucket: str, *, lane: bool = True, **options: Any
) -> JetStreamBackend:
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket, **options))
    return await JetStreamServer(client, lane=lane).create(bucket, config)


@pytest.fixture
async def backend(nats_client: Client, bucket_name: str) -> AsyncIterator[JetStreamBackend]:
    backend = await create(nats_client, bucket_name)
    tasks = asyncio.all_tasks()
    yield backend
    if bucket_name in await backend._server.buckets():
        assert await consumers(backend) == []
        await backend._server.delete(bucket_name)
    # The one for replies stays as long as somebody has the connection.
    assert len(nats_client._subs) <= 1
    left: list[Any] = []
    for _ in range(100):
        left = [task for task in asyncio.all_tasks() - tasks if not is_of_anyio(task)]
        if not left:
            break
        await asyncio.sleep(0.01)
    assert left == []


def is_of_anyio(task: "asyncio.Task[Any]") -> bool:
    """Whether the task is the plugin's own, which has a new one for each phase of a test."""
    return "TestRunner" in repr(task.get_coro())


@asynccontextmanager
async def crashing(*, lane: bool = True) -> AsyncIterator[tuple[NatsServer, JetStreamBackend]]:
    """A server of one's own, to kill, and a bucket on it."""
    async with NatsServer() as server:
        client = await connect(server)
        try:
            yield server, await create(client, "b", lane=lane)
        finally:
            # nats-py flushes what it still has, to a server that may be dead; on a broken
            # socket asyncio of Python 3.12 and later raises a TypeError.
            with suppress(OSError, TypeError):
                await client.close()


async def restart(server: NatsServer) -> None:
    await server.kill()
    await server.start()


async def consumers(backend: JetStreamBackend) -> list[str]:
    stream = wire.stream_name(backend.bucket)
    answer = await backend._api.call(
        f"CONSUMER.NAMES.{stream}", bucket=backend.bucket, timeout=10
    )
    return answer["consumers"] or []


def chunks(backend: JetStreamBackend, nuid: str = "N") -> str:
    return wire.chunk_subject(backend.bucket, nuid)


def metadata(backend: JetStreamBackend, name: str) -> str:
    return wire.metadata_subject(backend.bucket, name)


async def store(backend: JetStreamBackend, subject: str, *bodies: bytes) -> None:
    upload = backend.upload(subject)
    for body in bodies:
        await soon(upload.write(body))
    await soon(upload.finish())


async def read(backend: JetStreamBackend, subject: str, **options: Any) -> list[StoredMessage]:
    async with backend.messages(subject, **options) as stream:
        return [message async for message in stream]


def numbered(count: int, size: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * (size // 4) for number in range(count)]


# A server that crashes


async def test_an_upload_through_a_crash_fails_and_leaves_nothing() -> None:
    async with crashing() as (server, backend):
        backend.timeout = 1.0
        upload = backend.upload(chunks(backend))
        for _ in range(100):
            await soon(upload.write(bytes(128 * KIB)))
        await server.kill()

        async def write_on() -> None:
            while True:
                await upload.write(bytes(128 * KIB))

        with pytest.raises((StoreTimeoutError, NotConnectedError)):
            await soon(write_on())
        await server.start()
        await until(lambda: backend._api.ordinary.client.is_connected)
        await soon(upload.abort())

        assert (await soon(backend.state())).messages == 0


async def test_an_upload_whose_acknowledgements_are_lost_does_not_finish() -> None:
    async with crashing(lane=False) as (server, backend):
        backend.timeout = 1.0
        upload = backend.upload(chunks(backend))
        await upload.write(b"1")
        await upload.write(b"2")
        await server.kill()
        await server.start()

        with pytest.raises(StoreTimeoutError):
            await soon(upload.finish())
        await soon(upload.abort())

        assert (await soon(backend.state())).messages == 0


@pytest.mark.parametrize("taken", [0, 1, 40, 199])
async def test_a_read_goes_on_after_a_crash(taken: int) -> None:
    async with crashing() as (server, backend):
        bodies = numbered(200, 128 * KIB)
        await store(backend, chunks(backend), *bodies)

        async with backend.messages(chunks(backend)) as stream:
            messages = [await soon(stream.__anext__()) for _ in range(taken)]
            await restart(server)
            messages += await soon(rest(stream))

        assert [message.data for message in messages] == bodies
        assert await soon(consumers(backend)) == []


async def test_a_list_goes_on_after_a_crash() -> None:
    async with crashing() as (server, backend):
        for number in range(50):
            await backend.publish_metadata(
                metadata(backend, f"{number}"), b"{}" * 40_000, expected_sequence=0
            )
        async with backend.messages(
            wire.metadata_wildcard("b"), deliver=Deliver.LAST_PER_SUBJECT
        ) as stream:
            messages = [await soon(stream.__anext__())]
            await restart(server)
            messages += await soon(rest(stream))

        names = [wire.name_of(message.subject) for message in messages]
        assert names == [f"{number}" for number in range(50)]


@pytest.mark.parametrize("deliver", list(Deliver))
@pytest.mark.parametrize("before", [0, 2])
async def test_a_follower_goes_on_after_a_crash(deliver: Deliver, before: int) -> None:
    async with crashing() as (server, backend):
        async with backend.messages(
            wire.metadata_wildcard("b"), deliver=deliver, follow=True
        ) as stream:
            seen = []
            for number in range(before):
                await publish(backend, f"{number}")
                seen.append((await soon(stream.__anext__())).sequence)
            waiting = asyncio.ensure_future(stream.__anext__())
            await restart(server)
            await until(lambda: backend._api.ordinary.client.is_connected)
            await publish(backend, "after")
            seen.append((await soon(waiting)).sequence)

        assert seen == list(range(1, before + 2))
        assert await soon(consumers(backend)) == []


async def test_a_follower_misses_nothing_that_came_while_it_was_away() -> None:
    async with crashing() as (server, backend):
        other = await nats.connect(server.url, error_cb=quiet, allow_reconnect=False)
        async with backend.messages(wire.metadata_wildcard("b"), follow=True) as stream:
            await publish(backend, "0")
            assert (await soon(stream.__anext__())).sequence == 1
            client = backend._api.ordinary.client
            # Its own connection alone breaks.
            assert client._transport is not None
            client._transport.close()  # type: ignore[no-untyped-call]
            for number in range(1, 4):
                await other.jetstream().publish(metadata(backend, f"{number}"), b"{}")
            sequences = [(await soon(stream.__anext__())).sequence for _ in range(3)]

        assert sequences == [2, 3, 4]
        await other.close()


async def test_a_read_from_a_dead_server_ends_with_a_timeout() -> None:
    async with crashing() as (server, backend):
        await store(backend, chunks(backend), *numbered(100, 128 * KIB))
        backend.timeout = 1.0
        async with backend.messages(chunks(backend)) as stream:
            await soon(stream.__anext__())
            await server.kill()
            with pytest.raises(StoreTimeoutError, match="Bucket 'b'"):
                await soon(rest(stream))


async def test_requests_to_a_dead_server_end_with_a_timeout() -> None:
    async with crashing() as (server, backend):
        backend.timeout = 0.3
        await server.kill()
        with pytest.raises(StoreTimeoutError, match="Bucket 'b'"):
            await soon(backend.state())
        with pytest.raises(StoreTimeoutError, match="Bucket 'b'"):
            await soon(backend.last_message(chunks(backend)))


async def test_replies_come_again_after_a_restart() -> None:
    async with crashing() as (server, backend):
        await publish(backend, "cat")
        await restart(server)
        await until(lambda: backend._api.ordinary.client.is_connected)

        message = await soon(backend.last_message(metadata(backend, "cat")))

        assert message is not None
        assert message.sequence == 1


async def rest(stream: Any) -> list[StoredMessage]:
    return [message async for message in stream]


async def publish(backend: JetStreamBackend, name: str, sequence: int = 0) -> StoredMessage:
    subject = metadata(backend, name)
    return await soon(backend.publish_metadata(subject, b"{}", expected_sequence=sequence))


# A bucket that is deleted, recreated or full


async def test_a_bucket_deleted_under_a_reader_is_not_found(backend: JetStreamBackend) -> None:
    await store(backend, chunks(backend), *numbered(200, 128 * KIB))
    async with backend.messages(chunks(backend)) as stream:
        await soon(stream.__anext__())
        await backend._server.delete(backend.bucket)
        with pytest.raises(BucketNotFoundError):
            await soon(rest(stream), 5)


async def test_a_bucket_deleted_under_a_follower_is_not_found(
    backend: JetStreamBackend,
) -> None:
    async with backend.messages(chunks(backend), follow=True) as stream:
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        await backend._server.delete(backend.bucket)
        with pytest.raises(BucketNotFoundError):
            await soon(waiting, 15)


async def test_a_bucket_deleted_under_an_upload_is_not_found(
    backend: JetStreamBackend, caplog: pytest.LogCaptureFixture
) -> None:
    upload = backend.upload(chunks(backend))
    await upload.write(b"1")
    await backend._server.delete(backend.bucket)
    await upload.write(b"2")
    with pytest.raises(BucketNotFoundError):
        await soon(upload.finish())
    await soon(upload.abort(), 5)
    assert caplog.records == []


async def test_a_bucket_that_fills_up_keeps_nothing_of_an_aborted_upload(
    nats_client: Client, bucket_name: str
) -> None:
    backend = await create(nats_client, bucket_name, max_bytes=5 * MIB)
    upload = backend.upload(chunks(backend))

    async def write() -> None:
        for _ in range(200):
            await upload.write(bytes(128 * KIB))

    with pytest.raises(BucketFullError, match=f"Bucket '{bucket_name}' is full"):
        await soon(write())
    await soon(upload.abort())

    assert (await backend.state()).messages == 0
    await backend._server.delete(bucket_name)


async def test_a_purge_under_a_reader_ends_it_soon(backend: JetStreamBackend) -> None:
    await store(backend, chunks(backend), *numbered(400, 128 * KIB))
    async with backend.messages(chunks(backend)) as stream:
        assert stream.pending == 400
        await soon(stream.__anext__())
        assert await backend.purge(chunks(backend)) == 400
        await soon(rest(stream), 3)


async def test_an_abort_that_cannot_purge_warns_and_does_not_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with crashing() as (server, backend):
        backend.timeout = 0.3
        upload = backend.upload(chunks(backend))
        await upload.write(b"1")
        await server.kill()
        with caplog.at_level(logging.WARNING, "faststream_objstore"):
            await soon(upload.abort())

    (record,) = [one for one in caplog.records if one.name == "faststream_objstore"]
    assert record.levelno == logging.WARNING
    assert "$O.b.C.N" in record.getMessage()
    assert "sweep" in record.getMessage()


# Cancellation


@pytest.mark.parametrize("count", [20, 400])
@pytest.mark.parametrize("turns", [*range(30), 50, 100, 200, 400])
async def test_a_cancelled_upload_leaves_nothing(
    backend: JetStreamBackend, turns: int, count: int
) -> None:
    upload = backend.upload(chunks(backend))

    async def put() -> None:
        try:
            for _ in range(count):
                await upload.write(bytes(128 * KIB))
            await upload.finish()
            await asyncio.Event().wait()
        except BaseException:
            await upload.abort()
            raise

    task = asyncio.ensure_future(put())
    for _ in range(turns):
        await asyncio.sleep(0)
    assert task.cancel()
    await soon(asyncio.wait((task,)))

    assert task.cancelled()
    assert (await soon(backend.state())).messages == 0


async def test_a_cancellation_ends_a_write_that_waits_for_the_socket(
    backend: JetStreamBackend,
) -> None:
    # nats-py swallows a cancellation that comes while its buffer is being flushed.
    backend._api._lanes = None
    upload = backend.upload(chunks(backend))
    upload._window = 10_000
    upload._largest = MIB

    async def put() -> None:
        for _ in range(300):
            await upload.write(bytes(MIB))

    task = asyncio.ensure_future(put())
    await until(lambda: backend._api.ordinary.client.pending_data_size > MIB)
    task.cancel()
    await soon(asyncio.wait((task,)), 5)
    await soon(upload.abort())

    assert task.cancelled()
    assert (await soon(backend.state())).messages == 0


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("turns", [*range(25), 40, 80, 160])
async def test_a_cancelled_reader_leaves_nothing(
    backend: JetStreamBackend, turns: int, follow: bool
) -> None:
    await store(backend, chunks(backend), *numbered(20, KIB))

    async def get() -> None:
        async with backend.messages(chunks(backend), follow=follow) as stream:
            await rest(stream)
            await asyncio.Event().wait()

    task = asyncio.ensure_future(get())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    task.get_loop().call_soon(task.cancel)
    await soon(asyncio.wait((task,)))

    assert task.cancelled()
    assert await consumers(backend) == []


async def test_a_reader_may_be_closed_after_the_connection(
    nats_server: NatsServer, bucket_name: str
) -> None:
    client = await connect(nats_server)
    backend = await create(client, bucket_name)
    stream = backend.messages(chunks(backend), follow=True)
    await stream.__aenter__()
    await client.close()
    with pytest.raises(NotConnectedError):
        await soon(stream.__anext__(), 5)
    await soon(stream.__aexit__(None, None, None), 5)


# Much, slow, and many


async def test_a_slow_reader_gets_everything_in_bounded_memory(
    backend: JetStreamBackend,
) -> None:
    digest = hashlib.sha256()
    upload = backend.upload(chunks(backend))
    for number in range(512):
        body = number.to_bytes(4, "big") * (32 * KIB)
        digest.update(body)
        await upload.write(body)
    await soon(upload.finish())

    read_digest = hashlib.sha256()
    tracemalloc.start()
    async with backend.messages(chunks(backend)) as stream:
        tracemalloc.reset_peak()
        async for message in stream:
            read_digest.update(message.data)
            await asyncio.sleep(0.005)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert read_digest.digest() == digest.digest()
    # The window, 8 MiB, and what nats-py holds of the socket.
    assert peak < 12 * MIB


async def test_a_reader_outlives_its_consumer(
    backend: JetStreamBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_module, "_INACTIVE_SECONDS", 1)
    bodies = numbered(300, 128 * KIB)
    await store(backend, chunks(backend), *bodies)
    async with backend.messages(chunks(backend)) as stream:
        messages = [await soon(stream.__anext__())]

        async def consumer_is_gone() -> None:
            while await consumers(backend):
                await asyncio.sleep(0.05)

        await soon(consumer_is_gone())
        messages += await soon(rest(stream))

    assert [message.data for message in messages] == bodies


async def test_a_follower_waits_longer_than_one_request_lives(
    backend: JetStreamBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_module, "_EXPIRES_SECONDS", 1)
    monkeypatch.setattr(ordered_module, "_HEARTBEAT_SECONDS", 0.4)
    monkeypatch.setattr(stream_module, "_TICK_SECONDS", 0.1)
    async with backend.messages(chunks(backend), follow=True) as stream:
        consumer = stream._consumer
        assert consumer is not None
        waiting = asyncio.ensure_future(stream.__anext__())
        # Three requests have been made and two have expired.
        await until(lambda: (consumer._requests.oldest or "0") >= "2")
        await store(backend, chunks(backend), b"late")

        assert (await soon(waiting)).data == b"late"
        assert stream._consumer is consumer


async def test_a_deleted_consumer_is_replaced_under_a_follower(
    backend: JetStreamBackend,
) -> None:
    async with backend.messages(chunks(backend), follow=True) as stream:
        await store(backend, chunks(backend), b"1")
        assert (await soon(stream.__anext__())).data == b"1"
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        (name,) = await consumers(backend)
        verb = f"CONSUMER.DELETE.{wire.stream_name(backend.bucket)}.{name}"
        await backend._api.call(verb, timeout=10)
        await store(backend, chunks(backend), b"2")

        assert (await soon(waiting)).data == b"2"


async def test_a_consumer_that_never_hears_of_the_server_is_replaced(
    backend: JetStreamBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_TICK_SECONDS", 0.05)
    async with backend.messages(chunks(backend), follow=True) as stream:
        first = stream._consumer
        assert first is not None
        waiting = asyncio.ensure_future(stream.__anext__())
        await until(lambda: first._requests.missing > 0)
        monkeypatch.setattr(ordered_module, "_HEARTBEAT_SECONDS", -1)
        await until(lambda: stream._consumer is not first)
        monkeypatch.undo()
        await store(backend, chunks(backend), b"1")

        assert (await soon(waiting)).data == b"1"


async def test_a_gap_is_read_again(backend: JetStreamBackend) -> None:
    bodies = numbered(100, KIB)
    await store(backend, chunks(backend), *bodies)
    async with backend.messages(chunks(backend)) as stream:
        consumer = stream._consumer
        assert consumer is not None
        take = consumer._take
        lost = iter([False] * 5 + [True] + [False] * 100)
        consumer._take = lambda message: 0 if next(lost) else take(message)  # type: ignore[method-assign]
        messages = await soon(rest(stream))

        assert stream._consumer is not consumer
    assert [message.data for message in messages] == bodies


async def test_many_readers_at_once_leave_nothing(backend: JetStreamBackend) -> None:
    names = [f"N{number}" for number in range(300)]
    for name in names:
        await store(backend, chunks(backend, name), name.encode(), b"!")

    async def get(name: str) -> bytes:
        messages = await read(backend, chunks(backend, name))
        return b"".join(message.data for message in messages)

    results = await soon(asyncio.gather(*map(get, names)))

    assert results == [name.encode() + b"!" for name in names]
    assert await consumers(backend) == []


async def test_replies_are_subscribed_to_once(
    nats_server: NatsServer, backend: JetStreamBackend
) -> None:
    await publish(backend, "cat")
    client = await connect(nats_server)
    server = JetStreamServer(client)
    opened = await soon(asyncio.gather(*(server.open(backend.bucket) for _ in range(50))))
    assert len(client._subs) == 1

    last = [one.last_message(metadata(backend, "cat")) for one in opened]
    assert [message and message.sequence for message in await asyncio.gather(*last)] == [
        1
    ] * 50

    # It goes with the last of them that is in use.
    del server, opened, last
    await until(lambda: not client._subs)
    await client.close()


async def test_all_stores_of_a_client_share_one_subscription_and_one_budget(
    nats_server: NatsServer, backend: JetStreamBackend
) -> None:
    client = await connect(nats_server)
    stores = [
        await ObjectStore.bind(client, backend.bucket, timeout=timeout)
        for timeout in (1, 2, 3, 4, 5, 10, 10, 10, 10, 10)
    ]
    servers = [JetStreamServer(client, timeout=timeout) for timeout in (7, 8)]
    assert await asyncio.gather(*(one.list() for one in stores)) == [[]] * 10
    assert len(client._subs) == 1
    assert len({id(one.api.connection) for one in servers}) == 1

    # The others go on when one of them goes.
    del stores[1:], servers
    assert await stores[0].list() == []
    stores.clear()
    await until(lambda: not client._subs)
    await client.close()


async def test_a_client_that_is_connected_again_is_answered_again(
    nats_server: NatsServer, backend: JetStreamBackend
) -> None:
    client = await connect(nats_server)
    before = await ObjectStore.bind(client, backend.bucket)
    await client.close()
    await client.connect(nats_server.url)

    after = await ObjectStore.bind(client, backend.bucket, timeout=2)
    assert await soon(after.list()) == []
    assert before.bucket == after.bucket
    await client.close()


# Streams and servers of others


async def test_a_stream_without_direct_get_is_asked_through_its_leader(
    backend: JetStreamBackend,
) -> None:
    await publish(backend, "cat")
    config = (await backend.state()).config
    await backend._server.update(backend.bucket, {**config, "allow_direct": False})

    first = await soon(backend.last_message(metadata(backend, "cat")))
    assert first is not None
    assert (first.sequence, first.data) == (1, b"{}")
    assert not backend._direct
    assert await soon(backend.last_message(metadata(backend, "dog"))) is None

    opened = await backend.other(backend.bucket)
    assert not opened._direct


@pytest.mark.parametrize("vanished", [20, 60_000])
async def test_subjects_that_vanish_between_two_answers_hide_no_others(
    backend: JetStreamBackend,
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
    vanished: int,
) -> None:
    # The server tells of 100,000 subjects at a time, in this order.
    subjects = sorted(wire.metadata_subject(backend.bucket, f"{i:06}") for i in range(100_010))
    # A client of its own, because requests leave a subscription behind.
    client = await nats.connect(nats_server.url)
    for number, subject in enumerate(subjects, 1):
        if number % 5_000 and number < len(subjects):
            await client.publish(subject)
        else:
            # What is acknowledged is stored, and so is all before it. A stream drops what
            # comes while 10,000 wait to be stored.
            await soon(client.request(subject, timeout=60), 60)
    await client.close()
    call, removed = backend._call, 0

    async def call_and_remove(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal removed
        answer = await call(verb, body)
        if verb == "STREAM.INFO" and not removed:
            everything = wire.metadata_wildcard(backend.bucket)
            purge = {"filter": everything, "seq": vanished + 1}
            removed = (await call("STREAM.PURGE", purge))["purged"]
        return answer

    monkeypatch.setattr(backend, "_call", call_and_remove)
    found = await soon(backend.subjects(wire.metadata_wildcard(backend.bucket)), 60)

    assert removed == vanished
    assert set(subjects[vanished:]) <= set(found)


async def test_an_update_keeps_settings_that_this_package_does_not_know(
    backend: JetStreamBackend,
) -> None:
    config = (await backend.state()).config
    await backend._server.update(
        backend.bucket,
        {**config, "allow_msg_ttl": True, "consumer_limits": {"max_ack_pending": 7}},
    )
    await backend.seal()

    config = (await backend.state()).config
    assert config["sealed"] is True
    assert config["allow_msg_ttl"] is True
    assert config["consumer_limits"] == {"max_ack_pending": 7}


async def test_chunks_with_headers_are_read(
    nats_server: NatsServer, backend: JetStreamBackend
) -> None:
    async with await connect(nats_server) as foreign:
        for body in (b"1", b"22"):
            await foreign.jetstream().publish(
                chunks(backend), body, headers={"Status": "503", "X": "y"}
            )

    messages = await soon(read(backend, chunks(backend)))

    assert [(message.data, message.size) for message in messages] == [(b"1", 1), (b"22", 2)]


async def test_a_server_without_jetstream_says_so() -> None:
    async with NatsServer(jetstream=False) as server:
        client = await connect(server)
        buckets = JetStreamServer(client)
        with pytest.raises(JetStreamNotEnabledError, match="not enabled"):
            await soon(buckets.open("b"))
        with pytest.raises(JetStreamNotEnabledError):
            await soon(buckets.create("b", {"name": "OBJ_b"}))
        with pytest.raises(JetStreamNotEnabledError):
            await soon(buckets.buckets())
        await client.close()


async def test_a_domain_is_reached_by_its_prefix() -> None:
    async with NatsServer(config="jetstream { domain: hub }") as server:
        client = await connect(server)
        buckets = JetStreamServer(client, prefix=JetStreamServer.prefix_of("hub"))
        config = wire.stream_config(ObjectStoreConfig(bucket="b"))
        backend = await soon(buckets.create("b", config))
        await store(backend, chunks(backend), *numbered(100, KIB))

        messages = await soon(read(backend, chunks(backend)))

        assert [message.data for message in messages] == numbered(100, KIB)
        assert await buckets.buckets() == ["b"]
        with pytest.raises(JetStreamNotEnabledError):
            await JetStreamServer(client, prefix="$JS.other.API").open("b")
        await client.close()


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.OBJ_b.c.1.42.1.1700000000123456789.7",
        "$JS.ACK.hub.hash.OBJ_b.c.1.42.1.1700000000123456789.7",
        "$JS.ACK._.hash.OBJ_b.c.1.42.1.1700000000123456789.7.random",
    ],
)
async def test_the_reply_subject_tells_of_the_message(
    backend: JetStreamBackend, reply: str
) -> None:
    consumer = OrderedConsumer(
        backend._api,
        "b",
        "x",
        begin={},
        follow=False,
        headers_only=False,
        limit=None,
        size=None,
        timeout=1,
    )
    message: Any = SimpleNamespace(subject="$O.b.C.N", data=b"12", reply=reply, headers=None)

    consumer._receive((message,))

    assert list(consumer.buffer) == [
        StoredMessage("$O.b.C.N", b"12", 42, 1700000000123456789, 7, 2)
    ]


async def test_tasks_that_come_while_the_replies_are_being_subscribed_do_not_hang(
    nats_client: Client, backend: JetStreamBackend
) -> None:
    server = JetStreamServer(nats_client)

    async def late(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.open(backend.bucket)

    # A thread, because a loop that spins lets no time-out pass.
    watchdog = threading.Timer(10, signal.raise_signal, (signal.SIGINT,))
    watchdog.start()
    try:
        await asyncio.gather(*(late(turns) for turns in range(12)))
    finally:
        watchdog.cancel()


async def test_chunks_of_the_largest_size_are_read(backend: JetStreamBackend) -> None:
    bodies = numbered(30, MIB)
    await store(backend, chunks(backend), *bodies)

    messages = await soon(read(backend, chunks(backend)))

    assert [message.data for message in messages] == bodies


async def test_a_larger_window_of_small_messages_is_used(backend: JetStreamBackend) -> None:
    bodies = numbered(5000, 8)
    await store(backend, chunks(backend), *bodies)

    async with backend.messages(chunks(backend)) as stream:
        messages = await soon(rest(stream))
        consumer = stream._consumer
        assert consumer is not None
        assert next(consumer._requests._tokens) < 12

    assert [message.data for message in messages] == bodies


async def test_the_longest_name_works_in_every_request(backend: JetStreamBackend) -> None:
    room = backend.max_subject - len(f"$O.{backend.bucket}.M.")
    subject = f"$O.{backend.bucket}.M." + "A" * room
    stored = await soon(backend.publish_metadata(subject, b"{}", expected_sequence=0))
    assert stored.sequence == 1
    for leader in (False, True):
        message = await soon(backend.last_message(subject, leader=leader))
        assert message is not None
        assert message.subject == subject
    for pattern in (subject, wire.metadata_wildcard(backend.bucket)):
        messages = await soon(read(backend, pattern, deliver=Deliver.LAST_PER_SUBJECT))
        assert [message.subject for message in messages] == [subject]
    async with backend.messages(subject, follow=True) as stream:
        assert (await soon(stream.__anext__())).sequence == 1
    assert await soon(backend.subjects(subject)) == {subject: 1}
    assert await soon(backend.purge(subject)) == 1
    assert backend._api.ordinary.reconnects == 0
    assert backend._api.ordinary.client.is_connected


async def test_the_longest_name_is_bounded_by_the_control_line(
    nats_server: NatsServer, backend: JetStreamBackend
) -> None:
    # Not far from what the server takes: the bound is no guess.
    client = await connect(nats_server, allow_reconnect=False)
    other = await JetStreamServer(client).open(backend.bucket)
    other.timeout = 1.0
    subject = f"$O.{backend.bucket}.M.".ljust(backend.max_subject + 200, "A")
    with pytest.raises((StoreTimeoutError, NotConnectedError)):
        await soon(other.last_message(subject))
    await client.close()


async def test_the_pages_of_a_long_answer_are_joined(nats_client: Client) -> None:
    answers = iter(
        [
            {"total": 3, "offset": 0, "streams": ["OBJ_b", "KV_x"]},
            {"total": 3, "offset": 2, "streams": ["OBJ_a"]},
            # All of them, for the buckets that follow others and have no subjects.
            {"total": 3, "offset": 0, "streams": ["OBJ_b", "OBJ_a"]},
            {"total": 3, "offset": 2, "streams": ["KV_x"]},
            {"total": 3, "offset": 0, "state": {"subjects": {"x": 1, "y": 2}}},
            # It is asked from the last one on, to see whether others have vanished.
            {"total": 3, "offset": 1, "state": {"subjects": {"y": 2, "z": 3}}},
            {"total": 0, "offset": 0, "state": {}},
        ]
    )
    asked = []

    async def answer(message: Any) -> None:
        asked.append(json.loads(message.data)["offset"])
        await message.respond(json.dumps(next(answers)).encode())

    await nats_client.subscribe("fake.STREAM.>", cb=answer)
    server = JetStreamServer(nats_client, prefix="fake")

    assert await soon(server.buckets()) == ["a", "b"]
    backend = JetStreamBackend(server, "b")
    assert await soon(backend.subjects(">")) == {"x": 1, "y": 2, "z": 3}
    assert await soon(backend.subjects(">")) == {}
    assert asked == [0, 2, 0, 2, 0, 1, 0]


@pytest.mark.parametrize(
    "error, expected",
    [
        ({"code": 404, "err_code": 10059}, BucketNotFoundError),
        (
            {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"},
            BucketFullError,
        ),
        ({"code": 500, "err_code": 10047}, BucketFullError),
        ({"code": 503, "err_code": 10023}, BucketFullError),
        ({"code": 503, "err_code": 10039}, JetStreamNotEnabledError),
        ({"code": 503, "err_code": 10076}, JetStreamNotEnabledError),
        ({"code": 400, "err_code": 10058}, BucketConfigMismatchError),
        ({"code": 500, "err_code": 10001, "description": "boom"}, StoreAPIError),
    ],
)
async def test_refusals_have_this_packages_errors(
    nats_client: Client, error: dict[str, Any], expected: type[ObjStoreError]
) -> None:
    async def answer(message: Any) -> None:
        await message.respond(json.dumps({"error": error}).encode())

    await nats_client.subscribe("fake.STREAM.>", cb=answer)
    backend = JetStreamBackend(JetStreamServer(nats_client, prefix="fake"), "photos")

    with pytest.raises(expected, match="photos") as caught:
        await soon(backend.state())

    assert caught.value.bucket == "photos"
    if expected is StoreAPIError:
        assert (caught.value.code, caught.value.err_code) == (500, 10001)


# The parts


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2026-11-22T07:54:28.701944277Z", 1_795_334_068_701_944_277),
        ("1970-01-02T00:00:00.000000001+02:00", 79_200_000_000_001),
        ("1970-01-01T00:00:00-01:30", 5_400_000_000_000),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert parse_time(text) == expected


async def test_waiting_ends_with_the_result_or_the_time() -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert await wait_for(future, 0.01) is None

    future = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert await wait_for(future, 0.01) == 7


async def test_a_cancellation_together_with_the_result_is_not_lost() -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(wait_for(future, 10))
    await asyncio.sleep(0)
    future.set_result(7)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


async def test_what_runs_to_its_end_is_not_cancelled() -> None:
    done = asyncio.Event()
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    task = asyncio.ensure_future(run_to_completion(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    gate.set()
    await soon(asyncio.wait((task,)))

    assert task.cancelled()
    assert done.is_set()


async def test_a_client_that_was_never_connected_is_told() -> None:
    backend = JetStreamBackend(JetStreamServer(Client()), "b")
    with pytest.raises(NotConnectedError, match="Bucket 'b'"):
        await soon(backend.state())


async def test_a_closed_client_is_told(nats_server: NatsServer) -> None:
    client = await connect(nats_server)
    server = JetStreamServer(client)
    await server.buckets()
    await client.close()
    with pytest.raises(NotConnectedError):
        await soon(server.buckets())


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TypeError("no socket")])
async def test_a_socket_that_breaks_in_a_write_is_told_as_no_connection(
    nats_client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    server = JetStreamServer(nats_client, lane=False)
    await server.buckets()

    async def publish(*_: Any) -> None:
        raise error

    monkeypatch.setattr(nats_client, "publish", publish)
    with pytest.raises(NotConnectedError, match="Bucket 'b'") as caught:
        await soon(server.open("b"))

    assert caught.value.__cause__ is error


async def test_replies_that_nobody_waits_for_are_dropped(nats_client: Client) -> None:
    connection = Connection(nats_client)
    await connection.open_replies()
    reply = connection.add_route(lambda _: pytest.fail("called"))
    connection.remove_route(reply)
    await nats_client.publish(reply, b"late")
    await settled(nats_client)


async def test_an_answer_that_arrives_while_the_event_loop_is_blocked_is_in_time(
    nats_client: Client, bucket_name: str
) -> None:
    backend = await create(nats_client, bucket_name, lane=False)
    subject = wire.metadata_subject(bucket_name, "cat")
    await soon(backend.publish_metadata(subject, b"{}", expected_sequence=0))
    backend.timeout = 0.5

    asking = asyncio.ensure_future(backend.last_message(subject))
    # The request is written, and then sent.
    while not nats_client.pending_data_size and not asking.done():
        await asyncio.sleep(0)
    while nats_client.pending_data_size and not asking.done():
        await asyncio.sleep(0)
    # As by a handler that computes.
    time.sleep(2)  # noqa: ASYNC251

    found = await soon(asking)
    assert found is not None
    assert found.data == b"{}"
