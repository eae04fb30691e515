"""Buckets whose objects expire."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from faststream_objstore.exceptions import IncompleteObjectError
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import eventually, soon


async def test_a_put_that_takes_longer_than_the_ttl_is_refused(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, ttl=timedelta(milliseconds=100))
    store = ObjectStore.on(backend)
    chunks = f"$O.{bucket_name}.C.>"

    async def expired() -> bool:
        return not await backend.subjects(chunks)

    async def slow() -> AsyncIterator[bytes]:
        yield b"he"
        yield b"ll"
        await eventually(expired)
        yield b"o"

    with pytest.raises(IncompleteObjectError, match="expired before the last one was sent"):
        await soon(store.put("name", slow(), chunk_size=2))
    assert not await soon(store.exists("name"))
