"""natsio's object store; Python 3.13."""

from typing import Any

import natsio  # type: ignore[import-not-found]

from benchmarks.drivers.protocol import Client, serve


class Natsio(Client):
    """natsio."""

    packages = ("natsio",)

    async def connect(self, url: str) -> None:
        """Connect."""
        self._client = await natsio.connect(url)
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
        return len(await store.get_bytes(name))

    async def list(self, store: Any) -> int:
        """List."""
        return len(await store.list())


if __name__ == "__main__":
    serve(Natsio())
