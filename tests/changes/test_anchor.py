"""nats-server forgets no change that a dead process had received: buckets have an anchor."""

import logging

import pytest
from nats.aio.client import Client

from faststream_objstore import Bucket, wire
from faststream_objstore.testing import NatsServer

from .support import Names, running, soon, store_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("replay", [False, True])
async def test_what_a_killed_replica_had_received_is_delivered_again_among_overwritten_objects(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, replay: bool
) -> None:
    bucket, names = Bucket(bucket_name), Names()
    bucket.on_put(durable="worker", ack_wait=3, replay=replay)(names.take)
    async with running(nats_server.url, bucket):
        pass

    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        store = await soon(buckets.open(bucket_name))
        for name in "xabc":
            await store.put(name, b"1")
        # This replica dies before it has acknowledged anything.
        killed = await nats_client.jetstream().pull_subscribe_bind(
            "worker", f"OBJ_{bucket_name}"
        )
        assert len(await killed.fetch(4)) == 4
        await store.put("x", b"2")
        await store.put("c", b"2")

    async with running(nats_server.url, bucket):
        await names.wait_until_last("a")
        await names.wait_until_last("b")
    assert sorted(names.all) == ["a", "b", "c", "x"]


async def test_neither_a_sweep_nor_another_start_changes_the_anchor(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    bucket.on_put(durable="worker")(Names().take)
    anchors = []
    for _ in range(2):
        async with running(nats_server.url, bucket) as buckets:
            store = await store_of(buckets, bucket)
            await store.put("a", b"1")
            await store.delete("a")
            assert await store.sweep(0, markers_older_than=0) == 0
            anchors.append(
                await nats_client.jetstream().get_last_msg(
                    f"OBJ_{bucket_name}", wire.anchor_subject(bucket_name)
                )
            )
    assert [anchor.seq for anchor in anchors] == [1, 1]
    assert not anchors[0].data


PERMISSIONS = """
authorization { users: [
  { user: admin, password: a }
  { user: reader, password: r, permissions: {
    publish: { deny: "$O.>" }
  } }
  { user: writer, password: w, permissions: {
    publish: { deny: "$JS.API.STREAM.MSG.GET.>" }
  } }
] }
"""


async def test_a_service_that_may_not_look_for_the_anchor_starts(
    bucket_name: str,
) -> None:
    names, declared = Names(), Bucket(bucket_name)
    declared.on_put(durable="worker")(names.take)
    async with NatsServer(config=PERMISSIONS) as server:
        address = server.url.removeprefix("nats://")
        for name in "ab":
            async with running(f"nats://writer:w@{address}", declared) as buckets:
                store = await soon(buckets.open(bucket_name))
                await store.put(name, b"1")
                await names.wait_until_last(name)
    assert names.all == ["a", "b"]


async def test_a_service_that_may_not_write_receives_changes_without_an_anchor(
    bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    names, declared = Names(), Bucket(bucket_name)
    declared.on_put(durable="worker")(names.take)
    async with NatsServer(config=PERMISSIONS) as server:
        address = server.url.removeprefix("nats://")
        async with running(f"nats://admin:a@{address}", Bucket(bucket_name)) as buckets:
            store = await soon(buckets.open(bucket_name))
            with caplog.at_level(logging.WARNING):
                async with running(f"nats://reader:r@{address}", declared):
                    await store.put("a", b"1")
                    await names.wait_for(1)
    assert names.all == ["a"]
    # It is a right that readers need not have.
    assert [one.getMessage() for one in caplog.records] == []
