"""A bucket whose objects expire, over HTTP and for those who look at it."""

from datetime import timedelta

import httpx
import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore import Bucket, Buckets
from faststream_objstore.http import make_bucket_asgi
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


@pytest.mark.parametrize("expired", [True, False])
def test_the_console_is_told_what_a_change_is(expired: bool) -> None:
    info = ObjectInfo(name="a", bucket="uploads", deleted=True, expired=expired)

    change = _change(info)

    assert (change["deleted"], change["expired"]) == (True, expired)
