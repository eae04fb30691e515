"""Sweeps at intervals, of several replicas, on a real server."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from faststream_objstore import Bucket, Buckets
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.observers import ChangeEvent, OperationEvent
from faststream_objstore.sweeping import MARK, Sweep
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, soon
from tests.logs import heard


class Sweeps:
    """An observer that notes sweeps only."""

    def __init__(self, seen: Seen[tuple[str, int]], replica: str) -> None:
        self.seen = seen
        self.replica = replica
        self.tasks: set[asyncio.Task[None]] = set()

    def operation(self, event: OperationEvent) -> None:
        if event.operation == "sweep" and event.outcome == "success":
            told = self.seen.add((self.replica, event.bytes))
            self.tasks.add(asyncio.ensure_future(told))

    def change(self, event: ChangeEvent) -> None: ...


def replica(
    url: str, bucket: str, seen: Seen[tuple[str, int]], name: str, sweep: Sweep, **more: Any
) -> NatsBroker:
    broker = NatsBroker(url, **{"logger": None, **more})
    Buckets(broker, Bucket(bucket), observers=[Sweeps(seen, name)], sweep=sweep)
    return broker


async def orphan(nats_client: Client, bucket: str) -> None:
    """What a writer leaves that died in the midst of a put of 1,000 bytes."""
    js = nats_client.jetstream()
    await js.publish(f"$O.{bucket}.C.dead", b"x" * 1000)


async def test_of_two_replicas_one_sweeps(
    nats_server: NatsServer, bucket_name: str, nats_client: Client
) -> None:
    seen: Seen[tuple[str, int]] = Seen()
    sweep = Sweep(every=timedelta(seconds=20), older_than=timedelta(0))
    asked: Seen[bytes] = Seen()

    async def note(message: Any) -> None:
        await asked.add(message.data)

    await nats_client.subscribe(f"$JS.API.CONSUMER.CREATE.OBJ_{bucket_name}.{MARK}", cb=note)
    await nats_client.jetstream().create_object_store(bucket_name)
    await orphan(nats_client, bucket_name)
    brokers = [replica(nats_server.url, bucket_name, seen, one, sweep) for one in ("a", "b")]
    try:
        await asyncio.gather(*(soon(broker.start()) for broker in brokers))
        await seen.wait_for(1)
        # Both have asked, and each more than once.
        await asked.wait_for(6)
    finally:
        for broker in brokers:
            await soon(broker.stop())
    [(_, freed)] = seen.all
    assert freed >= 1000


async def test_the_next_sweep_is_anybodys_when_the_time_is_over(
    nats_server: NatsServer, bucket_name: str, nats_client: Client
) -> None:
    seen: Seen[tuple[str, int]] = Seen()
    sweep = Sweep(every=timedelta(seconds=1), older_than=timedelta(0))
    first = replica(nats_server.url, bucket_name, seen, "first", sweep)
    second = replica(nats_server.url, bucket_name, seen, "second", sweep)
    try:
        await soon(first.start())
        await seen.wait_for(1)
        # Whether it is stopped or dies is the same to the others.
        await soon(first.stop())
        await orphan(nats_client, bucket_name)
        await soon(second.start())
        await seen.wait_until_last(("second", 1000))
    finally:
        await soon(first.stop())
        await soon(second.stop())
    assert seen.all[0] == ("first", 0)


async def test_result_is_logged_and_the_mark_keeps_no_delete_marker(
    nats_server: NatsServer,
    bucket_name: str,
    nats_client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: Seen[tuple[str, int]] = Seen()
    store = await nats_client.jetstream().create_object_store(bucket_name)
    await store.put("gone", b"x")
    await store.delete("gone")
    await orphan(nats_client, bucket_name)
    sweep = Sweep(older_than=timedelta(0), markers_older_than=timedelta(0))
    logger = logging.getLogger("test_sweeping")
    broker = replica(nats_server.url, bucket_name, seen, "a", sweep, logger=logger)
    with caplog.at_level(logging.INFO, "test_sweeping"):
        try:
            await soon(broker.start())
            await seen.wait_for(1)
        finally:
            await soon(broker.stop())
    assert f"Bucket '{bucket_name}' is swept: 1000 bytes freed." in caplog.messages
    with pytest.raises(NotFoundError):
        await nats_client.jetstream().get_last_msg(
            f"OBJ_{bucket_name}", f"$O.{bucket_name}.M.>"
        )


async def test_sweep_that_fails_is_logged_and_left_for_the_next(
    nats_server: NatsServer, bucket_name: str, nats_client: Client
) -> None:
    seen: Seen[tuple[str, int]] = Seen()
    js = nats_client.jetstream()
    await js.create_object_store(bucket_name)
    # An object whose chunks nobody knows: "a", base64url-encoded.
    await js.publish(f"$O.{bucket_name}.M.YQ==", b"not JSON")
    sweep = Sweep(every=timedelta(seconds=2), older_than=timedelta(0))
    logger = logging.getLogger("test_sweeping")
    broker = replica(nats_server.url, bucket_name, seen, "a", sweep, logger=logger)
    with heard("test_sweeping") as said:
        try:
            await soon(broker.start())
            await said.wait_for("was not swept")
            assert seen.all == []
            await js.purge_stream(f"OBJ_{bucket_name}")
            await seen.wait_for(1)
        finally:
            await soon(broker.stop())


async def test_nothing_is_swept_in_test_mode() -> None:
    seen: Seen[tuple[str, int]] = Seen()
    broker = replica("nats://127.0.0.1:1", "photos", seen, "a", Sweep())
    async with TestNatsBroker(broker):
        await asyncio.sleep(0)
    assert seen.all == []


@pytest.mark.parametrize(
    "options",
    [
        {"every": timedelta(0)},
        {"every": 0.5},
        {"every": True},
        {"older_than": timedelta(seconds=-1)},
        {"markers_older_than": "1d"},
    ],
)
def test_option_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        Sweep(**options)


def test_times_may_be_seconds_as_other_options() -> None:
    assert Sweep(every=3600, older_than=60.5, markers_older_than=0) == Sweep(
        every=timedelta(hours=1),
        older_than=timedelta(seconds=60, milliseconds=500),
        markers_older_than=timedelta(0),
    )


def test_what_is_no_sweep_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="sweep must be a Sweep"):
        Buckets(NatsBroker(), sweep=timedelta(days=1))  # type: ignore[arg-type]
