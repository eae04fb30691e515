"""Configuration in an object: loaded at startup, replaced in all replicas when it changes.

    python examples/live_config.py

quotes prices while their list changes. With `NATS_URL` set it uses that server, otherwise
one of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.live_config:app

starts the same file as a service, once somebody has put `prices.json`.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Annotated

from faststream import FastStream
from faststream.nats import NatsBroker
from pydantic import BaseModel, NonNegativeFloat

from faststream_objstore import Bucket, Buckets, ObjectData
from faststream_objstore.params import LiveObject
from faststream_objstore.testing import NatsServer

config = Bucket("config", description="What services read at run time")


class Prices(BaseModel):
    currency: str
    each: dict[str, NonNegativeFloat]


def parse(data: ObjectData) -> Prices:
    return Prices.model_validate_json(data)


# Required: the service does not start without prices.
LivePrices = Annotated[Prices, LiveObject("config", "prices.json", load=parse)]
# Not required: if there is no such object, there is no sale.
LiveSale = Annotated[bytes, LiveObject("config", "sale", required=False, default=b"0")]


def build(url: str) -> tuple[NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None)
    buckets = Buckets(broker, config)

    @broker.subscriber("quote", max_workers=100)
    async def quote(article: str, prices: LivePrices, sale: LiveSale) -> str:
        price = prices.each[article] * (1 - int(sale) / 100)
        return f"{price:.2f} {prices.currency}"

    return broker, buckets


broker, buckets = build(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")
app = FastStream(broker)


async def ask(broker: NatsBroker) -> str:
    reply = await broker.request("tea", "quote", timeout=5)
    return str(await reply.decode())


async def ask_until_it_changes(broker: NatsBroker, known: str) -> str:
    async def asking() -> str:
        while (answer := await ask(broker)) == known:
            pass
        return answer

    return await asyncio.wait_for(asking(), 10)


async def show(broker: NatsBroker, buckets: Buckets) -> None:
    """Change the list and a discount, and print the service's replies."""
    store = await buckets.open("config")
    first = await ask(broker)
    print(f"at first       {first}")

    await store.put("prices.json", '{"currency": "EUR", "each": {"tea": 3}}')
    second = await ask_until_it_changes(broker, first)
    print(f"new prices     {second}")

    # Someone makes a mistake. It is logged and counted, and the service keeps running.
    await store.put("prices.json", '{"currency": "EUR", "each": {"tea": -3}}')
    while not any(one.failures for one in buckets.live_objects):
        await ask(broker)
    print(f"bad prices     {await ask(broker)}")

    await store.put("sale", b"50")
    sale = await ask_until_it_changes(broker, second)
    print(f"sale           {sale}")
    await store.delete("sale")
    print(f"after the sale {await ask_until_it_changes(broker, sale)}")

    for one in buckets.live_objects:
        print(f"{one.source.name}: {one.loads} loads, {one.failures} failures")


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        broker, buckets = build(url)
        # Connected, so that the list can be put before the service starts.
        await stack.enter_async_context(broker)
        store = await buckets.open("config")
        await store.put("prices.json", '{"currency": "EUR", "each": {"tea": 2.5}}')
        await broker.start()
        await show(broker, buckets)


if __name__ == "__main__":
    asyncio.run(main())
