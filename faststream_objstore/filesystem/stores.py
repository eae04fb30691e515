"""The source of a file system's buckets: a connection of its own, or a store."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.servers import addresses, connect
from faststream_objstore.exceptions import NotConnectedError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket

__all__ = ("ConnectedStores", "OneStore", "Stores", "default_servers")


def default_servers() -> str:
    """`NATS_URL`, or a server on this machine."""
    return os.environ.get("NATS_URL") or "nats://127.0.0.1:4222"


class Stores(Protocol):
    """The stores of buckets, by their names."""

    async def open(self, bucket: str) -> ObjectStore:
        """The store of an existing bucket."""

    async def create(self, bucket: str) -> None:
        """Create a bucket."""

    async def names(self) -> list[str]:
        """The names of all buckets."""

    def forget(self, bucket: str) -> None:
        """Forget a deleted bucket; a new one with that name is a different bucket."""

    async def close(self) -> None:
        """Close what was opened."""


class OneStore:
    """The store from which a file system was made, and other buckets of its server.

    Args:
        store: The store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def open(self, bucket: str) -> ObjectStore:
        """The store itself, or that of another bucket of its server."""
        return await self._store.beside(bucket)

    async def create(self, bucket: str) -> None:
        """Refuse: buckets are declared.

        Raises:
            PermissionError: Always.
        """
        msg = f"Bucket {bucket!r} is not made by a file system of '{self._store.bucket}'."
        raise PermissionError(msg)

    async def names(self) -> list[str]:
        """This bucket's name."""
        return [self._store.bucket]

    def forget(self, bucket: str) -> None:
        """Do nothing; the store looks after itself."""

    async def close(self) -> None:
        """Do nothing; the connection is somebody else's."""


class ConnectedStores:
    """The buckets of a server, on a connection that is made at the first call.

    Args:
        servers: The server's address, or several of a cluster, in one text or several.
        options: What else `nats.connect` takes.
        timeout: Seconds that one step may take.
        domain: The JetStream domain, if not the server's own.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        options: Mapping[str, Any],
        timeout: float,
        domain: str | None = None,
    ) -> None:
        self.client: Client | None = None
        self._servers = addresses(servers)
        self._options = options
        self._timeout = timeout
        self._prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        self._lock: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stores: dict[str, ObjectStore] = {}

    async def _server(self) -> JetStreamServer:
        self._enter_loop()
        # A lock belongs to the loop that it is first used in.
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self.client is None or self.client.is_closed:
                self._stores.clear()
                self.client = await connect(self._servers, self._options)
        return JetStreamServer(self.client, prefix=self._prefix, timeout=self._timeout)

    def _enter_loop(self) -> None:
        """Leave the connection behind that belongs to a loop which has ended.

        fsspec keeps file systems, so `asyncio.run` may find that of the call before it; its
        calls would wait for a loop that does not run any more.

        Raises:
            NotConnectedError: If the other loop has not ended.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            msg = (
                "This file system is in use in another event loop; make one for this loop "
                "with skip_instance_cache=True."
            )
            raise NotConnectedError(msg)
        self._loop, self._lock, self.client = loop, None, None
        self._stores.clear()

    async def open(self, bucket: str) -> ObjectStore:
        """The store of a bucket that exists."""
        server = await self._server()
        store = self._stores.get(bucket)
        if store is None:
            store = ObjectStore.on(await server.open(bucket))
            self._stores[bucket] = store
        return store

    async def create(self, bucket: str) -> None:
        """Make a bucket with the server's defaults."""
        await bind_bucket(await self._server(), ObjectStoreConfig(bucket=bucket))

    async def names(self) -> list[str]:
        """The names of all buckets."""
        return await (await self._server()).buckets()

    def forget(self, bucket: str) -> None:
        """Look it up anew at the next call."""
        self._stores.pop(bucket, None)

    async def close(self) -> None:
        """Close the connection."""
        client, self.client = self.client, None
        self._stores.clear()
        # That of a loop which has ended went with it.
        if client is not None and self._loop is asyncio.get_running_loop():
            with suppress(nats.errors.Error, OSError):
                await client.close()
