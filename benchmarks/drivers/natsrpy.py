"""natsrpy's object store, which is async-nats (Rust)."""

import io
from typing import Any

from natsrpy import Nats  # type: ignore[import-not-found]

from benchmarks.drivers.protocol import KIB, Client, serve


class Natsrpy(Client):
    """natsrpy."""

    packages = ("natsrpy",)
    # Each leaves a consumer behind, and a stream has 1,000 of them at most; it ends there.
    most_gets = 900

    async def connect(self, url: str) -> None:
        """Connect."""
        self._client = Nats(addrs=[url])
        await self._client.startup()
        self._stores = (await self._client.jetstream()).object_store

    async def close(self) -> None:
        """Disconnect."""
        await self._client.shutdown()

    async def open(self, bucket: str) -> Any:
        """The store."""
        return await self._stores.get(bucket)

    async def put(self, store: Any, name: str, data: bytes) -> None:
        """Put bytes; its default chunk is larger than a server takes."""
        await store.put(name, data, chunk_size=128 * KIB)

    async def get(self, store: Any, name: str) -> int:
        """Get bytes."""
        file = io.BytesIO()
        await store.get(name, file)
        return file.tell()

    async def list(self, store: Any) -> int:
        """List."""
        count = 0
        async for _ in await store.list():
            count += 1
        return count


if __name__ == "__main__":
    serve(Natsrpy())
