"""Many objects that expire under readers and a durable, while the server crashes.

`OBJSTORE_EXPIRING=1000` makes it a longer run.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import nats
import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    ConnectionLostError,
    NotConnectedError,
    ObjectNotFoundError,
    ObjStoreError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running

pytestmark = [pytest.mark.once, pytest.mark.timeout(180)]

OBJECTS = int(os.environ.get("OBJSTORE_EXPIRING", "200"))
READERS = 4
CHUNK = 512
LIMIT = 90.0
OPTIONS: dict[str, Any] = {"reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
# What a reader may meet while the server is away; anything else is a failure.
_AWAY = (ConnectionLostError, NotConnectedError, StoreTimeoutError)


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


@pytest.mark.parametrize(
    "shortest, longest, crash",
    [
        pytest.param(1, 10, False, id="from 1 s"),
        # A marker must live for as long as it takes a subscriber to come back.
        pytest.param(6, 10, True, id="server crashes"),
    ],
)
async def test_each_object_expires_on_time_as_a_whole_and_is_reported(
    shortest: int,
    longest: int,
    crash: bool,
    bucket_name: str,
    record_property: Callable[[str, object], None],
) -> None:
    # As short as it can be: it is also how long an expiration waits for a subscriber.
    declared = Bucket(bucket_name, object_ttl=shortest, timeout=2)
    record = Record()
    names: Seen[str] = Seen()

    @declared.on_expire(durable="cleaner", max_workers=4)
    async def expired(info: ObjectInfo) -> None:
        record.events.setdefault(info.name, []).append(info)
        record.told_at.setdefault(info.name, now())
        if len(record.events[info.name]) == 1:
            await names.add(info.name)

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer())
        buckets = await stack.enter_async_context(running(server.url, declared, **OPTIONS))
        await buckets.open(declared)
        client = await nats.connect(server.url, **OPTIONS)
        stack.push_async_callback(client.close)
        store = await ObjectStore.bind(client, bucket_name, timeout=2)
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
        if crash:
            # In the middle of the expirations.
            await asyncio.wait_for(names.wait_for(OBJECTS // 3), LIMIT)
            await server.kill()
            await server.start()
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
    print(record.reads, record.misses, late, sum(map(len, record.events.values())))
    assert record.reads > OBJECTS
    # It must not be that readers have just met nothing.
    assert timedelta(0) <= late
