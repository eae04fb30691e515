"""Ranges: the chunks that hold some bytes of an object, and only those."""

from contextlib import AsyncExitStack

from ..backends.base import MessageStream
from .get import Version, only_chunk, opened

__all__ = ("read_range",)

# A few chunks too many cost less than one more look for the first.
_SKIPPED = 2


async def read_range(version: Version, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` (exclusive), from the chunks that hold them and one more.

    The digest is of the whole, so it cannot be verified here; number and size of the
    chunks are.
    """
    info, backend = version.info, version.backend
    stop = min(stop, info.size)
    if start >= stop:
        return b""
    if info.chunks == 1:
        return (await only_chunk(version))[start:stop]
    chunk_size = info.options.max_chunk_size if info.options else None
    if not info.chunks or not chunk_size:
        return await _scan(version, start, stop)

    # Chunks carry no number: where one is missing, the next would be taken for it.
    stored = (await backend.subjects(version.subject)).get(version.subject, 0)
    if stored != info.chunks:
        raise await version.lost(f"{stored} of its {info.chunks} chunks are there")
    last = await version.last_chunk()
    if last is None:
        raise await version.lost("its chunks are missing")
    # Some clients store short chunks in the middle. If the last one has just the bytes
    # that full chunks before it leave, then they are full.
    if len(last.data) != info.size - (info.chunks - 1) * chunk_size:
        return await _scan(version, start, stop)

    first_chunk, last_chunk = start // chunk_size, (stop - 1) // chunk_size
    parts: list[bytes] = []
    wanted = last_chunk - first_chunk + 1
    from_stream = wanted - (last_chunk == info.chunks - 1)
    if from_stream:
        async with AsyncExitStack() as stack:
            stream, skip = await _seek(version, stack, first_chunk, last.sequence, from_stream)
            async for message in stream:
                if skip:
                    skip -= 1
                    continue
                if len(message.data) != chunk_size:
                    raise await version.lost("a chunk has another size than it should")
                parts.append(message.data)
                if len(parts) == from_stream:
                    break
        if len(parts) != from_stream:
            raise await version.lost("chunks are missing")
    if from_stream != wanted:
        parts.append(last.data)
    whole = parts[0] if len(parts) == 1 else b"".join(parts)
    offset = first_chunk * chunk_size
    return whole[start - offset : stop - offset]


async def _seek(
    version: Version, stack: AsyncExitStack, index: int, last_sequence: int, count: int
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
                version.backend.messages(version.subject, start_sequence=guess)
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


async def _scan(version: Version, start: int, stop: int) -> bytes:
    """The range by reading from the front, where chunk sizes are not known."""
    parts: list[bytes] = []
    position = 0
    async with opened(version) as stream:
        async for message in stream:
            parts.append(message.data[max(0, start - position) : max(0, stop - position)])
            position += len(message.data)
            if position >= stop:
                return b"".join(parts)
    raise await version.lost(f"{position} of its {version.info.size} bytes are there")
