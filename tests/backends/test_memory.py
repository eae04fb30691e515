"""What only the memory backend has: a clock, subscribers, no server to wait for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Deliver, StoredMessage, WrongRevision
from faststream_objstore.backends.memory import MemoryBackend, MemoryServer
from faststream_objstore.backends.memory.stream import matcher
from faststream_objstore.models import ObjectStoreConfig

pytestmark = pytest.mark.timeout(30)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND + 123_456_789
BUCKET = "photos"
CAT = wire.metadata_subject(BUCKET, "cat")
DOG = wire.metadata_subject(BUCKET, "dog")
CHUNKS = wire.chunk_subject(BUCKET, "NUID")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


async def make(server: MemoryServer, bucket: str = BUCKET, **options: Any) -> MemoryBackend:
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket, **options))
    return await server.create(bucket, config)


async def put(backend: MemoryBackend, subject: str, data: bytes = b"") -> StoredMessage:
    last = await backend.last_message(subject)
    return await backend.publish_metadata(
        subject, data, expected_sequence=last.sequence if last else 0
    )


# --- subjects


@pytest.mark.parametrize(
    "pattern, subject, expected",
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "ab.c", False),
        (">", "a.b", True),
        ("*.>", "a.b.c", True),
        ("*.>", "a", False),
        ("a*.b", "ab.b", False),
        ("a*.b", "a*.b", True),
        ("a.b>", "a.bc", False),
        ("$O.a.C.*", "$O.a.C.x+y==", True),
        ("a.b", "axb", False),
        ("a.*.b", "a.x.xb", False),
    ],
)
def test_a_wildcard_is_a_whole_token(pattern: str, subject: str, expected: bool) -> None:
    assert bool(matcher(pattern)(subject)) is expected


# --- the clock


async def test_messages_are_stamped_by_the_clock() -> None:
    clock = Clock()
    backend = await make(MemoryServer(clock))

    message = await put(backend, CAT)

    assert message.time_ns == START
    assert (await backend.state()).created == "2023-11-14T22:13:20.123456789Z"


async def test_a_message_expires_at_its_ttl_and_not_before() -> None:
    clock = Clock()
    backend = await make(MemoryServer(clock), ttl=60)
    await put(backend, CAT)
    clock.now += 30 * SECOND
    await put(backend, DOG)

    clock.now = START + 60 * SECOND - 1
    assert (await backend.state()).messages == 2
    clock.now += 1
    assert await backend.last_message(CAT) is None
    assert await backend.subjects(wire.metadata_wildcard(BUCKET)) == {DOG: 1}
    clock.now += 30 * SECOND

    state = await backend.state()
    assert (state.messages, state.bytes, state.last_sequence) == (0, 0, 2)
    with pytest.raises(WrongRevision):
        await backend.publish_metadata(CAT, b"", expected_sequence=1)


async def test_a_reader_passes_over_what_expires_meanwhile() -> None:
    clock = Clock()
    backend = await make(MemoryServer(clock), ttl=60)
    for subject in (CAT, DOG):
        await put(backend, subject)

    async with backend.messages(wire.metadata_wildcard(BUCKET)) as stream:
        assert (await stream.__anext__()).subject == CAT
        clock.now += 60 * SECOND
        assert [message async for message in stream] == []


async def test_expired_messages_leave_room_in_a_full_bucket() -> None:
    clock = Clock()
    backend = await make(MemoryServer(clock), ttl=60, max_bytes=1000)
    await backend.upload(CHUNKS).write(b"x" * 900)

    clock.now += 60 * SECOND
    await backend.upload(CHUNKS).write(b"y" * 900)

    assert await backend.subjects(CHUNKS) == {CHUNKS: 1}


async def test_a_sealed_bucket_keeps_its_messages_for_ever() -> None:
    clock = Clock()
    backend = await make(MemoryServer(clock), ttl=60)
    await put(backend, CAT)
    await backend.seal()

    clock.now += 3600 * SECOND

    assert await backend.last_message(CAT) is not None


async def test_a_recreated_bucket_is_told_from_the_old_by_a_clock_that_stands_still() -> None:
    server = MemoryServer(Clock())
    backend = await make(server)
    before = await backend.state()

    await server.delete(BUCKET)
    await make(server)

    assert (await backend.state()).created != before.created


# --- sizes


async def test_memory_storage_counts_less_for_a_message() -> None:
    backend = await make(MemoryServer(), storage="memory")

    await backend.upload(CHUNKS).write(b"x" * 100)
    await put(backend, CAT, b"y" * 100)

    # As nats-server 2.15 counts: 16 bytes for each message, and 70 of headers.
    assert (await backend.state()).bytes == 200 + len(CHUNKS) + len(CAT) + 2 * 16 + 70


async def test_a_configuration_is_copied_in_and_out() -> None:
    server = MemoryServer()
    config = wire.stream_config(ObjectStoreConfig(bucket=BUCKET, metadata={"a": "b"}))
    backend = await server.create(BUCKET, config)

    config["metadata"]["a"] = "c"
    (await backend.state()).config["metadata"]["a"] = "d"

    assert (await backend.state()).config["metadata"] == {"a": "b"}


# --- turns


Call = Callable[[MemoryServer, MemoryBackend], Coroutine[Any, Any, object]]


async def _iterate(server: MemoryServer, backend: MemoryBackend) -> None:
    async with backend.messages(CAT) as stream:
        await stream.__anext__()


CALLS: dict[str, Call] = {
    "last_message": lambda _, backend: backend.last_message(CAT),
    "last_messages": lambda _, backend: backend.last_messages([CAT]),
    "publish_metadata": lambda _, backend: backend.publish_metadata(
        CAT, b"", expected_sequence=1
    ),
    "write": lambda _, backend: backend.upload(CHUNKS).write(b""),
    "finish": lambda _, backend: backend.upload(CHUNKS).finish(),
    "messages": _iterate,
    "purge": lambda _, backend: backend.purge(CAT),
    "subjects": lambda _, backend: backend.subjects(CAT),
    "state": lambda _, backend: backend.state(),
    "seal": lambda _, backend: backend.seal(),
    "other": lambda _, backend: backend.other(BUCKET),
    "open": lambda server, _: server.open(BUCKET),
    "create": lambda server, _: make(server),
    "update": lambda server, _: server.update(
        BUCKET, wire.stream_config(ObjectStoreConfig(bucket=BUCKET))
    ),
    "delete": lambda server, _: server.delete(BUCKET),
    "buckets": lambda server, _: server.buckets(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_every_call_gives_other_tasks_a_turn(call: str) -> None:
    server = MemoryServer()
    backend = await make(server)
    await put(backend, CAT)
    turns = []

    async def other() -> None:
        turns.append(True)

    task = asyncio.create_task(other())
    await CALLS[call](server, backend)

    assert turns
    await task


@pytest.mark.parametrize(
    "turns, stored",
    [(1, False), (2, True)],
    ids=["before it arrives", "before the answer arrives"],
)
async def test_a_cancelled_publish_may_have_been_stored(turns: int, stored: bool) -> None:
    backend = await make(MemoryServer())
    task = asyncio.create_task(backend.publish_metadata(CAT, b"", expected_sequence=0))

    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await backend.last_message(CAT) is not None) is stored


async def test_abort_gets_through_in_a_task_that_is_being_cancelled() -> None:
    backend = await make(MemoryServer())

    async def write() -> None:
        upload = backend.upload(CHUNKS)
        await upload.write(b"x")
        task = asyncio.current_task()
        assert task
        task.cancel()
        await upload.abort()

    task = asyncio.create_task(write())
    await asyncio.wait([task])

    assert await backend.subjects(CHUNKS) == {}


# --- readers


async def test_a_message_removed_before_it_is_read_is_passed_over() -> None:
    backend = await make(MemoryServer())
    upload = backend.upload(CHUNKS)
    await upload.write(b"1")
    await put(backend, CAT)
    await upload.write(b"2")

    async with backend.messages(f"$O.{BUCKET}.>") as stream:
        assert stream.pending == 3
        first = await stream.__anext__()
        await backend.purge(CAT)
        rest = [message async for message in stream]

    assert (first.data, first.pending) == (b"1", 2)
    assert [(one.data, one.pending) for one in rest] == [(b"2", 0)]


async def test_a_reader_that_came_to_the_end_stays_there() -> None:
    backend = await make(MemoryServer())
    for subject in (CAT, DOG):
        await put(backend, subject)

    async with backend.messages(wire.metadata_wildcard(BUCKET)) as stream:
        await stream.__anext__()
        await backend.purge(DOG)
        assert [message async for message in stream] == []
        await put(backend, CAT)
        assert [message async for message in stream] == []


async def test_last_per_subject_has_the_version_that_replaced_one_not_yet_read() -> None:
    backend = await make(MemoryServer())
    await put(backend, CAT, b"1")
    await put(backend, DOG, b"2")

    async with backend.messages(
        wire.metadata_wildcard(BUCKET), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        await put(backend, CAT, b"3")
        messages = [message async for message in stream]

    assert [(one.data, one.pending) for one in messages] == [(b"2", 1), (b"3", 0)]


async def test_a_reader_stops_at_the_message_after_which_nothing_was_pending() -> None:
    backend = await make(MemoryServer())
    await put(backend, CAT, b"1")

    async with backend.messages(wire.metadata_wildcard(BUCKET)) as stream:
        assert (await stream.__anext__()).pending == 0
        await put(backend, DOG, b"2")
        assert [message async for message in stream] == []


async def test_a_reader_has_to_be_entered() -> None:
    backend = await make(MemoryServer())

    with pytest.raises(RuntimeError, match="async with"):
        await backend.messages(CAT).__anext__()


async def test_a_waiting_reader_ends_when_it_is_left_by_another_task() -> None:
    backend = await make(MemoryServer())

    async with backend.messages(CAT, follow=True) as stream:
        task = asyncio.create_task(stream.__anext__())
        for _ in range(3):
            await asyncio.sleep(0)
    done, _ = await asyncio.wait([task], timeout=5)

    assert done
    with pytest.raises(StopAsyncIteration):
        await task


async def test_a_reader_that_was_left_is_forgotten() -> None:
    server = MemoryServer()
    backend = await make(server)

    async with backend.messages(CAT, follow=True):
        assert len(server.find(BUCKET).listeners) == 1

    assert not server.find(BUCKET).listeners


def test_a_server_outlives_event_loops() -> None:
    server = MemoryServer()
    backend = asyncio.run(make(server))

    async def leave_waiting() -> None:
        stream = backend.messages(CAT, follow=True)
        await stream.__aenter__()
        waiting.append(asyncio.create_task(stream.__anext__()))
        for _ in range(3):
            await asyncio.sleep(0)

    async def follow() -> bytes:
        async with backend.messages(CAT, follow=True) as stream:
            task = asyncio.create_task(stream.__anext__())
            await put(backend, CAT, b"x")
            return (await asyncio.wait_for(task, 5)).data

    waiting: list[asyncio.Task[StoredMessage]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_waiting())
    # Closed with a task still in it, which no cancellation has told.
    loop.close()

    assert asyncio.run(follow()) == b"x"
    waiting[0]._log_destroy_pending = False  # type: ignore[attr-defined]


async def test_a_reader_is_woken_from_another_thread() -> None:
    loop = asyncio.get_running_loop()
    backend = await make(MemoryServer())

    async with backend.messages(CAT, follow=True) as stream:
        task = asyncio.create_task(stream.__anext__())
        for _ in range(3):
            await asyncio.sleep(0)
        # In debug mode a loop refuses a call from another thread that is not safe.
        loop.set_debug(True)
        try:
            await asyncio.to_thread(asyncio.run, put(backend, CAT, b"x"))
            message = await asyncio.wait_for(task, 5)
        finally:
            loop.set_debug(False)

    assert message.data == b"x"


# --- subscribers


async def test_subscribers_are_called_in_the_order_they_came_in() -> None:
    server = MemoryServer()
    backend = await make(server)
    calls = []
    for name in ("first", "second"):

        async def callback(bucket: str, message: StoredMessage, name: str = name) -> None:
            calls.append((name, bucket, message))

        server.subscribe(callback)
    message = await put(backend, CAT)
    assert calls == []

    await backend.announce(message)

    assert calls == [("first", BUCKET, message), ("second", BUCKET, message)]


async def test_what_a_subscriber_raises_reaches_the_announcer_and_ends_the_round() -> None:
    server = MemoryServer()
    backend = await make(server)
    calls = []

    async def fail(bucket: str, message: StoredMessage) -> None:
        raise LookupError(bucket)

    async def callback(bucket: str, message: StoredMessage) -> None:
        calls.append(bucket)

    server.subscribe(fail)
    server.subscribe(callback)

    with pytest.raises(LookupError, match=BUCKET):
        await backend.announce(await put(backend, CAT))
    assert calls == []


async def test_a_subscriber_that_left_is_not_called() -> None:
    server = MemoryServer()
    backend = await make(server)
    calls = []

    async def callback(bucket: str, message: StoredMessage) -> None:
        calls.append(message.sequence)
        unsubscribe_other()

    async def other(bucket: str, message: StoredMessage) -> None:
        calls.append(-message.sequence)

    unsubscribe = server.subscribe(callback)
    unsubscribe_other = server.subscribe(other)

    await backend.announce(await put(backend, CAT))
    assert calls == [1]

    unsubscribe()
    unsubscribe()
    await backend.announce(await put(backend, CAT))
    assert calls == [1]


async def test_a_callback_may_subscribe_twice() -> None:
    server = MemoryServer()
    backend = await make(server)
    calls = []

    async def callback(bucket: str, message: StoredMessage) -> None:
        calls.append(bucket)

    server.subscribe(callback)
    server.subscribe(callback)()
    await backend.announce(await put(backend, CAT))

    assert calls == [BUCKET]
