"""What every backend promises (`backends/base.py`), with one expectation for all.

Each test runs on memory and on a real server. Where a server has a choice, such as
whether a message that is removed was under way already, the test allows that choice.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import (
    TOGETHER,
    Backend,
    ChunkUpload,
    ConsumerState,
    Deliver,
    MessageStream,
    MetadataWrite,
    Server,
    StoredMessage,
    WrongRevision,
)
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    FeatureNotEnabledError,
    InvalidBucketNameError,
    InvalidOptionError,
    ObjStoreError,
    StoreAPIError,
)
from faststream_objstore.models import ObjectStoreConfig

pytestmark = pytest.mark.timeout(60)

T = TypeVar("T")

LIMIT = 30.0


async def soon(work: Awaitable[T]) -> T:
    """The result, or a failure: no test here waits for ever."""
    return await asyncio.wait_for(work, LIMIT)


@pytest.fixture(params=["memory", "jetstream"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "memory":
        return MemoryServer()
    client: Client = request.getfixturevalue("nats_client")
    return JetStreamServer(client)


Create = Callable[..., Coroutine[Any, Any, Backend]]


@pytest.fixture
async def create(server: Server) -> AsyncIterator[Create]:
    """Make buckets that are gone after the test."""
    made = set()

    async def create_bucket(bucket: str, **options: Any) -> Backend:
        config = wire.stream_config(ObjectStoreConfig(bucket=bucket, **options))
        backend = await soon(server.create(bucket, config))
        made.add(bucket)
        return backend

    yield create_bucket
    for bucket in made & set(await soon(server.buckets())):
        await soon(server.delete(bucket))


@pytest.fixture
async def backend(create: Create, bucket_name: str) -> Backend:
    return await create(bucket_name)


def chunks(backend: Backend, nuid: str = "NUID1") -> str:
    return wire.chunk_subject(backend.bucket, nuid)


def metadata(backend: Backend, name: str = "cat.png") -> str:
    return wire.metadata_subject(backend.bucket, name)


def everything(backend: Backend) -> str:
    return f"$O.{backend.bucket}.>"


async def store(backend: Backend, subject: str, *bodies: bytes) -> None:
    upload = backend.upload(subject)
    for body in bodies:
        await soon(upload.write(body))
    await soon(upload.finish())


async def read(stream: MessageStream) -> list[StoredMessage]:
    """What a stream holds that is not followed."""

    async def drain() -> list[StoredMessage]:
        async with stream:
            return await rest(stream)

    return await soon(drain())


async def rest(stream: MessageStream) -> list[StoredMessage]:
    return [message async for message in stream]


async def take(stream: MessageStream, count: int) -> list[StoredMessage]:
    return [await soon(stream.__anext__()) for _ in range(count)]


def bodies(messages: list[StoredMessage]) -> list[bytes]:
    return [message.data for message in messages]


def pendings(messages: list[StoredMessage]) -> list[int]:
    return [message.pending for message in messages]


# --- last_message


@pytest.mark.parametrize("leader", [False, True])
async def test_last_message_is_none_where_nothing_was_stored(
    backend: Backend, leader: bool
) -> None:
    await store(backend, chunks(backend, "OTHER"), b"x")

    assert await soon(backend.last_message(metadata(backend), leader=leader)) is None


@pytest.mark.parametrize("leader", [False, True])
async def test_last_message_is_the_newest_of_its_subject(
    backend: Backend, leader: bool
) -> None:
    before = time.time_ns()
    await store(backend, chunks(backend), b"one", b"second")
    await store(backend, chunks(backend, "OTHER"), b"later")

    message = await soon(backend.last_message(chunks(backend), leader=leader))

    assert message is not None
    assert message.subject == chunks(backend)
    assert message.data == b"second"
    assert message.sequence == 2
    assert message.size == 6
    assert before <= message.time_ns <= time.time_ns()


@pytest.mark.parametrize("leader", [False, True])
async def test_last_message_has_a_body_of_any_bytes(backend: Backend, leader: bool) -> None:
    body = bytes(range(256)) + b"\r\n\r\n"
    await soon(backend.publish_metadata(metadata(backend), body, expected_sequence=0))

    message = await soon(backend.last_message(metadata(backend), leader=leader))

    assert message is not None
    assert message.data == body


async def test_last_message_can_be_empty(backend: Backend) -> None:
    await soon(backend.publish_metadata(metadata(backend), b"", expected_sequence=0))

    message = await soon(backend.last_message(metadata(backend)))

    assert message is not None
    assert (message.data, message.size, message.sequence) == (b"", 0, 1)


# --- publish_metadata


async def test_published_metadata_is_returned_as_stored(backend: Backend) -> None:
    await store(backend, chunks(backend), b"x", b"y")

    message = await soon(
        backend.publish_metadata(metadata(backend), b"{}", expected_sequence=0)
    )

    stored = await soon(backend.last_message(metadata(backend)))
    assert stored is not None
    assert (message.subject, message.data, message.sequence, message.size) == (
        metadata(backend),
        b"{}",
        3,
        2,
    )
    assert (stored.subject, stored.data, stored.sequence, stored.size) == (
        metadata(backend),
        b"{}",
        3,
        2,
    )
    assert abs(message.time_ns - stored.time_ns) < 5_000_000_000


async def test_published_metadata_replaces_the_older_and_nothing_else(
    backend: Backend,
) -> None:
    subject = metadata(backend)
    await store(backend, chunks(backend), b"x", b"y")
    await soon(backend.publish_metadata(metadata(backend, "dog"), b"dog", expected_sequence=0))
    first = await soon(backend.publish_metadata(subject, b"old", expected_sequence=0))

    second = await soon(
        backend.publish_metadata(subject, b"new", expected_sequence=first.sequence)
    )

    assert second.sequence == 5
    assert bodies(await read(backend.messages(everything(backend)))) == [
        b"x",
        b"y",
        b"dog",
        b"new",
    ]


async def test_rollup_removes_all_older_messages_of_a_subject(backend: Backend) -> None:
    # nats.js updates metadata without a rollup, so there may be several.
    subject = metadata(backend)
    await store(backend, subject, b"1", b"2", b"3")

    await soon(backend.publish_metadata(subject, b"4", expected_sequence=3))

    assert bodies(await read(backend.messages(subject))) == [b"4"]


@pytest.mark.parametrize("expected_sequence", [0, 1, 3])
async def test_metadata_is_refused_at_any_revision_but_the_newest(
    backend: Backend, expected_sequence: int
) -> None:
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"1", expected_sequence=0))
    await soon(backend.publish_metadata(subject, b"2", expected_sequence=1))

    with pytest.raises(WrongRevision):
        await soon(
            backend.publish_metadata(subject, b"3", expected_sequence=expected_sequence)
        )

    assert bodies(await read(backend.messages(everything(backend)))) == [b"2"]


async def test_metadata_is_refused_where_a_revision_is_expected_and_none_is(
    backend: Backend,
) -> None:
    with pytest.raises(WrongRevision):
        await soon(backend.publish_metadata(metadata(backend), b"1", expected_sequence=1))

    assert (await soon(backend.state())).messages == 0


async def test_a_revision_counts_in_its_own_subject_only(backend: Backend) -> None:
    first = await soon(backend.publish_metadata(metadata(backend), b"1", expected_sequence=0))
    await soon(backend.publish_metadata(metadata(backend, "dog"), b"2", expected_sequence=0))

    third = await soon(
        backend.publish_metadata(metadata(backend), b"3", expected_sequence=first.sequence)
    )

    assert third.sequence == 3


async def test_one_of_many_writers_at_once_wins(backend: Backend) -> None:
    subject = metadata(backend)

    async def write(number: int) -> int | None:
        try:
            await soon(backend.publish_metadata(subject, b"%d" % number, expected_sequence=0))
        except WrongRevision:
            return None
        return number

    results = await asyncio.gather(*(write(number) for number in range(20)))

    winners = [number for number in results if number is not None]
    assert len(winners) == 1
    assert bodies(await read(backend.messages(subject))) == [b"%d" % winners[0]]


async def test_a_batch_replaces_several_subjects_next_to_each_other(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True)
    assert backend.atomic is True
    cat, dog, eel = (metadata(backend, name) for name in ("cat", "dog", "eel"))
    await soon(backend.publish_metadata(dog, b"1", expected_sequence=0))

    stored = await soon(
        backend.publish_batch(
            [
                MetadataWrite(cat, b"22", 0),
                MetadataWrite(dog, b"33", 1),
                MetadataWrite(eel, b"44", 0),
            ]
        )
    )

    assert [(one.subject, one.data, one.sequence) for one in stored] == [
        (cat, b"22", 2),
        (dog, b"33", 3),
        (eel, b"44", 4),
    ]
    found = await read(backend.messages(everything(backend)))
    assert [(one.subject, one.data, one.sequence) for one in found] == [
        (cat, b"22", 2),
        (dog, b"33", 3),
        (eel, b"44", 4),
    ]


async def test_a_batch_with_one_wrong_revision_stores_nothing(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True)
    cat, dog = metadata(backend, "cat"), metadata(backend, "dog")
    await soon(backend.publish_metadata(dog, b"1", expected_sequence=0))

    for wrong in (0, 2):
        writes = [MetadataWrite(cat, b"2", 0), MetadataWrite(dog, b"3", wrong)]
        with pytest.raises(WrongRevision):
            await soon(backend.publish_batch(writes))
        with pytest.raises(WrongRevision):
            await soon(backend.publish_batch(writes[::-1]))

    assert bodies(await read(backend.messages(everything(backend)))) == [b"1"]
    assert (await soon(backend.state())).last_sequence == 1


async def test_a_batch_of_one(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, transactions=True)

    (stored,) = await soon(backend.publish_batch([MetadataWrite(metadata(backend), b"1", 0)]))

    assert stored.sequence == 1
    assert bodies(await read(backend.messages(everything(backend)))) == [b"1"]


async def test_a_batch_is_refused_where_it_is_not_allowed(backend: Backend) -> None:
    assert backend.atomic is False
    writes = [
        MetadataWrite(metadata(backend, "cat"), b"1", 0),
        MetadataWrite(metadata(backend, "dog"), b"1", 0),
    ]

    with pytest.raises(FeatureNotEnabledError, match="transactions"):
        await soon(backend.publish_batch(writes))

    assert (await soon(backend.state())).last_sequence == 0


async def test_a_batch_of_more_than_a_thousand_is_refused(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True)
    writes = [MetadataWrite(metadata(backend, f"n{one}"), b"1", 0) for one in range(1001)]

    with pytest.raises(StoreAPIError) as raised:
        await soon(backend.publish_batch(writes))

    assert raised.value.err_code == 10199
    assert (await soon(backend.state())).messages == 0


async def test_a_batch_that_does_not_fit_stores_nothing(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True, max_bytes=1000)
    writes = [MetadataWrite(metadata(backend, f"n{one}"), bytes(300), 0) for one in range(3)]

    with pytest.raises(BucketFullError):
        await soon(backend.publish_batch(writes))
    await soon(backend.publish_batch(writes[:1]))

    assert (await soon(backend.state())).messages == 1


async def test_a_sealed_bucket_takes_no_batch(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, transactions=True)
    await soon(backend.seal())

    with pytest.raises(BucketSealedError):
        await soon(backend.publish_batch([MetadataWrite(metadata(backend), b"1", 0)]))


async def test_a_batch_counts_the_bytes_that_a_server_counts(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True)
    subjects = [metadata(backend, "x"), metadata(backend, "y")]

    await soon(backend.publish_batch([MetadataWrite(one, b"12345", 0) for one in subjects]))

    # Each has 34 bytes of its own; the headers of both are 288.
    expected = 2 * (34 + len(subjects[0]) + len(b"12345")) + 288
    assert (await soon(backend.state())).bytes == expected


async def test_a_purged_subject_is_expected_at_zero(backend: Backend) -> None:
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"1", expected_sequence=0))
    await soon(backend.purge(subject))

    with pytest.raises(WrongRevision):
        await soon(backend.publish_metadata(subject, b"2", expected_sequence=1))
    message = await soon(backend.publish_metadata(subject, b"2", expected_sequence=0))

    assert message.sequence == 2


# --- upload


async def test_uploaded_chunks_come_back_in_order(backend: Backend) -> None:
    parts = [b"%04d" % number * 16 for number in range(1000)]

    await store(backend, chunks(backend), *parts)

    assert bodies(await read(backend.messages(chunks(backend)))) == parts


async def test_uploads_at_once_do_not_mix(backend: Backend) -> None:
    nuids = [f"NUID{number}" for number in range(5)]
    await asyncio.gather(
        *(
            store(
                backend,
                chunks(backend, nuid),
                *(b"%s %d" % (nuid.encode(), n) for n in range(20)),
            )
            for nuid in nuids
        )
    )

    for nuid in nuids:
        messages = await read(backend.messages(chunks(backend, nuid)))
        assert bodies(messages) == [b"%s %d" % (nuid.encode(), n) for n in range(20)]


async def test_a_chunk_is_any_buffer_which_may_be_reused(backend: Backend) -> None:
    buffer = bytearray(b"first")
    upload = backend.upload(chunks(backend))

    await soon(upload.write(buffer))
    buffer[:] = b"other"
    await soon(upload.write(memoryview(buffer)[1:4]))
    buffer[:] = b"third"
    await soon(upload.write(b"end"))
    await soon(upload.finish())

    assert bodies(await read(backend.messages(chunks(backend)))) == [b"first", b"the", b"end"]


async def test_a_chunk_may_fill_the_max_payload(backend: Backend) -> None:
    body = b"x" * backend.max_payload

    await store(backend, chunks(backend), body)

    message = await soon(backend.last_message(chunks(backend)))
    assert message is not None
    assert message.data == body


async def test_metadata_may_fill_the_max_payload_with_its_headers(backend: Backend) -> None:
    headers = b"NATS/1.0\r\nNats-Rollup: sub\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"
    body = b"x" * (backend.max_payload - len(headers))

    await soon(backend.publish_metadata(metadata(backend), body, expected_sequence=0))

    message = await soon(backend.last_message(metadata(backend)))
    assert message is not None
    assert message.data == body


async def test_metadata_beyond_the_max_payload_are_refused(backend: Backend) -> None:
    # A server drops the connection for it, so this has to be noticed before.
    body = b"x" * (backend.max_payload - 60)

    with pytest.raises(ObjStoreError):
        await soon(backend.publish_metadata(metadata(backend), body, expected_sequence=0))

    assert (await soon(backend.state())).messages == 0


async def test_a_chunk_beyond_the_max_payload_is_refused(backend: Backend) -> None:
    body = b"x" * (backend.max_payload + 1)

    with pytest.raises(ObjStoreError):
        await store(backend, chunks(backend), body)

    assert (await soon(backend.state())).messages == 0


async def test_an_upload_of_nothing_stores_nothing(backend: Backend) -> None:
    await store(backend, chunks(backend))

    assert (await soon(backend.state())).messages == 0


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_an_aborted_upload_leaves_nothing_behind(backend: Backend, count: int) -> None:
    await store(backend, chunks(backend, "OTHER"), b"kept")
    upload = backend.upload(chunks(backend))
    for _ in range(count):
        await soon(upload.write(b"x" * 1000))

    await soon(upload.abort())

    # A later write is acknowledged after whatever was in flight.
    await store(backend, chunks(backend, "LATER"), b"x")
    assert await soon(backend.subjects(everything(backend))) == {
        chunks(backend, "OTHER"): 1,
        chunks(backend, "LATER"): 1,
    }


async def test_a_finished_upload_can_be_aborted(backend: Backend) -> None:
    upload = backend.upload(chunks(backend))
    await soon(upload.write(b"x"))
    await soon(upload.finish())

    await soon(upload.abort())

    assert await soon(backend.subjects(everything(backend))) == {}


async def test_a_cancelled_upload_leaves_nothing_behind(backend: Backend) -> None:
    async def write_for_ever() -> None:
        upload = backend.upload(chunks(backend))
        try:
            while True:
                await upload.write(b"x" * 10_000)
        except BaseException:
            await upload.abort()
            raise

    async with backend.messages(chunks(backend), follow=True) as stream:
        task = asyncio.create_task(write_for_ever())
        await take(stream, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    await store(backend, chunks(backend, "LATER"), b"x")
    assert await soon(backend.subjects(everything(backend))) == {chunks(backend, "LATER"): 1}


# --- refusals


def refused(backend: Backend) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """Every way to change a bucket."""

    async def upload() -> None:
        await store(backend, chunks(backend), b"x")

    return {
        "publish_metadata": lambda: backend.publish_metadata(
            metadata(backend), b"{}", expected_sequence=0
        ),
        "upload": upload,
        "purge": lambda: backend.purge(chunks(backend)),
    }


WRITES = ("publish_metadata", "upload", "purge")


@pytest.mark.parametrize("method", WRITES)
async def test_a_sealed_bucket_refuses_every_change(backend: Backend, method: str) -> None:
    await store(backend, chunks(backend, "KEPT"), b"x")
    await soon(backend.seal())
    before = await soon(backend.state())

    with pytest.raises(BucketSealedError) as raised:
        await soon(refused(backend)[method]())

    after = await soon(backend.state())
    assert raised.value.bucket == backend.bucket
    assert (after.messages, after.last_sequence) == (before.messages, before.last_sequence)


async def test_a_sealed_bucket_is_told_before_a_wrong_revision(backend: Backend) -> None:
    await soon(backend.seal())

    with pytest.raises(BucketSealedError):
        await soon(backend.publish_metadata(metadata(backend), b"", expected_sequence=9))


async def test_a_sealed_bucket_can_be_read(backend: Backend) -> None:
    await store(backend, chunks(backend), b"1", b"2")
    await soon(backend.seal())

    last = await soon(backend.last_message(chunks(backend)))
    assert last is not None
    assert last.data == b"2"
    assert bodies(await read(backend.messages(chunks(backend)))) == [b"1", b"2"]
    assert await soon(backend.subjects(everything(backend))) == {chunks(backend): 2}


async def test_sealing_is_told_by_the_state_and_can_be_repeated(backend: Backend) -> None:
    assert not (await soon(backend.state())).config.get("sealed")

    await soon(backend.seal())
    await soon(backend.seal())

    assert (await soon(backend.state())).config["sealed"] is True


async def test_an_upload_into_a_bucket_sealed_meanwhile_is_refused(backend: Backend) -> None:
    upload = backend.upload(chunks(backend))
    await soon(upload.write(b"x"))
    await soon(upload.finish())
    await soon(backend.seal())

    with pytest.raises(BucketSealedError):
        await soon(write_and_finish(upload))
    await soon(upload.abort())


async def write_and_finish(upload: ChunkUpload) -> None:
    await upload.write(b"x")
    await upload.finish()


async def test_a_full_bucket_refuses_chunks(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, max_bytes=10_000)
    upload = backend.upload(chunks(backend))

    with pytest.raises(BucketFullError) as raised:
        for _ in range(12):
            await soon(upload.write(b"x" * 1000))
        await soon(upload.finish())

    assert raised.value.bucket == bucket_name
    assert (await soon(backend.state())).bytes <= 10_000
    await soon(upload.abort())
    assert await soon(backend.subjects(everything(backend))) == {}


async def test_an_upload_that_was_refused_stays_refused(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, max_bytes=1000)
    upload = backend.upload(chunks(backend))
    with pytest.raises(BucketFullError):
        await soon(upload.write(b"x" * 2000))
        await soon(upload.finish())

    with pytest.raises(BucketFullError):
        await soon(upload.finish())


async def test_the_limit_of_a_bucket_counts_subject_and_overhead(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, max_bytes=2000)
    room = 2000 - len(chunks(backend)) - 30

    with pytest.raises(BucketFullError):
        await store(backend, chunks(backend), b"x" * (room + 1))
    await store(backend, chunks(backend), b"x" * room)

    assert (await soon(backend.state())).bytes == 2000


async def test_a_full_bucket_refuses_metadata_and_keeps_the_older(
    create: Create, bucket_name: str
) -> None:
    # The new message is let in before the old one is removed: both must fit.
    backend = await create(bucket_name, max_bytes=2000)
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"x" * 1000, expected_sequence=0))

    with pytest.raises(BucketFullError):
        await soon(backend.publish_metadata(subject, b"y" * 1000, expected_sequence=1))

    assert bodies(await read(backend.messages(subject))) == [b"x" * 1000]


async def test_a_wrong_revision_is_told_before_a_full_bucket(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, max_bytes=1000)
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"x", expected_sequence=0))

    with pytest.raises(WrongRevision):
        await soon(backend.publish_metadata(subject, b"y" * 2000, expected_sequence=0))


async def test_a_purge_makes_room_in_a_full_bucket(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, max_bytes=2000)
    await store(backend, chunks(backend), b"x" * 1500)
    with pytest.raises(BucketFullError):
        await store(backend, chunks(backend, "NEXT"), b"x" * 1500)

    await soon(backend.purge(chunks(backend)))
    await store(backend, chunks(backend, "NEXT"), b"x" * 1500)

    assert await soon(backend.subjects(everything(backend))) == {chunks(backend, "NEXT"): 1}


def every_call(backend: Backend) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    async def other() -> object:
        return await backend.other(backend.bucket)

    return refused(backend) | {
        "last_message": lambda: backend.last_message(metadata(backend)),
        "last_message_of_leader": lambda: backend.last_message(metadata(backend), leader=True),
        "last_messages": lambda: backend.last_messages(
            [metadata(backend), metadata(backend, "dog.png")]
        ),
        "messages": lambda: read(backend.messages(everything(backend))),
        "subjects": lambda: backend.subjects(everything(backend)),
        "state": backend.state,
        "seal": backend.seal,
        "other": other,
    }


@pytest.mark.parametrize(
    "method",
    [
        *WRITES,
        "last_message",
        "last_message_of_leader",
        "last_messages",
        "messages",
        "subjects",
        "state",
        "seal",
        "other",
    ],
)
async def test_a_deleted_bucket_is_not_found_by_any_call(
    server: Server, backend: Backend, method: str
) -> None:
    await store(backend, chunks(backend), b"x")
    await soon(server.delete(backend.bucket))

    with pytest.raises(BucketNotFoundError) as raised:
        await soon(every_call(backend)[method]())

    assert raised.value.bucket == backend.bucket


async def test_an_upload_into_a_bucket_deleted_meanwhile_is_refused(
    server: Server, backend: Backend
) -> None:
    upload = backend.upload(chunks(backend))
    await soon(upload.write(b"x"))
    await soon(upload.finish())
    await soon(server.delete(backend.bucket))

    with pytest.raises(BucketNotFoundError):
        await soon(write_and_finish(upload))
    await soon(upload.abort())


# --- last_messages


async def test_the_newest_messages_of_several_subjects_are_read_together(
    backend: Backend,
) -> None:
    await store(backend, chunks(backend, "A"), b"1", b"22")
    await store(backend, chunks(backend, "B"), b"333")
    written = await soon(
        backend.publish_metadata(metadata(backend), b"{}", expected_sequence=0)
    )
    asked = [chunks(backend, "B"), metadata(backend), chunks(backend, "C")]

    found = await soon(backend.last_messages([*asked, chunks(backend, "A")]))

    assert {one: (message.data, message.sequence) for one, message in found.items()} == {
        chunks(backend, "B"): (b"333", 3),
        metadata(backend): (b"{}", 4),
        chunks(backend, "A"): (b"22", 2),
    }
    assert all(message.subject == one for one, message in found.items())
    single = await soon(backend.last_message(metadata(backend)))
    assert found[metadata(backend)] == single
    assert written.sequence == 4
    assert await soon(backend.last_messages([])) == {}
    assert await soon(backend.last_messages([chunks(backend, "C"), asked[2]])) == {}


async def test_so_many_bytes_are_read_together_as_there_are(backend: Backend) -> None:
    subjects = [chunks(backend, f"N{number}") for number in range(TOGETHER)]
    for number, subject in enumerate(subjects):
        await store(backend, subject, bytes([number]) * 20_000)

    # As metadata of an unusual size, and as contents of a known one.
    for size in (0, TOGETHER * 20_000):
        found = await soon(backend.last_messages(subjects, size=size))
        assert [found[one].data for one in subjects] == [
            bytes([number]) * 20_000 for number in range(TOGETHER)
        ]


# --- messages


@pytest.mark.parametrize("deliver", list(Deliver))
async def test_an_empty_stream_ends_at_once(backend: Backend, deliver: Deliver) -> None:
    async with backend.messages(everything(backend), deliver=deliver) as stream:
        assert stream.pending == 0
        with pytest.raises(StopAsyncIteration):
            await soon(stream.__anext__())


async def test_messages_come_in_order_each_with_what_is_pending(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1")
    await store(backend, chunks(backend, "B"), b"2")
    await store(backend, chunks(backend, "A"), b"three")

    async with backend.messages(everything(backend)) as stream:
        assert stream.pending == 3
        messages = await take(stream, 3)
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await soon(stream.__anext__())

    assert [
        (one.subject, one.data, one.sequence, one.pending, one.size) for one in messages
    ] == [
        (chunks(backend, "A"), b"1", 1, 2, 1),
        (chunks(backend, "B"), b"2", 2, 1, 1),
        (chunks(backend, "A"), b"three", 3, 0, 5),
    ]


async def test_messages_have_the_time_they_were_stored(backend: Backend) -> None:
    await store(backend, chunks(backend), b"1", b"2")

    messages = await read(backend.messages(everything(backend)))

    last = await soon(backend.last_message(chunks(backend)))
    assert last is not None
    assert messages[0].time_ns <= messages[1].time_ns == last.time_ns


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("$O.{bucket}.C.A", [b"1", b"3"]),
        ("$O.{bucket}.C.*", [b"1", b"2", b"3"]),
        ("$O.{bucket}.C.>", [b"1", b"2", b"3"]),
        ("$O.{bucket}.M.*", [b"4"]),
        ("$O.{bucket}.*.A", [b"1", b"3"]),
        ("$O.{bucket}.>", [b"1", b"2", b"3", b"4"]),
        ("$O.{bucket}.C.AB", []),
        ("$O.{bucket}.C.A.*", []),
    ],
)
async def test_only_what_matches_is_read_and_counted(
    backend: Backend, pattern: str, expected: list[bytes]
) -> None:
    pattern = pattern.format(bucket=backend.bucket)
    await store(backend, chunks(backend, "A"), b"1")
    await store(backend, chunks(backend, "B"), b"2")
    await store(backend, chunks(backend, "A"), b"3")
    await store(backend, metadata(backend), b"4")

    messages = await read(backend.messages(pattern))
    async with backend.messages(pattern) as stream:
        pending = stream.pending

    assert bodies(messages) == expected
    assert pending == len(expected)
    assert pendings(messages) == list(range(len(expected)))[::-1]


async def test_removed_messages_are_not_counted(backend: Backend) -> None:
    for number in range(6):
        await store(backend, chunks(backend, f"N{number % 2}"), b"%d" % number)
    await soon(backend.purge(chunks(backend, "N1")))

    messages = await read(backend.messages(everything(backend)))

    assert bodies(messages) == [b"0", b"2", b"4"]
    assert pendings(messages) == [2, 1, 0]
    assert [one.sequence for one in messages] == [1, 3, 5]


async def test_last_per_subject_is_the_newest_of_each_subject(backend: Backend) -> None:
    for nuid, body in (("A", b"1"), ("B", b"2"), ("C", b"3"), ("A", b"4"), ("C", b"5")):
        await store(backend, chunks(backend, nuid), body)

    async with backend.messages(
        everything(backend), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        assert stream.pending == 3
        messages = await take(stream, 3)
        with pytest.raises(StopAsyncIteration):
            await soon(stream.__anext__())

    assert bodies(messages) == [b"2", b"4", b"5"]
    assert pendings(messages) == [2, 1, 0]


async def test_last_per_subject_sees_a_version_that_replaces_one_not_yet_read(
    backend: Backend,
) -> None:
    for number in range(3):
        await soon(
            backend.publish_metadata(
                metadata(backend, f"{number}"), b"old %d" % number, expected_sequence=0
            )
        )

    async with backend.messages(
        wire.metadata_wildcard(backend.bucket),
        deliver=Deliver.LAST_PER_SUBJECT,
        follow=True,
    ) as stream:
        messages = await take(stream, 1)
        await soon(
            backend.publish_metadata(metadata(backend, "1"), b"new 1", expected_sequence=2)
        )
        while messages[-1].data != b"new 1":
            messages += await take(stream, 1)

    # The server may have sent the old one already.
    assert [one for one in bodies(messages) if one != b"old 1"] == [
        b"old 0",
        b"old 2",
        b"new 1",
    ]
    assert messages[-1].pending == 0


async def test_new_is_what_is_stored_after_opening(backend: Backend) -> None:
    await store(backend, chunks(backend), b"old")

    async with backend.messages(
        everything(backend), deliver=Deliver.NEW, follow=True
    ) as stream:
        assert stream.pending == 0
        await store(backend, chunks(backend), b"new", b"newer")
        assert bodies(await take(stream, 2)) == [b"new", b"newer"]


async def test_new_that_is_not_followed_ends_at_once(backend: Backend) -> None:
    await store(backend, chunks(backend), b"old")

    assert await read(backend.messages(everything(backend), deliver=Deliver.NEW)) == []


@pytest.mark.parametrize(
    "start_sequence, expected",
    [
        (1, [b"1", b"3", b"5"]),
        (2, [b"3", b"5"]),
        (3, [b"3", b"5"]),
        (5, [b"5"]),
        (6, []),
        (100, []),
    ],
)
async def test_reading_starts_with_the_first_match_at_or_after_a_sequence(
    backend: Backend, start_sequence: int, expected: list[bytes]
) -> None:
    for number in range(1, 7):
        await store(backend, chunks(backend, f"N{number % 2}"), b"%d" % number)

    messages = await read(
        backend.messages(chunks(backend, "N1"), start_sequence=start_sequence)
    )

    assert bodies(messages) == expected
    assert pendings(messages) == list(range(len(expected)))[::-1]


async def test_a_start_before_the_oldest_message_is_the_oldest(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1", b"2")
    await store(backend, chunks(backend, "B"), b"3")
    await soon(backend.purge(chunks(backend, "A")))

    messages = await read(backend.messages(everything(backend), start_sequence=2))

    assert bodies(messages) == [b"3"]


@pytest.mark.parametrize("deliver", [Deliver.NEW, Deliver.LAST_PER_SUBJECT])
async def test_a_start_needs_deliver_all(backend: Backend, deliver: Deliver) -> None:
    with pytest.raises(InvalidOptionError):
        await read(backend.messages(everything(backend), deliver=deliver, start_sequence=1))


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 9])
async def test_a_limit_ends_the_reading_and_not_the_count(
    backend: Backend, limit: int
) -> None:
    for number in range(10):
        await store(backend, chunks(backend, f"N{number % 2}"), b"%d" % number)

    async with backend.messages(chunks(backend, "N0"), start_sequence=2) as stream:
        stream.limit(limit)
        assert stream.pending == 4
        messages = await soon(rest(stream))

    assert bodies(messages) == [b"2", b"4", b"6", b"8"][:limit]
    assert pendings(messages) == [3, 2, 1, 0][:limit]


async def test_a_limit_counts_with_last_per_subject(backend: Backend) -> None:
    for nuid in ("A", "B", "A", "C"):
        await store(backend, chunks(backend, nuid), b"x")

    async with backend.messages(
        everything(backend), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        stream.limit(2)
        messages = await soon(rest(stream))

    assert [one.sequence for one in messages] == [2, 3]


@pytest.mark.parametrize("deliver", [Deliver.ALL, Deliver.LAST_PER_SUBJECT])
async def test_headers_only_leaves_the_bodies_out_and_tells_their_sizes(
    backend: Backend, deliver: Deliver
) -> None:
    await store(backend, chunks(backend, "A"), b"123", b"12345")
    await store(backend, chunks(backend, "B"), b"")
    await soon(backend.publish_metadata(metadata(backend), b"1234567", expected_sequence=0))

    messages = await read(
        backend.messages(everything(backend), deliver=deliver, headers_only=True)
    )

    sizes = [3, 5, 0, 7] if deliver is Deliver.ALL else [5, 0, 7]
    assert [one.size for one in messages] == sizes
    assert bodies(messages) == [b""] * len(sizes)
    assert pendings(messages) == list(range(len(sizes)))[::-1]


async def test_following_goes_on_with_what_is_stored_later(backend: Backend) -> None:
    await store(backend, chunks(backend), b"1", b"2")

    async with backend.messages(chunks(backend), follow=True) as stream:
        assert stream.pending == 2
        first = await take(stream, 2)
        later = asyncio.create_task(take(stream, 2))
        await store(backend, chunks(backend, "OTHER"), b"x")
        assert not later.done()
        await store(backend, chunks(backend), b"3", b"4")
        second = await soon(later)

    assert bodies(first) == [b"1", b"2"]
    assert pendings(first) == [1, 0]
    assert bodies(second) == [b"3", b"4"]
    assert [one.sequence for one in second] == [4, 5]


async def test_following_a_start_in_the_future_waits_for_it(backend: Backend) -> None:
    await store(backend, chunks(backend), b"1")

    async with backend.messages(everything(backend), start_sequence=3, follow=True) as stream:
        assert stream.pending == 0
        await store(backend, chunks(backend), b"2", b"3")
        assert bodies(await take(stream, 1)) == [b"3"]


async def test_following_sees_each_version_in_order(backend: Backend) -> None:
    subject = metadata(backend)

    async with backend.messages(subject, follow=True) as stream:
        for number in range(20):
            message = await soon(
                backend.publish_metadata(subject, b"%d" % number, expected_sequence=number)
            )
            assert [one.sequence for one in await take(stream, 1)] == [message.sequence]


async def test_readers_at_once_get_everything_each(backend: Backend) -> None:
    parts = [b"%d" % number for number in range(50)]
    await store(backend, chunks(backend), *parts)

    results = await asyncio.gather(
        *(read(backend.messages(chunks(backend))) for _ in range(5))
    )

    assert [bodies(messages) for messages in results] == [parts] * 5


async def test_much_is_read_in_order_without_a_gap(backend: Backend) -> None:
    # Far more than a client may have under way, so that flow control has its say.
    parts = [b"%06d" % number * 10_000 for number in range(500)]
    await store(backend, chunks(backend), *parts)

    messages = await read(backend.messages(chunks(backend)))

    assert [one.sequence for one in messages] == list(range(1, 501))
    assert pendings(messages) == list(range(500))[::-1]
    assert bodies(messages) == parts


async def test_a_slow_reader_gets_everything(backend: Backend) -> None:
    await store(backend, chunks(backend), *([b"x" * 100_000] * 100))

    sequences = []

    async def read_slowly() -> None:
        async with backend.messages(chunks(backend)) as stream:
            async for message in stream:
                sequences.append(message.sequence)
                await backend.last_message(chunks(backend))

    await soon(read_slowly())
    assert sequences == list(range(1, 101))


async def test_reading_ends_where_the_rest_is_removed_meanwhile(backend: Backend) -> None:
    await store(backend, chunks(backend), *([b"x" * 100_000] * 100))

    async def read_and_purge() -> list[StoredMessage]:
        async with backend.messages(chunks(backend)) as stream:
            messages = await take(stream, 1)
            await backend.purge(chunks(backend))
            return messages + await rest(stream)

    messages = await soon(read_and_purge())

    # How many were under way is the server's affair; what is gone does not hang the reader.
    assert [one.sequence for one in messages] == list(range(1, len(messages) + 1))
    assert len(messages) < 100


async def test_following_a_bucket_that_is_deleted_raises(
    server: Server, backend: Backend
) -> None:
    await store(backend, chunks(backend), b"1")

    async with backend.messages(everything(backend), follow=True) as stream:
        await take(stream, 1)
        waiting = asyncio.create_task(take(stream, 1))
        # Round trips, in which the reader comes to wait.
        for _ in range(3):
            await soon(backend.state())
        await soon(server.delete(backend.bucket))
        with pytest.raises(BucketNotFoundError) as raised:
            await soon(waiting)

    assert raised.value.bucket == backend.bucket


async def test_following_a_bucket_that_is_deleted_and_made_again_raises(
    server: Server, create: Create, backend: Backend
) -> None:
    async with backend.messages(everything(backend), follow=True) as stream:
        waiting = asyncio.create_task(take(stream, 1))
        for _ in range(3):
            await soon(backend.state())
        await soon(server.delete(backend.bucket))
        new = await create(backend.bucket)
        await store(new, chunks(new), b"1")
        with pytest.raises(BucketNotFoundError):
            await soon(waiting)


@pytest.mark.parametrize("server", ["jetstream"], indirect=True)
@pytest.mark.parametrize("follow", [False, True])
async def test_a_stream_that_is_left_leaves_no_consumer(
    backend: Backend, nats_client: Client, follow: bool
) -> None:
    await store(backend, chunks(backend), b"1", b"2", b"3")

    async def consumers() -> int:
        info = await nats_client.jetstream().stream_info(wire.stream_name(backend.bucket))
        return info.state.consumer_count

    async with backend.messages(chunks(backend), follow=follow) as stream:
        await take(stream, 1)
        # Otherwise this test could not fail.
        assert await soon(consumers()) == 1
    assert await soon(consumers()) == 0

    async def fail() -> None:
        async with backend.messages(chunks(backend), follow=follow) as stream:
            await take(stream, 1)
            raise LookupError

    with pytest.raises(LookupError):
        await soon(fail())
    assert await soon(consumers()) == 0


@pytest.mark.parametrize("server", ["jetstream"], indirect=True)
async def test_a_cancelled_reader_leaves_no_consumer(
    backend: Backend, nats_client: Client
) -> None:
    entered = asyncio.Event()

    async def wait_for_ever() -> None:
        async with backend.messages(chunks(backend), follow=True) as stream:
            entered.set()
            await stream.__anext__()

    task = asyncio.create_task(wait_for_ever())
    await soon(entered.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    info = await nats_client.jetstream().stream_info(wire.stream_name(backend.bucket))
    assert info.state.consumer_count == 0


@pytest.mark.parametrize("turns", range(30))
@pytest.mark.parametrize("server", ["jetstream"], indirect=True)
async def test_a_reader_cancelled_while_it_opens_leaves_no_consumer(
    backend: Backend, nats_client: Client, turns: int
) -> None:
    async def open_stream() -> None:
        async with backend.messages(chunks(backend)):
            pass

    task = asyncio.create_task(open_stream())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await soon(asyncio.wait([task]))

    info = await nats_client.jetstream().stream_info(wire.stream_name(backend.bucket))
    assert info.state.consumer_count == 0


# --- purge, subjects, state


async def test_a_purge_removes_one_subject_and_counts(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1", b"2", b"3")
    await store(backend, chunks(backend, "AB"), b"4")

    assert await soon(backend.purge(chunks(backend, "A"))) == 3
    assert await soon(backend.purge(chunks(backend, "A"))) == 0

    assert bodies(await read(backend.messages(everything(backend)))) == [b"4"]


async def test_a_purge_up_to_a_sequence_leaves_what_is_newer(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1", b"2", b"3")
    first, second, _ = await read(backend.messages(chunks(backend, "A")))

    assert await soon(backend.purge(chunks(backend, "A"), up_to=second.sequence)) == 2
    assert await soon(backend.purge(chunks(backend, "A"), up_to=first.sequence)) == 0

    assert bodies(await read(backend.messages(everything(backend)))) == [b"3"]


async def test_one_message_is_removed_by_its_sequence(backend: Backend) -> None:
    await store(backend, f"$O.{backend.bucket}.C.*", b"1", b"2")
    await store(backend, chunks(backend, "A"), b"3")
    first, *_ = await read(backend.messages(everything(backend)))

    assert await soon(backend.remove(first.sequence)) is True
    assert await soon(backend.remove(first.sequence)) is False
    assert await soon(backend.remove(1_000)) is False

    assert bodies(await read(backend.messages(everything(backend)))) == [b"2", b"3"]


async def test_several_subjects_are_read_in_the_streams_order(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1")
    await store(backend, chunks(backend, "B"), b"2")
    await store(backend, chunks(backend, "C"), b"3")
    await store(backend, chunks(backend, "A"), b"4")
    wanted = [chunks(backend, "A"), chunks(backend, "C")]

    messages = await read(backend.messages(wanted, headers_only=True))

    assert [(one.subject, one.size) for one in messages] == [
        (wanted[0], 1),
        (wanted[1], 1),
        (wanted[0], 1),
    ]
    assert bodies(await read(backend.messages(wanted))) == [b"1", b"3", b"4"]


async def test_consumers_say_what_they_have_passed(backend: Backend) -> None:
    assert await soon(backend.consumers()) == []
    await store(backend, chunks(backend, "A"), b"1", b"2")
    async with backend.messages(chunks(backend, "A"), follow=True) as stream:
        (one,) = await soon(backend.consumers())
        assert one.name
        assert one.filters == (chunks(backend, "A"),)
        assert one.idle is False
        assert one.has_passed(chunks(backend, "A"), 1) is False
        assert one.has_passed(chunks(backend, "B"), 1) is True
        await take(stream, 2)
        (one,) = await soon(backend.consumers())
        assert one.has_passed(chunks(backend, "A"), 2) is True
    assert await soon(backend.consumers()) == []


@pytest.mark.parametrize(
    "filters, subject, wanted",
    [
        ((), "a.b", True),
        (("a.b",), "a.b", True),
        (("a.b",), "a.c", False),
        (("a.b",), "a.b.c", False),
        (("a.b.c",), "a.b", False),
        (("a.*",), "a.b", True),
        (("a.*",), "a.b.c", False),
        (("a.>",), "a.b.c", True),
        (("a.>",), "a", False),
        (("x", "a.*"), "a.b", True),
    ],
)
def test_a_consumer_is_behind_only_on_what_it_wants(
    filters: tuple[str, ...], subject: str, wanted: bool
) -> None:
    consumer = ConsumerState("c", filters, floor=5, idle=False)

    assert consumer.has_passed(subject, 6) is not wanted
    assert consumer.has_passed(subject, 5) is True
    assert consumer._replace(idle=True).has_passed(subject, 6) is True


async def test_the_state_has_the_servers_time(backend: Backend) -> None:
    await store(backend, chunks(backend, "A"), b"1")
    (message,) = await read(backend.messages(chunks(backend, "A")))
    before = (await soon(backend.state())).time_ns
    after = (await soon(backend.state())).time_ns

    assert message.time_ns <= before <= after


async def test_sequences_are_never_used_again(backend: Backend) -> None:
    await store(backend, chunks(backend), b"1", b"2", b"3")
    await soon(backend.purge(chunks(backend)))

    await store(backend, chunks(backend), b"4")

    messages = await read(backend.messages(chunks(backend)))
    assert [one.sequence for one in messages] == [4]


async def test_subjects_are_counted(backend: Backend) -> None:
    assert await soon(backend.subjects(everything(backend))) == {}

    await store(backend, chunks(backend, "A"), b"1", b"2")
    await store(backend, chunks(backend, "B"), b"3")
    await soon(backend.publish_metadata(metadata(backend), b"old", expected_sequence=0))
    await soon(backend.publish_metadata(metadata(backend), b"new", expected_sequence=4))

    assert await soon(backend.subjects(everything(backend))) == {
        chunks(backend, "A"): 2,
        chunks(backend, "B"): 1,
        metadata(backend): 1,
    }
    assert await soon(backend.subjects(wire.all_chunks_subject(backend.bucket))) == {
        chunks(backend, "A"): 2,
        chunks(backend, "B"): 1,
    }
    assert await soon(backend.subjects(wire.metadata_wildcard(backend.bucket))) == {
        metadata(backend): 1
    }
    assert await soon(backend.subjects(chunks(backend, "A"))) == {chunks(backend, "A"): 2}
    assert await soon(backend.subjects(chunks(backend, "C"))) == {}


async def test_the_latest_time_is_not_before_the_servers_and_soon_close_to_it(
    backend: Backend,
) -> None:
    told = (await soon(backend.state())).time_ns
    latest = backend.latest_time()
    now = (await soon(backend.state())).time_ns
    assert told <= latest
    assert latest < now + 5_000_000_000


async def test_the_max_age_is_that_of_the_stream(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, ttl=timedelta(minutes=1))
    assert backend.max_age == 60_000_000_000


async def test_the_state_is_what_the_stream_holds(create: Create, bucket_name: str) -> None:
    backend = await create(
        bucket_name, description="pictures", max_bytes=10**6, metadata={"team": "a"}
    )
    empty = await soon(backend.state())
    await store(backend, chunks(backend), b"x" * 100, b"y" * 50)
    full = await soon(backend.state())
    await soon(backend.purge(chunks(backend)))
    purged = await soon(backend.state())

    assert (empty.messages, empty.bytes, empty.last_sequence) == (0, 0, 0)
    # What a server's file storage adds to each message is 30 bytes.
    size = 150 + 2 * (len(chunks(backend)) + 30)
    assert (full.messages, full.bytes, full.last_sequence) == (2, size, 2)
    assert (purged.messages, purged.bytes, purged.last_sequence) == (0, 0, 2)
    assert full.created == empty.created
    config = wire.config_of(full.config)
    assert config.bucket == bucket_name
    assert config.description == "pictures"
    assert config.max_bytes == 10**6
    assert config.metadata == {"team": "a"}
    assert full.config["subjects"] == [f"$O.{bucket_name}.C.>", f"$O.{bucket_name}.M.>"]


async def test_metadata_is_counted_with_its_headers(backend: Backend) -> None:
    await soon(backend.publish_metadata(metadata(backend), b"x" * 100, expected_sequence=0))

    headers = b"NATS/1.0\r\nNats-Rollup: sub\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"
    assert (await soon(backend.state())).bytes == 100 + len(metadata(backend)) + 34 + len(
        headers
    )


async def test_messages_expire(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, ttl=0.1)
    await soon(backend.publish_metadata(metadata(backend), b"x", expected_sequence=0))

    async def expire() -> None:
        while await backend.last_message(metadata(backend)):
            pass

    await soon(expire())

    assert await read(backend.messages(everything(backend))) == []
    message = await soon(
        backend.publish_metadata(metadata(backend), b"y", expected_sequence=0)
    )
    assert message.sequence == 2


async def test_the_longest_subject_works_in_every_call(backend: Backend) -> None:
    prefix = f"$O.{backend.bucket}.M."
    subject = prefix + "x" * (backend.max_subject - len(prefix))

    message = await soon(backend.publish_metadata(subject, b"x", expected_sequence=0))
    await soon(backend.publish_metadata(subject, b"y", expected_sequence=message.sequence))
    assert await soon(backend.subjects(subject)) == {subject: 1}
    for leader in (False, True):
        last = await soon(backend.last_message(subject, leader=leader))
        assert last is not None
        assert (last.subject, last.data) == (subject, b"y")
    messages = await read(backend.messages(subject))
    assert [(one.subject, one.data) for one in messages] == [(subject, b"y")]
    assert await soon(backend.purge(subject)) == 1


async def test_a_backend_tells_its_name_and_its_limits(backend: Backend) -> None:
    assert backend.name in {"memory", "JetStream"}
    assert backend.timeout == 10.0
    assert backend.max_payload == 1024 * 1024
    assert 3_500 < backend.max_subject < 4_096


async def test_announcing_without_a_subscriber_does_nothing(backend: Backend) -> None:
    message = await soon(
        backend.publish_metadata(metadata(backend), b"x", expected_sequence=0)
    )

    await soon(backend.announce(message))

    assert (await soon(backend.state())).messages == 1


# --- other, and the server


async def test_another_bucket_of_the_server_can_be_reached(
    server: Server, create: Create, backend: Backend
) -> None:
    await create(f"{backend.bucket}-2")

    other = await soon(backend.other(f"{backend.bucket}-2"))
    await store(other, chunks(other), b"x")

    assert other.bucket == f"{backend.bucket}-2"
    opened = await soon(server.open(f"{backend.bucket}-2"))
    assert (await soon(opened.state())).messages == 1
    assert (await soon(backend.state())).messages == 0


async def test_an_unknown_bucket_is_not_found(
    server: Server, backend: Backend, bucket_name: str
) -> None:
    unknown = f"{bucket_name}-unknown"
    config = wire.stream_config(ObjectStoreConfig(bucket=unknown))

    calls: list[Awaitable[object]] = [
        server.open(unknown),
        server.update(unknown, config),
        server.delete(unknown),
        backend.other(unknown),
    ]
    for call in calls:
        with pytest.raises(BucketNotFoundError) as raised:
            await soon(call)
        assert raised.value.bucket == unknown
    assert unknown not in await soon(server.buckets())


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a*", "a/b", "ä"])
@pytest.mark.parametrize("method", ["open", "create", "update", "delete", "other"])
async def test_a_name_that_no_bucket_can_have_is_refused(
    server: Server, backend: Backend, method: str, name: str
) -> None:
    config = wire.stream_config(ObjectStoreConfig(bucket="x"))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open": lambda: server.open(name),
        "create": lambda: server.create(name, config),
        "update": lambda: server.update(name, config),
        "delete": lambda: server.delete(name),
        "other": lambda: backend.other(name),
    }

    with pytest.raises(InvalidBucketNameError):
        await soon(calls[method]())


async def test_another_bucket_has_the_same_timeout(backend: Backend) -> None:
    backend.timeout = 3.5

    assert (await soon(backend.other(backend.bucket))).timeout == 3.5


async def test_creating_a_bucket_again_changes_nothing(
    server: Server, create: Create, bucket_name: str
) -> None:
    options = {"description": "d", "ttl": 60, "max_bytes": 10**6, "metadata": {"a": "b"}}
    first = await create(bucket_name, **options)
    await store(first, chunks(first), b"x")
    before = await soon(first.state())

    second = await create(bucket_name, **options)

    assert (await soon(second.state()))._replace(time_ns=0) == before._replace(time_ns=0)


@pytest.mark.parametrize(
    "options",
    [
        {"description": "other"},
        {"ttl": 120},
        {"max_bytes": 10**7},
        {"metadata": {"a": "c"}},
        {"storage": "memory"},
        {"compression": True},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_creating_a_bucket_that_differs_is_an_error(
    create: Create, bucket_name: str, options: dict[str, Any]
) -> None:
    first = await create(
        bucket_name, description="d", ttl=60, max_bytes=10**6, metadata={"a": "b"}
    )
    before = await soon(first.state())

    with pytest.raises(BucketConfigMismatchError) as raised:
        await create(
            bucket_name,
            **{"description": "d", "ttl": 60, "max_bytes": 10**6, "metadata": {"a": "b"}}
            | options,
        )

    assert raised.value.bucket == bucket_name
    assert (await soon(first.state()))._replace(time_ns=0) == before._replace(time_ns=0)


async def test_a_bucket_can_be_updated(server: Server, backend: Backend) -> None:
    await store(backend, chunks(backend), b"x")
    config = wire.stream_config(
        ObjectStoreConfig(
            bucket=backend.bucket,
            description="new",
            ttl=60,
            max_bytes=500,
            metadata={"a": "b"},
        )
    )

    await soon(server.update(backend.bucket, config))

    state = await soon(backend.state())
    updated = wire.config_of(state.config)
    assert updated.description == "new"
    assert updated.max_bytes == 500
    assert updated.metadata == {"a": "b"}
    assert state.config["max_age"] == 60 * 10**9
    assert state.messages == 1
    with pytest.raises(BucketFullError):
        await store(backend, chunks(backend), b"x" * 500)


async def test_shrinking_a_bucket_removes_nothing(server: Server, backend: Backend) -> None:
    await store(backend, chunks(backend), b"x" * 1000)
    config = wire.stream_config(ObjectStoreConfig(bucket=backend.bucket, max_bytes=500))

    await soon(server.update(backend.bucket, config))

    assert bodies(await read(backend.messages(everything(backend)))) == [b"x" * 1000]


async def test_a_storage_cannot_be_changed(server: Server, backend: Backend) -> None:
    config = wire.stream_config(ObjectStoreConfig(bucket=backend.bucket, storage="memory"))

    with pytest.raises(BucketConfigMismatchError) as raised:
        await soon(server.update(backend.bucket, config))

    assert raised.value.bucket == backend.bucket
    assert (await soon(backend.state())).config["storage"] == "file"


async def test_an_update_does_not_unseal(server: Server, backend: Backend) -> None:
    await soon(backend.seal())
    config = wire.stream_config(ObjectStoreConfig(bucket=backend.bucket))

    with pytest.raises(BucketConfigMismatchError):
        await soon(server.update(backend.bucket, config))

    assert (await soon(backend.state())).config["sealed"] is True


async def test_a_sealed_bucket_can_be_deleted(server: Server, backend: Backend) -> None:
    await soon(backend.seal())

    await soon(server.delete(backend.bucket))

    assert backend.bucket not in await soon(server.buckets())


async def test_buckets_are_listed_sorted(
    server: Server, create: Create, bucket_name: str
) -> None:
    names = [f"{bucket_name}-{letter}" for letter in "cab"]
    for name in names:
        await create(name)

    listed = await soon(server.buckets())
    assert listed == sorted(listed)
    assert set(names) <= set(listed)

    await soon(server.delete(names[0]))
    listed = await soon(server.buckets())
    assert names[0] not in listed
    assert set(names[1:]) <= set(listed)


async def test_a_recreated_bucket_is_a_new_one_to_every_handle(
    server: Server, create: Create, backend: Backend
) -> None:
    await store(backend, chunks(backend), b"1", b"2")
    before = await soon(backend.state())
    await soon(server.delete(backend.bucket))

    new = await create(backend.bucket)
    await store(new, chunks(new), b"3")

    after = await soon(backend.state())
    assert after.created != before.created
    assert (after.messages, after.last_sequence) == (1, 1)
    assert bodies(await read(backend.messages(everything(backend)))) == [b"3"]
    assert await soon(backend.purge(chunks(backend))) == 1
