"""How many modules somebody has to open who follows a change through the package."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import faststream_objstore
from faststream_objstore import Bucket, ObjectInfo
from faststream_objstore.testing import NatsServer

from .support import Names, running, store_of

pytestmark = pytest.mark.anyio

PACKAGE = Path(faststream_objstore.__file__).parent


async def test_change_passes_at_most_seven_modules_until_it_is_acknowledged(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    seen = Names()

    @bucket.on_put("{user}/*.png", durable="worker")
    async def handle(info: ObjectInfo) -> None:
        await seen.take(info)

    passed: list[str] = []
    acknowledged = False

    def trace(frame: FrameType, event: str, _: Any) -> None:
        nonlocal acknowledged
        path = Path(frame.f_code.co_filename)
        if event != "call":
            return
        if frame.f_code.co_name == "ack" and path.name == "msg.py":
            acknowledged = True
        if acknowledged or not path.is_relative_to(PACKAGE):
            return
        module = path.relative_to(PACKAGE)
        # From its arrival on; what the put itself passes is another story. Values (a receipt,
        # a stored message, an ObjectInfo) carry the change; they do nothing with it.
        arrives = module.name == "puller.py" and frame.f_code.co_name == "_on_message"
        values = {"backends", "store", "messages.py", "models"}
        if arrives or (passed and module.parts[0] not in values):
            passed.append(str(module))

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("ann/first.png", b"")
        await seen.wait_for(1)
        sys.setprofile(trace)
        try:
            await store.put("ann/second.png", b"")
            await seen.wait_for(2)
            # The pipe behind it is empty once another change has passed.
            await store.put("ann/third.png", b"")
            await seen.wait_for(3)
        finally:
            sys.setprofile(None)

    assert acknowledged
    assert set(passed) == {
        "changes/puller.py",
        "changes/loop.py",
        "changes/delivery.py",
        "wire/metadata.py",
        "pattern.py",
        "changes/subscriber.py",
        "_faststream/processing.py",
    }
