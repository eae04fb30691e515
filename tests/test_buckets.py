"""`Buckets`: when buckets are bound, to what, and what is refused."""

import asyncio
import gc
import logging
import os
import signal
import sys
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import nats.js.api
import pytest
from faststream import Context, FastStream, TestApp
from faststream.asgi import AsgiFastStream
from faststream.nats import JStream, NatsBroker, NatsRouter, TestNatsBroker
from nats.aio.client import Client
from nats.errors import NoServersError
from nats.js.errors import BadBucketError

from faststream_objstore.binding import attached_to
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketInUseError,
    BucketNotDeclaredError,
    BucketNotFoundError,
    InvalidOptionError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ServerUnreachableError,
)
from faststream_objstore.models import ObjectInfo, ObjectStoreConfig
from faststream_objstore.params import FromBucket, FromObject, OpenObject, StatObject
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import LIMIT, Names, running, soon, store_of
from tests.settled import settled


def quiet(url: str, **options: Any) -> NatsBroker:
    return NatsBroker(url, logger=None, **options)


async def names_in(store: ObjectStore) -> list[str]:
    return sorted(info.name for info in await store.list())


# Binding


@pytest.mark.parametrize("enter", ["start", "connect", "async with"])
async def test_bucket_is_there_once_the_broker_has_connected(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, enter: str
) -> None:
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name, description="pictures", ttl=3600))
    try:
        if enter == "start":
            await broker.start()
        elif enter == "connect":
            await broker.connect()
        else:
            async with broker:
                pass
        status = await (await nats_client.jetstream().object_store(bucket_name)).status()
    finally:
        await broker.stop()

    assert status.description == "pictures"
    assert status.ttl == 3600


async def test_stores_rebind_after_stop_and_start(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    buckets = Buckets(broker, Bucket(bucket_name))
    await broker.start()
    store = await buckets.open(bucket_name)
    for number in range(3):
        await store.put(str(number), b"")
        await broker.stop()
        await broker.start()
    try:
        assert await names_in(store) == ["0", "1", "2"]
    finally:
        await broker.stop()


async def test_store_that_is_used_first_connects_the_broker_once(
    bucket_name: str,
) -> None:
    async with NatsServer(config="max_connections: 1") as server:
        broker = quiet(server.url)
        Buckets(broker, Bucket(bucket_name))
        [attached] = attached_to(broker)
        store = attached.handle(bucket_name)
        try:
            await soon(asyncio.gather(*(store.put(str(one), b"") for one in range(5))))
            assert len(await store.list()) == 5
        finally:
            await broker.stop()


async def test_store_of_a_stopped_broker_says_so(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        store = await buckets.open(bucket_name)

    with pytest.raises(NotConnectedError, match="stopped"):
        await store.list()


async def test_store_without_a_broker_says_so() -> None:
    buckets = Buckets(Bucket("photos"))
    with pytest.raises(NotConnectedError, match="attach"):
        await buckets.open("photos")


async def test_prefix_of_the_js_options_is_used(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url, js_options={"prefix": "$JS.other.API", "timeout": 1})
    Buckets(broker, Bucket(bucket_name))
    with pytest.raises(JetStreamNotEnabledError):
        await broker.start()


async def test_domain_of_the_js_options_is_used(bucket_name: str) -> None:
    async with (
        NatsServer(config="jetstream { domain: hub }") as server,
        running(server.url, Bucket(bucket_name), js_options={"domain": "hub"}) as buckets,
    ):
        assert await buckets.list() == [bucket_name]


# What is refused


@pytest.mark.parametrize(
    "option,exists,declared",
    [
        ("description", "old", "new"),
        ("ttl", 60, 120),
        ("max_bytes", 1_000_000, 2_000_000),
        ("compression", True, False),
        ("metadata", {"a": "1"}, {"a": "2"}),
    ],
)
async def test_difference_is_refused_by_name_or_applied_with_update(
    nats_server: NatsServer, bucket_name: str, option: str, exists: Any, declared: Any
) -> None:
    async with running(nats_server.url, Bucket(bucket_name, **{option: exists})):
        pass
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name, **{option: declared}))

    with pytest.raises(BucketConfigMismatchError) as caught:
        await broker.start()
    assert bucket_name in str(caught.value)
    assert option in str(caught.value)
    # The connection does not stay open behind the error.
    assert not await broker.ping(0.01)

    async with running(
        nats_server.url, Bucket(bucket_name, update=True, **{option: declared})
    ):
        pass
    async with running(nats_server.url, Bucket(bucket_name, **{option: declared})):
        pass


