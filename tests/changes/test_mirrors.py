"""Change subscribers of buckets that follow others."""

from typing import Annotated

import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.models import Mirror, ObjectInfo, ObjectLink
from faststream_objstore.params import FromObject
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, running, soon, store_of

pytestmark = pytest.mark.timeout(120)


async def test_a_link_in_the_change_of_a_follower_leads_to_what_is_in_the_follower(
    nats_server: NatsServer, bucket_name: str
) -> None:
    origin = Bucket(bucket_name)
    mirror = Bucket(f"{bucket_name}-eu", mirror=Mirror(bucket_name))
    second = Bucket(f"{bucket_name}-fr", sources=[Mirror(mirror.name)])
    seen: Seen[tuple[ObjectLink | None, bytes, str]] = Seen()

    async def handle(info: ObjectInfo, body: Annotated[bytes, FromObject()]) -> None:
        assert info.name == "link"
        await seen.add((info.link, body, info.bucket))

    for bucket in (mirror, second):
        bucket.on_put("link", durable="links")(handle)

    async with running(nats_server.url, origin, mirror, second) as buckets:
        store = await store_of(buckets, origin)
        await store.put("cat.png", b"cat")
        await store.add_link("link", "cat.png")
        found = await seen.wait_for(2)
        for bucket in (second, mirror, origin):
            await soon(buckets.delete_bucket(bucket))

    assert sorted(found, key=lambda one: one[2]) == [
        (ObjectLink(bucket.name, "cat.png"), b"cat", bucket.name)
        for bucket in (mirror, second)
    ]
