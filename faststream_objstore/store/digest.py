"""SHA-256 of a stream of chunks, computed beside the event loop."""

import asyncio
import hashlib

__all__ = ("Digest",)

# A thread hand-over costs about as much as hashing 64 KiB; below this it is done inline.
_INLINE = 64 * 1024
# Enough to make hand-overs rare, little enough to keep memory bounded.
_BATCH = 1024 * 1024

Buffer = bytes | bytearray | memoryview


class Digest:
    """Hashes chunks in order, large ones in a thread while the caller goes on.

    A chunk must not change after it was added.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def add(self, chunk: Buffer) -> None:
        """Add the next chunk; waits only while a whole batch is being hashed."""
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes >= _BATCH:
            await self._settle()
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._running = asyncio.get_running_loop().run_in_executor(
                None, self._update, batch
            )

    async def result(self) -> bytes:
        """The 32 bytes of everything added."""
        await self._settle()
        if self._waiting_bytes > _INLINE:
            await asyncio.get_running_loop().run_in_executor(None, self._update, self._waiting)
        else:
            self._update(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return self._sha256.digest()

    async def _settle(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running

    def _update(self, batch: list[Buffer]) -> None:
        for chunk in batch:
            self._sha256.update(chunk)