async def test_settings_that_are_not_named_are_not_compared(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name, ttl=60, description="old")):
        pass
    async with running(nats_server.url, Bucket(bucket_name, description="old")):
        pass


async def test_bucket_that_is_only_bound_must_exist(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name, declare=False))
    with pytest.raises(BucketNotFoundError, match=bucket_name):
        await broker.start()

    async with running(nats_server.url, Bucket(bucket_name)):
        await broker.start()
        await broker.stop()


async def test_server_without_jetstream_is_named(bucket_name: str) -> None:
    async with NatsServer(jetstream=False) as server:
        broker = quiet(server.url)
        Buckets(broker, Bucket(bucket_name))
        with pytest.raises(JetStreamNotEnabledError, match="JetStream"):
            await broker.start()


@pytest.mark.parametrize("where", ["subscriber", "publisher", "router"])
async def test_stream_that_faststream_would_rewrite_is_refused(
    nats_server: NatsServer, bucket_name: str, where: str
) -> None:
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name))
    stream = f"OBJ_{bucket_name}"
    if where == "subscriber":
        broker.subscriber(f"$O.{bucket_name}.M.>", stream=stream)
    elif where == "publisher":
        broker.publisher("anything", stream=stream)
    else:
        router = NatsRouter()
        router.subscriber("anything", stream=stream)
        broker.include_router(router)

    with pytest.raises(BucketInUseError, match="declare=False"):
        await broker.start()
    with pytest.raises(BucketInUseError):
        async with TestNatsBroker(broker):
            pass


async def test_stream_that_is_only_read_is_allowed(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    buckets = Buckets(broker, Bucket(bucket_name))
    received = asyncio.Event()

    @broker.subscriber(
        f"$O.{bucket_name}.M.>", stream=JStream(f"OBJ_{bucket_name}", declare=False)
    )
    async def handle(body: dict[str, Any]) -> None:
        received.set()

    await broker.start()
    try:
        await (await buckets.open(bucket_name)).put("a", b"")
        await soon(received.wait())
    finally:
        await broker.stop()


def test_what_is_no_broker_or_bucket_is_refused() -> None:
    with pytest.raises(InvalidOptionError):
        Buckets("nats://localhost")  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError):
        Buckets(NatsBroker(), "photos")  # type: ignore[arg-type]


def test_two_declarations_of_one_name_are_refused() -> None:
    broker = NatsBroker()
    with pytest.raises(BucketInUseError, match="photos"):
        Buckets(broker, Bucket("photos"), Bucket("photos"))
    other = NatsBroker()
    Buckets(other, Bucket("photos"))
    with pytest.raises(BucketInUseError, match="photos"):
        Buckets(other, Bucket("photos"))


def test_two_buckets_with_one_context_key_are_refused() -> None:
    with pytest.raises(BucketInUseError, match="context_key"):
        Buckets(NatsBroker(), Bucket("a", context_key="x"), Bucket("b", context_key="x"))


async def test_bucket_that_is_deleted_while_the_service_runs_is_not_said_to_be_undeclared(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await nats_client.jetstream().delete_object_store(bucket_name)

        with pytest.raises(BucketNotFoundError, match="it has been deleted") as caught:
            await soon(store.put("a", b""))
        assert "declare it" not in str(caught.value)


@pytest.mark.parametrize("config", [ObjectStoreConfig, nats.js.api.ObjectStoreConfig])
async def test_create_object_store_takes_what_nats_py_takes(
    nats_server: NatsServer, bucket_name: str, config: Any
) -> None:
    broker = quiet(nats_server.url)
    buckets = Buckets(broker)
    async with broker:
        await broker.start()
        store = await soon(
            buckets.create_object_store(
                bucket_name,
                config=config(bucket=bucket_name, ttl=60, storage="memory"),
                description="by nats-py's parameters",
            )
        )
        status = await soon(store.status())
        assert (status.description, status.storage) == ("by nats-py's parameters", "memory")
        assert status.ttl == timedelta(minutes=1)
        with pytest.raises(InvalidOptionError, match="give one name"):
            await buckets.create_object_store(bucket_name, config=config(bucket="other"))


async def test_bucket_of_other_settings_is_nats_pys_bad_bucket_too(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    await nats_client.jetstream().create_object_store(bucket_name)
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name, ttl=60))

    with pytest.raises(BadBucketError, match="ttl is for ever, declared 0:01:00"):
        await broker.start()


