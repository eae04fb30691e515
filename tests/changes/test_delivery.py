"""Change subscribers on a real server: who gets what, how often, in which order."""

import asyncio
import json
from datetime import timedelta
from typing import Annotated, Any

import pytest
from faststream import Context, Depends, FastStream, Path
from faststream.exceptions import AckMessage, NackMessage, RejectMessage, StopConsume
from faststream.nats import NatsBroker, NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import wire
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import BucketConfigMismatchError, BucketInUseError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params import FromBucket
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, Seen, consumers_of, running, soon, store_of
from tests.settled import settled


async def test_put_handler_gets_the_version_captures_and_stores(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    seen: Seen[tuple[ObjectInfo, str, str, bytes]] = Seen()

    @bucket.on_put("{user}/{rest:path}.txt")
    async def handle(
        info: ObjectInfo,
        user: Annotated[str, Path()],
        rest: Annotated[str, Path()],
        store: Annotated[ObjectStore, FromBucket(bucket)],
    ) -> None:
        await seen.add((info, user, rest, await store.get(info)))

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("ann/other.png", b"not wanted")
        put = await store.put("ann/a/b.txt", b"hello")
        [(info, user, rest, content)] = await seen.wait_for(1)

    assert (info, user, rest, content) == (put, "ann", "a/b", b"hello")
    assert info.revision == put.revision
    assert info.mtime is not None


async def test_events_are_told_apart(nats_server: NatsServer, bucket_name: str) -> None:
    bucket = Bucket(bucket_name)
    puts, deletes, changes = Names(), Names(), Names()
    bucket.on_put()(puts.take)
    bucket.on_delete()(deletes.take)
    bucket.on_change()(changes.take)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1")
        await puts.wait_for(1)
        await store.delete("a")
        await deletes.wait_for(1)
        await store.put("b", b"1")
        await puts.wait_for(2)
        await changes.wait_for(3)

    assert puts.all == ["a", "b"]
    assert deletes.all == ["a"]
    assert changes.all == ["a", "a", "b"]


async def test_result_goes_to_the_publishers_with_the_correlation_id(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None)
    ids: Seen[str] = Seen()
    published: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def receive(message: Msg) -> None:
        published.set_result(message)

    @broker.publisher(f"done.{bucket_name}")
    @bucket.on_put()
    async def handle(
        info: ObjectInfo, correlation_id: Annotated[str, Context("message.correlation_id")]
    ) -> str:
        await ids.add(correlation_id)
        return info.name.upper()

    buckets = Buckets(broker, bucket)
    await nats_client.subscribe(f"done.{bucket_name}", cb=receive)
    await settled(nats_client)
    await broker.start()
    try:
        await (await store_of(buckets, bucket)).put("a", b"1")
        message = await soon(published)
    finally:
        await broker.stop()

    assert message.data == b"A"
    assert message.headers is not None
    assert message.headers["correlation_id"] == ids.all[0]


async def test_filters_choose_the_handler(nats_server: NatsServer, bucket_name: str) -> None:
    bucket = Bucket(bucket_name)
    big, small = Names(), Names()
    subscriber = bucket.on_put("wanted/*")

    async def is_big(message: Any) -> bool:
        return bool((await message.decode()).size > 3)

    async def is_small(message: Any) -> bool:
        return bool((await message.decode()).size < 3)

    subscriber(big.take, filter=is_big)
    subscriber(small.take, filter=is_small)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("wanted/neither", b"123")
        await store.put("wanted/big", b"12345")
        await store.put("wanted/small", b"1")
        await small.wait_for(1)

    assert (big.all, small.all) == (["wanted/big"], ["wanted/small"])


async def test_dependencies_run_before_the_handler(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    order: Seen[str] = Seen()

    async def check() -> None:
        await order.add("dependency")

    @bucket.on_put(dependencies=[Depends(check)])
    async def handle(info: ObjectInfo) -> None:
        await order.add(info.name)

    async with running(nats_server.url, bucket) as buckets:
        await (await store_of(buckets, bucket)).put("a", b"")
        assert await order.wait_for(2) == ["dependency", "a"]


async def test_durable_goes_on_where_it_stopped(
    nats_server: NatsServer, bucket_name: str
) -> None:
    seen = Names()

    def declared() -> Bucket:
        bucket = Bucket(bucket_name)
        bucket.on_put(durable="worker")(seen.take)
        return bucket

    async with running(nats_server.url, bucket := declared()) as buckets:
        await (await store_of(buckets, bucket)).put("handled", b"")
        await seen.wait_for(1)
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        await (await buckets.open(bucket_name)).put("put while stopped", b"")
    async with running(nats_server.url, bucket := declared()) as buckets:
        await (await store_of(buckets, bucket)).put("last", b"")
        await seen.wait_until_last("last")

    assert seen.all == ["handled", "put while stopped", "last"]


async def test_without_durable_each_replica_gets_changes_from_its_start_on(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    replicas = [Names(), Names()]
    declared = [Bucket(bucket_name), Bucket(bucket_name)]
    for bucket, seen in zip(declared, replicas, strict=True):
        bucket.on_put()(seen.take)

    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        await (await buckets.open(bucket_name)).put("before", b"")
    async with (
        running(nats_server.url, declared[0]),
        running(nats_server.url, declared[1]) as other,
    ):
        await (await store_of(other, declared[1])).put("after", b"")
        for seen in replicas:
            assert await seen.wait_for(1) == ["after"]

    assert await consumers_of(nats_client, bucket_name) == []


@pytest.mark.parametrize("durable", [None, "worker"])
async def test_replay_begins_with_what_is_there_without_delete_markers(
    nats_server: NatsServer, bucket_name: str, durable: str | None
) -> None:
    bucket = Bucket(bucket_name)
    changes: Seen[tuple[str, bool]] = Seen()

    @bucket.on_change(replay=True, durable=durable)
    async def handle(info: ObjectInfo) -> None:
        await changes.add((info.name, info.deleted))

    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        store = await buckets.open(bucket_name)
        await store.put("gone", b"")
        await store.put("there", b"1")
        await store.put("there", b"2")
        await store.delete("gone")
    async with running(nats_server.url, bucket) as buckets:
        await changes.wait_for(1)
        await (await store_of(buckets, bucket)).delete("there")
        await changes.wait_for(2)

    assert changes.all == [("there", False), ("there", True)]


async def test_workers_run_at_a_time_but_never_two_of_one_object(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    begun: Seen[tuple[str, bytes]] = Seen()
    go = {"a1": asyncio.Event(), "b1": asyncio.Event()}

    @bucket.on_put(max_workers=3, retry=None)
    async def handle(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket(bucket_name)]
    ) -> None:
        version = f"{info.name}{info.size}"
        await begun.add((info.name, str(info.size).encode()))
        if version in go:
            await soon(go[version].wait())

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1")
        await begun.wait_for(1)
        await store.put("a", b"22")
        await store.put("b", b"1")
        # The second version of `a` came first, and waits.
        assert await begun.wait_for(2) == [("a", b"1"), ("b", b"1")]
        go["a1"].set()
        assert (await begun.wait_for(3))[-1] == ("a", b"2")
        go["b1"].set()


async def test_busy_replica_leaves_further_changes_to_the_others(
    nats_server: NatsServer, bucket_name: str
) -> None:
    busy, free = Bucket(bucket_name), Bucket(bucket_name)
    started, release = asyncio.Event(), asyncio.Event()
    first: list[str] = []
    others = Names()

    @busy.on_put(durable="worker")
    async def occupied(info: ObjectInfo) -> None:
        first.append(info.name)
        started.set()
        await release.wait()

    free.on_put(durable="worker")(others.take)

    async with running(nats_server.url, busy) as buckets:
        store = await store_of(buckets, busy)
        await store.put("long", b"")
        await soon(started.wait())
        async with running(nats_server.url, free):
            for number in range(10):
                await store.put(str(number), b"")
            await others.wait_for(10)
        release.set()

    assert first == ["long"]
    assert sorted(others.all) == [str(number) for number in range(10)]


async def test_failed_handler_is_called_again_after_its_delays(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    times: Seen[float] = Seen()
    loop = asyncio.get_running_loop()

    @bucket.on_put(retry=Retry(attempts=3, delays=(0.2, timedelta(seconds=0.6))))
    async def handle(info: ObjectInfo) -> None:
        await times.add(loop.time())
        if len(times.all) < 3:
            raise OSError("not yet")

    async with running(nats_server.url, bucket) as buckets:
        await (await store_of(buckets, bucket)).put("a", b"")
        one, two, three = await times.wait_for(3)

    assert 0.17 <= two - one < 0.5
    assert 0.53 <= three - two < 1.0


async def test_last_failure_ends_in_the_dead_letter(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls: Seen[str] = Seen()
    letters: asyncio.Queue[Msg] = asyncio.Queue()
    await nats_client.subscribe(f"dead.{bucket_name}", cb=letters.put)
    await settled(nats_client)

    @bucket.on_put(
        durable="worker",
        retry=Retry(attempts=2, delays=(0.05,)),
        dead_letter=f"dead.{bucket_name}",
    )
    async def handle(info: ObjectInfo) -> None:
        await calls.add(info.name)
        if info.name == "bad":
            raise ValueError("no image")

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        put = await store.put("bad", b"x", description="a picture")
        letter = json.loads((await soon(letters.get())).data)
        await store.put("good", b"")
        await calls.wait_until_last("good")

    assert calls.all == ["bad", "bad", "good"]
    assert letter["bucket"] == bucket_name
    assert letter["durable"] == "worker"
    assert letter["attempts"] == 2
    assert letter["error"] == "ValueError: no image"
    assert letter["object"]["name"] == "bad"
    assert letter["object"]["description"] == "a picture"
    assert letter["object"]["revision"] == put.revision


async def test_faststream_answers_keep_their_meaning(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(durable="worker", retry=Retry(attempts=9, delays=(0.01,)))
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        match info.name:
            case "ack":
                raise AckMessage
            case "reject":
                raise RejectMessage
            case "nack" if calls.all.count("nack") == 1:
                raise NackMessage(delay=0.05)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        for name in ("ack", "reject", "nack"):
            await store.put(name, b"")
        await calls.wait_for(4)
        await store.put("last", b"")
        await calls.wait_until_last("last")

    assert calls.all == ["ack", "reject", "nack", "nack", "last"]
    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    assert info.num_ack_pending == 0


async def test_failure_on_a_replaced_version_is_no_error(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    sizes: Seen[int] = Seen()
    letters: asyncio.Queue[Msg] = asyncio.Queue()
    await nats_client.subscribe(f"dead.{bucket_name}", cb=letters.put)
    await settled(nats_client)
    replaced = asyncio.Event()

    @bucket.on_put(retry=None, dead_letter=f"dead.{bucket_name}")
    async def handle(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket(bucket_name)]
    ) -> None:
        await sizes.add(info.size)
        if info.size == 1:
            await soon(replaced.wait())
        await store.get(info)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1")
        await sizes.wait_for(1)
        await store.put("a", b"22")
        replaced.set()
        assert await sizes.wait_for(2) == [1, 2]
        [subscriber] = bucket.subscribers
        assert subscriber.superseded == 1

    assert letters.empty()


async def test_long_job_is_not_delivered_twice(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()

    @bucket.on_put(durable="worker", ack_wait=0.3)
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        if info.name == "long":
            # The duration of the job is what is tested.
            await asyncio.sleep(1.2)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("long", b"")
        await store.put("last", b"")
        await calls.wait_until_last("last")

    assert calls.all == ["long", "last"]


async def test_cancelled_handler_gives_its_change_back_at_once(
    nats_server: NatsServer, bucket_name: str
) -> None:
    first, second = Bucket(bucket_name), Bucket(bucket_name)
    started = asyncio.Event()
    calls = Names()

    @first.on_put(durable="worker", ack_wait=600)
    async def hang(info: ObjectInfo) -> None:
        started.set()
        await asyncio.Event().wait()

    second.on_put(durable="worker", ack_wait=600)(calls.take)

    async with running(nats_server.url, first, graceful_timeout=0.1) as buckets:
        await (await store_of(buckets, first)).put("a", b"")
        await soon(started.wait())
    async with running(nats_server.url, second):
        assert await calls.wait_for(1) == ["a"]


async def test_stop_consume_ends_the_subscriber_and_settles_its_change(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls, other = Names(), Names()

    @bucket.on_put(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        await calls.take(info)
        raise StopConsume

    bucket.on_put()(other.take)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"")
        await calls.wait_for(1)
        await store.put("b", b"")
        await other.wait_for(2)

    assert calls.all == ["a"]
    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    # Not delivered, or given back at once.
    assert info.num_ack_pending + info.num_pending == 1


async def test_exit_in_a_handler_stops_the_app_and_gives_its_change_back(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket)
    app = FastStream(broker, logger=None)

    @bucket.on_put(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        raise SystemExit

    @app.after_startup
    async def put() -> None:
        await (await buckets.open(bucket_name)).put("a", b"")

    await soon(app.run())
    again = Bucket(bucket_name)
    calls = Names()
    again.on_put(durable="worker")(calls.take)
    async with running(nats_server.url, again):
        assert await calls.wait_for(1) == ["a"]


async def test_running_handler_finishes_when_the_broker_stops(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    started, release = asyncio.Event(), asyncio.Event()
    finished: list[str] = []

    @bucket.on_put(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        started.set()
        await release.wait()
        finished.append(info.name)

    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket)
    await broker.start()
    await (await store_of(buckets, bucket)).put("a", b"")
    await soon(started.wait())
    stopping = asyncio.create_task(broker.stop())
    await asyncio.sleep(0)
    release.set()
    await soon(stopping)

    assert finished == ["a"]
    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    assert info.num_ack_pending == 0


async def test_metadata_that_does_not_parse_is_passed_over(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_change(durable="worker")(calls.take)

    async with running(nats_server.url, bucket) as buckets:
        js = nats_client.jetstream()
        for number, body in enumerate((b"", b"{", b"[]", b'{"size": "big"}')):
            await js.publish(wire.metadata_subject(bucket_name, f"bad{number}"), body)
        await (await store_of(buckets, bucket)).put("good", b"")
        assert await calls.wait_for(1) == ["good"]

    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    assert info.num_ack_pending == 0


async def test_changed_options_reach_the_existing_durable(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    for ack_wait in (30, 45):
        bucket = Bucket(bucket_name)
        bucket.on_put(durable="worker", ack_wait=ack_wait)(Names().take)
        async with running(nats_server.url, bucket):
            pass

    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    assert info.config.ack_wait == 45


async def test_changed_replay_is_refused_with_the_remedy(
    nats_server: NatsServer, bucket_name: str
) -> None:
    for replay in (False, True):
        bucket = Bucket(bucket_name)
        bucket.on_put(durable="worker", replay=replay)(Names().take)
        if replay:
            with pytest.raises(BucketConfigMismatchError) as caught:
                async with running(nats_server.url, bucket):
                    pass
            assert bucket_name in str(caught.value)
            assert f"nats consumer rm OBJ_{bucket_name} worker" in str(caught.value)
        else:
            async with running(nats_server.url, bucket):
                pass


async def test_durable_that_is_somebody_elses_push_consumer_is_refused(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name)):
        pass
    await nats_client.jetstream().subscribe(f"$O.{bucket_name}.M.>", durable="worker")
    bucket = Bucket(bucket_name)
    bucket.on_put(durable="worker")(Names().take)

    with pytest.raises(BucketConfigMismatchError, match="worker"):
        async with running(nats_server.url, bucket):
            pass


async def test_two_subscribers_with_one_durable_are_refused(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    bucket.on_put(durable="worker")(Names().take)
    bucket.on_delete(durable="worker")(Names().take)

    with pytest.raises(BucketInUseError, match="durable='worker'"):
        async with running(nats_server.url, bucket):
            pass


async def name_of(message: NatsMessage) -> str:
    info = await message.decode()
    assert isinstance(info, ObjectInfo)
    return info.name


async def test_changes_can_be_taken_one_at_a_time(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    subscriber = bucket.on_put("*.txt", durable="reader")

    async with running(nats_server.url, bucket) as buckets:
        assert await subscriber.get_one(timeout=0.1) is None
        store = await store_of(buckets, bucket)
        for name in ("a.txt", "b.png", "c.txt", "d.txt"):
            await store.put(name, b"")
        first = await soon(subscriber.get_one())
        assert first is not None
        names = [await name_of(first)]
        await first.ack()
        async for message in subscriber:
            names.append(await name_of(message))
            await message.ack()
            if len(names) == 3:
                break

    assert names == ["a.txt", "c.txt", "d.txt"]
    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "reader")
    assert info.num_ack_pending == 0
