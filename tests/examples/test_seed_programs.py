"""FastStream's guide to object storage, and nats-py's walk through the calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faststream import TestApp
from faststream.nats import TestNatsBroker

from examples import context_bucket
from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]


async def test_guide_runs_under_the_test_broker() -> None:
    async with (
        TestNatsBroker(context_bucket.broker) as broker,
        TestApp(context_bucket.app),
    ):
        context_bucket.handler.mock.assert_called_once_with("Hi!")
        reply = await broker.request("Hi!", "subject")
        assert await reply.decode() == "File mock"


def test_guide_runs_as_a_service(nats_server: NatsServer) -> None:
    script = (
        "import asyncio\n"
        "from examples.context_bucket import app, broker\n"
        "async def main():\n"
        "    async with app:\n"
        "        reply = await broker.request('Hi!', 'subject', timeout=5)\n"
        "        print('the handler read:', await reply.decode())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": nats_server.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "the handler read: File mock" in done.stdout


@pytest.mark.parametrize("embedded", [True, False])
def test_guide_demonstrates_itself(nats_server: NatsServer, embedded: bool) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("NATS_URL", None)
    done = subprocess.run(
        [sys.executable, "examples/context_bucket.py"],
        cwd=ROOT,
        env=env if embedded else {**env, "NATS_URL": nats_server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the handler read: File mock"


def test_walkthrough_shows_each_call(nats_server: NatsServer) -> None:
    done = subprocess.run(
        [sys.executable, "examples/walkthrough.py"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": nats_server.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # 45 bytes 10,000 times, in chunks of 131,072 bytes.
    assert lines[0] == "put       fox.txt: 450000 bytes in 4 chunks"
    assert lines[1] == (
        "get_info  'A pangram, often', {'Content-Type': ['text/plain']}, revision 5"
    )
    assert lines[2] == "get       450000 bytes, the same: True"
    assert lines[3].startswith("list      fox.txt, 450000 bytes, ")
    assert lines[4].startswith("status    1 object, 45")
    assert lines[5] == "delete    True"
    assert "'walkthrough'" in lines[6]
    assert "'fox.txt' has been deleted" in lines[6]