def test_what_a_user_has_under_a_context_key_is_never_replaced() -> None:
    broker = NatsBroker()
    album = ["mine"]
    broker.context.set_global("photos", album)

    with pytest.raises(InvalidOptionError, match=r"Bucket\('photos', context_key=") as caught:
        Buckets(broker, Bucket("thumbs"), Bucket("photos"))

    assert caught.value.bucket == "photos"
    assert broker.context.get("photos") is album
    # Nothing else was registered or attached either.
    assert broker.context.get("thumbs") is None
    assert attached_to(broker) == []


async def test_context_key_moves_a_store_out_of_the_way_of_a_users_key() -> None:
    broker = NatsBroker()
    broker.context.set_global("photos", "mine")
    Buckets(broker, Bucket("photos", context_key="photo_store"))
    seen: list[tuple[str, str]] = []

    @broker.subscriber("ask")
    async def handle(
        mine: Annotated[str, Context("photos")],
        store: Annotated[ObjectStore, Context("photo_store")],
    ) -> None:
        seen.append((mine, store.bucket))

    async with TestNatsBroker(broker):
        await broker.publish("", "ask")
    assert seen == [("mine", "photos")]


async def test_key_that_a_user_takes_after_attaching_stops_the_connection() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))
    broker.context.set_global("photos", "mine")

    with pytest.raises(InvalidOptionError, match="context_key"):
        async with TestNatsBroker(broker):
            raise AssertionError
    assert broker.context.get("photos") == "mine"


def test_installing_in_an_app_does_not_replace_a_users_key() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, Bucket("photos"))
    app = FastStream()
    app.context.set_global("photos", "mine")

    with pytest.raises(InvalidOptionError, match="context_key"):
        buckets.install(app)
    assert app.context.get("photos") == "mine"


def test_buckets_of_two_brokers_do_not_replace_each_other_in_an_app() -> None:
    first, second = NatsBroker(), NatsBroker()
    app = FastStream(first, second)
    Buckets(first, Bucket("photos")).install(app)
    store = app.context.get("photos")

    # A broker's handlers see the stores of that broker.
    other = Buckets(second, Bucket("photos"))
    assert second.context.get("photos") is not first.context.get("photos")
    assert first.context.get("photos") is store
    # The app's hooks see one of them, which is not exchanged in silence.
    with pytest.raises(InvalidOptionError, match="context_key"):
        other.install(app)
    assert app.context.get("photos") is store


def test_a_users_own_buckets_key_is_left_alone() -> None:
    broker = NatsBroker()
    broker.context.set_global("buckets", "mine")
    Buckets(broker, Bucket("photos"))
    assert broker.context.get("buckets") == "mine"


async def test_bucket_of_a_running_broker_is_refused_to_another() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    Buckets(broker, bucket)
    async with TestNatsBroker(broker):
        with pytest.raises(BucketInUseError, match="running"):
            Buckets(NatsBroker(), bucket)


async def test_bucket_moves_to_another_broker_with_its_handlers() -> None:
    bucket = Bucket("photos")

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None: ...

    for _ in range(3):
        broker = NatsBroker()
        buckets = Buckets(broker, bucket)
        async with TestNatsBroker(broker):
            put = await (await buckets.open("photos")).put("a", b"")
            handle.mock.assert_called_once_with(put)


