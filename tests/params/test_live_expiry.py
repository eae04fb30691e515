"""Injected objects that expire."""

from datetime import timedelta
from typing import Annotated, Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import ObjectNotFoundError
from faststream_objstore.params import FromObject, LiveObject
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer, advance
from tests.changes.support import soon

MINUTE = timedelta(minutes=1)


async def test_an_expired_object_is_injected_no_more() -> None:
    bucket = Bucket("settings", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @broker.subscriber("live")
    async def live(
        value: Annotated[Any, LiveObject(bucket, "a", required=False)] = None,
    ) -> str:
        return "none" if value is None else bytes(value).decode()

    @broker.subscriber("plain")
    async def plain(value: Annotated[bytes, FromObject(bucket, "a")]) -> str:
        return value.decode()

    async with TestNatsBroker(broker):
        store: ObjectStore = await buckets.open(bucket)
        await store.put("a", b"one", ttl=MINUTE)
        for subject in ("live", "plain"):
            reply = await broker.request("", subject)
            assert await reply.decode() == "one"

        await advance(buckets, MINUTE)

        reply = await broker.request("", "live")
        assert await reply.decode() == "none"
        with pytest.raises(ObjectNotFoundError, match="has expired"):
            await broker.request("", "plain")


@pytest.mark.timeout(60)
async def test_a_followed_object_is_known_to_have_expired(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name, object_ttl=1)
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket)

    @broker.subscriber(f"{bucket_name}.live")
    async def live(
        value: Annotated[Any, LiveObject(bucket, "a", required=False)] = None,
    ) -> str:
        return "none" if value is None else bytes(value).decode()

    async def answers() -> list[str]:
        given: list[str] = []
        while not given or given[-1] != "none":
            reply = await broker.request("", f"{bucket_name}.live", timeout=20)
            given.append(str(await reply.decode()))
        return given

    try:
        await soon(broker.connect())
        store = await buckets.open(bucket)
        await store.put("a", b"one", ttl=1)
        await soon(broker.start())
        assert set(await soon(answers())) == {"one", "none"}
        await soon(buckets.delete_bucket(bucket))
    finally:
        await soon(broker.stop())
