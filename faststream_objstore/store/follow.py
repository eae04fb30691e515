"""Sweeping a bucket that follows others: what its origins no longer have."""

import asyncio
from typing import NamedTuple

from .. import wire
from ..backends.base import Backend
from ..backends.origins import named
from ..exceptions import BadObjectMetaError, StoreTimeoutError
from ..models import Mirror
from .lag import behind, newest_in, position_in

__all__ = ("Gone", "Held", "gone_from_origins")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Held(NamedTuple):
    """A metadata message that the bucket has.

    Attributes:
        subject: Its subject.
        sequence: Its sequence here.
        time_ns: When it was stored.
        chunks: The subject of the chunks that it refers to, if any.
    """

    subject: str
    sequence: int
    time_ns: int
    chunks: str | None


class Gone(NamedTuple):
    """What a bucket has and its origins have not.

    Attributes:
        metadata: Metadata messages, oldest first.
        chunks: Subjects of chunks.
        held: All metadata messages that the bucket has.
        certain: Whether the bucket has everything that its origins had when they were asked.
            If its server does not tell, only age speaks for a removal.
    """

    metadata: list[Held]
    chunks: set[str]
    held: list[Held]
    certain: bool


async def gone_from_origins(backend: Backend) -> Gone:
    """Find what a bucket has and its origins no longer have.

    Removals at an origin do not travel. A chunk may be missing there and be needed here, while
    the metadata that replaced its version is on its way; so what the origins have is compared
    with what is here once all that has arrived.

    Raises:
        OriginRecreatedError: If an origin was deleted and made anew.
        BucketNotFoundError: If an origin does not exist.
        JetStreamNotEnabledError: If the domain of an origin is out of reach.
        StoreTimeoutError: If the bucket has not caught up within its timeout.
    """
    bucket = backend.bucket
    state = await backend.state()
    chunks = (await backend.subjects(wire.all_chunks_subject(bucket))).keys()
    there: set[str] = set()
    certain = True
    for index, origin in enumerate(backend.origins):
        source = (await behind(backend, origin, index, state)).backend
        prefix = f"$O.{origin.bucket}."
        for every in wire.all_chunks_subject, wire.all_metadata_subject:
            for subject in await source.subjects(every(origin.bucket)):
                there.add(f"$O.{bucket}.{subject[len(prefix) :]}")
        certain = await _caught_up(backend, source, origin, index) and certain
    held = await _held(backend)
    # What is newer may have been stored at an origin after it was asked.
    metadata = [
        one
        for one in held
        if certain and one.sequence <= state.last_sequence and one.subject not in there
    ]
    return Gone(metadata, {*chunks} - there, held, certain)


async def _caught_up(backend: Backend, source: Backend, origin: Mirror, index: int) -> bool:
    """Wait for what an origin has now; returns whether it is known to have arrived."""
    until = (await source.state()).last_sequence
    until = min(until, await newest_in(source))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + backend.timeout
    pause = _FIRST_PAUSE
    while True:
        position = position_in(await backend.state(), index)
        if (position or 0) >= until:
            return True
        if position is None:
            return False
        if loop.time() + pause > deadline:
            msg = (
                f"Bucket '{backend.bucket}' is not swept: it is {until - position} messages "
                f"behind the {named([origin])}; try again when it has caught up."
            )
            raise StoreTimeoutError(msg, bucket=backend.bucket)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _held(backend: Backend) -> list[Held]:
    found: list[Held] = []
    async with backend.messages(wire.all_metadata_subject(backend.bucket)) as stream:
        while messages := await stream.take():
            for message in messages:
                chunks: str | None = None
                try:
                    info, _ = wire.info_of(message, backend.bucket)
                    if info.nuid and not info.deleted and not info.is_link():
                        chunks = wire.chunk_subject(backend.bucket, info.nuid)
                except BadObjectMetaError:
                    if nuid := wire.nuid_in(message.data):
                        chunks = wire.chunk_subject(backend.bucket, nuid)
                found.append(Held(message.subject, message.sequence, message.time_ns, chunks))
    return found
