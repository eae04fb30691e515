"""A bucket's place in FastAPI, Starlette and AsgiFastStream, served and documented."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from faststream.asgi import AsgiFastStream, make_ping_asgi
from faststream.nats import NatsBroker, TestNatsBroker
from starlette.applications import Starlette

from faststream_objstore import Bucket, Buckets, ObjectStore
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http import BucketASGI, make_bucket_asgi, mount
from faststream_objstore.testing import NatsServer
from tests.http.support import serve


def everybody(_request: object, _name: str, _method: str) -> bool:
    return True


def over_http(bucket: Bucket | ObjectStore) -> BucketASGI:
    return make_bucket_asgi(
        bucket, methods=("GET", "HEAD", "PUT", "DELETE"), authorize=everybody, listing=True
    )


async def require_served(base: str, path: str = "/photos") -> None:
    """Upload, download and list below a path."""
    async with httpx.AsyncClient(base_url=base) as client:
        put = await client.put(f"{path}/ann/cat.png", content=b"miau")
        assert put.status_code == 201, put.text
        assert (await client.get(f"{path}/ann/cat.png")).content == b"miau"
        assert (await client.get(f"{path}//ann/cat.png")).status_code == 404
        listed = (await client.get(f"{path}/")).json()["objects"]
        assert [one["name"] for one in listed] == ["ann/cat.png"]
        assert (await client.get(f"{path}x")).status_code == 404
        assert (await client.delete(f"{path}/ann/cat.png")).status_code == 204


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.parametrize("how", ["mount", "app.mount"])
async def test_a_bucket_is_served_below_a_path(
    store: ObjectStore, kind: Any, how: str
) -> None:
    app = kind()
    if how == "mount":
        mount(app, "/photos", over_http(store))
    else:
        app.mount("/photos", over_http(store))

    async with serve(app) as base:
        await require_served(base)


async def test_a_bucket_is_served_behind_a_proxy_that_removes_a_prefix(
    store: ObjectStore,
) -> None:
    app = FastAPI()
    mount(app, "/photos", over_http(store))

    async def with_root_path(scope: Any, receive: Any, send: Any) -> None:
        # Servers do not agree whether the path still has the prefix that the proxy removes.
        await app({**scope, "root_path": "/api"}, receive, send)

    async with serve(with_root_path) as base:
        await require_served(base)
    async with serve(app, root_path="/api") as base:
        await require_served(base)


async def test_a_bucket_is_served_below_the_path_of_a_mounted_app(store: ObjectStore) -> None:
    inner, outer = Starlette(), Starlette()
    mount(inner, "/photos", over_http(store))
    outer.mount("/v1", inner)

    async with serve(outer) as base:
        await require_served(base, "/v1/photos")


@asynccontextmanager
async def service(url: str, bucket: Bucket) -> AsyncIterator[tuple[AsgiFastStream, str]]:
    """A FastStream service that serves a bucket."""
    broker = NatsBroker(url, logger=None)
    buckets = Buckets(broker, bucket)
    app = AsgiFastStream(
        broker,
        asgi_routes=[("/health", make_ping_asgi(broker, timeout=5))],
        asyncapi_path="/docs",
    )
    mount(app, "/photos", over_http(bucket))
    async with serve(app, lifespan="on") as base:
        # An ASGI app has started before its broker has.
        await buckets.open(bucket)
        yield app, base
        await buckets.delete_bucket(bucket)


async def test_a_faststream_service_serves_a_bucket_beside_its_other_routes(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with service(nats_server.url, Bucket(bucket_name)) as (_, base):
        await require_served(base)
        async with httpx.AsyncClient(base_url=base) as client:
            assert (await client.get("/health")).status_code == 204
            assert (await client.get("/photos")).json()["objects"] == []
            assert (await client.get("/other")).status_code == 404


async def test_asyncapi_shows_a_bucket(nats_server: NatsServer, bucket_name: str) -> None:
    async with service(nats_server.url, Bucket(bucket_name)) as (app, base):
        document = app.schema.to_specification().to_jsonable()
        async with httpx.AsyncClient(base_url=base) as client:
            page = await client.get("/docs")

    channel = document["channels"]["photos_name:HttpChannel"]
    assert channel["address"] == "/photos/{name}"
    assert channel["description"] == f"GET, HEAD, PUT, DELETE: an object of '{bucket_name}'"
    assert (page.status_code, "/photos/{name}" in page.text) == (200, True)


async def test_openapi_shows_a_bucket(store: ObjectStore) -> None:
    api = FastAPI()

    @api.get("/other")
    async def other() -> None:
        pass

    mount(api, "/photos", over_http(store))
    async with serve(api) as base, httpx.AsyncClient(base_url=base) as client:
        document = (await client.get("/openapi.json")).json()
        again = (await client.get("/openapi.json")).json()
        page = await client.get("/docs")

    assert document == again
    paths = document["paths"]
    assert sorted(paths) == ["/other", "/photos/", "/photos/{name}"]
    assert sorted(paths["/photos/{name}"]) == ["delete", "get", "head", "parameters", "put"]
    assert set(paths["/photos/{name}"]["put"]["responses"]) >= {"201", "204", "412", "413"}
    named = [one["name"] for one in paths["/photos/"]["get"]["parameters"]]
    assert named == ["prefix", "delimiter", "after", "limit"]
    assert paths["/photos/{name}"]["get"]["tags"] == [store.bucket]
    assert page.status_code == 200


async def test_a_bucket_is_served_from_memory_under_test() -> None:
    photos = Bucket("photos")
    broker = NatsBroker(logger=None)
    buckets = Buckets(broker, photos)
    app = over_http(photos)
    async with TestNatsBroker(broker):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.put("/a", content=b"x")).status_code == 201
            assert await (await buckets.open("photos")).get("a") == b"x"
            got = await client.get("/a")

    assert got.content == b"x"


@pytest.mark.parametrize("path", ["photos", "", 1, "/{name}"])
def test_a_path_that_cannot_work_is_refused(path: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"Bucket 'photos'.*'/photos'"):
        mount(FastAPI(), path, make_bucket_asgi(Bucket("photos")))


def test_what_cannot_be_mounted_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="make_bucket_asgi"):
        mount(FastAPI(), "/photos", Bucket("photos"))  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="FastAPI or Starlette"):
        mount(object(), "/photos", make_bucket_asgi(Bucket("photos")))  # type: ignore[arg-type]
