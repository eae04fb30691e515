"""The options of the claim check."""

from typing import Any

import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    InvalidObjectNameError,
    InvalidOptionError,
)
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.models import Mirror
from tests.changes.support import Seen
from tests.middlewares.conftest import World, only

LONG = "hello world"
MIRROR = Bucket("claims", mirror=Mirror("claims", domain="hub"))


def test_bucket_that_keeps_bodies_for_ever_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="'claims' keeps the bodies of messages for ever"):
        ClaimCheckMiddleware(Bucket("claims"))


def test_bucket_whose_bodies_go_is_not_warned_about() -> None:
    ClaimCheckMiddleware(Bucket("claims", ttl=60))
    ClaimCheckMiddleware(Bucket("claims"), delete_after="ack")
    ClaimCheckMiddleware(Bucket("claims", object_ttl=True), ttl=60)
    ClaimCheckMiddleware(Bucket("claims", object_ttl=True))
    # Somebody else made it, and knows its ttl.
    ClaimCheckMiddleware(Bucket("claims", declare=False))
    # What is in it goes with what is in its origin.
    ClaimCheckMiddleware(Bucket("claims", mirror=Mirror("claims", domain="hub")))


@pytest.mark.parametrize(
    "options, error",
    [
        ({"threshold": -1}, InvalidOptionError),
        ({"threshold": True}, InvalidOptionError),
        ({"threshold": 1.5}, InvalidOptionError),
        ({"delete_after": "nack"}, InvalidOptionError),
        # The bucket has no object_ttl.
        ({"ttl": 60}, InvalidOptionError),
        ({"ttl": -1, "bucket": Bucket("claims", object_ttl=True)}, InvalidOptionError),
        # Only the service that writes to the origin can delete there.
        ({"delete_after": "ack", "bucket": MIRROR}, InvalidOptionError),
        ({"ttl": 60, "bucket": MIRROR}, InvalidOptionError),
        ({"prefix": None}, InvalidObjectNameError),
        ({"prefix": "\ud800"}, InvalidObjectNameError),
        ({"bucket": "claims"}, InvalidOptionError),
    ],
    ids=str,
)
def test_option_that_cannot_work_is_refused(
    options: dict[str, Any], error: type[Exception]
) -> None:
    given: dict[str, Any] = {"bucket": Bucket("claims", ttl=60), **options}
    with pytest.raises(error):
        ClaimCheckMiddleware(**given)


async def test_bucket_that_is_not_attached_is_a_clear_error(nats_server: Any) -> None:
    world = World(nats_server.url, in_memory=False)
    broker = world.plain(world.check())
    async with broker:
        with pytest.raises(
            BucketNotDeclaredError, match=r"pass it to Buckets\(broker, \.\.\.\)"
        ):
            await broker.publish("short", world.subject)


@pytest.mark.parametrize("prefix", ["", "bodies-", "größe/"])
async def test_prefix_may_be_any(world: World, prefix: str) -> None:
    broker = world.broker(world.check(threshold=10, prefix=prefix))
    seen = Seen[str]()
    broker.subscriber(world.subject)(seen.add)

    async with world.running(broker) as store:
        await broker.publish(LONG, world.subject)
        assert await seen.wait_for(1) == [LONG]
        name = (await only(store)).name
    assert name.startswith(prefix)
    assert len(name) == len(prefix) + 32
