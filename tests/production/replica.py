"""A service with change subscribers, in a process of its own, for tests to end.

Run as `python -m tests.production.replica SETTINGS`, JSON as `support.Settings` makes it.
It writes `ready`; and, for each line that it reads, the CPU seconds that it has used.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from faststream import FastStream
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, ObjectInfo


class Journal:
    """A file that several processes append to; each entry is one write."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, info: ObjectInfo) -> None:
        entry = {
            "what": what,
            "pid": os.getpid(),
            "name": info.name,
            "revision": info.revision,
            "deleted": info.deleted,
            "at": time.time(),
        }
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def service(settings: dict[str, Any]) -> FastStream:
    journal = Journal(settings["journal"])
    bucket = Bucket(settings["bucket"])
    broker = NatsBroker(
        settings["url"],
        logger=None,
        reconnect_time_wait=1,
        graceful_timeout=settings["graceful"],
    )
    Buckets(broker, bucket)
    app = FastStream(broker, logger=None)

    async def handle(info: ObjectInfo) -> None:
        journal.note("begun", info)
        await asyncio.sleep(settings["seconds"])
        journal.note("done", info)

    for number in range(settings["subscribers"]):
        durable = settings["durable"]
        bucket.on_change(
            durable=f"{durable}-{number}" if durable else None,
            max_workers=settings["workers"],
            ack_wait=settings["ack_wait"],
            replay=settings["replay"],
        )(handle)

    @app.after_startup
    async def ready() -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        tasks.append(asyncio.create_task(answer(reader)))
        print("ready", flush=True)

    @app.on_shutdown
    async def end() -> None:
        tasks.pop().cancel()

    tasks: list[asyncio.Task[None]] = []
    return app


async def answer(questions: asyncio.StreamReader) -> None:
    async for _ in questions:
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    asyncio.run(service(json.loads(sys.argv[1])).run())
