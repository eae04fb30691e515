"""Fixtures of the whole suite: one NATS server for a session, a client for each test."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator

import hypothesis
import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import multi_last
from faststream_objstore.backends.jetstream.lane import keeper
from faststream_objstore.testing import NatsServer

_numbers = itertools.count(1)

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each core, because tests wait for half of their time."""
    affinity = getattr(os, "sched_getaffinity", None)
    return 2 * (len(affinity(0)) if affinity else os.cpu_count() or 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lane",
        choices=["auto", "always", "never"],
        default="auto",
        help="whether stores open a second connection: as they would, at once, or not",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has started this in the background; programs that are interrupted by tests
        # would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests count requests, and a machine may be so busy that a server does not answer for as
    # long as single requests would be worth a try.
    multi_last._PATIENCE_SECONDS = 20.0
    choice = config.getoption("--lane")
    if choice != "auto":
        least = 0 if choice == "always" else 1 << 62
        for name in ("_LARGE_BYTES", "_MANY_MESSAGES", "_MANY_STEPS"):
            assert hasattr(keeper, name)
            setattr(keeper, name, least)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    # Not an async fixture: that would keep one event loop open for the whole session, and
    # a task that one test forgot would run on into the next ones.
    server = NatsServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.url)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def bucket_name() -> str:
    return f"bucket-{os.getpid()}-{next(_numbers)}"
