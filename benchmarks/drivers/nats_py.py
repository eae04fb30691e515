"""nats-py's own object store."""

import io
from typing import Any

import nats

from benchmarks.drivers.protocol import Client, serve


class NatsPy(Client):
    """`JetStreamContext.object_store`."""

    packages = ("nats-py",)
    # Each leaves a consumer behind, and a stream has 1,000 of them at most.
    most_gets = 900

    async def connect(self, url: str) -> None:
        """Connect."""
        self._client = await nats.connect(url)
        self._js = self._client.jetstream()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def open(self, bucket: str) -> Any:
        """The store."""
        return await self._js.object_store(bucket)

    async def put(self, store: Any, name: str, data: bytes) -> None:
        """Put bytes."""
        await store.put(name, data)

    async def get(self, store: Any, name: str) -> int:
        """Get bytes."""
        return len((await store.get(name)).data)

    async def get_large(self, store: Any, name: str) -> int:
        """Get through `writeinto`; without it, `bytes` grow by one chunk at a time."""
        file = io.BytesIO()
        await store.get(name, writeinto=file)
        return file.tell()

    async def list(self, store: Any) -> int:
        """List."""
        return len(await store.list(ignore_deletes=True))


if __name__ == "__main__":
    serve(NatsPy())
