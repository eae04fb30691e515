"""sweep beside what only a server has: durables, foreign consumers, foreign streams."""

import asyncio
import logging
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.messages import StoredMessage
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.settled import settled

NOW = timedelta(0)


async def names(store: ObjectStore) -> list[str]:
    return [info.name for info in await store.list(include_deleted=True)]


@pytest.fixture
async def durable(
    nats_client: Client, store: ObjectStore
) -> "nats.js.JetStreamContext.PullSubscription":
    """A worker of some other kind, that acknowledges each change by itself."""
    return await nats_client.jetstream().pull_subscribe(
        f"$O.{store.bucket}.M.*",
        durable="worker",
        stream=f"OBJ_{store.bucket}",
        config=ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, ack_wait=600
        ),
    )


async def test_a_marker_stays_until_a_durable_has_acknowledged_it(
    store: ObjectStore,
    durable: "nats.js.JetStreamContext.PullSubscription",
    caplog: pytest.LogCaptureFixture,
) -> None:
    await store.put("first", b"1")
    await store.delete("first")
    await store.put("second", b"1")
    await store.delete("second")

    # Both are pending.
    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["first", "second"]
    assert "2 delete markers stay, because the consumer 'worker'" in caplog.text

    # Both are delivered, and none is acknowledged.
    first, second = await durable.fetch(2, timeout=10)
    await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["first", "second"]

    # The floor is the first.
    await first.ack_sync()
    await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["second"]

    # Nothing is left.
    await second.ack_sync()
    await store.sweep(markers_older_than=NOW)
    assert await names(store) == []


async def test_an_acknowledgement_out_of_order_passes_nothing(
    store: ObjectStore, durable: "nats.js.JetStreamContext.PullSubscription"
) -> None:
    await store.put("first", b"1")
    await store.delete("first")
    await store.put("second", b"1")
    await store.delete("second")
    first, second = await durable.fetch(2, timeout=10)
    await second.ack_sync()

    await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["first", "second"]
    await first.ack_sync()
    await store.sweep(markers_older_than=NOW)
    assert await names(store) == []


async def test_a_durable_that_never_had_anything_to_do_keeps_no_marker(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("gone", b"1")
    await store.delete("gone")
    # Its floor is 0 and stays there.
    await nats_client.jetstream().pull_subscribe(
        f"$O.{store.bucket}.M.*",
        durable="idle",
        stream=f"OBJ_{store.bucket}",
        config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW),
    )

    await store.sweep(markers_older_than=NOW)
    assert await names(store) == []


async def test_a_durable_of_another_subject_keeps_no_marker(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("other", b"1")
    await store.put("gone", b"1")
    await store.delete("gone")
    await nats_client.jetstream().pull_subscribe(
        f"$O.{store.bucket}.M.b3RoZXI=", durable="other", stream=f"OBJ_{store.bucket}"
    )

    await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["other"]


async def test_more_consumers_than_one_page_are_all_asked(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("gone", b"1")
    await store.delete("gone")
    jetstream = nats_client.jetstream()
    # 256 are one page; the last, by name, is the one that is behind.
    await asyncio.gather(
        *(
            jetstream.add_consumer(
                f"OBJ_{store.bucket}",
                ConsumerConfig(
                    durable_name=f"c{number:03}",
                    filter_subject=f"$O.{store.bucket}.M.*",
                    ack_policy=AckPolicy.EXPLICIT,
                    deliver_policy=DeliverPolicy.ALL if number == 259 else DeliverPolicy.NEW,
                ),
            )
            for number in range(260)
        )
    )

    await store.sweep(markers_older_than=NOW)
    assert await names(store) == ["gone"]
    await jetstream.delete_consumer(f"OBJ_{store.bucket}", "c259")
    await store.sweep(markers_older_than=NOW)
    assert await names(store) == []


async def test_more_orphans_than_one_consumer_reads_are_all_removed(
    store: ObjectStore, nats_client: Client
) -> None:
    jetstream = nats_client.jetstream()
    for start in range(0, 1100, 100):
        await asyncio.gather(
            *(
                jetstream.publish(f"$O.{store.bucket}.C.DEAD{number}", b"12")
                for number in range(start, start + 100)
            )
        )
    await store.put("name", b"hello")

    assert await store.sweep(NOW) == 2200
    assert await store.get("name") == b"hello"
    assert await store.sweep(NOW) == 0


async def test_an_object_that_is_renamed_while_metadata_is_read_keeps_its_chunks(
    store: ObjectStore, nats_client: Client
) -> None:
    await store.put("back", b"1")
    await store.delete("back")
    # More than are under way at a time, so that what comes after them has not been met.
    for number in range(8000):
        name = urlsafe_b64encode(b"%04d" % number).decode()
        await nats_client.publish(f"$O.{store.bucket}.M.{name}", b"{}")
    await settled(nats_client)
    await store.put("there", b"hello")
    backend, renamed = await store._source(), False

    async def rename() -> None:
        nonlocal renamed
        renamed = True
        # Onto a name that has been met by now.
        await store.put("other", b"")
        await store.rename("there", "back")

    class Slow:
        """The bucket, whose object is renamed after the first messages have been read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        def messages(self, subject: str, **options: Any) -> Any:
            stream = backend.messages(subject, **options)
            take = stream.take

            async def take_and_rename() -> list[StoredMessage]:
                taken = await take()
                if not renamed:
                    assert 0 < len(taken) < 8000
                    await rename()
                return taken

            stream.take = take_and_rename  # type: ignore[method-assign]
            return stream

    async def source() -> Any:
        return Slow()

    assert await ObjectStore(store.bucket, source).sweep(NOW) == 0
    assert renamed
    assert await store.get("back") == b"hello"


async def test_only_streams_of_buckets_are_listed() -> None:
    server = NatsServer()
    await server.start()
    try:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(StreamConfig(name="OBJ_fake", subjects=["fake"]))
        await client.jetstream().add_stream(StreamConfig(name="ORDERS", subjects=["orders"]))
        for bucket in ("b", "a"):
            await ObjectStore.bind(client, bucket, declare=True)

        assert await JetStreamServer(client).buckets() == ["a", "b"]
        await client.close()
    finally:
        await server.stop()
