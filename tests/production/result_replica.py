"""A service that makes results of objects, in a process of its own, for tests to kill.

Run as `python -m tests.production.result_replica SETTINGS`, JSON as `ResultSettings` makes it.
It writes `ready`, and runs until it is killed.
"""

import asyncio
import json
import random
import sys
from typing import Annotated, Any

from faststream import FastStream
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, FromObject, Retry

DURABLE = "maker"
CHUNK_BYTES = 1000


def made_of(content: bytes) -> bytes:
    """The result: several chunks, and told from that of any other content."""
    return content[::-1] * 100


def service(settings: dict[str, Any]) -> FastStream:
    sources, results = Bucket(settings["sources"]), Bucket(settings["results"])
    broker = NatsBroker(settings["url"], logger=None)
    Buckets(broker, sources, results)
    app = FastStream(broker, logger=None)

    @sources.on_put(
        "{stem}.src",
        durable=DURABLE,
        max_workers=4,
        ack_wait=1,
        retry=Retry(attempts=50, delays=(0.02,)),
    )
    @results.publisher("{stem}.out", chunk_size=CHUNK_BYTES)
    async def make(content: Annotated[bytes, FromObject()]) -> bytes:
        # As long as a replica may take, so that a slower one comes after a faster one.
        await asyncio.sleep(random.uniform(0, settings["seconds"]))
        return made_of(content)

    @app.after_startup
    async def ready() -> None:
        print("ready", flush=True)

    return app


if __name__ == "__main__":
    asyncio.run(service(json.loads(sys.argv[1])).run())
