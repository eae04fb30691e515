"""The declaration of a bucket, before there is any broker."""

from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import InvalidBucketNameError, InvalidOptionError
from faststream_objstore.models import Mirror, ObjectInfo


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "ä", "a*", "$O", None, 5])
def test_bad_name_is_refused_at_once(name: Any) -> None:
    with pytest.raises(InvalidBucketNameError):
        Bucket(name)


@pytest.mark.parametrize(
    "option,value",
    [
        ("ttl", timedelta(seconds=-1)),
        ("ttl", "1h"),
        ("keep_replaced", -1),
        ("keep_replaced", "5m"),
        ("max_bytes", 0),
        ("max_bytes", -2),
        ("storage", "disk"),
        ("replicas", 0),
        ("replicas", 6),
        ("metadata", {"a": 1}),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "10"),
        ("context_key", ""),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Bucket("photos", **{option: value})
    assert "photos" in str(caught.value)
    assert option in str(caught.value)


def test_update_without_declare_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="update=True"):
        Bucket("photos", declare=False, update=True)


def test_name_that_hides_faststreams_context_needs_a_key_of_its_own() -> None:
    with pytest.raises(InvalidOptionError, match="context_key"):
        Bucket("message")
    assert Bucket("message", context_key="messages").name == "message"


async def test_decorated_function_stays_callable() -> None:
    bucket = Bucket("photos")

    @bucket.on_put("*.png")
    async def handle(info: ObjectInfo) -> str:
        return info.name

    assert await handle(ObjectInfo(name="cat.png", bucket="photos")) == "cat.png"


async def test_one_function_may_react_to_several_events() -> None:
    bucket = Bucket("photos")

    @bucket.on_delete("*.png")
    @bucket.on_put("*.jpg")
    async def handle(info: ObjectInfo) -> None: ...

    assert len(bucket.subscribers) == 2


def test_a_bucket_has_transactions_where_it_is_told() -> None:
    assert Bucket("photos").config.transactions is None
    assert Bucket("photos", transactions=True).config.transactions is True


@pytest.mark.parametrize(
    "given, meant",
    [
        (None, None),
        (False, timedelta(0)),
        (True, timedelta(minutes=1)),
        (5, timedelta(seconds=5)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_the_objects_of_a_bucket_have_ttls_where_it_is_told(
    given: timedelta | float | bool | None, meant: timedelta | None
) -> None:
    assert Bucket("photos", object_ttl=given).config.object_ttl == meant


def test_expirations_are_refused_in_a_bucket_that_reports_none() -> None:
    with pytest.raises(InvalidOptionError, match=r"Bucket\('photos', object_ttl=True\)"):
        Bucket("photos").on_expire()
    # What expires in the bucket that it follows is reported in this one, too.
    assert Bucket("eu", mirror=Mirror("photos")).on_expire().options.event == "expire"
    # It may be so on the server.
    assert Bucket("photos", declare=False).on_expire().options.event == "expire"


def test_a_bucket_keeps_replaced_versions_as_long_as_it_is_told() -> None:
    assert Bucket("photos").config.keep_replaced is None
    assert Bucket("photos", keep_replaced=300).config.keep_replaced == timedelta(minutes=5)
    assert Bucket("photos", keep_replaced=timedelta(0)).config.keep_replaced == timedelta(0)
