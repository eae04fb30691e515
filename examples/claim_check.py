"""Messages of any size: a body that is too large for NATS travels through a bucket.

    python examples/claim_check.py

sends measurements of 5 MB each, five times what a NATS server accepts, to two workers of a
stream, and asks for one of them in a request. The handlers are not aware of this. With
`NATS_URL` set it uses that server, otherwise one of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.claim_check:app

starts the same file as a service.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta

from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from pydantic import BaseModel

from faststream_objstore import Bucket, Buckets
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.testing import NatsServer

# Longer than a message may wait to be handled.
claims = Bucket("claims", description="Bodies of large messages", ttl=timedelta(days=1))


class Measurement(BaseModel):
    sensor: str
    values: list[int]


class Summary(BaseModel):
    sensor: str
    count: int
    mean: float


def build(url: str) -> tuple[NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None, middlewares=[ClaimCheckMiddleware(claims)])
    buckets = Buckets(broker, claims)

    @broker.subscriber(
        "measurements",
        stream=JStream("MEASUREMENTS"),
        durable="summarizer",
        pull_sub=PullSub(),
        max_workers=2,
    )
    @broker.publisher("summaries")
    async def summarize(given: Measurement) -> Summary:
        """Summarize a measurement, whatever its size."""
        count = len(given.values)
        return Summary(sensor=given.sensor, count=count, mean=sum(given.values) / count)

    @broker.subscriber("measurements.of")
    async def measure(sensor: str) -> Measurement:
        """Answer with a measurement of a million values."""
        return measurement(sensor)

    return broker, buckets


def measurement(sensor: str) -> Measurement:
    return Measurement(sensor=sensor, values=[1000, 2001] * 500_000)


broker, buckets = build(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
app = FastStream(broker)


# The rest is the demonstration, which acts as the clients of the service.


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        demo, stores = build(url)
        summaries: asyncio.Queue[Summary] = asyncio.Queue()

        @demo.subscriber("summaries")
        async def keep(summary: Summary) -> None:
            await summaries.put(summary)

        await stack.enter_async_context(demo)
        await demo.start()
        limit = demo.connection.max_payload
        print(f"the server takes messages of {limit:,} bytes")

        for sensor in ("roof", "cellar"):
            await demo.publish(
                measurement(sensor), "measurements", stream="MEASUREMENTS", timeout=10
            )
        for _ in range(2):
            summary = await asyncio.wait_for(summaries.get(), 30)
            print(f"{summary.sensor:<7} {summary.count:,} values, mean {summary.mean}")

        reply = await demo.request("attic", "measurements.of", timeout=30)
        print(f"attic   replied with {len(reply.body):,} bytes")

        store = await stores.open(claims)
        bodies = await store.list(prefix="claims/")
        print(f"bucket  {len(bodies)} bodies, {sum(info.size for info in bodies):,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
