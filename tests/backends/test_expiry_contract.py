"""What every backend promises of messages that expire by themselves."""

import asyncio
import time
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend, Deliver, MetadataWrite, StoredMessage
from faststream_objstore.exceptions import FeatureNotEnabledError, ObjStoreError
from tests.backends.test_backend_contract import (
    Create,
    chunks,
    create,
    everything,
    metadata,
    read,
    server,
    soon,
)

__all__ = ("create", "server")

pytestmark = pytest.mark.timeout(60)

SECOND = 1_000_000_000


@pytest.fixture
async def backend(create: Create, bucket_name: str) -> Backend:
    return await create(bucket_name, object_ttl=1)


async def changes_of(backend: Backend, count: int) -> list[StoredMessage]:
    """The next messages of the bucket, as somebody sees them who waits for them."""
    async with backend.messages(
        everything(backend), deliver=Deliver.ALL, follow=True
    ) as stream:
        return [await soon(stream.__anext__()) for _ in range(count)]


async def test_a_message_expires_and_leaves_a_marker_that_expires_without_a_trace(
    backend: Backend,
) -> None:
    assert backend.least_ttl == SECOND
    subject = metadata(backend)
    written = await soon(backend.publish_metadata(subject, b"{}", expected_sequence=0, ttl=1))

    first, marker = await changes_of(backend, 2)

    assert (first.data, first.reason) == (b"{}", "")
    assert (marker.subject, marker.data, marker.reason) == (subject, b"", "MaxAge")
    assert (first.sequence, marker.sequence) == (written.sequence, 2)
    assert first.time_ns + SECOND <= marker.time_ns
    for leader in (False, True):
        found = await soon(backend.last_message(subject, leader=leader))
        assert found is not None
        assert (found.sequence, found.data, found.reason) == (2, b"", "MaxAge")
    assert [one.reason for one in await read(backend.messages(subject))] == ["MaxAge"]

    while await soon(backend.last_message(subject)) is not None:
        await asyncio.sleep(0.01)
    state = await soon(backend.state())
    assert (state.messages, state.last_sequence) == (0, 2)


async def test_a_marker_is_replaced_at_its_sequence(backend: Backend) -> None:
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"1", expected_sequence=0, ttl=1))
    _, marker = await changes_of(backend, 2)

    written = await soon(
        backend.publish_metadata(subject, b"2", expected_sequence=marker.sequence)
    )

    assert [one.data for one in await read(backend.messages(subject))] == [b"2"]
    assert written.sequence == 3


async def test_a_delete_marker_goes_without_another_marker(backend: Backend) -> None:
    gone, other = metadata(backend, "gone"), metadata(backend, "other")
    for subject, marker in ((gone, True), (other, False)):
        await soon(
            backend.publish_metadata(subject, b"{}", expected_sequence=0, ttl=1, marker=marker)
        )

    *_, left = await changes_of(backend, 3)

    assert (left.subject, left.reason) == (other, "MaxAge")
    assert await soon(backend.last_message(gone)) is None


async def test_a_ttl_below_the_least_is_raised(create: Create, bucket_name: str) -> None:
    backend = await create(bucket_name, object_ttl=3)
    subject = metadata(backend)
    await soon(backend.publish_metadata(subject, b"{}", expected_sequence=0, ttl=1))

    first, marker = await changes_of(backend, 2)

    assert first.time_ns + 3 * SECOND <= marker.time_ns


async def test_chunks_expire_too(backend: Backend) -> None:
    upload = backend.upload(chunks(backend), ttl=1)
    for body in (b"one", b"two"):
        await soon(upload.write(body))
    await soon(upload.finish())
    assert await soon(backend.subjects(chunks(backend))) == {chunks(backend): 2}

    *_, marker = await changes_of(backend, 3)

    assert (marker.subject, marker.data, marker.reason) == (chunks(backend), b"", "MaxAge")


async def test_the_messages_of_a_batch_have_their_own_ttls(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, transactions=True, object_ttl=1)
    one, two, three = (metadata(backend, name) for name in ("1", "2", "3"))
    await soon(
        backend.publish_batch(
            [
                MetadataWrite(one, b"1", 0),
                MetadataWrite(two, b"2", 0, 1),
                MetadataWrite(three, b"3", 0, 1, True),
            ]
        )
    )

    *_, marker = await changes_of(backend, 4)

    assert (marker.subject, marker.reason) == (two, "MaxAge")
    assert await soon(backend.last_message(three)) is None
    found = await soon(backend.last_message(one))
    assert found is not None
    assert found.data == b"1"


async def test_the_bucket_s_ttl_leaves_markers_too_and_the_earlier_end_counts(
    create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name, ttl=2, object_ttl=1)
    early, late, plain = (metadata(backend, name) for name in ("early", "late", "plain"))
    for subject, ttl in ((early, 1), (late, 60), (plain, 0)):
        await soon(backend.publish_metadata(subject, b"{}", expected_sequence=0, ttl=ttl))
    began = time.time_ns()

    *_, first, second, third = await changes_of(backend, 6)

    assert first.subject == early
    assert {second.subject, third.subject} == {late, plain}
    assert {first.reason, second.reason, third.reason} == {"MaxAge"}
    # Far from the minute that `late` asked for.
    assert third.time_ns < began + 30 * SECOND


@pytest.mark.parametrize("what", ["metadata", "chunk"])
async def test_a_ttl_is_refused_where_it_is_not_enabled(
    what: str, create: Create, bucket_name: str
) -> None:
    backend = await create(bucket_name)
    assert backend.least_ttl == 0

    async def chunk() -> None:
        upload = backend.upload(chunks(backend), ttl=60)
        try:
            await upload.write(b"1")
            await upload.finish()
        except ObjStoreError:
            await upload.abort()
            raise

    work: Any = (
        chunk()
        if what == "chunk"
        else backend.publish_metadata(metadata(backend), b"{}", expected_sequence=0, ttl=60)
    )
    with pytest.raises(FeatureNotEnabledError):
        await soon(work)
    assert (await soon(backend.state())).messages == 0
