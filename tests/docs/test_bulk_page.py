"""What the page on many objects shows runs as it stands, on a real server."""

from pathlib import Path

import nats

from faststream_objstore import ObjectStore
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.testing import NatsServer
from tests.docs.page import ran


async def test_calls_of_the_page_on_many_objects(
    nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    site, copy = tmp_path / "site", tmp_path / "copy"
    (site / "css").mkdir(parents=True)
    (site / "css" / "a.css").write_text("a {}")
    (site / "index.html").write_text("<html>")
    client = await nats.connect(nats_server.url)
    try:
        store = await ObjectStore.bind(
            client, ObjectStoreConfig(bucket=bucket_name), declare=True
        )
        async with ran("bulk.md", tmp_path) as page:
            assert await page["publish"](store, site, copy) == 2
            assert (copy / "css" / "a.css").read_text() == "a {}"
            assert [info.name for info in await store.list()] == [
                "old/css/a.css",
                "old/index.html",
            ]
            for name in ("ann/a", "ann/2025/b", "../up"):
                await store.put(name, name)
            assert await page["show"](store) == ["ann/2025/", "ann/a"]
            other = ObjectStoreConfig(bucket=f"{bucket_name}-moved")
            target = await ObjectStore.bind(client, other, declare=True)
            assert await page["move"](target, store, tmp_path / "b.tgz") == 5
            (failed,) = await page["mirror"](store, tmp_path / "mirror")
            assert failed.startswith("../up: ")
    finally:
        await client.close()
