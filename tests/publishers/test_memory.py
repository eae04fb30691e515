"""A result of any size takes the same memory. `RESULT_MIB=1024` makes it one of 1 GiB."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faststream_objstore.testing import NatsServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for the peak"),
]

MIB = int(os.environ.get("RESULT_MIB", "96"))
MOST_MIB = 64


@pytest.mark.timeout(600)
async def test_result_from_an_async_iterator_takes_constant_memory(
    nats_server: NatsServer, bucket_name: str, record_property: Callable[[str, object], None]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.publishers.large_result",
        nats_server.url, bucket_name, str(MIB),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    above_idle, size = output.split()

    assert int(size) == MIB * 1024**2
    assert float(above_idle) < MOST_MIB
    record_property("MiB above idle", float(above_idle))
