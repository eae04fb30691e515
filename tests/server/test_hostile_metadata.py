"""Metadata that somebody else has written to do harm, or by mistake."""

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client

from faststream_objstore import ObjectStore
from faststream_objstore.exceptions import BadObjectMetaError, IncompleteObjectError
from faststream_objstore.wire import chunk_subject, metadata_subject

CONTENT = b"the quick brown fox"


async def forge(client: Client, store: ObjectStore, name: str, **fields: Any) -> None:
    body = {"name": name, "bucket": store.bucket, "size": 19, "chunks": 3, **fields}
    await client.jetstream().publish(
        metadata_subject(store.bucket, name),
        json.dumps(body).encode(),
        headers={"Nats-Rollup": "sub"},
    )


@pytest.mark.parametrize("nuid", [">", "*", "a.>", "a b", "\u00e9", "a\r\n", "n" * 5000])
@pytest.mark.parametrize("change", ["put", "delete"])
async def test_nuid_that_means_other_chunks_takes_none_of_them_along(
    store: ObjectStore, nats_client: Client, nuid: str, change: str
) -> None:
    await store.put("good", CONTENT, chunk_size=7)
    await forge(nats_client, store, "evil", nuid=nuid)

    with pytest.raises(BadObjectMetaError):
        await store.get("evil")
    if change == "put":
        await store.put("evil", b"repaired")
        assert await store.get("evil") == b"repaired"
    else:
        assert await store.delete("evil") is True

    assert await store.get("good") == CONTENT
    # A subject that is too long would have cost the connection.
    assert nats_client.stats["reconnects"] == 0
    assert nats_client.is_connected


@pytest.mark.parametrize("nuid", ["", ">", "*", "a.b", "a b", "n" * 65])
def test_chunk_subject_is_of_one_version_only(nuid: str) -> None:
    with pytest.raises(ValueError, match="names no chunks"):
        chunk_subject("b", nuid)


async def test_size_that_metadata_only_claims_is_not_allocated(
    store: ObjectStore, nats_client: Client
) -> None:
    await forge(nats_client, store, "huge", nuid="N", size=10**15, chunks=2)
    await forge(nats_client, store, "large", nuid="N", size=120_000_000, chunks=2)

    with pytest.raises(IncompleteObjectError, match="cannot fit into 2 chunks"):
        await asyncio.wait_for(store.get("huge"), 10)
    with pytest.raises(IncompleteObjectError, match="0 of its 2 chunks were found"):
        await asyncio.wait_for(store.get("large"), 10)


async def test_content_without_a_nuid_is_incomplete(
    store: ObjectStore, nats_client: Client
) -> None:
    await forge(nats_client, store, "lost", nuid=None)

    with pytest.raises(IncompleteObjectError, match="which says where its chunks are"):
        await store.get("lost")
    assert await store.sweep() == 0
