"""The example of the claim check: as a program, and under the test broker."""

import os
import subprocess
import sys
from pathlib import Path

from faststream.nats import TestNatsBroker

from examples import claim_check
from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]

# {"sensor":"attic","values":[ and ]} around a million numbers and the commas between.
ATTIC = 28 + 1_000_000 * 4 + 999_999 + 2


def run(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/claim_check.py"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_example_sends_more_than_its_server_takes() -> None:
    done = run("")

    assert done.returncode == 0, done.stderr
    first, *summaries, reply, bucket = done.stdout.splitlines()
    assert first == "the server takes messages of 1,048,576 bytes"
    assert sorted(summaries) == [
        "cellar  1,000,000 values, mean 1500.5",
        "roof    1,000,000 values, mean 1500.5",
    ]
    assert reply == f"attic   replied with {ATTIC:,} bytes"
    # "cellar" and "roof" have one letter more and one less than "attic".
    assert bucket == f"bucket  3 bodies, {3 * ATTIC:,} bytes"


async def test_example_uses_the_server_it_is_given(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path, config="max_payload: 256KB") as server:
        done = run(server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the server takes messages of 262,144 bytes\n")


async def test_service_of_the_example_runs_under_the_test_broker() -> None:
    async with TestNatsBroker(claim_check.broker) as broker:
        store = await claim_check.buckets.open("claims")
        await broker.publish(
            claim_check.measurement("roof"), "measurements", stream="MEASUREMENTS"
        )
        (kept,) = await store.list()
        assert kept.size == ATTIC - 1
        assert kept.headers is not None
        assert kept.headers["Content-Type"] == ["application/json"]

        reply = await broker.request("attic", "measurements.of", timeout=30)
        assert await reply.decode() == {"sensor": "attic", "values": [1000, 2001] * 500_000}
