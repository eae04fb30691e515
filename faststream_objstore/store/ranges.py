"""Ranges: the chunks that hold some bytes of an object, and only those."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from ..backends.base import MessageStream
from .get import Version, only_chunk, opened

__all__ = ("read_range", "stream_range")

# A few chunks too many cost less than one more look for the first.
_SKIPPED = 2
# What is older is on every replica that answers.
_SETTLED_SECONDS = 60


async def read_range(version: Version, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` (exclusive), in one piece; see `stream_range`."""
    async with aclosing(stream_range(version, start, stop)) as pieces:
        parts = [piece async for piece in pieces]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def stream_range(
    version: Version, start: int, stop: int, *, window: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Bytes `start` to `stop` (exclusive), from the chunks that hold them and one more.

    The digest is of the whole, so it cannot be verified here; number and size of the
    chunks are.

    Args:
        version: What to read.
        start: First byte.
        stop: Byte after the last; what lies beyond the end is left out.
        window: Bytes that may be under way or wait to be read.
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

    # Chunks carry no number: where one is missing, the next would be taken for it.
    stored = (await backend.subjects(version.subject)).get(version.subject, 0)
    if stored != info.chunks:
        raise await version.lost(f"{stored} of its {info.chunks} chunks are there")
    if await _may_be_behind(version):
        async with aclosing(_scan(version, start, stop, window)) as pieces:
            async for piece in pieces:
                yield piece
        return
    last = await version.last_chunk()
    if last is None:
        raise await version.lost("its chunks are missing")
    # Some clients store short chunks in the middle. If the last one has just the bytes
    # that full chunks before it leave, then they are full.
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
                    raise await version.lost("a chunk has another size than it should")
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

    Their place is found by how many there are from a sequence on, and a replica that lags
    counts too few: another chunk would be taken for the one that is looked for.
    """
    if not version.backend.may_lag:
        return False
    put, now = version.info.mtime, (await version.backend.state()).time_ns
    return put is None or now - put.timestamp() * 1e9 < _SETTLED_SECONDS * 1e9


def _cut(chunk: bytes, position: int, start: int, stop: int) -> bytes:
    """What of a chunk that stands at `position` is within the range."""
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
    """A stream that begins at chunk `index` or a little before, and how many before.

    Chunks of one put are often neighbours in the stream, but other writers may come
    between. How many chunks there are from a sequence on tells where it is, without a
    chunk being transferred.
    """
    chunks = version.info.chunks
    # `low` is at the chunk or before it, `high` behind it; counted back from the last
    # chunk as if all were neighbours, the first guess is never before it.
    low, high = 0, last_sequence + 1
    guess, reach = last_sequence - (chunks - 1 - index), 1
    while True:
        async with AsyncExitStack() as attempt:
            stream = await attempt.enter_async_context(
                version.backend.messages(version.subject, start_sequence=guess, window=window)
            )
            found = chunks - stream.pending
            if found < 0 or (found > index and guess <= 1):
                raise await version.lost(f"{stream.pending} of its {chunks} chunks are there")
            if 0 <= index - found <= _SKIPPED:
                stream.limit(index - found + count)
                stack.push_async_exit(attempt.pop_all())
                return stream, index - found
        if found > index:
            high = guess
        else:
            low = guess
        if high - low <= 1:
            # Only where chunks are being removed meanwhile.
            raise await version.lost("its chunks are going")
        if low:
            guess = (low + high) // 2
        else:
            guess = max(1, guess - max(found - index, reach))
            reach *= 4


async def _scan(
    version: Version, start: int, stop: int, window: int | None
) -> AsyncGenerator[bytes, None]:
    """The range by reading from the front, where chunk sizes are not known."""
    position = 0
    async with opened(version, window=window) as stream:
        async for message in stream:
            if part := _cut(message.data, position, start, stop):
                yield part
            position += len(message.data)
            if position >= stop:
                return
    raise await version.lost(f"{position} of its {version.info.size} bytes are there")
