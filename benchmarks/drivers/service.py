"""The FastStream side: change events, injection, import time."""

import asyncio
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Annotated, Any

from faststream import Context
from faststream.nats import JStream, NatsBroker, TestNatsBroker
from nats.js.api import DeliverPolicy

from benchmarks.drivers.protocol import Driver, serve
from faststream_objstore import Bucket, Buckets, FromBucket, ObjectInfo, ObjectStore

# So many parameters to a handler that what one costs can be told from noise.
_PARAMETERS = 8
_Injected = Annotated[ObjectStore, FromBucket("injected")]
_FromContext = Annotated[ObjectStore, Context("injected")]

_IMPORT = """\
import time
import faststream.nats
began = time.perf_counter()
from faststream_objstore import Bucket, FromBucket, ObjectInfo, ObjectStore, Buckets
print(time.perf_counter() - began)
"""


class _Count:
    """Seconds from the start of the first handler to the end of the last."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._count = 0
        self._began = 0.0
        self.seconds = 0.0
        self.done = asyncio.Event()

    def one(self) -> None:
        if not self._count:
            self._began = perf_counter()
        self._count += 1
        if self._count == self._wanted:
            self.seconds = perf_counter() - self._began
            self.done.set()


class Service(Driver):
    """Brokers of its own for each request."""

    packages = ("faststream", "nats-py")

    async def connect(self, url: str) -> None:
        """Keep the address."""
        self._url = url

    async def do_on_put(
        self, bucket: str, count: int, workers: int, durable: str
    ) -> dict[str, Any]:
        """Changes per second through a durable `on_put`, of objects that are there."""
        counted = _Count(count)
        declared = Bucket(bucket, declare=False)

        @declared.on_put(durable=durable, replay=True, max_workers=workers)
        async def handle(info: ObjectInfo) -> None:
            assert info.name  # noqa: S101
            counted.one()

        broker = NatsBroker(self._url, logger=None)
        Buckets(broker, declared)
        return await _handled(broker, counted, count)

    async def do_plain(
        self, bucket: str, count: int, workers: int, durable: str, pull: bool
    ) -> dict[str, Any]:
        """The same messages through a subscriber of FastStream alone, as JSON."""
        counted = _Count(count)
        broker = NatsBroker(self._url, logger=None)
        # FastStream warns of push durables, and its pull subscriber loses a task at its end.
        warnings.simplefilter("ignore")
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        @broker.subscriber(
            f"$O.{bucket}.M.*",
            stream=JStream(f"OBJ_{bucket}", declare=False),
            durable=durable,
            # Several replicas may share a durable of the push kind through a queue only.
            queue="" if pull else durable,
            deliver_policy=DeliverPolicy.ALL,
            max_workers=workers,
            pull_sub=pull,
        )
        async def handle(info: dict[str, Any]) -> None:
            assert info["name"]  # noqa: S101
            counted.one()

        return await _handled(broker, counted, count)

    async def do_injection(self, count: int) -> dict[str, Any]:
        """Seconds that one injected parameter adds to a message, both ways."""
        broker = NatsBroker(logger=None)
        Buckets(broker, Bucket("injected"))

        @broker.subscriber("nothing")
        async def nothing(body: str) -> None: ...

        @broker.subscriber("from-bucket")
        async def from_bucket(
            body: str,
            a: _Injected,
            b: _Injected,
            c: _Injected,
            d: _Injected,
            e: _Injected,
            f: _Injected,
            g: _Injected,
            h: _Injected,
        ) -> None: ...

        @broker.subscriber("context")
        async def context(
            body: str,
            a: _FromContext,
            b: _FromContext,
            c: _FromContext,
            d: _FromContext,
            e: _FromContext,
            f: _FromContext,
            g: _FromContext,
            h: _FromContext,
        ) -> None: ...

        subjects = ("nothing", "from-bucket", "context")
        taken: dict[str, list[float]] = {subject: [] for subject in subjects}
        async with TestNatsBroker(broker):
            for i in range(count + count // 10):
                for subject in subjects:
                    began = perf_counter()
                    await broker.publish("body", subject)
                    if i >= count // 10:
                        taken[subject].append(perf_counter() - began)
        middle = {subject: statistics.median(each) for subject, each in taken.items()}
        return {
            "from_bucket": (middle["from-bucket"] - middle["nothing"]) / _PARAMETERS,
            "context": (middle["context"] - middle["nothing"]) / _PARAMETERS,
        }

    async def do_import(self, count: int) -> dict[str, Any]:
        """Seconds that the import adds to that of `faststream.nats`, each time anew."""
        result = []
        with tempfile.TemporaryDirectory() as folder:
            # Compiled once, as an installed package is, whatever this environment says.
            environment = os.environ | {"PYTHONPYCACHEPREFIX": folder}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            for _ in range(1 + count):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _IMPORT,
                    stdout=asyncio.subprocess.PIPE,
                    env=environment,
                )
                output, _ = await process.communicate()
                result.append(float(output))
        del result[0]
        return {"latencies": result}


async def _handled(broker: NatsBroker, counted: _Count, count: int) -> dict[str, Any]:
    wait: Callable[[], Awaitable[object]] = counted.done.wait
    try:
        await broker.start()
        await asyncio.wait_for(wait(), 60)
    finally:
        await broker.stop()
    return {"rate": count / counted.seconds}


if __name__ == "__main__":
    serve(Service())
