"""What the page on the file system shows runs as it stands, on a real server."""

import asyncio
from pathlib import Path

import fsspec
import nats

from faststream_objstore import ObjectStore
from faststream_objstore.filesystem import ObjectStoreFileSystem
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.testing import NatsServer
from tests.docs.page import ran


async def test_calls_of_the_page_on_the_file_system(tmp_path: Path) -> None:
    fsspec.register_implementation("objstore", ObjectStoreFileSystem, clobber=True)
    async with NatsServer() as server:
        client = await nats.connect(server.url)
        try:
            config = ObjectStoreConfig(bucket="reports")
            store = await ObjectStore.bind(client, config, declare=True)
            async with ran("filesystem.md", tmp_path) as page:
                said = await asyncio.to_thread(page["summarise"], server.url)
                assert said == "so much depends upon"
                name = "2026/notes.txt"
                assert await page["first_line"](store, name) == said
                await page["shout"](store, name)
                assert await store.get(f"{name}.loud") == said.upper().encode()
                await store.add_link("link", name)
                assert await page["target_of"](store, "link") == said
        finally:
            await client.close()
        # The connection of fsspec's own thread goes with its server.
        await asyncio.to_thread(fsspec.filesystem("objstore", servers=server.url).close)
