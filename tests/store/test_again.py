"""Objects that are read again and again: the newest version counts, as for any get."""

from datetime import timedelta

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    IncompleteObjectError,
    ObjectDeletedError,
    ObjectTooLargeError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.again import ReadAgain
from tests.store.conftest import CreateBucket
from tests.store.support import Audit, soon


async def read(store: ObjectStore, name: str, times: int = 3) -> ObjectInfo:
    """Read an object so often that its chunk is requested early from now on."""
    for _ in range(times - 1):
        await soon(store.get(name))
    return (await soon(store.get(name))).info


async def test_every_get_has_the_content_and_the_version(store: ObjectStore) -> None:
    put = await soon(store.put("cat", b"a cat"))
    for _ in range(5):
        data = await soon(store.get("cat"))
        assert data == b"a cat"
        assert data.info == put


@pytest.mark.parametrize("keep", [None, timedelta(hours=1)])
async def test_a_version_that_another_writer_has_put_is_read(
    create_bucket: CreateBucket, bucket_name: str, keep: timedelta | None, audit: Audit
) -> None:
    audit.orphans = keep is not None
    backend = await create_bucket(bucket_name, keep_replaced=keep)
    store, other = ObjectStore.on(backend), ObjectStore.on(backend)
    await soon(store.put("cat", b"a cat"))
    for content in (b"a dog", b"a bird", b""):
        await read(store, "cat")
        put = await soon(other.put("cat", content))

        data = await soon(store.get("cat"))

        assert data == content
        assert data.info == put


async def test_an_object_that_alternates_is_read_as_it_is(store: ObjectStore) -> None:
    for number in range(10):
        content = b"%d" % number * (1 + number % 3)
        await soon(store.put("cat", content))
        for _ in range(1 + number % 4):
            assert await soon(store.get("cat")) == content


async def test_what_was_deleted_is_not_read(store: ObjectStore) -> None:
    await soon(store.put("cat", b"a cat"))
    await read(store, "cat")
    await soon(store.delete("cat"))
    for _ in range(2):
        with pytest.raises(ObjectDeletedError):
            await soon(store.get("cat"))
    assert await soon(store.get("cat", show_deleted=True)) == b""

    await soon(store.put("cat", b"another"))

    assert await soon(store.get("cat")) == b"another"


async def test_a_link_that_takes_the_place_of_an_object_is_followed(
    store: ObjectStore,
) -> None:
    await soon(store.put("cat", b"a cat"))
    await read(store, "cat")
    dog = await soon(store.put("dog", b"a dog"))
    await soon(store.delete("cat"))
    await soon(store.add_link("cat", dog))
    for _ in range(4):
        assert await soon(store.get("cat")) == b"a dog"


async def test_damage_is_noticed(store: ObjectStore, backend: Backend, audit: Audit) -> None:
    audit.orphans = True
    put = await soon(store.put("cat", b"a cat"))
    await read(store, "cat")
    await soon(backend.purge(wire.chunk_subject(backend.bucket, put.nuid)))
    for _ in range(2):
        with pytest.raises(IncompleteObjectError, match="only chunk is missing"):
            await soon(store.get("cat"))


async def test_max_size_holds_for_what_was_read_before(store: ObjectStore) -> None:
    await soon(store.put("cat", b"a cat"))
    await read(store, "cat")
    with pytest.raises(ObjectTooLargeError):
        await soon(store.get("cat", max_size=4))
    assert await soon(store.get("cat", max_size=5)) == b"a cat"


async def test_a_renamed_object_is_read_under_its_new_name(store: ObjectStore) -> None:
    await soon(store.put("cat", b"a cat"))
    await read(store, "cat")
    await soon(store.rename("cat", "dog"))
    await soon(store.put("cat", b"another"))
    assert await soon(store.get("cat")) == b"another"
    assert await soon(store.get("dog")) == b"a cat"


def test_only_so_many_names_are_remembered() -> None:
    again = ReadAgain()
    for number in range(3_000):
        again.saw(f"{number}", ObjectInfo(name=f"{number}", bucket="b", nuid="N", chunks=1))
    assert len(again._versions) == 1024
    assert "2999" in again._versions
