"""What live values survive on a server, and what they leave there."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from faststream_objstore._faststream import connection_of
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import ObjectNotFoundError
from faststream_objstore.models import ObjectData
from faststream_objstore.params import LiveObject
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import metadata_subject
from tests.changes.support import Seen, consumers_of, running, soon
from tests.params.support import Service


@pytest.fixture
def service(nats_server: NatsServer, bucket_name: str) -> Service:
    return Service(nats_server.url, bucket_name, in_memory=False)


class Loaded(Seen[str]):
    """What has been loaded, in order."""

    async def load(self, data: ObjectData) -> str:
        await self.add(data.decode())
        return data.decode()


def echo(service: Service, loaded: Loaded, **options: Any) -> None:
    live = Annotated[Any, LiveObject(service.bucket, "a", load=loaded.load, **options)]

    @service.broker.subscriber("ask")
    async def ask(value: live) -> str:
        return str(value)


def live_tasks() -> list[str]:
    return [
        task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("live: ")
    ]


async def test_change_is_loaded_in_the_background_without_any_message(
    service: Service,
) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one") as store:
        assert loaded.all == ["one"]
        await store.put("a", "two")
        assert await loaded.wait_for(2) == ["one", "two"]


async def test_other_objects_of_the_bucket_do_not_travel_to_it(service: Service) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one") as store:
        await store.put("a", "two")
        await loaded.wait_for(2)
        [info] = await service.broker.connection.jetstream().consumers_info(
            f"OBJ_{service.bucket.name}"
        )
        for number in range(20):
            await store.put(f"other {number}", b"")
        await store.put("a", "three")
        await loaded.wait_for(3)
        after = await service.broker.connection.jetstream().consumer_info(
            f"OBJ_{service.bucket.name}", info.name
        )
        assert after.delivered is not None
        assert after.delivered.consumer_seq <= 3


async def test_stopped_broker_leaves_no_task_and_no_consumer(
    service: Service, nats_client: Client
) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one") as store:
        await store.put("a", "two")
        await loaded.wait_for(2)
        assert len(live_tasks()) == 1
        assert len(await consumers_of(nats_client, service.bucket.name)) == 1

    assert live_tasks() == []
    assert await consumers_of(nats_client, service.bucket.name) == []


async def test_start_that_fails_leaves_no_task_no_consumer_and_no_connection(
    service: Service, nats_client: Client
) -> None:
    echo(service, Loaded())
    with pytest.raises(ObjectNotFoundError):
        await soon(service.broker.start())

    assert live_tasks() == []
    assert await consumers_of(nats_client, service.bucket.name) == []
    assert connection_of(service.broker) is None


async def test_handler_that_outlives_the_stop_still_gets_the_value(
    service: Service,
) -> None:
    began, values = asyncio.Event(), Seen[str]()
    extension = service.attached
    live = LiveObject(service.bucket, "a", load=Loaded().load)

    @service.broker.subscriber("ask")
    async def ask(value: Annotated[str, live]) -> None:
        began.set()
        while live_tasks():
            await asyncio.sleep(0)
        again = await extension.live_value(live.source, current=True)
        await values.add(again.get(required=True))

    async with service.running(a="one"):
        await service.broker.publish("the body", "ask")
        await soon(began.wait())
        # Leaving stops the broker, which lets the handler finish.

    assert values.all == ["one"]
    assert live_tasks() == []


async def test_value_survives_stop_and_start_and_follows_again(service: Service) -> None:
    loaded = Loaded()
    echo(service, loaded)
    for number in range(3):
        async with service.running(a=f"{number} old") as store:
            assert await service.ask("ask") == f"{number} old"
            await store.put("a", f"{number} new")
            await service.ask_until("ask", f"{number} new")
    assert len(loaded.all) == 6


async def test_value_survives_a_server_restart(bucket_name: str) -> None:
    loaded = Loaded()
    bucket = Bucket(bucket_name)
    live = LiveObject(bucket, "a", load=loaded.load)
    async with NatsServer() as server:
        async with running(server.url, Bucket(bucket_name)) as other:
            await (await other.open(bucket_name)).put("a", "before")
        reconnect: Any = {"reconnect_time_wait": 0.05}
        broker = NatsBroker(server.url, logger=None, **reconnect)
        Buckets(broker, bucket)

        @broker.subscriber("ask")
        async def ask(value: Annotated[str, live]) -> None: ...

        try:
            await soon(broker.start())
            await server.stop()
            await server.start()
            async with running(server.url, Bucket(bucket_name)) as other:
                await (await other.open(bucket_name)).put("a", "after")
            assert await loaded.wait_for(2) == ["before", "after"]
        finally:
            await soon(broker.stop())


async def test_value_survives_a_recreated_bucket_whose_revisions_begin_again(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one") as store:
        for number in range(3):
            await store.put("filling", str(number))
        await store.put("a", "two")
        await loaded.wait_for(2)
        high = service.live.info
        await service.buckets.delete_bucket(service.bucket)
        assert await service.ask("ask") == "two"
        await service.buckets.create(service.bucket.name)
        low = await store.put("a", "three")
        assert await loaded.wait_for(3) == ["one", "two", "three"]
        await service.ask_until("ask", "three")
    assert high is not None
    assert low.revision < high.revision


async def test_deleted_bucket_is_logged_once_and_asked_for_with_growing_pauses(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one"):
        with caplog.at_level(logging.WARNING, "faststream_objstore"):
            await service.buckets.delete_bucket(service.bucket)
            while "not followed for now" not in caplog.text:
                await service.ask("ask")
        # Ten looks would take minutes; a busy loop would have made thousands.
        asked = service.broker.connection.stats["out_msgs"]
        for _ in range(200):
            assert await service.ask("ask") == "one"
        own = service.broker.connection.stats["out_msgs"] - asked - 200 * 2
        assert own < 20
    warnings = [one for one in caplog.records if "not followed" in one.message]
    assert len({one.message for one in warnings}) == len(warnings)


async def test_versions_that_come_faster_than_they_load_are_skipped(
    service: Service,
) -> None:
    loaded = Loaded()
    go_on = asyncio.Event()

    async def load(data: ObjectData) -> str:
        if data != b"0":
            await soon(go_on.wait())
        return await loaded.load(data)

    live = Annotated[str, LiveObject(service.bucket, "a", load=load)]

    @service.broker.subscriber("ask")
    async def ask(value: live) -> str:
        return value

    async with service.running(a="0") as store:
        for number in range(1, 30):
            await store.put("a", str(number))
        # The old value is what there is while a new one loads.
        assert await service.ask("ask") == "0"
        go_on.set()
        await loaded.wait_until_last("29")
        await service.ask_until("ask", "29")
        assert service.live.failures == 0

    # Whichever was there when it looked first, and then the newest.
    assert (loaded.all[0], loaded.all[-1]) == ("0", "29")
    assert len(loaded.all) <= 3


async def test_metadata_that_does_not_parse_is_passed_over(service: Service) -> None:
    loaded = Loaded()
    echo(service, loaded)
    async with service.running(a="one") as store:
        subject = metadata_subject(service.bucket.name, "a")
        await service.broker.connection.jetstream().publish(
            subject, b"no JSON", headers={"Nats-Rollup": "sub"}
        )
        await store.put("a", "two")
        assert await loaded.wait_for(2) == ["one", "two"]


async def test_live_object_of_a_late_bucket_is_loaded_when_it_is_bound(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket, loaded = Bucket(bucket_name), Loaded()
    live = LiveObject(bucket, "a", load=loaded.load)

    @bucket.on_put("other")
    async def handle(info: object, value: Annotated[str, live]) -> None: ...

    async with running(nats_server.url, Bucket(bucket_name)) as other:
        await (await other.open(bucket_name)).put("a", "one")
    broker = NatsBroker(nats_server.url, logger=None)
    async with started(broker):
        buckets = Buckets(bucket)
        buckets.attach(broker)
        await soon(buckets.bind())
        assert loaded.all == ["one"]
        assert len(live_tasks()) == 1


async def test_each_of_two_extensions_loads_the_objects_of_its_own_buckets(
    service: Service, bucket_name: str
) -> None:
    second = Bucket(f"{bucket_name}-second")
    other = Buckets(service.broker, second)
    lives = [LiveObject(bucket, "a", required=False) for bucket in (service.bucket, second)]

    @service.broker.subscriber("ask")
    async def ask(
        body: str, one: Annotated[bytes, lives[0]], two: Annotated[bytes, lives[1]]
    ) -> None: ...

    async with service.running():
        assert [one.source.bucket for one in service.buckets.live_objects] == [bucket_name]
        assert [one.source.bucket for one in other.live_objects] == [second.name]
        assert len(live_tasks()) == 2
    assert live_tasks() == []


async def test_object_that_is_first_asked_for_while_the_broker_stops_is_not_followed(
    service: Service,
) -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()

    async def load(data: ObjectData) -> str:
        loading.set()
        await soon(go_on.wait())
        return data.decode()

    live = LiveObject(service.bucket, "a", load=load)
    async with service.running(a="one"):
        asking = asyncio.create_task(service.attached.live_value(live.source, current=True))
        await soon(loading.wait())
        [value] = service.buckets.live_objects
        await soon(service.attached.on_stop())
        go_on.set()
        await soon(asking)
        assert value.get(required=True) == "one"
        assert live_tasks() == []


@contextlib.asynccontextmanager
async def started(broker: NatsBroker) -> AsyncIterator[None]:
    try:
        await soon(broker.start())
        yield
    finally:
        await soon(broker.stop())


async def test_test_broker_with_a_real_server_follows_too(service: Service) -> None:
    loaded = Loaded()
    echo(service, loaded)
    await soon(service.broker.connect())
    await service.store.put("a", "one")
    async with TestNatsBroker(service.broker, with_real=True):
        await service.store.put("a", "two")
        assert await loaded.wait_for(2) == ["one", "two"]
    assert live_tasks() == []


async def test_object_of_a_handler_that_came_late_is_followed_from_its_first_use(
    service: Service,
) -> None:
    loaded = Loaded()
    live = LiveObject(service.bucket, "a", load=loaded.load)
    async with service.running(a="one") as store:
        await service.attached.live_value(live.source, current=True)
        assert loaded.all == ["one"]
        await store.put("a", "two")
        assert await loaded.wait_for(2) == ["one", "two"]
