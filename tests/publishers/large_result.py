"""Makes one large result in a process of its own, and writes how much memory that took.

Run as `python -m tests.publishers.large_result URL BUCKET MIB`. It writes the MiB above idle,
and the size of what was stored.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets

BLOCK = 1024 * 1024


def memory(key: str) -> int:
    """Bytes, as the kernel says."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


async def main(url: str, bucket: str, mib: int) -> None:
    results = Bucket(bucket)
    broker = NatsBroker(url, logger=None)
    buckets = Buckets(broker, results)

    @broker.subscriber(f"make-{bucket}.{{name}}")
    @results.publisher("{name}")
    async def make(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield number.to_bytes(4, "big") * (BLOCK // 4)

    await broker.start()
    await broker.request(1, f"make-{bucket}.small", timeout=60)
    idle = memory("VmRSS")
    # The peak is counted from here on.
    Path("/proc/self/clear_refs").write_text("5")
    await broker.request(mib, f"make-{bucket}.large", timeout=600)
    peak = memory("VmHWM")
    info = await (await buckets.open(bucket)).get_info("large")
    await broker.stop()
    print((peak - idle) / 1024**2, info.size)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
