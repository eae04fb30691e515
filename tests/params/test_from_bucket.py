"""`FromBucket`, wherever FastStream resolves parameters."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from faststream import Context, Depends, FastStream, TestApp
from faststream.nats import NatsBroker, NatsRouter, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import BucketNotDeclaredError, InvalidBucketNameError
from faststream_objstore.params import FromBucket
from faststream_objstore.store import ObjectStore

Photos = Annotated[ObjectStore, FromBucket("photos")]


@pytest.mark.parametrize("name", ["", "a b", "a.b"])
def test_bad_bucket_name_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(InvalidBucketNameError):
        FromBucket(name)


async def test_handler_gets_the_store_beside_its_body() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))

    @broker.subscriber("save")
    async def save(body: str, store: Photos) -> int:
        return (await store.put("a", body)).size

    async with TestNatsBroker(broker):
        answer = await broker.request("hello", "save")
        assert await answer.decode() == 5


async def test_handler_on_a_prefixed_router_gets_a_bucket_attached_elsewhere() -> None:
    router = NatsRouter("api.")
    bucket = Bucket("photos")

    @router.subscriber("save")
    async def save(body: str, store: Photos) -> str:
        await store.put("a", body)
        return store.bucket

    broker = NatsBroker()
    broker.include_router(router, prefix="v1.")
    buckets = Buckets(bucket)
    buckets.attach(broker)

    async with TestNatsBroker(broker):
        answer = await broker.request("hello", "v1.api.save")
        assert await answer.decode() == "photos"


async def test_sync_and_async_dependencies_get_the_store() -> None:
    def names(store: Photos) -> str:
        return store.bucket

    async def size(store: Annotated[ObjectStore, FromBucket(Bucket("photos"))]) -> int:
        return (await store.put("a", b"123")).size

    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))

    @broker.subscriber("ask")
    async def ask(
        name: Annotated[str, Depends(names)], size: Annotated[int, Depends(size)]
    ) -> str:
        return f"{name} {size}"

    async with TestNatsBroker(broker):
        assert await (await broker.request(b"", "ask")).decode() == "photos 3"


async def test_sync_handler_gets_the_store() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))

    @broker.subscriber("ask")
    def ask(body: str, store: Photos) -> str:
        return store.bucket + body

    async with TestNatsBroker(broker):
        assert await (await broker.request("!", "ask")).decode() == "photos!"


async def test_undeclared_bucket_is_an_error_that_names_those_that_are() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"), Bucket("thumbs"))

    @broker.subscriber("ask")
    async def ask(body: str, store: Annotated[ObjectStore, FromBucket("phtos")]) -> None: ...

    with pytest.raises(BucketNotDeclaredError) as caught:
        async with TestNatsBroker(broker):
            pass

    assert "ask: Bucket 'phtos'" in str(caught.value)
    assert "'photos', 'thumbs'" in str(caught.value)


async def test_broker_without_an_extension_is_an_error_not_a_message_body() -> None:
    broker = NatsBroker()

    @broker.subscriber("ask")
    async def ask(store: Photos) -> None: ...

    async with TestNatsBroker(broker):
        with pytest.raises(BucketNotDeclaredError, match="Buckets"):
            await broker.publish("body", "ask")


async def test_each_broker_has_its_own_bucket_of_a_name() -> None:
    brokers = [NatsBroker(), NatsBroker()]
    found: list[str] = []
    for broker in brokers:
        Buckets(broker, Bucket("photos"))

        @broker.subscriber("ask")
        async def ask(body: str, store: Photos) -> None:
            found.append(",".join(info.name for info in await store.list()))
            await store.put(body, b"")

    for name, broker in zip("ab", brokers, strict=True):
        async with TestNatsBroker(broker):
            await broker.publish(name, "ask")
            await broker.publish(name, "ask")

    assert found == ["", "a", "", "b"]


async def test_context_holds_the_store_under_the_buckets_name_or_key() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"), Bucket("my-thumbs", context_key="thumbs"))

    @broker.subscriber("ask")
    async def ask(
        body: str,
        photos: Annotated[ObjectStore, Context()],
        thumbs: Annotated[ObjectStore, Context("thumbs")],
    ) -> str:
        return f"{photos.bucket} {thumbs.bucket}"

    app = FastStream(broker)
    assert app.broker is broker
    async with TestNatsBroker(broker):
        assert await (await broker.request("", "ask")).decode() == "photos my-thumbs"


async def test_lifespan_and_hooks_of_an_installed_app_get_the_store() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, Bucket("photos"))
    found: list[list[str]] = []

    @asynccontextmanager
    async def lifespan(store: Photos) -> AsyncIterator[None]:
        await store.put("lifespan", b"")
        yield
        found.append([store.bucket])

    app = FastStream(broker, lifespan=lifespan)
    buckets.install(app)

    @app.on_startup
    async def start(store: Photos) -> None:
        await store.put("startup", b"")

    @app.on_shutdown
    async def stop(store: Photos, same: Annotated[ObjectStore, Context("photos")]) -> None:
        assert same is store
        found.append(sorted(info.name for info in await store.list()))

    async with TestNatsBroker(broker), TestApp(app):
        pass

    assert found == [["lifespan", "startup"], ["photos"]]


async def test_hooks_and_lifespans_of_an_app_find_the_bucket_without_install() -> None:
    broker = NatsBroker()
    Buckets(broker, Bucket("photos"))
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(store: Photos) -> AsyncIterator[None]:
        seen.append(f"lifespan {store.bucket}")
        yield

    app = FastStream(broker, lifespan=lifespan)

    @app.on_startup
    def start(store: Photos) -> None:
        seen.append(f"sync hook {store.bucket}")

    @app.on_startup
    async def begin(store: Photos) -> None:
        # It connects the broker, which has not started yet.
        await store.put("terms", "be kind")

    @app.after_startup
    async def check(store: Photos) -> None:
        seen.append((await store.get("terms")).decode())

    async with TestNatsBroker(broker), TestApp(app):
        pass
    assert seen == ["lifespan photos", "sync hook photos", "be kind"]


async def test_hook_of_an_app_that_asks_for_an_undeclared_bucket_names_those_there_are() -> (
    None
):
    broker = NatsBroker()
    Buckets(broker, Bucket("thumbs"))
    app = FastStream(broker)

    @app.on_startup
    async def start(store: Photos) -> None: ...

    with pytest.raises(BucketNotDeclaredError, match=r"'photos' is not declared .*'thumbs'"):
        async with TestNatsBroker(broker), TestApp(app):
            pass


async def test_app_of_two_brokers_finds_the_buckets_of_both() -> None:
    one, two = NatsBroker(), NatsBroker()
    stores = Buckets(one, Bucket("photos")), Buckets(two, Bucket("thumbs"))
    app = FastStream(one, two)
    for buckets in stores:
        buckets.install(app)
    found: list[str] = []

    @app.after_startup
    async def start(
        photos: Photos, thumbs: Annotated[ObjectStore, FromBucket("thumbs")]
    ) -> None:
        for store in (photos, thumbs):
            await store.put("a", b"")
            found.append(store.bucket)

    async with TestNatsBroker(one, two), TestApp(app):
        pass

    assert found == ["photos", "thumbs"]
