"""Results on a real server: several replicas, redelivery, replay, failure."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore import Bucket, FromObject, ObjectInfo, ObjectReader, OpenObject, Retry
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, consumers_of, running, soon, store_of
from tests.publishers.support import names
from tests.settled import settled


async def none_is_left(client: Client, bucket: str, durable: str) -> None:
    """Wait until a consumer has nothing left."""

    async def wait() -> None:
        while True:
            info = await client.jetstream().consumer_info(f"OBJ_{bucket}", durable)
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.02)

    await soon(wait())


async def chunks_in(store: ObjectStore) -> int:
    backend = await store._source()
    return sum((await backend.subjects(f"$O.{store.bucket}.C.>")).values())


class Replicas:
    """Two services that share a durable; a handler can be held in one of them."""

    def __init__(self, bucket: str) -> None:
        self.release = asyncio.Event()
        self.begun: Seen[int] = Seen()
        self.held: set[int] = set()
        self.name = bucket

    def declared(self) -> tuple[Bucket, Bucket]:
        sources, results = Bucket(f"{self.name}-s"), Bucket(f"{self.name}-r")

        @sources.on_put("{stem}.png", durable="worker", max_workers=2)
        @results.publisher("{stem}.webp")
        async def handler(info: ObjectInfo) -> bytes:
            await self.begun.add(info.revision)
            if info.revision in self.held:
                await self.release.wait()
            return b"%d" % info.revision

        return sources, results


@pytest.mark.parametrize("put_again", [False, True])
async def test_late_result_of_a_deleted_source_is_not_stored(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, put_again: bool
) -> None:
    replicas = Replicas(bucket_name)
    replicas.held.add(3)
    one, two = replicas.declared(), replicas.declared()
    async with running(nats_server.url, *one) as first:
        sources, results = [await store_of(first, bucket) for bucket in one]
        # Revision 3: the anchor is 1, the chunk 2. The first service does not end with it.
        late = await sources.put("cat.png", b"1")
        assert late.revision == 3
        await replicas.begun.wait_for(1)
        async with running(nats_server.url, *two):
            await sources.delete("cat.png")
            newest = await sources.put("cat.png", b"2") if put_again else None
            await sources.put("other.png", b"")
            await replicas.begun.wait_for(3 if put_again else 2)
            # The deletion, or the second put, of the same object may be behind the held one
            # in the first service; both are done once that is.
            replicas.release.set()
            await none_is_left(nats_client, sources.bucket, "worker")

        if newest is None:
            assert await names(results) == ["other.webp"]
        else:
            assert await results.get("cat.webp") == b"%d" % newest.revision
        assert await consumers_of(nats_client, sources.bucket) == ["worker"]
        assert await chunks_in(results) == len(await results.list())


async def test_result_goes_with_its_source_within_the_same_durable(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    replicas = Replicas(bucket_name)
    declared = replicas.declared()
    async with running(nats_server.url, *declared) as buckets:
        sources, results = [await store_of(buckets, bucket) for bucket in declared]
        await sources.put("cat.png", b"1")
        await sources.put("dog.png", b"1")
        await none_is_left(nats_client, sources.bucket, "worker")
        await sources.delete("cat.png")
        await sources.rename("dog.png", "cow.png")
        await none_is_left(nats_client, sources.bucket, "worker")

        assert await names(results) == ["cow.webp"]
        assert await consumers_of(nats_client, sources.bucket) == ["worker"]


async def test_replay_calls_no_handler_for_what_is_done(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    count = 1000
    calls: list[str] = []

    def declared(durable: str, rebuild: str | None = None) -> tuple[Bucket, Bucket]:
        sources, results = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")

        @sources.on_put("{name}", durable=durable, replay=True, max_workers=8)
        @results.publisher("{name}", rebuild=rebuild)
        async def handler(info: ObjectInfo) -> bytes | None:
            calls.append(info.name)
            # One in ten has no result, which counts as done too.
            return None if info.name.endswith("0") else b"x"

        return sources, results

    first = declared("first")
    async with running(nats_server.url, *first) as buckets:
        sources, results = [await store_of(buckets, bucket) for bucket in first]
        for start in range(0, count, 50):
            await asyncio.gather(
                *(sources.put(f"{number:04}", b"") for number in range(start, start + 50))
            )
        await none_is_left(nats_client, sources.bucket, "first")
        assert len(calls) == count
        await results.delete("0007")

    calls.clear()
    async with running(nats_server.url, *declared("second")) as buckets:
        await none_is_left(nats_client, sources.bucket, "second")
        assert calls == ["0007"]
        results = await store_of(buckets, first[1])
        assert len(await results.list()) == count * 9 // 10

    calls.clear()
    async with running(nats_server.url, *declared("third")):
        await none_is_left(nats_client, sources.bucket, "third")
        assert calls == []

    async with running(nats_server.url, *declared("fourth", rebuild="v2")):
        await none_is_left(nats_client, sources.bucket, "fourth")
        assert len(calls) == count


async def test_redelivered_change_whose_result_is_there_is_not_handled(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    calls: list[str] = []

    def declared() -> tuple[Bucket, Bucket]:
        sources, results = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")

        @sources.on_put("{name}", durable="worker", ack_wait=0.2)
        @results.publisher("{name}")
        async def handler(info: ObjectInfo) -> bytes:
            calls.append(info.name)
            return b"x"

        return sources, results

    both = declared()
    async with running(nats_server.url, *both) as buckets:
        sources = await store_of(buckets, both[0])
        await sources.put("a", b"")
        await none_is_left(nats_client, sources.bucket, "worker")
        jetstream = nats_client.jetstream()
        await jetstream.delete_consumer(f"OBJ_{sources.bucket}", "worker")

    # A replica that has died before it acknowledged: the message was delivered, once.
    stream = f"OBJ_{sources.bucket}"
    await nats_client.request(
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.worker",
        b'{"stream_name":"%s","config":{"durable_name":"worker","ack_policy":"explicit",'
        b'"deliver_policy":"all","filter_subject":"$O.%s.M.>","ack_wait":200000000,'
        b'"metadata":{"faststream-objstore.replay":"no"}}}'
        % (stream.encode(), sources.bucket.encode()),
    )
    pull = await jetstream.pull_subscribe_bind("worker", stream)
    (delivered,) = await pull.fetch(1)
    assert delivered.metadata.num_delivered == 1
    async with running(nats_server.url, *declared()):
        await none_is_left(nats_client, sources.bucket, "worker")
    assert calls == ["a"]


async def test_failing_store_is_retried_and_ends_as_a_dead_letter(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    sources = Bucket(f"{bucket_name}-s")
    results = Bucket(f"{bucket_name}-r", max_bytes=10_000)
    calls: list[int] = []
    subject = f"dead.{bucket_name}"

    @sources.on_put(
        "{name}",
        durable="worker",
        retry=Retry(attempts=2, delays=(0.01,)),
        dead_letter=subject,
    )
    @results.publisher("{name}")
    async def handler(info: ObjectInfo) -> bytes:
        calls.append(info.revision)
        return b"x" * 20_000

    dead = await nats_client.subscribe(subject)
    await settled(nats_client)
    async with running(nats_server.url, sources, results) as buckets:
        store = await store_of(buckets, sources)
        await store.put("a", b"")
        letter = await dead.next_msg(timeout=30)
        assert await names(await store_of(buckets, results)) == []
    assert b"BucketFullError" in letter.data
    assert len(calls) == 2


async def test_stream_follows_its_source_chunk_by_chunk(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    sources, results = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")

    @sources.on_put("{name}", durable="worker")
    @results.publisher("{name}.upper", chunk_size=1000)
    async def upper(source: Annotated[ObjectReader, OpenObject()]) -> AsyncIterator[bytes]:
        async for chunk in source:
            yield bytes(chunk).upper()

    async with running(nats_server.url, sources, results) as buckets:
        await (await store_of(buckets, sources)).put("a", b"abc" * 100_000, chunk_size=7_000)
        await none_is_left(nats_client, sources.name, "worker")
        data = await (await store_of(buckets, results)).get("a.upper")

    assert data == b"ABC" * 100_000
    assert data.info.chunks == 300


async def test_version_that_goes_while_its_stream_is_read_is_no_failure(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    sources, results = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")
    begun, replaced = asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    @sources.on_put("{name}", durable="worker")
    @results.publisher("{name}")
    async def copy(
        info: ObjectInfo, source: Annotated[ObjectReader, OpenObject()]
    ) -> AsyncIterator[bytes]:
        calls.append(info.revision)
        if len(calls) == 1:
            begun.set()
            await replaced.wait()
        async for chunk in source:
            yield bytes(chunk)

    async with running(nats_server.url, sources, results) as buckets:
        store = await store_of(buckets, sources)
        await store.put("a", b"1" * 5_000_000)
        await soon(begun.wait())
        await store.put("a", b"2" * 10)
        replaced.set()
        await none_is_left(nats_client, sources.name, "worker")
        target = await store_of(buckets, results)
        assert await target.get("a") == b"2" * 10
        assert await chunks_in(target) == 1
    # Each version once: no retry was made of the one that was gone.
    assert len(calls) == 2


async def test_request_is_answered_with_the_info_of_what_was_stored(
    nats_server: NatsServer, bucket_name: str
) -> None:
    pages = Bucket(bucket_name)
    order: list[str] = []

    async with running(nats_server.url, pages) as buckets:
        broker = buckets.broker
        assert broker is not None
        subject = f"render-{bucket_name}"

        @broker.subscriber(f"{subject}.{{id}}")
        @pages.publisher("{id}.pdf")
        async def render(count: int) -> AsyncIterator[bytes]:
            order.append("called")
            for number in range(count):
                yield b"%d" % number

        await broker.start()
        reply = await broker.request(3, f"{subject}.7", timeout=30)
        answer: Any = await reply.decode()
        store = await store_of(buckets, pages)
        assert await store.get("7.pdf") == b"012"
        info = await store.get_info("7.pdf")

    assert (answer["name"], answer["size"], answer["revision"]) == ("7.pdf", 3, info.revision)


async def test_publisher_stores_outside_of_handlers(
    nats_server: NatsServer, bucket_name: str
) -> None:
    pages = Bucket(bucket_name)
    publisher = pages.publisher("{id}.pdf")

    async with running(nats_server.url, pages) as buckets:
        info = await publisher.publish(iter([b"a", b"b"]), name="1.pdf")
        assert await (await store_of(buckets, pages)).get(info) == b"ab"


async def test_broker_can_be_real_in_test_mode(
    nats_server: NatsServer, bucket_name: str
) -> None:
    from faststream.nats import TestNatsBroker

    from faststream_objstore import Buckets

    sources, results = Bucket(f"{bucket_name}-s"), Bucket(f"{bucket_name}-r")
    publisher = results.publisher("{name}")
    done = asyncio.Event()

    @sources.on_put("{name}", durable="worker")
    @publisher
    async def handler(content: Annotated[bytes, FromObject()]) -> bytes:
        return content * 2

    @results.on_put()
    async def stored() -> None:
        done.set()

    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, sources, results)
    async with TestNatsBroker(broker, with_real=True):
        await (await buckets.open(sources)).put("a", b"x")
        await soon(done.wait())
        publisher.mock.assert_called_once_with(b"xx")
        assert await (await buckets.open(results)).get("a") == b"xx"
