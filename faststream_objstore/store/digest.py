"""SHA-256 of what is put or read, computed outside the event loop."""

import asyncio
import hashlib

from ..settling import run_to_completion

__all__ = ("INLINE", "BufferDigest", "Digest", "LargeSHA256")

# Handing work to a thread costs 60 to 100 us of the loop's time, as much as hashing 100 KiB
# (1.3 GB/s); up to this size it is done inline.
INLINE = 256 * 1024
# Large enough to make hand-overs rare, small enough to keep memory bounded.
_BATCH = 1024 * 1024
# What a thread hashes before it checks whether the digest is still needed.
_PIECE = 16 * 1024 * 1024
# Fits into the cache of one core, and is large enough that a thread seldom has to get the
# interpreter lock back from a busy loop.
_BLOCK = 512 * 1024

Buffer = bytes | bytearray | memoryview


class LargeSHA256:
    """SHA-256 of much memory, which is copied into the processor's cache block by block.

    A hash reads a few bytes at a time, and waits for each cache line that is not there yet. A
    copy does not wait, so that both together take a quarter less time.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._block: memoryview | None = None

    def update(self, data: memoryview) -> None:
        """Add bytes."""
        size = data.nbytes
        if size < 2 * _BLOCK:
            self._sha256.update(data)
            return
        if self._block is None:
            self._block = memoryview(bytearray(_BLOCK))
        for start in range(0, size, _BLOCK):
            block = self._block[: size - start]
            block[:] = data[start : start + _BLOCK]
            self._sha256.update(block)

    def digest(self) -> bytes:
        """The 32-byte digest of everything added."""
        return self._sha256.digest()


class Digest:
    """Hashes chunks in order, many at a time in a thread while the caller goes on.

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
        """The 32-byte digest of everything added."""
        await self._settle()
        if self._waiting_bytes > INLINE:
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
        # Each update releases the interpreter lock and has to get it back from a busy loop,
        # which takes longer than copying the batch.
        self._sha256.update(batch[0] if len(batch) == 1 else b"".join(batch))


class BufferDigest:
    """Hashes a whole buffer while the caller sends it.

    Args:
        buffer: Must not change until `result` or `stop` has returned.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._stopped = False
        self._running: asyncio.Future[bytes] | None = None
        if buffer.nbytes > INLINE:
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(None, self._hashed)

    async def result(self) -> bytes:
        """The 32-byte digest of the buffer."""
        if self._running is None:
            return hashlib.sha256(self._buffer).digest()
        return await asyncio.shield(self._running)

    async def stop(self) -> None:
        """Stop hashing and release the buffer."""
        self._stopped = True
        if self._running is not None and not self._running.done():
            await run_to_completion(self._running)

    def _hashed(self) -> bytes:
        sha256 = LargeSHA256()
        for start in range(0, self._buffer.nbytes, _PIECE):
            if self._stopped:
                break
            sha256.update(self._buffer[start : start + _PIECE])
        return sha256.digest()
