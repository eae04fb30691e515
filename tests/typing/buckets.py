"""The broker extension, the claim check, the errors, the embedded server."""

from pathlib import Path

import nats.errors
import nats.js.errors
from faststream import FastStream
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from typing_extensions import assert_type

from faststream_objstore import (
    Bucket,
    Buckets,
    ClaimCheckMiddleware,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreConfig,
    ObjStoreError,
    StoreTimeoutError,
)
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.testing import NatsServer


async def extends(broker: NatsBroker, app: FastStream, asgi: AsgiFastStream) -> None:
    photos = Bucket("photos")
    buckets = Buckets(broker, photos, Bucket("thumbs"))
    assert_type(buckets.broker, NatsBroker | None)
    unattached = Buckets(photos)
    unattached.attach(broker)
    unattached.attach(broker, Bucket("more"), Bucket("most"))
    unattached.install(app)
    unattached.install(asgi)
    await buckets.bind()
    assert_type(await buckets.open("photos"), ObjectStore)
    assert_type(await buckets.open(photos), ObjectStore)
    assert_type(await buckets.create("uploads", ttl=60), ObjectStore)
    assert_type(await buckets.create(ObjectStoreConfig(bucket="uploads")), ObjectStore)
    assert_type(await buckets.create(bucket="uploads", storage="memory"), ObjectStore)
    assert_type(await buckets.list(), list[str])
    await buckets.delete_bucket("uploads")
    for live in buckets.live_objects:
        assert_type(live.loads, int)
        assert_type(live.failures, int)


async def claims(bucket: Bucket) -> None:
    NatsBroker(middlewares=[ClaimCheckMiddleware(bucket)])


async def serves() -> None:
    async with NatsServer() as server:
        assert_type(server, NatsServer)
        assert_type(server.url, str)
        assert_type(server.port, int)
        assert_type(server.store_dir, Path)
        assert_type(server.pid, int | None)
        assert_type(server.running, bool)
        assert_type(server.log, str)
        await server.stop(timeout=5)


async def catches(store: ObjectStore) -> None:
    try:
        await store.get("one")
    except ObjectNotFoundError as error:
        assert_type(error.bucket, str | None)
        assert_type(error.name, str | None)


def error_bases(
    gone: ObjectDeletedError, late: StoreTimeoutError, wrong: InvalidOptionError
) -> None:
    every: list[ObjStoreError] = [gone, late, wrong]
    absent: ObjectNotFoundError = gone
    theirs: nats.js.errors.ObjectNotFoundError = absent
    timeout: nats.errors.TimeoutError = late
    value: ValueError = wrong
    assert {theirs, timeout, value, *every}


async def wrong_uses(broker: NatsBroker, buckets: Buckets) -> None:
    Buckets(broker, "photos")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Buckets("nats://127.0.0.1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    buckets.attach(broker, "photos")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    buckets.attach(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    buckets.install(broker)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await buckets.create(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await buckets.open(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with buckets.open("photos"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    ObjectStoreConfig(bucket="a", storage="disk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    NatsServer(port="4222")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
