"""pytest fixtures: an embedded NATS server that is cleaned after each test, and a bucket.

Opt in, in the `conftest.py` of the root folder::

    pytest_plugins = ["faststream_objstore.pytest_plugin"]

It needs `pip install 'faststream-objstore[testing]'`. The fixtures are synchronous, and the
store connects in whichever event loop uses it, so they work with anyio's plugin, with
pytest-asyncio in each of its modes and loop scopes, and in tests that call `asyncio.run`.

| fixture | scope | value |
| --- | --- | --- |
| `nats_server` | session | the running `NatsServer`, one for each pytest-xdist worker |
| `nats_url` | function | its address; streams that the test creates are deleted afterwards |
| `bucket_name` | function | a bucket name of this test's own, on the server of `nats_url` |
| `object_store` | function | the `ObjectStore` of a new, empty bucket of that name |

Options: `--nats-server-binary`, and in pytest's settings `nats_server_binary` and
`nats_server_config`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from .backends.base import Backend
from .backends.jetstream import JetStreamServer
from .store import ObjectStore
from .testing import NatsServer, NatsServerError, NatsServerNotFoundError

__all__ = ("bucket_name", "nats_server", "nats_url", "object_store")

_T = TypeVar("_T")

_BINARY = "nats_server_binary"
_CONFIG = "nats_server_config"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; see the module."""
    binary = "the nats-server of the fixture nats_server: a path, or a name on PATH"
    group = parser.getgroup("faststream-objstore", "embedded NATS server")
    group.addoption("--nats-server-binary", dest=_BINARY, metavar="PATH", help=binary)
    parser.addini(_BINARY, f"{binary}; a path is relative to this file", default="")
    parser.addini(
        _CONFIG,
        "text in nats-server's configuration language for the fixture nats_server",
        default="",
    )


@pytest.fixture(scope="session")
def nats_server(pytestconfig: pytest.Config) -> Iterator[NatsServer]:
    """A running `NatsServer`: on a free port, with JetStream, for the whole session.

    A test may stop, kill and start it; it is started again for the next test that uses
    `nats_url`.
    """
    server = NatsServer(
        binary=_binary(pytestconfig), config=pytestconfig.getini(_CONFIG) or None
    )
    stack = AsyncExitStack()
    _run(stack.enter_async_context(server))
    yield server
    _run(stack.aclose())


@pytest.fixture
def nats_url(nats_server: NatsServer) -> Iterator[str]:
    """The address of `nats_server`; streams that the test creates are deleted afterwards.

    A service under test therefore starts as on a new server, whatever its buckets are
    called. Streams that existed before, say from a fixture with a wider scope, stay.
    """
    before = _run(_streams(nats_server))
    yield nats_server.url
    _run(_delete_streams(nats_server, keep=before))


@pytest.fixture
def bucket_name(request: pytest.FixtureRequest, nats_url: str) -> str:  # noqa: ARG001
    """A unique bucket name that starts with the test's name; no bucket is created."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", request.node.name)[:40].strip("-")
    return f"{name}-{uuid4().hex[:8]}"


@pytest.fixture
def object_store(
    nats_server: NatsServer, bucket_name: str, _objstore_connections: "_Connections"
) -> ObjectStore:
    """The `ObjectStore` of a new, empty bucket called `bucket_name`.

    It connects when it is first used, in the event loop that uses it; the connection is
    closed together with that loop.
    """
    _run(_create_bucket(nats_server, bucket_name))

    return ObjectStore(bucket_name, partial(_objstore_connections.backend, bucket_name))


@pytest.fixture(scope="session")
def _objstore_connections(nats_server: NatsServer) -> "_Connections":
    return _Connections(nats_server.url)


def _binary(config: pytest.Config) -> Path | str | None:
    given, base = config.getoption(_BINARY), config.invocation_params.dir
    if not given:
        given, base = config.getini(_BINARY), (config.inipath or config.rootpath / "_").parent
    # A bare name is looked up on PATH. A test may change the directory before the start.
    return base / given if Path(given).name != given else given or None


def _run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to completion in a thread, apart from any event loop of a test."""
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, coroutine).result()
    except NatsServerError as error:
        message = str(error)
        if isinstance(error, NatsServerNotFoundError):
            message += ", or name one with --nats-server-binary PATH"
    raise pytest.fail.Exception(message, pytrace=False)


@asynccontextmanager
async def _connected(server: NatsServer) -> AsyncIterator[Client]:
    if not server.running:
        await server.start()
    client = Client()
    try:
        try:
            # `max_reconnect_attempts` limits the attempts at the first connection too.
            await client.connect(
                server.url,
                allow_reconnect=False,
                max_reconnect_attempts=5,
                reconnect_time_wait=0,
            )
        except nats.errors.Error as error:
            msg = (
                f"The fixtures cannot connect to {server.url} ({error}): {_CONFIG} must allow "
                "clients without credentials. For another kind of server, write your own "
                "fixture with NatsServer(config=...)."
            )
            raise NatsServerError(msg) from error
        yield client
    finally:
        await client.close()


async def _streams(server: NatsServer) -> set[str]:
    async with _connected(server) as client:
        return await _names(client)


async def _delete_streams(server: NatsServer, *, keep: set[str]) -> None:
    async with _connected(server) as client:
        for name in await _names(client) - keep:
            await client.jetstream().delete_stream(name)


async def _names(client: Client) -> set[str]:
    names = set[str]()
    while page := await client.jetstream().streams_info(offset=len(names)):
        names |= {info.config.name or "" for info in page}
    return names


async def _create_bucket(server: NatsServer, name: str) -> None:
    async with _connected(server) as client:
        await ObjectStore.bind(client, name, declare=True)


class _Connections:
    """One connection for each event loop that needs one, closed with that loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._of_loop: dict[asyncio.AbstractEventLoop, _Connection] = {}

    async def backend(self, bucket: str) -> Backend:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            msg = (
                "The fixture object_store needs asyncio, as nats-py does; with anyio, define "
                'a fixture anyio_backend that returns "asyncio".'
            )
            raise RuntimeError(msg) from None
        connection = self._of_loop.setdefault(loop, _Connection())
        async with connection.lock:
            if connection.server is None or connection.server.client.is_closed:
                connection.lifetime = self._open(loop)
                connection.server = await anext(connection.lifetime)
            return await connection.server.open(bucket)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> AsyncIterator[JetStreamServer]:
        # A fixture cannot know which loop a test will run in, nor act in it afterwards. But
        # whatever closes a loop (asyncio.run, the runners of pytest plugins) first closes
        # the async generators that are open in it: this one, and with it the connection.
        client = await nats.connect(self._url, reconnect_time_wait=0.1)
        try:
            yield JetStreamServer(client)
        finally:
            self._of_loop.pop(loop, None)
            await client.close()


class _Connection:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.lifetime: AsyncIterator[JetStreamServer] | None = None
        self.server: JetStreamServer | None = None
