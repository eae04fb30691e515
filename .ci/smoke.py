"""What an installed package must do, away from its checkout: `smoke.py VERSION [--server]`.

Without `--server` a service runs under FastStream's test broker; with it, and with the extra
`testing`, on a real server too.
"""

import asyncio
import importlib.metadata
import importlib.resources
import sys
import sysconfig
from pathlib import Path
from typing import Annotated

from faststream import Path as Captured
from faststream.nats import NatsBroker, TestNatsBroker

import faststream_objstore
from faststream_objstore import Bucket, Buckets, FromBucket, ObjectInfo, ObjectStore

DISTRIBUTION = "faststream-objstore"

texts = Bucket("texts")
counts = Bucket("counts")
counted = asyncio.Event()


@texts.on_put("{user}/*.txt")
async def count(
    info: ObjectInfo,
    user: Annotated[str, Captured()],
    source: Annotated[ObjectStore, FromBucket("texts")],
    target: Annotated[ObjectStore, FromBucket("counts")],
) -> None:
    await target.put(f"{user}/words", str(len((await source.get(info)).split())))
    counted.set()


def check(holds: object, what: str) -> None:
    if not holds:
        sys.exit(f"smoke: not so: {what}")


def check_installation(version: str) -> None:
    folder = Path(faststream_objstore.__file__).parent
    site = Path(sysconfig.get_path("purelib"))
    check(folder.parent == site, f"{folder} is in {site}")
    check(importlib.metadata.version(DISTRIBUTION) == version, f"the version is {version}")
    check((importlib.resources.files(faststream_objstore) / "py.typed").is_file(), "py.typed")
    for name in faststream_objstore.__all__:
        check(hasattr(faststream_objstore, name), f"{name} is there")
    licenses = importlib.metadata.metadata(DISTRIBUTION).get_all("License-File")
    check(licenses == ["LICENSE"], "the license comes with it")


async def round_trip(buckets: Buckets) -> None:
    store = await buckets.open("texts")
    await store.put("ann/poem.txt", "so much depends upon")
    await asyncio.wait_for(counted.wait(), 10)
    counted.clear()
    results = await buckets.open("counts")
    check(await results.get("ann/words") == b"4", "the handler counted 4 words")
    check(
        [info.name for info in await store.list()] == ["ann/poem.txt"], "one object is listed"
    )


async def in_memory() -> None:
    broker = NatsBroker()
    buckets = Buckets(broker, texts, counts)
    async with TestNatsBroker(broker):
        await round_trip(buckets)
        count.mock.assert_called_once()


async def on_a_server() -> None:
    from faststream_objstore.testing import NatsServer  # noqa: PLC0415 - an extra

    async with NatsServer() as server:
        broker = NatsBroker(server.url)
        buckets = Buckets(broker, texts, counts)
        await broker.start()
        try:
            await round_trip(buckets)
        finally:
            await broker.stop()


def main(version: str, *options: str) -> None:
    check_installation(version)
    asyncio.run(in_memory())
    if "--server" in options:
        asyncio.run(on_a_server())
    names = len(faststream_objstore.__all__)
    kind = "in memory and on a server" if "--server" in options else "in memory"
    print(f"{DISTRIBUTION} {version}: {names} public names, a round trip {kind}")


if __name__ == "__main__":
    main(*sys.argv[1:])
