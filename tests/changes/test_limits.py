"""Limits that an operator has set for the consumers of a bucket."""

import json

import pytest
from nats.aio.client import Client

from faststream_objstore import Bucket
from faststream_objstore.testing import NatsServer

from .support import Names, running, store_of

pytestmark = pytest.mark.anyio


async def limit_pending(client: Client, bucket: str, most: int) -> None:
    answer = await client.request(f"$JS.API.STREAM.INFO.OBJ_{bucket}", b"")
    config = json.loads(answer.data)["config"]
    config["consumer_limits"] = {"max_ack_pending": most}
    answer = await client.request(
        f"$JS.API.STREAM.UPDATE.OBJ_{bucket}", json.dumps(config).encode()
    )
    assert "error" not in json.loads(answer.data)


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_subscriber_has_as_many_changes_unacknowledged_as_the_stream_allows(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, durable: str | None
) -> None:
    async with running(nats_server.url, Bucket(bucket_name)):
        await limit_pending(nats_client, bucket_name, 7)

    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable=durable)(calls.take)
    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        for number in range(20):
            await store.put(str(number), b"")
        await calls.wait_for(20)
        [info] = await nats_client.jetstream().consumers_info(f"OBJ_{bucket_name}")

    assert info.config.max_ack_pending == 7
    assert calls.all == [str(number) for number in range(20)]
