"""Copy: content and metadata, in constant memory, verified."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    InvalidBucketNameError,
    InvalidObjectNameError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.store import ObjectStore
from tests.store.support import layout, pattern_bytes, read_raw, soon


async def test_a_copy_has_the_content_and_the_metadata(
    store: ObjectStore, backend: Backend
) -> None:
    data = pattern_bytes(95)
    first = await soon(
        store.put(
            "name",
            data,
            description="d",
            headers={"h": ["1", "2"]},
            metadata={"m": "3"},
            chunk_size=10,
        )
    )
    info = await soon(store.copy("name", "copy"))

    assert info == replace(first, name="copy", nuid=info.nuid, revision=22)
    assert info.nuid != first.nuid
    assert await soon(store.get("copy")) == data
    assert [len(one) for one in await soon(read_raw(backend, info))] == [10] * 9 + [5]
    assert await soon(layout(backend)) == {"name": 10, "copy": 10}


@pytest.mark.parametrize("size", [0, 1, 10, 11])
async def test_content_of_every_shape_is_copied(store: ObjectStore, size: int) -> None:
    data = pattern_bytes(size)
    await soon(store.put("name", data, chunk_size=10))
    await soon(store.copy("name", "copy"))

    assert await soon(store.get("copy")) == data


async def test_a_copy_may_go_to_another_bucket(
    store: ObjectStore, other_store: ObjectStore, backend: Backend, other_backend: Backend
) -> None:
    await soon(store.put("name", b"hello", description="d"))
    info = await soon(store.copy("name", "copy", bucket=other_store.bucket))

    assert (info.bucket, info.description) == (other_store.bucket, "d")
    assert await soon(other_store.get("copy")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1}
    assert await soon(layout(other_backend)) == {"copy": 1}


async def test_a_copy_replaces_what_has_its_name(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.put("copy", b"old", chunk_size=1))
    await soon(store.copy("name", "copy", bucket=store.bucket))

    assert await soon(store.get("copy")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "copy": 1}


async def test_an_object_can_be_copied_onto_itself(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    await soon(store.copy("name", "name"))

    assert await soon(store.get("name")) == b"hello"
    assert await soon(layout(backend)) == {"name": 3}


async def test_the_copy_of_a_link_is_its_target(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello", description="d"))
    await soon(store.add_link("link", "name"))
    info = await soon(store.copy("link", "copy"))

    assert (info.is_link(), info.description) == (False, "d")
    assert await soon(store.get("copy")) == b"hello"


async def test_the_copy_of_an_info_is_of_that_version(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(store.put("name", b"hello"))
    await soon(store.copy(info, "copy"))
    await soon(store.put("name", b"newer"))

    with pytest.raises(ObjectChangedError):
        await soon(store.copy(info, "second"))
    assert await soon(store.get("copy")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "copy": 1}


async def test_a_copy_that_cannot_be_made_leaves_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(ObjectNotFoundError):
        await soon(store.copy("name", "copy"))
    await soon(store.put("name", b"hello"))
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await soon(store.copy("name", "copy", bucket="no-such-bucket"))
    for name in ("", "\ud800"):
        with pytest.raises(InvalidObjectNameError):
            await soon(store.copy("name", name))
    await soon(store.delete("name"))
    with pytest.raises(ObjectDeletedError):
        await soon(store.copy("name", "copy"))

    assert await soon(layout(backend)) == {"name": "deleted"}


@pytest.mark.parametrize("bucket", ["", "a.b", 5])
async def test_a_copy_to_an_impossible_bucket_is_refused(
    store: ObjectStore, bucket: Any
) -> None:
    await soon(store.put("name", b"hello"))

    with pytest.raises(InvalidBucketNameError):
        await soon(store.copy("name", "copy", bucket=bucket))


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_a_copy_cancelled_at_any_moment_is_done_or_not_begun(
    store: ObjectStore, backend: Backend, turns: int
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    task = asyncio.ensure_future(store.copy("name", "copy"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)

    assert await soon(layout(backend)) in ({"name": 3}, {"name": 3, "copy": 3})
