"""Ranges: reading only the chunks that hold certain bytes of an object."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from ..backends.base import MessageStream
from .get import Version, only_chunk, opened

__all__ = ("read_range", "stream_range")

# Skipping a few chunks costs less than searching for the first one once more.
_SKIPPED = 2
# Objects older than this are on every replica that answers.
_SETTLED_SECONDS = 60


async def read_range(version: Version, start: int, stop: int) -> bytes:
    """Read the bytes from `start` to `stop` (exclusive) at once; see `stream_range`."""
    async with aclosing(stream_range(version, start, stop)) as pieces:
        parts = [piece async for piece in pieces]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def stream_range(
    version: Version, start: int, stop: int, *, window: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Read the bytes from `start` to `stop` (exclusive): their chunks, and the last one.

    The digest covers the whole object, so it cannot be verified here; the number and size
    of the chunks are.

    Args:
        version: The version to read.
        start: The first byte.
        stop: The byte after the last one; a range that exceeds the object is cut.
        window: How many bytes may be in flight or waiting to be read.
    """
    info, backend = version.info, version.backend
    stop = min(stop, info.size)
    if start >= stop:
        return
    if info.chunks == 1:
        yield (await only_chunk(version))[start:stop]
        return
    chunk_size = info.options.max_chunk_size if info.options else None
    if not info.chunks or not chunk_size:
        async with aclosing(_scan(version, start, stop, window)) as pieces:
            async for piece in pieces:
                yield piece
        return

    # Chunks are not numbered: if one is missing, the next would be taken for it.
    stored = (await backend.subjects(version.subject)).get(version.subject, 0)
    if stored != info.chunks:
        raise await version.lost(f"{stored} of its {info.chunks} chunks were found")
    if await _may_be_behind(version):
        async with aclosing(_scan(version, start, stop, window)) as pieces:
            async for piece in pieces:
                yield piece
        return
    last = await version.last_chunk()
    if last is None:
        raise await version.lost("its chunks are missing")
    # Some clients store short chunks in the middle. If the last chunk has exactly the bytes
    # that full chunks before it would leave, then they are full.
    if len(last.data) != info.size - (info.chunks - 1) * chunk_size:
        async with aclosing(_scan(version, start, stop, window)) as pieces:
            async for piece in pieces:
                yield piece
        return

    first_chunk, last_chunk = start // chunk_size, (stop - 1) // chunk_size
    position = first_chunk * chunk_size
    from_stream = last_chunk - first_chunk + 1 - (last_chunk == info.chunks - 1)
    if from_stream:
        left = from_stream
        async with AsyncExitStack() as stack:
            stream, skip = await _seek(
                version, stack, first_chunk, last.sequence, from_stream, window
            )
            async for message in stream:
                if skip:
                    skip -= 1
                    continue
                if len(message.data) != chunk_size:
                    raise await version.lost("a chunk does not have the expected size")
                yield _cut(message.data, position, start, stop)
                position += chunk_size
                left -= 1
                if not left:
                    break
        if left:
            raise await version.lost("chunks are missing")
    if last_chunk == info.chunks - 1:
        yield _cut(last.data, position, start, stop)


async def _may_be_behind(version: Version) -> bool:
    """Whether a replica may not have all of the chunks yet.

    A chunk is located by counting those from a sequence on; a lagging replica counts too
    few, so a wrong chunk would be returned.
    """
    if not version.backend.may_lag:
        return False
    put, now = version.info.mtime, (await version.backend.state()).time_ns
    return put is None or now - put.timestamp() * 1e9 < _SETTLED_SECONDS * 1e9


def _cut(chunk: bytes, position: int, start: int, stop: int) -> bytes:
    """The part of a chunk at `position` that is within the range."""
    if start <= position and position + len(chunk) <= stop:
        return chunk
    return chunk[max(0, start - position) : max(0, stop - position)]


async def _seek(
    version: Version,
    stack: AsyncExitStack,
    index: int,
    last_sequence: int,
    count: int,
    window: int | None,
) -> tuple[MessageStream, int]:
    """Open a stream at chunk `index` or slightly before, and say how many chunks before.

    The chunks of one put are often adjacent in the stream, but other writers may come
    between. The number of chunks from a sequence on locates one without transferring any.
    """
    chunks = version.info.chunks
    # `low` is at or before the chunk, `high` after it. The first guess counts back from the
    # last chunk as if all were adjacent, so it is never before the chunk.
    low, high = 0, last_sequence + 1
    guess, reach = last_sequence - (chunks - 1 - index), 1
    while True:
        async with AsyncExitStack() as attempt:
            stream = await attempt.enter_async_context(
                version.backend.messages(version.subject, start_sequence=guess, window=window)
            )
            found = chunks - stream.pending
            if found < 0 or (found > index and guess <= 1):
                raise await version.lost(f"{stream.pending} of its {chunks} chunks were found")
            if 0 <= index - found <= _SKIPPED:
                stream.limit(index - found + count)
                stack.push_async_exit(attempt.pop_all())
                return stream, index - found
        if found > index:
            high = guess
        else:
            low = guess
        if high - low <= 1:
            # Only possible if chunks are removed at the same time.
            raise await version.lost("its chunks are being removed")
        if low:
            guess = (low + high) // 2
        else:
            guess = max(1, guess - max(found - index, reach))
            reach *= 4


async def _scan(
    version: Version, start: int, stop: int, window: int | None
) -> AsyncGenerator[bytes, None]:
    """Read a range by scanning from the start, if chunk sizes are not known."""
    position = 0
    async with opened(version, window=window) as stream:
        async for message in stream:
            if part := _cut(message.data, position, start, stop):
                yield part
            position += len(message.data)
            if position >= stop:
                return
    raise await version.lost(f"{position} of its {version.info.size} bytes were found")
