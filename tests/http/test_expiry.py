"""A bucket whose objects expire, over HTTP and for those who look at it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import nats
import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore import (
    Bucket,
    Buckets,
    ObjectStore,
    ObjectStoreConfig,
)
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.http import make_bucket_asgi, representation
from faststream_objstore.http.console.feed import _change
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer, advance
from faststream_objstore.wire import stream_config

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["memory", "jetstream"])
async def expiring(
    request: pytest.FixtureRequest, nats_server: NatsServer, bucket_name: str
) -> AsyncIterator[ObjectStore]:
    """A bucket whose objects may have a ttl, of a minute at least."""
    config = ObjectStoreConfig(bucket=bucket_name, object_ttl=MINUTE)
    if request.param == "memory":
        yield ObjectStore.on(await MemoryServer().create(bucket_name, stream_config(config)))
        return
    async with await nats.connect(nats_server.url) as client:
        yield await ObjectStore.bind(client, config, declare=True)
        await client.jetstream().delete_object_store(bucket_name)


async def test_an_expired_object_is_not_found_and_not_listed() -> None:
    bucket = Bucket("uploads", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    async with TestNatsBroker(broker):
        store = await buckets.open(bucket)
        await store.put("soon.txt", b"soon", ttl=MINUTE)
        await store.put("stays.txt", b"stays")
        app = make_bucket_asgi(
            store,
            methods=("GET", "HEAD", "PUT", "DELETE"),
            authorize=lambda _request, _name, _method: True,
            listing=True,
        )
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://bucket") as client:
            assert (await client.get("/soon.txt")).content == b"soon"
            await advance(buckets, MINUTE)

            for method in ("GET", "HEAD", "DELETE"):
                answer = await client.request(method, "/soon.txt")
                assert answer.status_code == 410, method
            listed = (await client.get("/")).json()
            assert "stays.txt" in str(listed)
            assert "soon.txt" not in str(listed)
            put = await client.put("/soon.txt", content=b"new", headers={"If-None-Match": "*"})
            assert put.status_code == 201
            assert (await client.get("/soon.txt")).content == b"new"


def uploads_to(store: ObjectStore, **options: Any) -> httpx.AsyncClient:
    app = make_bucket_asgi(
        store,
        methods=("GET", "PUT"),
        authorize=lambda _request, _name, _method: True,
        **options,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://bucket")


async def life_of(store: ObjectStore, name: str) -> timedelta | None:
    info = await store.get_info(name)
    assert info.mtime is not None
    return None if info.expires is None else info.expires - info.mtime


@pytest.mark.parametrize(
    "said, seconds",
    [
        ("3600", 3600),
        ("90s", 90),
        ("2m", 120),
        ("1h30m", 5400),
        ("never", None),
        ("0", None),
        (None, None),
    ],
)
async def test_an_upload_says_how_long_its_object_lives(
    expiring: ObjectStore, said: str | None, seconds: int | None
) -> None:
    headers = {} if said is None else {"Nats-TTL": said}
    async with uploads_to(expiring) as client:
        answer = await client.put("/a", content=b"content", headers=headers)
        form = await client.put("/b", files={"file": ("b.txt", b"b")}, headers=headers)

    assert (answer.status_code, form.status_code) == (201, 201)
    wanted = None if seconds is None else timedelta(seconds=seconds)
    assert await life_of(expiring, "a") == wanted
    assert await life_of(expiring, "b") == wanted


@pytest.mark.parametrize(
    "said, options, problem",
    [
        ("soon", {}, "must be seconds, such as 3600, or 1h30m, or never"),
        ("", {}, "must be seconds, such as 3600, or 1h30m, or never"),
        ("-5", {}, "must be seconds"),
        ("1.5", {}, "must be seconds"),
        ("3153600001", {}, "must be seconds"),
        ("59", {}, "must be at least 60 seconds here"),
        ("121", {"max_ttl": 2 * MINUTE}, "must be at most 120 seconds here"),
        ("never", {"max_ttl": 2 * MINUTE}, "must be at most 120 seconds here"),
    ],
)
async def test_an_upload_that_cannot_live_so_long_is_refused_with_a_remedy(
    expiring: ObjectStore, said: str, options: dict[str, Any], problem: str
) -> None:
    await expiring.put("a", b"old")
    async with uploads_to(expiring, **options) as client:
        answer = await client.put("/a", content=b"new", headers={"Nats-TTL": said})

    assert answer.status_code == 400
    assert problem in answer.json()["detail"]
    assert await expiring.get("a") == b"old"


async def test_an_upload_with_a_ttl_is_refused_where_objects_have_none(
    store: ObjectStore,
) -> None:
    async with uploads_to(store) as client:
        answer = await client.put("/a", content=b"new", headers={"Nats-TTL": "3600"})
        without = await client.put("/b", content=b"new", headers={"Nats-TTL": "never"})

    assert (answer.status_code, without.status_code) == (400, 201)
    assert answer.json()["detail"] == "Objects have no ttl here; leave out Nats-TTL."
    assert not await store.exists("a")


async def test_an_upload_lives_no_longer_than_the_service_allows(
    expiring: ObjectStore,
) -> None:
    async with uploads_to(expiring, max_ttl=2 * MINUTE) as client:
        await client.put("/without", content=b"1")
        await client.put("/shorter", content=b"2", headers={"Nats-TTL": "1m"})

    assert await life_of(expiring, "without") == 2 * MINUTE
    assert await life_of(expiring, "shorter") == MINUTE


@pytest.mark.parametrize("max_ttl", [0, timedelta(0), 60, timedelta(days=36_501)])
def test_a_longest_ttl_that_is_none_is_refused(max_ttl: Any) -> None:
    with pytest.raises(InvalidOptionError, match="max_ttl must be a positive timedelta"):
        make_bucket_asgi(Bucket("uploads", object_ttl=True), max_ttl=max_ttl)


@pytest.mark.parametrize(
    "said, answered",
    [
        ("max-age=86400, public", "max-age=60, public"),
        ("public, max-age=5, S-MaxAge=86400", "public, max-age=5, S-MaxAge=60"),
        ('max-age="600"', "max-age=60"),
        (
            "max-age=5, stale-while-revalidate=86400, stale-if-error=1",
            "max-age=5, stale-while-revalidate=0, stale-if-error=0",
        ),
        ("no-store", "no-store"),
        (None, "no-cache"),
    ],
)
async def test_no_cache_may_keep_an_object_for_longer_than_it_lives(
    monkeypatch: pytest.MonkeyPatch, said: str | None, answered: str
) -> None:
    bucket = Bucket("uploads", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    async with TestNatsBroker(broker):
        store = await buckets.open(bucket)
        headers = None if said is None else {"Cache-Control": said}
        info = await store.put("soon.txt", b"soon", headers=headers, ttl=MINUTE)
        await store.put("stays.txt", b"stays", headers={"Cache-Control": "max-age=86400"})
        await store.add_link("link", "stays.txt")
        link = await store.update_meta("link", ttl=2 * MINUTE)
        assert info.mtime is not None
        assert link.mtime is not None
        monkeypatch.setattr(representation, "_now", lambda: info.mtime)
        transport = httpx.ASGITransport(app=make_bucket_asgi(store))
        async with httpx.AsyncClient(transport=transport, base_url="http://bucket") as client:
            soon = (await client.get("/soon.txt")).headers
            assert soon["Cache-Control"] == answered
            assert info.expires is not None
            assert parsedate_to_datetime(soon["Expires"]) == info.expires.replace(
                microsecond=0
            )
            unchanged = await client.get("/soon.txt", headers={"If-None-Match": soon["ETag"]})
            assert unchanged.status_code == 304
            assert unchanged.headers["Cache-Control"] == answered
            assert unchanged.headers["Expires"] == soon["Expires"]

            stays = (await client.get("/stays.txt")).headers
            assert stays["Cache-Control"] == "max-age=86400"
            assert "Expires" not in stays
            # What a link leads to is gone with the link, too.
            through = (await client.get("/link")).headers
            assert link.expires is not None
            assert parsedate_to_datetime(through["Expires"]) == link.expires.replace(
                microsecond=0
            )


@pytest.mark.parametrize("expired", [True, False])
def test_the_console_is_told_what_a_change_is(expired: bool) -> None:
    info = ObjectInfo(name="a", bucket="uploads", deleted=True, expired=expired)

    change = _change(info)

    assert (change["deleted"], change["expired"]) == (True, expired)
