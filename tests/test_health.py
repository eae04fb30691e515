"""The health matrix: each problem made for real, and what is answered."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client
from nats.js.api import StreamConfig

from faststream_objstore import Bucket, Buckets, LiveObject, ObjectStore, Retry
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.health import Health, make_health_asgi
from faststream_objstore.models import ObjectInfo
from faststream_objstore.standing import durable_standing
from faststream_objstore.testing import NatsServer
from tests.backends.proxy import between
from tests.changes.support import soon


class Service:
    """A service with one bucket and one durable."""

    def __init__(self, url: str, name: str, **settings: Any) -> None:
        self.bucket = Bucket(name, **settings)
        self.broker = NatsBroker(
            url, logger=None, max_reconnect_attempts=-1, reconnect_time_wait=1
        )
        self.buckets = Buckets(self.broker, self.bucket)
        self.go = asyncio.Event()
        self.handled: asyncio.Queue[str] = asyncio.Queue()

        @self.bucket.on_put(durable="worker", retry=Retry(3, delays=(0.05,)))
        async def work(info: ObjectInfo) -> None:
            await self.go.wait()
            self.handled.put_nowait(info.name)

    @property
    def client(self) -> Client:
        connection = self.broker._connection
        assert isinstance(connection, Client)
        return connection

    async def store(self) -> ObjectStore:
        return await soon(self.buckets.open(self.bucket))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        try:
            await soon(self.broker.start())
            yield self
        finally:
            self.go.set()
            await soon(self.broker.stop())


@contextlib.asynccontextmanager
async def _at(url: str, name: str) -> AsyncIterator[Service]:
    async with Service(url, name).running() as service:
        yield service


def found(health: Health) -> list[tuple[str, str | None, str | None]]:
    return [(one.kind, one.bucket, one.durable) for one in health.problems]


async def test_service_in_order_is_healthy(nats_server: NatsServer, bucket_name: str) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        service.go.set()
        await (await service.store()).put("a", b"")
        assert await soon(service.handled.get()) == "a"
        health = await soon(service.buckets.health(max_lag=60, max_fill=0.9))
    assert health.ok
    assert health.as_json() == {"status": "ok", "problems": []}


async def test_broker_that_was_not_started_or_was_stopped(
    nats_server: NatsServer, bucket_name: str
) -> None:
    service = Service(nats_server.url, bucket_name)
    assert found(await service.buckets.health()) == [("connection", None, None)]
    async with service.running():
        assert (await service.buckets.health()).ok
    health = await service.buckets.health()
    assert found(health) == [("connection", None, None)]
    assert "was stopped" in health.problems[0].detail


async def test_lost_connection(bucket_name: str) -> None:
    async with NatsServer() as server, _at(server.url, bucket_name) as service:
        lost = asyncio.Event()

        async def note() -> None:
            lost.set()

        service.client._disconnected_cb = note
        await server.kill()
        await soon(lost.wait())
        health = await soon(service.buckets.health())
        await server.start()
        while not (await soon(service.buckets.health())).ok:
            await asyncio.sleep(0.05)
    assert found(health) == [("connection", None, None)]
    assert "is lost" in health.problems[0].detail


async def test_deleted_bucket(nats_server: NatsServer, bucket_name: str) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        await service.client.jetstream().delete_object_store(bucket_name)
        health = await soon(service.buckets.health())
        await service.buckets.create(bucket_name)
    assert found(health) == [("bucket_missing", bucket_name, None)]


async def test_bucket_with_other_settings(nats_server: NatsServer, bucket_name: str) -> None:
    settings = {"max_bytes": 1_000_000, "description": "as declared"}
    async with Service(nats_server.url, bucket_name, **settings).running() as service:
        js = service.client.jetstream()
        config = (await js.stream_info(f"OBJ_{bucket_name}")).config
        await js.update_stream(config.evolve(max_bytes=2_000_000))
        health = await soon(service.buckets.health())
    assert found(health) == [("bucket_settings", bucket_name, None)]
    assert "max_bytes is 2000000, declared 1000000" in health.problems[0].detail


async def test_bucket_whose_stream_was_rewritten(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        js = service.client.jetstream()
        config: StreamConfig = (await js.stream_info(f"OBJ_{bucket_name}")).config
        await js.update_stream(config.evolve(allow_rollup_hdrs=False))
        health = await soon(service.buckets.health())
    assert found(health) == [("bucket_settings", bucket_name, None)]
    assert "does not allow rollups" in health.problems[0].detail


async def test_bucket_that_is_nearly_full(nats_server: NatsServer, bucket_name: str) -> None:
    service = Service(nats_server.url, bucket_name, max_bytes=100_000)
    service.go.set()
    async with service.running():
        await (await service.store()).put("a", b"x" * 79_900)
        assert await soon(service.handled.get()) == "a"
        assert (await soon(service.buckets.health())).ok
        assert (await soon(service.buckets.health(max_fill=0.9))).ok
        health = await soon(service.buckets.health(max_fill=0.8))
    assert found(health) == [("bucket_nearly_full", bucket_name, None)]
    assert "of 100,000 bytes are used (80%)" in health.problems[0].detail


async def test_durable_that_is_missing(nats_server: NatsServer, bucket_name: str) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        # Its loop would make the consumer again; one that has ended does not.
        [subscriber] = service.bucket.subscribers
        await subscriber.stop()
        await service.client.jetstream().delete_consumer(f"OBJ_{bucket_name}", "worker")
        health = await soon(service.buckets.health())
    assert set(found(health)) == {
        ("durable_missing", bucket_name, "worker"),
        ("loop_ended", bucket_name, "worker"),
    }


async def test_loop_that_has_ended(nats_server: NatsServer, bucket_name: str) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        [subscriber] = service.bucket.subscribers
        await subscriber.stop()
        health = await soon(service.buckets.health())
    assert found(health) == [("loop_ended", bucket_name, "worker")]
    assert health.problems[0].detail.startswith("Work receives no changes")


async def test_lag_is_the_age_of_the_oldest_change_that_is_not_handled(
    nats_server: NatsServer, bucket_name: str
) -> None:
    service = Service(nats_server.url, bucket_name)
    async with service.running():
        store = await service.store()
        for name in ("a", "b", "c"):
            await store.put(name, b"")
        # It is the oldest for as long as its handler waits.
        while (await soon(service.buckets.health(max_lag=0.3))).ok:
            pass
        health = await soon(service.buckets.health(max_lag=0.3))
        assert (await soon(service.buckets.health(max_lag=3600))).ok
        assert (await soon(service.buckets.health())).ok
        service.go.set()
        for _ in range(3):
            await soon(service.handled.get())
        while not (await soon(service.buckets.health(max_lag=0))).ok:
            pass
    assert found(health) == [("lag", bucket_name, "worker")]


async def test_changes_from_before_the_durable_are_no_lag(
    nats_server: NatsServer, bucket_name: str
) -> None:
    first = Service(nats_server.url, bucket_name)
    first.go.set()
    async with first.running():
        await (await first.store()).put("old", b"")
        assert await soon(first.handled.get()) == "old"

    bucket = Bucket(bucket_name)
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, bucket)
    go = asyncio.Event()

    @bucket.on_put(durable="later")
    async def later(info: ObjectInfo) -> None:
        await go.wait()

    try:
        await soon(broker.start())
        began = asyncio.get_running_loop().time()
        await (await buckets.open(bucket)).put("new", b"")
        binding = buckets.attached.binding_now
        assert binding is not None
        standing = await soon(
            durable_standing(binding.server(None), bucket_name, "later", timeout=10)
        )
        elapsed = asyncio.get_running_loop().time() - began
    finally:
        go.set()
        await soon(broker.stop())
    assert standing is not None
    assert standing.pending + standing.in_work == 1
    # Two clocks agree on so much; the older change is older than that by a restart.
    assert 0 < standing.oldest <= elapsed + 0.01


async def test_required_live_object_without_a_value(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = NatsBroker(nats_server.url, logger=None)
    buckets = Buckets(broker, Bucket(bucket_name))

    @broker.subscriber(f"in.{bucket_name}")
    async def handle(
        body: str, rules: Annotated[bytes, LiveObject(bucket_name, "rules.json")]
    ) -> None: ...

    # It refuses to start without one, while an app's own health route answers already.
    try:
        await soon(broker.connect())
        health = await soon(buckets.health())
        assert found(health) == [("live_object_missing", bucket_name, None)]
        assert health.problems[0].object == "rules.json"
        await (await buckets.open(bucket_name)).put("rules.json", b"{}")
        assert (await soon(buckets.health())).ok
    finally:
        await soon(broker.stop())


async def test_it_answers_within_its_timeout_when_nats_says_nothing(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with between(nats_server) as proxy, _at(proxy.url, bucket_name) as service:
        proxy.stall()
        began = asyncio.get_running_loop().time()
        health = await soon(service.buckets.health(timeout=0.5))
        took = asyncio.get_running_loop().time() - began
        proxy.go_on()
    assert set(found(health)) == {
        ("no_answer", bucket_name, None),
        ("no_answer", bucket_name, "worker"),
    }
    # The bucket's own timeout is 10 seconds.
    assert took < 5


async def test_it_answers_under_test_nats_broker() -> None:
    service = Service("nats://127.0.0.1:1", "photos")
    service.go.set()
    async with TestNatsBroker(service.broker):
        await (await service.store()).put("a", b"")
        assert (await service.buckets.health(max_lag=0, max_fill=0.5)).ok
        await service.buckets.delete_bucket("photos")
        health = await service.buckets.health()
    assert found(health) == [("bucket_missing", "photos", None)]


async def test_route_answers_200_or_503_with_the_problems(
    nats_server: NatsServer, bucket_name: str
) -> None:
    service = Service(nats_server.url, bucket_name)
    app = AsgiFastStream(
        service.broker,
        asgi_routes=[("/health", make_health_asgi(service.buckets, max_lag=60, timeout=5))],
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        before = await client.get("/health")
        async with service.running():
            well = await client.get("/health")
            await service.client.jetstream().delete_object_store(bucket_name)
            gone = await client.get("/health")
            await service.buckets.create(bucket_name)
    assert before.status_code == 503
    assert before.json()["problems"][0]["problem"] == "connection"
    assert (well.status_code, well.json()) == (200, {"status": "ok", "problems": []})
    assert well.headers["content-type"] == "application/json"
    assert gone.status_code == 503
    [problem] = json.loads(gone.content)["problems"]
    assert (problem["problem"], problem["bucket"]) == ("bucket_missing", bucket_name)
    assert f"Bucket '{bucket_name}' does not exist" in problem["detail"]


@pytest.mark.parametrize(
    "option, value",
    [
        ("max_lag", -1),
        ("max_lag", "5m"),
        ("max_fill", 0),
        ("max_fill", 1.5),
        ("max_fill", True),
        ("timeout", 0),
        ("timeout", None),
    ],
)
def test_option_that_cannot_work_is_refused_when_the_route_is_made(
    option: str, value: Any
) -> None:
    buckets = Buckets(NatsBroker(), Bucket("photos"))
    with pytest.raises(InvalidOptionError, match=option):
        make_health_asgi(buckets, **{option: value})
