"""The object store's calls one after the other, as in nats-py's guide.

    python examples/walkthrough.py

uses the server in `NATS_URL`, or one of its own.
"""

import asyncio
import hashlib
import os
from contextlib import AsyncExitStack

from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, ObjectNotFoundError
from faststream_objstore.testing import NatsServer


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        broker = NatsBroker(url, logger=None)
        buckets = Buckets(broker, Bucket("walkthrough", description="A first look"))
        await stack.enter_async_context(broker)

        store = await buckets.open("walkthrough")
        content = b"The quick brown fox jumps over the lazy dog.\n" * 10_000

        info = await store.put(
            "fox.txt",
            content,
            description="A pangram, often",
            filename="fox.txt",
            headers={"Content-Type": "text/plain"},
        )
        print(f"put       {info.name}: {info.size} bytes in {info.chunks} chunks")

        info = await store.get_info("fox.txt")
        print(f"get_info  {info.description!r}, {info.headers}, revision {info.revision}")

        data = await store.get("fox.txt")
        same = hashlib.sha256(data).digest() == hashlib.sha256(content).digest()
        print(f"get       {len(data)} bytes, the same: {same}")

        for each in await store.list():
            print(f"list      {each.name}, {each.size} bytes, {each.mtime:%Y-%m-%d}")

        status = await store.status()
        print(f"status    {status.count} object, {status.size} bytes stored")

        print(f"delete    {await store.delete('fox.txt')}")
        try:
            await store.get("fox.txt")
        except ObjectNotFoundError as error:
            print(f"get       {error}")


if __name__ == "__main__":
    asyncio.run(main())
