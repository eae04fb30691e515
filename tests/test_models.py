"""The values: what they check, how they compare, that they do not change."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import nats.js.api
import pytest

from faststream_objstore.exceptions import InvalidBucketNameError, InvalidOptionError
from faststream_objstore.models import (
    DEFAULT_CHUNK_SIZE,
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
    new_info,
    validate_bucket_name,
)

INFO = ObjectInfo(
    name="cat.png",
    bucket="photos",
    nuid="N",
    size=5,
    chunks=1,
    digest="SHA-256=x",
    description="d",
    headers={"h": ["1"]},
    metadata={"m": "2"},
    options=ObjectMetaOptions(max_chunk_size=5),
    revision=3,
    mtime=datetime(2024, 1, 1, tzinfo=timezone.utc),
)


def test_the_default_chunk_is_adr_20s() -> None:
    assert DEFAULT_CHUNK_SIZE == 131072


@pytest.mark.parametrize("bucket", ["a", "A-z_0", "-", "_", "0", "x" * 200])
def test_a_bucket_name_of_adr_20_is_returned(bucket: str) -> None:
    assert validate_bucket_name(bucket) == bucket


@pytest.mark.parametrize(
    "bucket", ["", "a.b", "a b", "a/b", "*", ">", "ä", "٣", "a\n", "a\x00", None, 5, b"a"]
)
def test_any_other_bucket_name_is_refused_with_the_rule(bucket: Any) -> None:
    with pytest.raises(InvalidBucketNameError) as caught:
        validate_bucket_name(bucket)

    assert str(caught.value) == (
        f"{bucket!r} is not a bucket name: use one or more of the letters A-Z and a-z, the "
        "digits, '_' and '-' (ADR-20)."
    )
    assert caught.value.bucket == (bucket if isinstance(bucket, str) else None)


# --- ObjectInfo


def test_an_info_says_whether_it_is_a_link() -> None:
    assert INFO.link is None
    assert not INFO.is_link()
    link = replace(INFO, options=ObjectMetaOptions(link=ObjectLink("b", "n")))
    assert link.link == ObjectLink("b", "n")
    assert link.is_link()
    assert ObjectInfo(name="n", bucket="b").link is None


def test_the_time_of_an_info_is_not_compared() -> None:
    assert replace(INFO, mtime=None) == INFO
    assert hash(replace(INFO, mtime=None)) == hash(INFO)
    assert replace(INFO, revision=4) != INFO
    assert replace(INFO, headers=None) != INFO


def test_an_info_can_be_hashed_pickled_and_copied() -> None:
    assert {INFO: 1}[replace(INFO)] == 1
    for again in (pickle.loads(pickle.dumps(INFO)), copy.copy(INFO), copy.deepcopy(INFO)):
        assert again == INFO
        assert again.mtime == INFO.mtime


def test_an_info_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        INFO.size = 6  # type: ignore[misc]


def test_the_meta_of_an_info_is_what_update_meta_can_change() -> None:
    assert INFO.meta == ObjectMeta(
        name="cat.png",
        description="d",
        headers={"h": ["1"]},
        options=ObjectMetaOptions(max_chunk_size=5),
        metadata={"m": "2"},
    )
    assert ObjectInfo(name="n", bucket="b").meta == ObjectMeta(name="n")


# --- ObjectData


def test_object_data_is_bytes() -> None:
    data = ObjectData(bytearray(b"hello"), INFO)

    assert data == b"hello"
    assert data.decode() == "hello"
    assert data[1:3] == b"el"
    assert hash(data) == hash(b"hello")
    assert (data.data, data.info, len(data)) == (b"hello", INFO, 5)
    assert repr(data) == "<ObjectData of 'cat.png' in 'photos', 5 bytes>"


def test_object_data_can_be_pickled_and_copied() -> None:
    data = ObjectData(b"hello", INFO)
    for again in (pickle.loads(pickle.dumps(data)), copy.copy(data), copy.deepcopy(data)):
        assert type(again) is ObjectData
        assert (again, again.info) == (b"hello", INFO)


# --- ObjectStoreConfig


def test_a_config_says_nothing_that_was_not_said() -> None:
    config = ObjectStoreConfig(bucket="photos")

    assert (config.description, config.ttl, config.max_bytes) == (None, None, None)
    assert (config.storage, config.replicas, config.placement) == (None, None, None)
    assert (config.compression, config.metadata) == (None, None)


@pytest.mark.parametrize(
    "ttl, expected",
    [
        (60, timedelta(minutes=1)),
        (0.1, timedelta(milliseconds=100)),
        (0, timedelta(0)),
        (timedelta(days=1), timedelta(days=1)),
        (timedelta(0), timedelta(0)),
        (None, None),
    ],
)
def test_a_ttl_is_a_timedelta_or_seconds(ttl: Any, expected: Any) -> None:
    assert ObjectStoreConfig(bucket="photos", ttl=ttl).ttl == expected


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({"ttl": 0.05}, "100 ms at least"),
        ({"ttl": -1}, "100 ms at least"),
        ({"ttl": timedelta(microseconds=1)}, "100 ms at least"),
        ({"ttl": True}, "a timedelta or seconds"),
        ({"ttl": "1h"}, "a timedelta or seconds"),
        ({"ttl": float("nan")}, "a timedelta or seconds"),
        ({"ttl": float("inf")}, "a timedelta or seconds"),
        ({"ttl": 1e30}, "a timedelta or seconds"),
        ({"keep_replaced": -1}, "a timedelta or seconds, or 0 to keep nothing"),
        ({"keep_replaced": True}, "a timedelta or seconds"),
        ({"keep_replaced": "5m"}, "a timedelta or seconds"),
        ({"keep_replaced": float("inf")}, "a timedelta or seconds"),
        ({"max_bytes": 0}, "a positive number of bytes, or -1"),
        ({"max_bytes": -2}, "a positive number of bytes, or -1"),
        ({"max_bytes": 1.5}, "a positive number of bytes, or -1"),
        ({"max_bytes": True}, "a positive number of bytes, or -1"),
        ({"storage": "disk"}, "'file' or 'memory'"),
        ({"storage": 5}, "'file' or 'memory'"),
        ({"replicas": 0}, "1 to 5"),
        ({"replicas": 6}, "1 to 5"),
        ({"replicas": "1"}, "1 to 5"),
        ({"transactions": "yes"}, "True or False"),
        ({"object_ttl": "yes"}, "object_ttl must be True"),
        ({"object_ttl": -1}, "object_ttl must be True"),
        ({"object_ttl": -1}, "False or 0 (no ttl)"),
        ({"object_ttl": 0.5}, "whole seconds from 1"),
        ({"object_ttl": timedelta(seconds=1.5)}, "whole seconds from 1"),
        ({"object_ttl": float("inf")}, "object_ttl must be True"),
        ({"object_ttl": timedelta(days=40_000)}, "object_ttl must be True"),
        ({"description": 5}, "a str"),
        ({"compression": "yes"}, "True or False"),
        ({"metadata": {"a": 1}}, "a mapping of str to str"),
        ({"metadata": {1: "a"}}, "a mapping of str to str"),
        ({"metadata": "a"}, "a mapping of str to str"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(options: dict[str, Any], wanted: str) -> None:
    ((option, value),) = options.items()
    with pytest.raises(InvalidOptionError) as caught:
        ObjectStoreConfig(bucket="photos", **options)

    assert str(caught.value).startswith(f"Bucket 'photos': {option} must be ")
    assert str(caught.value).endswith(f", got {value!r}.")
    assert wanted in str(caught.value)
    assert caught.value.bucket == "photos"
    assert isinstance(caught.value, ValueError)


def test_a_config_of_an_impossible_bucket_is_refused() -> None:
    with pytest.raises(InvalidBucketNameError):
        ObjectStoreConfig(bucket="a.b")


def test_nats_pys_enumerations_and_placement_are_understood() -> None:
    config = ObjectStoreConfig(
        bucket="photos",
        storage=nats.js.api.StorageType.MEMORY,  # type: ignore[arg-type]
        placement=nats.js.api.Placement(cluster="c", tags=["t"]),  # type: ignore[arg-type]
    )

    assert config.storage == "memory"
    assert config.placement == {"cluster": "c", "tags": ["t"]}


def test_an_object_info_made_quickly_is_one_made_plainly() -> None:
    values = {
        "name": "a",
        "bucket": "b",
        "nuid": "n",
        "size": 3,
        "chunks": 1,
        "digest": "SHA-256=x",
        "deleted": True,
        "description": "d",
        "headers": {"k": ["v"]},
        "metadata": {"m": "t"},
        "options": ObjectMetaOptions(max_chunk_size=5),
        "revision": 7,
        "mtime": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "expired": True,
        "expires": datetime(2026, 1, 3, tzinfo=timezone.utc),
    }

    assert [field.name for field in dataclasses.fields(ObjectInfo)] == list(values)
    made = new_info(*values.values())  # type: ignore[arg-type]
    assert dataclasses.asdict(made) == dataclasses.asdict(ObjectInfo(**values))  # type: ignore[arg-type]
    assert made == ObjectInfo(**values)  # type: ignore[arg-type]
    assert made.mtime == values["mtime"]


# The SHA-256 of b"hello", as `printf hello | sha256sum` prints it.
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
    "digest",
    [
        "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
        "SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    ],
)
def test_digest_is_given_as_bytes_and_in_hexadecimal(digest: str) -> None:
    info = ObjectInfo(name="a", bucket="b", digest=digest)
    assert info.hexdigest == HELLO
    assert info.sha256 == bytes.fromhex(HELLO)


@pytest.mark.parametrize(
    "digest", [None, "", "MD5=abc", "SHA-256=", "SHA-256=abc", "SHA-256=!"]
)
def test_digest_that_is_none_of_sha_256_is_not_known(digest: str | None) -> None:
    info = ObjectInfo(name="a", bucket="b", digest=digest)
    assert info.sha256 is None
    assert info.hexdigest is None


def test_options_take_the_chunk_size_under_both_of_its_names() -> None:
    options = ObjectMetaOptions(chunk_size=1024)
    assert options == ObjectMetaOptions(max_chunk_size=1024) == ObjectMetaOptions(None, 1024)
    assert options.chunk_size == options.max_chunk_size == 1024
    assert replace(options, max_chunk_size=5).chunk_size == 5
    with pytest.raises(InvalidOptionError, match="1024 and 5"):
        ObjectMetaOptions(chunk_size=5, max_chunk_size=1024)
