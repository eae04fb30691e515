"""The store on a connection of nats-py, without FastStream."""

from datetime import timedelta

import pytest
from nats.aio.client import Client

from faststream_objstore import BucketNotFoundError, ObjectStore, ObjectStoreConfig
from faststream_objstore.exceptions import BucketConfigMismatchError


async def test_a_bucket_that_exists_is_bound_by_its_name(
    nats_client: Client, bucket_name: str
) -> None:
    await nats_client.jetstream().create_object_store(bucket_name)

    store = await ObjectStore.bind(nats_client, bucket_name)
    await store.put("name", b"hello")

    assert store.bucket == bucket_name
    theirs = await nats_client.jetstream().object_store(bucket_name)
    assert (await theirs.get("name")).data == b"hello"


async def test_a_missing_bucket_is_made_only_if_it_is_declared(
    nats_client: Client, bucket_name: str
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, ttl=timedelta(hours=1))

    with pytest.raises(BucketNotFoundError, match=bucket_name):
        await ObjectStore.bind(nats_client, config)
    store = await ObjectStore.bind(nats_client, config, declare=True)

    assert (await store.status()).ttl == timedelta(hours=1)


async def test_other_settings_than_declared_are_an_error_that_lists_them(
    nats_client: Client, bucket_name: str
) -> None:
    await ObjectStore.bind(nats_client, bucket_name, declare=True)

    with pytest.raises(BucketConfigMismatchError, match="ttl"):
        await ObjectStore.bind(
            nats_client,
            ObjectStoreConfig(bucket=bucket_name, ttl=timedelta(hours=1)),
            declare=True,
        )


async def test_a_domain_has_its_own_api(nats_client: Client, bucket_name: str) -> None:
    await ObjectStore.bind(nats_client, bucket_name, declare=True)

    # The server has no such domain: nobody answers there.
    with pytest.raises(Exception, match="domain") as caught:
        await ObjectStore.bind(nats_client, bucket_name, domain="elsewhere", timeout=2)
    assert type(caught.value).__name__ == "JetStreamNotEnabledError"