async def test_first_extension_says_that_its_bucket_was_taken_over(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    broker = quiet(nats_server.url)
    first = Buckets(broker, bucket)
    Buckets(NatsBroker(), bucket)
    try:
        await broker.start()
        with pytest.raises(BucketNotFoundError, match="taken over by another Buckets"):
            await first.open(bucket_name)
    finally:
        await broker.stop()


async def test_handlers_of_the_first_broker_say_that_their_bucket_was_taken_over() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    first = Buckets(broker, bucket, Bucket("other"))
    Buckets(NatsBroker(), bucket)

    @broker.subscriber("ask")
    async def handle(store: Annotated[ObjectStore, FromBucket("photos")]) -> None: ...

    async with TestNatsBroker(broker):
        with pytest.raises(BucketNotDeclaredError, match="taken over by another Buckets"):
            await broker.publish("", "ask")
        # Taken back, it is as before.
        first.attach(broker, bucket)
        await first.bind()
        await broker.publish("", "ask")


@pytest.mark.parametrize("marker", [FromObject, StatObject, OpenObject, FromBucket])
async def test_handler_of_a_bucket_that_nobody_declares_stops_the_start(
    nats_server: NatsServer, bucket_name: str, marker: Any
) -> None:
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name))
    Buckets(broker, Bucket(f"{bucket_name}-2"))
    field = marker("typo") if marker is FromBucket else marker("typo", "a")

    @broker.subscriber(f"{bucket_name}.a")
    async def handle(it: Annotated[Any, field]) -> None: ...

    with pytest.raises(BucketNotDeclaredError) as caught:
        await broker.start()
    listed = f"(declared: '{bucket_name}', '{bucket_name}-2')"
    assert f"handle: Bucket 'typo' is not declared here {listed}" in str(caught.value)
    assert not broker.running


