"""status, seal and sweep: the bucket as a whole."""

import time
from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    BucketNotFoundError,
    BucketSealedError,
    InvalidOptionError,
)
from faststream_objstore.models import ObjectStoreStatus
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import (
    Audit,
    Bench,
    layout,
    soon,
    write_chunks,
    write_raw,
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


# --- sweep


async def test_sweep_of_a_clean_bucket_frees_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    assert await soon(store.sweep(NOW)) == 0
    await soon(store.put("name", b"hello", chunk_size=2))
    await soon(store.put("name", b"newer", chunk_size=2))
    await soon(store.put("gone", b"hello"))
    await soon(store.delete("gone"))
    await soon(store.add_link("link", "name"))
    await soon(store.rename("name", "moved"))

    assert await soon(store.sweep(NOW)) == 0
    assert await soon(store.get("moved")) == b"newer"


async def test_sweep_removes_chunks_that_no_metadata_refers_to(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    await write_chunks(backend, "DEAD", b"123", b"4567")
    await write_chunks(backend, "DEADTOO", b"89")

    assert await soon(store.sweep(NOW)) == 9
    assert await soon(layout(backend)) == {"name": 3}
    assert await soon(store.get("name")) == b"hello"
    assert await soon(store.sweep(NOW)) == 0


async def test_sweep_leaves_young_chunks_to_the_put_that_may_be_under_way(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "YOUNG", b"123")

    assert await soon(store.sweep()) == 0
    assert await soon(store.sweep(timedelta(seconds=60))) == 0
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == {
        f"$O.{backend.bucket}.C.YOUNG": 1
    }
    assert await soon(store.sweep(NOW)) == 3


async def test_sweep_judges_chunks_by_their_youngest(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "SLOW", b"123")
    begun = time.monotonic()
    while time.monotonic() - begun < 0.3:
        await soon(store.exists("name"))
    await write_chunks(backend, "SLOW", b"456")

    assert await soon(store.sweep(timedelta(seconds=0.25))) == 0
    assert await soon(store.sweep(NOW)) == 6


async def test_sweep_with_metadata_that_does_not_parse_removes_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "DEAD", b"123")
    await write_raw(backend, "bad", b"not json")

    with pytest.raises(BadObjectMetaError, match="'bad'"):
        await soon(store.sweep(NOW))
    await soon(store.delete("bad"))
    assert await soon(store.sweep(NOW)) == 3


async def test_sweep_passes_over_the_servers_own_markers(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await write_chunks(backend, "DEAD", b"123")
    await write_raw(backend, "expired", b"")

    assert await soon(store.sweep(NOW)) == 3


@pytest.mark.parametrize("older_than", [3600, None, "1h"])
async def test_an_age_that_is_no_timedelta_is_refused(
    store: ObjectStore, older_than: Any
) -> None:
    with pytest.raises(InvalidOptionError, match="older_than="):
        await soon(store.sweep(older_than))
