"""FastStream's guide to object storage, with the setup left to the extension.

The guide creates a bucket in an `on_startup` hook, puts it into the context, and accesses
it with `Annotated[..., Context("OS")]`. Here the hook is gone; handler and calls are the same.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.context_bucket:app

runs the service, and

    python examples/context_bucket.py

sends it one request, on the server in `NATS_URL` or one of its own.
"""

import asyncio
import os
from io import BytesIO
from typing import Annotated

from faststream import Context, FastStream, Logger
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, ObjectStore
from faststream_objstore.testing import NatsServer

bucket = Bucket("example-bucket", context_key="OS")
ObjectStorage = Annotated[ObjectStore, Context("OS")]

url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
server: NatsServer | None = None
if __name__ == "__main__" and not os.environ.get("NATS_URL"):
    # The broker reads its address when it is created.
    server = NatsServer()
    asyncio.run(server.start())
    url = server.url

broker = NatsBroker(url)
app = FastStream(broker)
buckets = Buckets(broker, bucket)
buckets.install(app)


@broker.subscriber("subject")
async def handler(msg: str, os: ObjectStorage, logger: Logger) -> str:
    logger.info(msg)
    return (await os.get("file")).data.decode()


@app.after_startup
async def send(os: ObjectStorage) -> None:
    await os.put("file", BytesIO(b"File mock"))
    await broker.publish("Hi!", "subject")


# The rest is the demonstration, which acts as a client of the service.


async def main() -> None:
    async with app:
        reply = await broker.request("Hi!", "subject", timeout=5)
        print("the handler read:", await reply.decode())


if __name__ == "__main__":
    asyncio.run(main())
    if server is not None:
        asyncio.run(server.stop())
