"""Objects as parameters: the one that fired, a named one, a stream, only metadata.

    python examples/objects.py

writes letters from templates and measures recordings. With `NATS_URL` set it uses that
server, otherwise one of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.objects:app

starts the same file as a service.
"""

import asyncio
import hashlib
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated

from faststream import FastStream, Path
from faststream.nats import NatsBroker

from faststream_objstore import (
    Bucket,
    Buckets,
    FromBucket,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
)
from faststream_objstore.params import FromObject, OpenObject, StatObject
from faststream_objstore.testing import NatsServer

templates = Bucket("templates")
orders = Bucket("orders")
recordings = Bucket("recordings")
letters = Bucket("letters")

Letters = Annotated[ObjectStore, FromBucket("letters")]


@dataclass
class Order:
    customer: str
    template: str


def build(url: str) -> tuple[NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None)
    buckets = Buckets(broker, templates, orders, recordings, letters)

    # The text of a template whose name is in the subject, with a default if it does not exist.
    @broker.subscriber("letter.{template}")
    async def write(
        customer: str,
        text: Annotated[str, FromObject("templates", "{template}.txt", decode=True)],
        footer: Annotated[str, FromObject("templates", "footer.txt", decode=True, default="")],
    ) -> str:
        return text.format(customer=customer) + footer

    # The size of a recording, without reading it.
    @broker.subscriber("size.{name}")
    async def size(
        name: Annotated[str, Path()],
        info: Annotated[
            ObjectInfo | None, StatObject("recordings", "{name}.ogg", default=None)
        ],
    ) -> str:
        return f"{name} has {info.size:,} bytes" if info else f"{name} is not there"

    return broker, buckets


# The object that fired, decoded by its content type and cast as a message's body would be.
@orders.on_put("*.json", durable="clerk")
async def handle(
    info: ObjectInfo, order: Annotated[Order, FromObject(decode=True)], target: Letters
) -> None:
    await target.put(f"{info.name}.txt", f"{order.template} for {order.customer}")


# A stream: in constant memory, whatever the size of the recording.
@recordings.on_put(durable="checksums")
async def measure(
    info: ObjectInfo, recording: Annotated[ObjectReader, OpenObject()], target: Letters
) -> None:
    digest = hashlib.sha256()
    async for chunk in recording:
        digest.update(chunk)
    await target.put(f"{info.name}.sha256", digest.hexdigest())


broker, buckets = build(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")
app = FastStream(broker)


async def show(broker: NatsBroker, buckets: Buckets) -> None:
    """Put objects, send requests to the service, and print the replies."""
    store = await buckets.open("templates")
    await store.put("welcome.txt", "Dear {customer}, welcome!")
    reply = await broker.request("Ann", "letter.welcome", timeout=5)
    print(await reply.decode())

    written = await buckets.open("letters")
    async with written.watch(updates_only=True) as changes:
        orders_store = await buckets.open("orders")
        await orders_store.put("7.json", '{"customer": "Bob", "template": "welcome"}')
        letter = await changes.updates(timeout=10)
        assert letter is not None
        print(f"{letter.name}: {(await written.get(letter)).decode()}")

        videos = await buckets.open("recordings")
        await videos.put("talk.ogg", bytes(8 * 1024 * 1024))
        checksum = await changes.updates(timeout=10)
        assert checksum is not None
        print(f"{checksum.name}: {(await written.get(checksum)).decode()[:16]}…")

    for name in ("talk", "song"):
        reply = await broker.request("", f"size.{name}", timeout=5)
        print(await reply.decode())


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        broker, buckets = build(url)
        await stack.enter_async_context(broker)
        await broker.start()
        await show(broker, buckets)


if __name__ == "__main__":
    asyncio.run(main())
