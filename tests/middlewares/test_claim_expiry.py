"""Bodies that expire by themselves, and leave nothing behind."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.testing import NatsServer, advance
from tests.changes.support import Names, Seen, running, soon, store_of

DAY = timedelta(days=1)
LONG = "hello world"


async def life_of_a_body(bucket: Bucket, **options: Any) -> timedelta | None:
    """How long a body lives that was just sent."""
    broker = NatsBroker(middlewares=[ClaimCheckMiddleware(bucket, threshold=10, **options)])
    Buckets(broker, bucket)
    received = Seen[str]()
    broker.subscriber("bodies")(received.add)
    # Nobody acknowledges or deletes it.
    kept: list[timedelta | None] = []

    @bucket.on_put()
    async def stored(info: Any) -> None:
        kept.append(None if info.expires is None else info.expires - info.mtime)

    async with TestNatsBroker(broker):
        await broker.publish(LONG, "bodies")
    assert received.all == [LONG]
    (life,) = kept
    return life


@pytest.mark.parametrize(
    "settings, options, life",
    [
        ({"object_ttl": True}, {"ttl": timedelta(hours=2)}, timedelta(hours=2)),
        ({"object_ttl": True}, {}, DAY),
        ({"object_ttl": 3 * DAY}, {}, 3 * DAY),
        # Otherwise a message that waits for longer would lose its body.
        ({"object_ttl": True}, {"delete_after": "ack"}, None),
        ({"object_ttl": True}, {"delete_after": "ack", "ttl": 3600}, timedelta(hours=1)),
        ({"object_ttl": True, "ttl": DAY}, {}, None),
        ({"ttl": DAY}, {}, None),
    ],
    ids=str,
)
async def test_a_body_lives_as_long_as_was_said(
    settings: dict[str, Any], options: dict[str, Any], life: timedelta | None
) -> None:
    assert await life_of_a_body(Bucket("claims", **settings), **options) == life


@pytest.mark.parametrize("delete_after", [None, "ack"])
async def test_nothing_is_left_of_bodies_in_the_end(delete_after: Any) -> None:
    bucket = Bucket("claims", object_ttl=True)
    check = ClaimCheckMiddleware(
        bucket, threshold=10, delete_after=delete_after, ttl=timedelta(minutes=5)
    )
    broker = NatsBroker(middlewares=[check])
    buckets = Buckets(broker, bucket)
    received = Seen[str]()
    broker.subscriber("bodies")(received.add)

    async with TestNatsBroker(broker):
        store = await buckets.open(bucket)
        for _ in range(3):
            await broker.publish(LONG, "bodies")
        assert len(await store.list(include_deleted=True)) == 3
        await advance(buckets, timedelta(minutes=5))
        assert await store.list() == []
        # The markers go too, and chunks an hour later.
        await advance(buckets, timedelta(minutes=1))
        await advance(buckets, timedelta(hours=1))
        await advance(buckets, timedelta(minutes=1))
        assert (await store.status()).size == 0

    assert received.all == [LONG] * 3


@pytest.mark.timeout(60)
async def test_a_body_expires_on_the_server(nats_server: NatsServer, bucket_name: str) -> None:
    bucket = Bucket(bucket_name, object_ttl=1)
    expired = Names()
    bucket.on_expire()(expired.take)
    check = ClaimCheckMiddleware(bucket, threshold=10, ttl=1)
    async with running(nats_server.url, bucket, middlewares=[check]) as buckets:
        broker = buckets.broker
        assert broker is not None
        store = await store_of(buckets, bucket)
        # Nobody receives it.
        await soon(broker.publish(LONG, f"{bucket_name}.bodies"))
        (body,) = await store.list()
        assert await expired.wait_for(1) == [body.name]
        assert await store.list() == []
        await asyncio.wait_for(buckets.delete_bucket(bucket), 10)
