"""Many objects that expire under readers and a durable, while the server crashes.

`OBJSTORE_EXPIRING=1000` makes it a longer run.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import nats
import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    ConnectionLostError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjectNotFoundError,
    ObjStoreError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running
from tests.production.cluster import cluster
from tests.production.test_cluster import ready

pytestmark = [pytest.mark.once, pytest.mark.timeout(180)]

OBJECTS = int(os.environ.get("OBJSTORE_EXPIRING", "200"))
READERS = 4
CHUNK = 512
LIMIT = 90.0
OPTIONS: dict[str, Any] = {"reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
# What a reader may meet while the server is away; anything else is a failure.
_AWAY = (
    ConnectionLostError,
    JetStreamNotEnabledError,
    NotConnectedError,
    StoreAPIError,
    StoreTimeoutError,
)


def content_of(name: str) -> bytes:
    """Several chunks, and other ones for each name."""
    return (name.encode() + b" ") * (4 * CHUNK // (len(name) + 1))


@dataclass
class Record:
    """What was seen of the objects."""

    expires: dict[str, datetime] = field(default_factory=dict)
    events: dict[str, list[ObjectInfo]] = field(default_factory=dict)
    told_at: dict[str, datetime] = field(default_factory=dict)
    reads: int = 0
    misses: int = 0
    wrong: list[str] = field(default_factory=list)


def now() -> datetime:
    return datetime.now(timezone.utc)


async def write(store: ObjectStore, record: Record, name: str, ttl: float) -> None:
    """Put an object; again after a loss, as a caller does who wants it stored."""
    while name not in record.expires:
        try:
            await store.put(name, content_of(name), ttl=ttl, chunk_size=CHUNK)
            info = await store.get_info(name)
        except _AWAY:
            await asyncio.sleep(0.05)
        else:
            assert info.expires is not None
            record.expires[name] = info.expires


async def read(store: ObjectStore, record: Record) -> None:
    """Read objects at random until cancelled; each is whole, or not there at all."""
    while True:
        if not record.expires:
            await asyncio.sleep(0.01)
            continue
        name = random.choice(list(record.expires))
        expires, began = record.expires[name], now()
        try:
            content = await store.get(name)
        except ObjectNotFoundError:
            record.misses += 1
            if now() < expires:
                record.wrong.append(f"{name}: gone before {expires}")
        except _AWAY:
            await asyncio.sleep(0.05)
        except ObjStoreError as error:
            record.wrong.append(f"{name}: {error!r}")
        else:
            record.reads += 1
            if content != content_of(name):
                record.wrong.append(f"{name}: other content")
            if began > expires:
                record.wrong.append(f"{name}: there after {expires}, at {began}")


@asynccontextmanager
async def world(loss: str, bucket: str) -> AsyncIterator[tuple[Any, Callable[[], Any]]]:
    """Servers, and a call that takes one of them away."""
    if loss == "leader":
        async with cluster() as servers:
            client = await servers.connect()
            await ready(servers, client)
            await client.close()

            async def kill_leader() -> None:
                client = await servers.connect()
                try:
                    leader = await servers.stream_leader(client, f"OBJ_{bucket}")
                finally:
                    await client.close()
                await leader.kill()

            yield servers.urls, kill_leader
        return
    async with NatsServer() as server:

        async def restart() -> None:
            await server.kill()
            await server.start()

        yield server.url, restart


@pytest.mark.parametrize(
    "shortest, longest, loss",
    [
        pytest.param(1, 10, "", id="from 1 s"),
        # A marker must live for as long as it takes a subscriber to come back.
        pytest.param(6, 10, "server", id="server crashes"),
        pytest.param(10, 14, "leader", id="leader crashes"),
    ],
)
async def test_each_object_expires_on_time_as_a_whole_and_is_reported(
    shortest: int,
    longest: int,
    loss: str,
    bucket_name: str,
    record_property: Callable[[str, object], None],
) -> None:
    # As short as it can be: it is also how long an expiration waits for a subscriber.
    replicas = 3 if loss == "leader" else 1
    declared = Bucket(bucket_name, object_ttl=shortest, replicas=replicas, timeout=5)
    record = Record()
    names: Seen[str] = Seen()

    @declared.on_expire(durable="cleaner", max_workers=4)
    async def expired(info: ObjectInfo) -> None:
        record.events.setdefault(info.name, []).append(info)
        record.told_at.setdefault(info.name, now())
        if len(record.events[info.name]) == 1:
            await names.add(info.name)

    async with AsyncExitStack() as stack:
        urls, lose = await stack.enter_async_context(world(loss, bucket_name))
        buckets = await stack.enter_async_context(running(urls, declared, **OPTIONS))
        await buckets.open(declared)
        client = await nats.connect(urls, **OPTIONS)
        stack.push_async_callback(client.close)
        store = await ObjectStore.bind(client, bucket_name, timeout=5)
        readers = [asyncio.create_task(read(store, record)) for _ in range(READERS)]
        stack.callback(lambda: [one.cancel() for one in readers])
        began = time.monotonic()
        chosen = random.Random(7)
        for first in range(0, OBJECTS, 50):
            await asyncio.gather(
                *(
                    write(store, record, f"{n}.tmp", chosen.randint(shortest, longest))
                    for n in range(first, min(first + 50, OBJECTS))
                )
            )
        record_property("seconds to put", round(time.monotonic() - began, 1))
        if loss:
            # In the middle of the expirations.
            await asyncio.wait_for(names.wait_for(OBJECTS // 3), LIMIT)
            await lose()
        await asyncio.wait_for(names.wait_for(OBJECTS), LIMIT)
        for one in readers:
            one.cancel()
        await asyncio.wait(readers)
        assert await store.list() == []

    assert record.wrong == []
    assert all(one.cancelled() for one in readers)
    assert record.events.keys() == record.expires.keys()
    early = [
        name
        for name, (info, *_) in record.events.items()
        if not (info.mtime and info.mtime >= record.expires[name])
        or record.told_at[name] < record.expires[name]
    ]
    assert early == []
    assert all(one.expired for infos in record.events.values() for one in infos)
    late = max(record.told_at[name] - at for name, at in record.expires.items())
    record_property("latest", late.total_seconds())
    record_property("reads", record.reads)
    record_property("events", sum(map(len, record.events.values())))
    assert record.reads > OBJECTS
    # It must not be that readers have just met nothing.
    assert timedelta(0) <= late
