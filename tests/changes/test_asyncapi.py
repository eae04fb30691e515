"""What AsyncAPI shows of change subscribers."""

import json
import warnings
from typing import Any

import pytest
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo


def specification(broker: NatsBroker, version: str = "3.0.0") -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = AsyncAPI(broker, schema_version=version).to_specification().to_json()
    result: dict[str, Any] = json.loads(text)
    return result


@pytest.mark.parametrize("version", ["3.0.0", "2.6.0"])
def test_each_subscription_is_one_readable_channel(version: str) -> None:
    photos = Bucket("photos")
    broker = NatsBroker()
    Buckets(broker, photos)

    @photos.on_put("{user}/*.png", durable="thumbnailer")
    async def make_thumbnail(info: ObjectInfo) -> None:
        """Makes a small picture."""

    @photos.on_delete()
    async def forget(info: ObjectInfo) -> None: ...

    shown = specification(broker, version)["channels"]
    # AsyncAPI 3 has no slash in a key.
    channels = {key.replace("/", "."): channel for key, channel in shown.items()}

    assert set(channels) == {
        "photos put {user}.*.png:MakeThumbnail",
        "photos delete **:Forget",
    }
    description = channels["photos put {user}.*.png:MakeThumbnail"]["description"]
    assert "Makes a small picture." in description
    for said in ("`photos`", "`{user}/*.png`", "put", "`thumbnailer`"):
        assert said in description


@pytest.mark.parametrize("version", ["3.0.0", "2.6.0"])
def test_payload_is_the_schema_of_object_info(version: str) -> None:
    photos = Bucket("photos")
    broker = NatsBroker()
    Buckets(broker, photos)

    @photos.on_put()
    async def handle() -> None: ...

    schemas = specification(broker, version)["components"]["schemas"]

    assert schemas["ObjectInfo"]["required"] == ["name", "bucket"]
    assert {"name", "size", "digest", "revision"} <= set(schemas["ObjectInfo"]["properties"])


def test_subscriptions_that_look_alike_stay_apart() -> None:
    photos = Bucket("photos")
    broker = NatsBroker()
    Buckets(broker, photos)

    def declare(pattern: str) -> None:
        @photos.on_put(pattern)
        async def handle(info: ObjectInfo) -> None: ...

    for pattern in ("a/b", "a/b", "a.b"):
        declare(pattern)

    assert len(specification(broker)["channels"]) == 3


def test_title_description_and_hiding_are_the_users() -> None:
    photos = Bucket("photos")
    broker = NatsBroker()
    Buckets(broker, photos)

    @photos.on_put(title="Pictures", description="All of them.")
    async def handle(info: ObjectInfo) -> None: ...

    @photos.on_put(include_in_schema=False)
    async def hidden(info: ObjectInfo) -> None: ...

    channels = specification(broker)["channels"]
    assert list(channels) == ["Pictures"]
    assert channels["Pictures"]["description"].startswith("All of them.")
