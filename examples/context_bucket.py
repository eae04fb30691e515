"""FastStream's guide to object storage, with the extension doing the set-up.

The guide makes a bucket in an `on_startup` hook, puts it into the context, and reaches it
with `Annotated[..., Context("OS")]`. Here the hook is gone; handler and calls are the same.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.context_bucket:app
"""

import os
from io import BytesIO
from typing import Annotated

from faststream import Context, FastStream, Logger
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, ObjectStore, ObjStore

bucket = Bucket("example-bucket", context_key="OS")
ObjectStorage = Annotated[ObjectStore, Context("OS")]

broker = NatsBroker(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
app = FastStream(broker)
objstore = ObjStore(broker, bucket)
objstore.install(app)


@broker.subscriber("subject")
async def handler(msg: str, os: ObjectStorage, logger: Logger) -> str:
    logger.info(msg)
    return (await os.get("file")).data.decode()


@app.after_startup
async def send(os: ObjectStorage) -> None:
    await os.put("file", BytesIO(b"File mock"))
    await broker.publish("Hi!", "subject")
