"""status and seal: the bucket as a whole."""

from datetime import timedelta

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    BucketSealedError,
)
from faststream_objstore.models import ObjectStoreStatus
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import (
    Bench,
    layout,
    soon,
    spied,
)

NOW = timedelta(0)


async def test_the_status_of_a_plain_bucket_is_its_defaults(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    assert await soon(store.status()) == ObjectStoreStatus(
        bucket=backend.bucket,
        description=None,
        ttl=None,
        storage="file",
        replicas=1,
        sealed=False,
        size=0,
        count=0,
        backing_store="memory" if bench.is_memory else "JetStream",
        compressed=False,
        metadata={},
        max_bytes=None,
    )


async def test_the_status_of_a_bucket_has_all_that_was_declared(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(
        bucket_name,
        description="Photos",
        ttl=timedelta(days=30),
        max_bytes=10_000,
        storage="memory",
        compression=False,
        metadata={"team": "ann"},
    )
    status = await soon(ObjectStore.on(backend).status())

    assert status.description == "Photos"
    assert status.ttl == timedelta(days=30)
    assert status.max_bytes == 10_000
    assert (status.storage, status.storage_type) == ("memory", "memory")
    assert status.metadata == {"team": "ann"}


async def test_a_compressed_bucket_says_so(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    store = ObjectStore.on(await create_bucket(bucket_name, compression=True))
    await soon(store.put("name", bytes(100_000)))

    assert (await soon(store.status())).compressed is True
    assert await soon(store.get("name")) == bytes(100_000)


async def test_the_status_counts_live_objects_and_links(store: ObjectStore) -> None:
    for name in "abc":
        await soon(store.put(name, b"hello"))
    await soon(store.add_link("link", "a"))
    await soon(store.delete("b"))

    assert (await soon(store.status())).count == 3


async def test_a_status_without_the_count_is_one_request(
    store: ObjectStore, backend: Backend
) -> None:
    for name in "abc":
        await soon(store.put(name, b"hello"))
    spied_store, spy = spied(backend)

    status = await soon(spied_store.status(count=False))

    assert spy.calls == ["state"]
    assert status.count is None
    assert status.size == (await backend.state()).bytes


async def test_the_status_has_the_bytes_that_are_stored(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", bytes(100_000)))
    status = await soon(store.status())

    assert 100_000 < status.size < 101_500
    assert status.size == (await backend.state()).bytes


# --- seal


async def test_a_sealed_bucket_can_be_read_and_never_changed(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(store.put("name", b"hello", chunk_size=2))

    assert await soon(store.seal()) is True
    assert (await soon(store.status())).sealed is True
    assert await soon(store.seal()) is True
    assert await soon(store.get("name")) == b"hello"
    assert await soon(store.get_range("name", 1, 3)) == b"el"
    assert await soon(store.list()) == [info]
    for call in (
        store.put("name", b"x"),
        store.delete("name"),
        store.rename("name", "other"),
        store.add_link("link", "name"),
        store.copy("name", "copy"),
    ):
        with pytest.raises(BucketSealedError, match=backend.bucket):
            await soon(call)
    watcher = await store.watch()
    assert await soon(watcher.updates()) == info
    assert await soon(watcher.updates()) is None
    await soon(watcher.stop())
    assert await soon(layout(backend)) == {"name": 3}


async def test_seal_and_sweep_of_a_bucket_that_is_gone_are_errors(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await bench.server.delete(backend.bucket)

    for call in (store.seal(), store.sweep(), store.status()):
        with pytest.raises(BucketNotFoundError, match=backend.bucket):
            await soon(call)
