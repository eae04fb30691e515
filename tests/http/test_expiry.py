"""A bucket whose objects expire, over HTTP and for those who look at it."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore import Bucket, Buckets
from faststream_objstore.http import make_bucket_asgi, representation
from faststream_objstore.http.console.feed import _change
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import advance

MINUTE = timedelta(minutes=1)


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
