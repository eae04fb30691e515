"""Buckets that follow others, in a service: handlers, HTTP, fsspec and the command line."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import fsspec
import httpx
import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from faststream_objstore import (
    Bucket,
    BucketReadOnlyError,
    Buckets,
    FromObject,
    Mirror,
    ObjectInfo,
    ObjectStore,
    ObjectStoreConfig,
)
from faststream_objstore.filesystem import ObjectStoreFileSystem
from faststream_objstore.http import make_bucket_asgi
from faststream_objstore.testing import NatsServer, advance
from tests.cli.support import Program
from tests.store.support import eventually, soon


async def test_in_tests_a_put_in_the_origin_calls_the_handlers_of_what_follows_it() -> None:
    eu = Bucket("photos-eu", mirror=Mirror("photos", domain="hub"))
    every = Bucket("all", sources=[Mirror("photos", domain="hub"), Mirror("scans")])
    broker = NatsBroker()
    buckets = Buckets(broker, eu, every)
    seen: list[tuple[str, str, bytes | None]] = []

    @eu.on_put("*.png", durable="indexer")
    async def put(photo: ObjectInfo, content: Annotated[bytes, FromObject()]) -> None:
        seen.append((photo.bucket, photo.name, content))

    @every.on_change()
    async def changed(info: ObjectInfo) -> None:
        seen.append((info.bucket, info.name, None))

    @eu.on_delete()
    async def deleted(info: ObjectInfo) -> None:
        seen.append((info.bucket, f"no {info.name}", None))

    async with TestNatsBroker(broker):
        photos = await buckets.create("photos")
        await photos.put("cat.png", b"cat")
        assert sorted(seen, key=str) == [
            ("all", "cat.png", None),
            ("photos-eu", "cat.png", b"cat"),
        ]
        seen.clear()
        await photos.delete("cat.png")
        await (await buckets.create("scans")).put("page", b"page")
        assert sorted(seen, key=str) == [
            ("all", "cat.png", None),
            ("all", "page", None),
            ("photos-eu", "no cat.png", None),
        ]
        store = await buckets.open("photos-eu")
        with pytest.raises(BucketReadOnlyError, match="'photos' in the domain 'hub'; write"):
            await store.put("cat.png", b"cat")
        assert (await store.status()).lag == 0
        assert await (await buckets.open("all")).get("page") == b"page"
        assert await buckets.list() == ["all", "photos", "photos-eu", "scans"]


async def test_in_tests_a_mirror_may_have_the_name_of_its_origin() -> None:
    bucket = Bucket("photos", mirror=Mirror("photos", domain="hub"))
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @bucket.on_put()
    async def put(photo: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        (origin,) = await store.origins()
        await origin.put("cat.png", b"cat")

        put.mock.assert_called_once()
        assert await store.get("cat.png") == b"cat"
        with pytest.raises(BucketReadOnlyError):
            await store.delete("cat.png")


async def test_in_tests_what_expires_in_the_origin_is_told_to_what_follows_it() -> None:
    eu = Bucket("photos-eu", mirror=Mirror("photos", domain="hub"))
    broker = NatsBroker()
    buckets = Buckets(broker, eu)

    @eu.on_expire()
    async def expired(photo: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        photos = await buckets.create("photos", object_ttl=True)
        await photos.put("cat.png", b"cat", ttl=timedelta(hours=1))
        store = await buckets.open("photos-eu")
        assert await store.exists("cat.png")

        await advance(buckets, timedelta(hours=1))

        expired.mock.assert_called_once()
        assert not await store.exists("cat.png")


def test_results_are_not_stored_in_a_bucket_that_follows_another() -> None:
    eu = Bucket("photos-eu", mirror=Mirror("photos", domain="hub"))

    with pytest.raises(BucketReadOnlyError, match="'photos-eu' can only be read"):
        eu.publisher("{name}")


async def mirror_of(client: Client, bucket: str) -> tuple[ObjectStore, ObjectStore]:
    """An origin with two objects and a link, and a bucket that has followed it."""
    origin = await ObjectStore.bind(client, bucket, declare=True)
    await origin.put("ann/cat.png", b"cat")
    await origin.put("dog.png", b"dog")
    await origin.add_link("link", "dog.png")
    config = ObjectStoreConfig(bucket=f"{bucket}-eu", mirror=Mirror(bucket))
    mirror = await ObjectStore.bind(client, config, declare=True)

    async def is_level() -> bool:
        return (await mirror.status()).lag == 0

    await eventually(is_level)
    return origin, mirror


async def test_objects_of_a_mirror_are_served_over_http(
    nats_client: Client, bucket_name: str
) -> None:
    _, mirror = await mirror_of(nats_client, bucket_name)

    async def allow(*_: object) -> bool:
        return True

    app = make_bucket_asgi(mirror, methods=("GET", "PUT", "DELETE"), authorize=allow)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://bucket"
    ) as client:
        assert (await soon(client.get("/ann/cat.png"))).content == b"cat"
        assert (await soon(client.get("/link"))).content == b"dog"
        refused = await soon(client.put("/new.png", content=b"new"))
        assert refused.status_code == 403
        gone = await soon(client.delete("/dog.png"))
        assert gone.status_code == 403


async def test_objects_of_a_mirror_are_read_as_files(
    nats_client: Client, nats_server: NatsServer, bucket_name: str
) -> None:
    _, mirror = await mirror_of(nats_client, bucket_name)

    def read() -> None:
        fsspec.register_implementation("objstore", ObjectStoreFileSystem, clobber=True)
        fs = ObjectStoreFileSystem(servers=nats_server.url, skip_instance_cache=True)
        try:
            assert fs.cat_file(f"{mirror.bucket}/ann/cat.png") == b"cat"
            assert fs.cat_file(f"{mirror.bucket}/link") == b"dog"
            assert fs.ls(f"{mirror.bucket}/ann", detail=False) == [
                f"{mirror.bucket}/ann/cat.png"
            ]
            assert mirror.bucket in fs.ls("", detail=False)
            with pytest.raises((BucketReadOnlyError, OSError), match="can only be read"):
                fs.pipe_file(f"{mirror.bucket}/new", b"new")
        finally:
            fs.close()

    await soon(asyncio.to_thread(read))


async def test_objects_of_a_mirror_are_read_with_the_command(
    nats_client: Client, nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    _, mirror = await mirror_of(nats_client, bucket_name)
    program = Program(nats_server.url, tmp_path)
    (tmp_path / "new").write_bytes(b"new")

    listed = await asyncio.to_thread(program, "ls", mirror.bucket)
    assert [line.split()[-1] for line in listed.splitlines()][:2] == ["ann/", "dog.png"]
    await asyncio.to_thread(program, "get", f"{mirror.bucket}/dog.png", "dog.png")
    assert (tmp_path / "dog.png").read_bytes() == b"dog"
    (status,) = await asyncio.to_thread(program.values, "status", mirror.bucket)
    assert status["origins"] == [{"bucket": bucket_name, "domain": None}]
    assert status["lag"] == 0
    text = await asyncio.to_thread(program, "status", mirror.bucket)
    assert f"origins:       bucket '{bucket_name}'\nlag:           0 messages\n" in text
    said = await asyncio.to_thread(program.failing, "put", "new", f"{mirror.bucket}/new")
    assert f"Bucket '{mirror.bucket}' can only be read" in said