async def test_handler_of_a_bucket_that_may_still_be_attached_is_warned_of_once(
    nats_server: NatsServer, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = quiet(nats_server.url)
    Buckets(broker, Bucket(bucket_name))
    late = Buckets(Bucket(f"{bucket_name}-late"))

    @broker.subscriber(f"{bucket_name}.a")
    async def handle(
        store: Annotated[ObjectStore, FromBucket(f"{bucket_name}-late")],
    ) -> str:
        return (await store.put("a", b"")).name

    try:
        for _ in range(2):
            await broker.start()
        late.attach(broker)
        await late.bind()
        answer = await broker.request("", f"{bucket_name}.a", timeout=LIMIT)
        assert await answer.decode() == "a"
    finally:
        await broker.stop()
    warned = [one.getMessage() for one in caplog.records if one.name == "faststream_objstore"]
    assert [text.partition(" (declared")[0] for text in warned] == [
        f"handle: Bucket '{bucket_name}-late' is not declared here"
    ]


# Buckets known only at run time


async def test_buckets_can_be_made_listed_and_deleted_at_run_time(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url) as buckets:
        with pytest.raises(BucketNotFoundError, match=bucket_name):
            await buckets.open(bucket_name)
        await buckets.create(ObjectStoreConfig(bucket=bucket_name, description="made"))
        store = await buckets.create(bucket_name)
        await store.put("a", b"1")
        with pytest.raises(BucketConfigMismatchError):
            await buckets.create(bucket=bucket_name, description="other")
        assert bucket_name in await buckets.list()
        assert await (await buckets.open(bucket_name)).get("a") == b"1"
        await buckets.delete_bucket(bucket_name)
        assert bucket_name not in await buckets.list()
        with pytest.raises(BucketNotFoundError):
            await buckets.open(bucket_name)


async def test_missing_bucket_is_an_error_that_names_the_declared_ones(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        with pytest.raises(BucketNotFoundError, match=bucket_name):
            await buckets.open("no-such-bucket")


# Late


async def test_buckets_and_subscribers_can_join_a_running_broker(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    await broker.start()
    try:
        bucket = Bucket(bucket_name)
        calls = Names()
        bucket.on_put()(calls.take)
        buckets = Buckets(broker, bucket)
        await buckets.bind()
        await (await store_of(buckets, bucket)).put("a", b"")
        assert await calls.wait_for(1) == ["a"]
    finally:
        await broker.stop()


async def test_attaching_to_a_running_broker_starts_subscribers_by_itself(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    await broker.start()
    try:
        bucket = Bucket(bucket_name)
        calls = Names()
        bucket.on_put(replay=True)(calls.take)
        buckets = Buckets(bucket)
        buckets.attach(broker)
        await (await store_of(buckets, bucket)).put("a", b"")
        assert await calls.wait_for(1) == ["a"]
    finally:
        await broker.stop()


async def test_late_bucket_that_does_not_fit_leaves_the_broker_running(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with running(nats_server.url, Bucket(bucket_name, ttl=60)) as buckets:
        broker = quiet(nats_server.url)
        await broker.start()
        try:
            late = Buckets(broker)
            late.attach(broker, Bucket(bucket_name, ttl=120))
            with pytest.raises(BucketConfigMismatchError):
                await late.bind()
            assert await broker.ping(LIMIT)
        finally:
            await broker.stop()
        assert buckets.broker is not None


# Test mode


async def test_each_entry_of_test_mode_starts_empty() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, Bucket("photos"), Bucket("thumbs", declare=False))
    [attached] = attached_to(broker)
    store = attached.handle("photos")
    test = TestNatsBroker(broker)
    for _ in range(2):
        async with test:
            assert await buckets.list() == ["photos", "thumbs"]
            assert await names_in(store) == []
            await store.put("a", b"")


async def test_entry_after_a_failed_test_starts_empty() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, Bucket("photos"))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with TestNatsBroker(broker):
                store = await buckets.open("photos")
                assert await names_in(store) == []
                await store.put("a", b"")
                raise ZeroDivisionError


async def test_real_server_works_after_a_failed_test(
    nats_server: NatsServer, bucket_name: str
) -> None:
    broker = quiet(nats_server.url)
    buckets = Buckets(broker, Bucket(bucket_name))
    with pytest.raises(ZeroDivisionError):
        async with TestNatsBroker(broker):
            raise ZeroDivisionError
    await broker.connect()
    try:
        status = await (await buckets.open(bucket_name)).status()
        assert status.backing_store == "JetStream"
    finally:
        # The fake producer that FastStream left behind cannot disconnect.
        await broker.connection.close()


async def test_memory_of_a_test_is_freed_when_it_ends() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))
    async with TestNatsBroker(broker):
        server = weakref.ref(await attached_to(broker)[0].server_of("photos"))
        assert server() is not None
    gc.collect()
    assert server() is None


async def test_with_real_uses_the_server(nats_server: NatsServer, bucket_name: str) -> None:
    bucket = Bucket(bucket_name)
    broker = quiet(nats_server.url)
    buckets = Buckets(broker, bucket)
    called = asyncio.Event()

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        called.set()

    async with TestNatsBroker(broker, with_real=True):
        store = await buckets.open(bucket_name)
        assert (await store.status()).backing_store == "JetStream"
        put = await store.put("a", b"")
        await soon(called.wait())
        handle.mock.assert_called_once_with(put)


# Apps


@pytest.mark.parametrize("make", [FastStream, AsgiFastStream])
async def test_app_has_its_buckets_in_lifespan_hooks_and_handlers(
    nats_server: NatsServer, bucket_name: str, make: type[FastStream] | type[AsgiFastStream]
) -> None:
    bucket = Bucket(bucket_name)
    broker = quiet(nats_server.url)
    buckets = Buckets(broker, bucket)
    calls = Names()
    bucket.on_put("late/*")(calls.take)
    Store = Annotated[ObjectStore, FromBucket(bucket_name)]  # noqa: N806 - a type

    @asynccontextmanager
    async def lifespan(store: Store) -> AsyncIterator[None]:
        await store.put("lifespan", b"")
        yield

    app = make(broker, logger=None, lifespan=lifespan)
    buckets.install(app)
    buckets.install(app)

    @app.on_startup
    async def start(store: Annotated[ObjectStore, Context(bucket_name)]) -> None:
        await store.put("startup", b"")

    # Twice: the second run must not meet what the first has closed.
    for _ in range(2):
        async with TestApp(app):
            store = await buckets.open(bucket_name)
            assert set(await names_in(store)) >= {"lifespan", "startup"}
            await store.put("late/a", b"")
            await calls.wait_for(1)
        with pytest.raises(NotConnectedError):
            await store.list()
    assert calls.all == ["late/a", "late/a"]


SERVICE = {
    "buckets.py": """
from faststream_objstore.bucket import Bucket
import os
photos = Bucket(os.environ["BUCKET"])
""",
    "handlers.py": """
import os
from typing import Annotated
from faststream.nats import NatsRouter
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params import FromBucket
from faststream_objstore.store import ObjectStore
from buckets import photos

router = NatsRouter(prefix=os.environ["BUCKET"] + ".")
Photos = Annotated[ObjectStore, FromBucket(os.environ["BUCKET"])]

@router.subscriber("size")
async def size(name: str, store: Photos) -> int:
    return (await store.get_info(name)).size

@router.publisher("seen")
@photos.on_put("{user}/*")
async def seen(info: ObjectInfo) -> str:
    return info.name
""",
    "service.py": """
import os
from faststream import FastStream
from faststream.nats import NatsBroker
from faststream_objstore.binding import attached_to
from faststream_objstore.buckets import Buckets
from buckets import photos
from handlers import router

broker = NatsBroker(os.environ["NATS_URL"])
broker.include_router(router)
buckets = Buckets(photos)
buckets.attach(broker)
app = FastStream(broker)

@app.after_startup
async def ready():
    await broker.publish("", os.environ["BUCKET"] + ".ready")
""",
}


async def test_faststream_run_serves_what_three_modules_declare(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, tmp_path: Path
) -> None:
    for name, text in SERVICE.items():
        (tmp_path / name).write_text(text)
    events: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def receive(message: Any) -> None:
        await events.put((message.subject.rpartition(".")[2], message.data))

    for subject in ("ready", "seen"):
        await nats_client.subscribe(f"{bucket_name}.{subject}", cb=receive)
    await settled(nats_client)
    pytest.importorskip("typer", reason="faststream[cli] is not installed")
    root = str(Path(__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faststream", "run", "service:app",
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": root, "NATS_URL": nats_server.url, "BUCKET": bucket_name},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert (await soon(events.get()))[0] == "ready"
        store = await nats_client.jetstream().object_store(bucket_name)
        await store.put("ann/cat.png", b"12345")
        assert await soon(events.get()) == ("seen", b"ann/cat.png")
        answer = await nats_client.request(
            f"{bucket_name}.size", b"ann/cat.png", timeout=LIMIT
        )
        assert answer.data == b"5"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, errors = await soon(process.communicate())
    assert process.returncode == 0, errors.decode()


async def test_unreachable_server_is_named_in_the_error() -> None:
    broker = quiet("nats://127.0.0.1:1", max_reconnect_attempts=1, reconnect_time_wait=0.01)
    Buckets(broker, Bucket("unreachable"))

    with pytest.raises(ServerUnreachableError, match=r"nats://127\.0\.0\.1:1") as caught:
        await broker.start()

    assert "start one (nats-server -js)" in str(caught.value)
    assert isinstance(caught.value, NoServersError)


async def test_waiting_for_an_unreachable_server_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faststream_objstore._faststream.hook._SILENT_SECONDS", 0.0)
    broker = quiet(
        "nats://ann:secret@127.0.0.1:1", max_reconnect_attempts=2, reconnect_time_wait=0.01
    )
    Buckets(broker, Bucket("unreachable"))

    with pytest.raises(ServerUnreachableError):
        await broker.start()

    assert "No NATS server answers at nats://127.0.0.1:1 yet" in caplog.text
    assert "secret" not in caplog.text


async def test_waiting_is_logged_again_after_growing_pauses(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = quiet("nats://127.0.0.1:1")
    Buckets(broker, Bucket("unreachable"))
    loop = asyncio.get_running_loop()
    real, pauses = loop.call_later, list[float]()
    enough = asyncio.Event()

    def at_once(delay: float, callback: Any, *args: Any, **options: Any) -> Any:
        if getattr(callback, "__name__", "") != "warn":
            return real(delay, callback, *args, **options)
        pauses.append(delay)
        if len(pauses) == 8:
            enough.set()
            return real(delay, callback, *args, **options)
        return real(0, callback, *args, **options)

    monkeypatch.setattr(loop, "call_later", at_once)
    starting = asyncio.create_task(broker.start())
    await soon(enough.wait())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert pauses == [3, 6, 12, 24, 48, 60, 60, 60]
    assert caplog.text.count("still trying") == 7


async def test_waiting_is_logged_by_the_brokers_logger_once_that_is_set_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faststream_objstore._faststream.hook._SILENT_SECONDS", 0.0)
    async with NatsServer() as server:
        options: dict[str, Any] = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.01}
        broker = NatsBroker(server.url, logger=logging.getLogger("service"), **options)
        Buckets(broker, Bucket("photos"))
        await broker.start()
        await broker.stop()
    caplog.clear()

    with pytest.raises(ServerUnreachableError):
        await broker.start()

    waiting = [one for one in caplog.records if "still trying" in one.getMessage()]
    assert {one.name for one in waiting} == {"service"}
