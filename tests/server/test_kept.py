"""keep_replaced on a real server: slow readers, and processes that die."""

import asyncio
import sys
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer

MIB = 1024 * 1024

DIES = """
import asyncio, os, sys
import nats
from faststream_objstore.store import ObjectStore

async def main(url, bucket):
    store = await ObjectStore.bind(await nats.connect(url), bucket)
    old = await store.put("name", b"old")
    await store.put("name", b"new")
    print(old.nuid, flush=True)
    os._exit(0)

asyncio.run(main(*sys.argv[1:]))
"""


async def dies(url: str, bucket: str) -> str:
    """Have another process replace a version and die; the nuid of what it replaced."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES, url, bucket, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return output.decode().strip()


@pytest.fixture
async def kept(nats_client: Client, bucket_name: str) -> AsyncIterator[ObjectStore]:
    """A store that keeps replaced versions for two seconds."""
    config = ObjectStoreConfig(bucket=bucket_name, keep_replaced=2)
    yield await ObjectStore.bind(nats_client, config, declare=True)
    await nats_client.jetstream().delete_stream(f"OBJ_{bucket_name}")


async def test_a_download_of_many_windows_survives_overwrites(
    nats_server: NatsServer, bucket_name: str
) -> None:
    client, other = await nats.connect(nats_server.url), await nats.connect(nats_server.url)
    config = ObjectStoreConfig(bucket=bucket_name, keep_replaced=60)
    store = await ObjectStore.bind(client, config, declare=True)
    writer = await ObjectStore.bind(other, bucket_name)
    content = bytes(range(256)) * (24 * MIB // 256)
    await store.put("name", content)

    received = bytearray()
    async with store.open("name") as reader:
        async for chunk in reader:
            if len(received) % (4 * MIB) == 0:
                await writer.put("name", b"newer")
            received += chunk
    assert received == content
    assert await store.get("name") == b"newer"

    await client.jetstream().delete_stream(f"OBJ_{bucket_name}")
    await client.close()
    await other.close()


async def test_sweep_removes_what_a_process_that_died_had_kept(
    nats_server: NatsServer, kept: ObjectStore
) -> None:
    await dies(nats_server.url, kept.bucket)

    async def swept() -> int:
        while not (freed := await kept.sweep()):
            await asyncio.sleep(0.05)
        return freed

    assert await asyncio.wait_for(swept(), 30) == len(b"old")
    assert await kept.get("name") == b"new"


async def test_the_next_writer_removes_what_a_process_that_died_had_kept(
    nats_server: NatsServer, nats_client: Client, kept: ObjectStore
) -> None:
    nuid = await dies(nats_server.url, kept.bucket)
    last = await kept.get_info("name")

    async def is_there() -> bool:
        info = await nats_client.jetstream().stream_info(
            f"OBJ_{kept.bucket}", subjects_filter=f"$O.{kept.bucket}.C.{nuid}"
        )
        return bool(info.state.subjects)

    async def removed() -> None:
        while await is_there():
            await asyncio.sleep(0.2)
            await kept.put("name", b"newer")

    # Its time is not over, and the first put leaves it.
    await kept.put("name", b"newer")
    assert await is_there()
    assert await kept.get(last) == b"new"
    await asyncio.wait_for(removed(), 30)
