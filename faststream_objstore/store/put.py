"""Put: chunks first, then the metadata that makes them an object."""

import asyncio
import hashlib
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, TypeAlias

from .. import wire
from ..backends.base import Backend, ChunkUpload, WrongRevision
from ..exceptions import (
    ConnectionLostError,
    IncompleteObjectError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
    UnsupportedDataError,
)
from ..messages import StoredMessage
from ..models import ObjectInfo, new_info
from ..settling import run_to_completion
from . import expiry, kept, lifetime, metadata, modes
from .digest import INLINE, BufferDigest, Digest
from .modes import Condition, Decision
from .sources import Source

__all__ = ("Novelty", "Progress", "Sending", "put_object", "report")

Sent: TypeAlias = tuple[ObjectInfo, ChunkUpload, metadata.Entry]
"""The new version, its chunks, and what it replaces."""

Progress: TypeAlias = Callable[[int, "int | None"], "Awaitable[None] | None"]
"""Called with the bytes done and the total bytes (`None` if unknown)."""

_PAUSE_SECONDS = 0.3

# Servers measure the age of messages with a coarse clock.
_COARSE_SECONDS = 1.0

# After this many puts of new names, the next name is assumed to be new too: overwriting a few
# objects in turn never gets there, and one wrong guess costs as much as three right ones save.
_NEW_IN_A_ROW = 8


async def report(progress: Progress, done: int, total: int | None) -> None:
    """Call a progress callback, sync or async."""
    if inspect.isawaitable(told := progress(done, total)):
        await told


async def put_object(
    backend: Backend,
    info: ObjectInfo,
    source: Source,
    *,
    chunk_size: int,
    condition: Condition,
    progress: Progress | None,
    novelty: "Novelty",
    ttl: timedelta | expiry.Until | None = None,
    amends: dict[str, Any] | None = None,
) -> tuple[ObjectInfo, StoredMessage]:
    """Store a new version, completely or not at all.

    Args:
        backend: The bucket.
        info: The name and the metadata; the remaining fields are filled in.
        source: The content.
        chunk_size: The size in bytes of each chunk except the last.
        condition: What it may replace.
        progress: Called after each chunk.
        novelty: Whether recent puts were of new names.
        ttl: How long it lives.
        amends: The JSON of the version of which it keeps what this package does not know.

    Raises:
        FeatureNotEnabledError, InvalidOptionError: If it cannot have that `ttl`.
        ObjectAlreadyExists, RevisionMismatchError: If the condition does not hold.
        UnsupportedDataError: If the data yields anything other than bytes.
    """
    subject = metadata.subject_of(backend, info.name)
    metadata.require_fits(backend, info)
    life = await expiry.settle(backend, info.name, ttl)
    before: metadata.Entry | None = None
    if condition is not None:
        before = await metadata.find(backend, subject, leader=True)
        modes.require(backend.bucket, info.name, before, condition)
        if isinstance(condition, Decision):
            await condition.before_sending(before)
    elif novelty.expected:
        # If it is not new, the stream refuses it, and the name is then looked up.
        before = metadata.Entry()
    sending = Sending(backend, subject, info, source, chunk_size, progress, life)
    version, upload, before = await sending.done(before)
    commit = _Commit(
        backend, subject, version, upload, before, condition, sending.began, life, amends
    )
    written = await commit.done()
    novelty.saw(new=commit.created)
    return written


class Novelty:
    """Predicts whether the next put is of a new name, from the most recent ones.

    For a new name nothing has to be looked up, which is a third of the cost of a small put. A
    wrong prediction costs the put two extra round trips.
    """

    def __init__(self) -> None:
        self._new_in_a_row = 0

    @property
    def expected(self) -> bool:
        """Whether to expect a new name."""
        return self._new_in_a_row >= _NEW_IN_A_ROW

    def saw(self, *, new: bool) -> None:
        """Record whether a put was of a new name."""
        self._new_in_a_row = self._new_in_a_row + 1 if new else 0


class Sending:
    """The chunks of a new version while they are being stored.

    Attributes:
        began: When the first of them was sent, by the loop's clock.
    """

    def __init__(
        self,
        backend: Backend,
        subject: str,
        info: ObjectInfo,
        source: Source,
        chunk_size: int,
        progress: Progress | None,
        life: expiry.Life | None = None,
    ) -> None:
        self._backend = backend
        self._subject = subject
        self._info = info
        self._source = source
        self._chunk_size = chunk_size
        self._progress = progress
        self._chunk_ttl = expiry.chunk_seconds(life)
        self.began: float = 0.0

    def done(self, before: metadata.Entry | None) -> Coroutine[Any, Any, Sent]:
        """Store them; again with another nuid if the connection or leader was lost meanwhile.

        Args:
            before: What the version replaces; looked up if not given.
        """
        return self._sent(before) if self._source.buffer is not None else self._read(before)

    async def _read(self, before: metadata.Entry | None) -> Sent:
        try:
            return await self._sent(before)
        finally:
            await self._source.close()

    async def _sent(self, before: metadata.Entry | None) -> Sent:
        until: float | None = None
        while True:
            try:
                return await self._once(before)
            except (ConnectionLostError, JetStreamNotEnabledError, StoreAPIError) as error:
                # While a leader is being elected, some chunks were not stored anywhere.
                electing = isinstance(error, StoreAPIError) and error.code == 503
                lost = isinstance(error, ConnectionLostError) or electing
                if isinstance(error, StoreAPIError) and not electing:
                    raise
                if not self._source.repeatable:
                    raise
                loop = asyncio.get_running_loop()
                if until is None:
                    # If the server was unreachable from the start, a second attempt is
                    # pointless.
                    if not lost:
                        raise
                    until = loop.time() + self._backend.timeout
                if loop.time() >= until:
                    raise
                # A server that has just started needs a moment to recover its streams.
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _once(self, before: metadata.Entry | None) -> Sent:
        backend, info = self._backend, self._info
        nuid = metadata.new_nuid()
        subject = wire.chunk_subject(backend.bucket, nuid)
        upload = backend.upload(subject, size=self._source.size, ttl=self._chunk_ttl)
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        try:
            view = self._source.buffer
            if view is None:
                size, chunks, sha256 = await self._pieces(upload)
            elif (
                0 < view.nbytes <= INLINE
                and view.nbytes <= self._chunk_size
                and self._progress is None
            ):
                await upload.write(view)
                size, chunks, sha256 = view.nbytes, 1, hashlib.sha256(view).digest()
            else:
                size, chunks, sha256 = await self._buffer(upload, view)
            if before is None:
                # Only needed now, and requested while the last chunks are still being stored.
                before = await metadata.find(backend, self._subject)
            await upload.finish()
            # If none can have expired, a count proves nothing: a leader that has just been
            # elected may know of fewer messages than were acknowledged before.
            if chunks and backend.max_age:
                lived = loop.time() - self.began + _COARSE_SECONDS
                if backend.max_age <= lived * 1e9:
                    await self._require_unexpired(subject, chunks)
        except BaseException as error:
            await upload.abort()
            if isinstance(error, UnsupportedDataError) and error.bucket is None:
                msg = f"Bucket '{backend.bucket}', object {info.name!r}: {error}"
                raise UnsupportedDataError(
                    msg, bucket=backend.bucket, name=info.name
                ) from None
            raise
        version = new_info(
            info.name,
            info.bucket,
            nuid,
            size,
            chunks,
            wire.encode_digest(sha256),
            description=info.description,
            headers=info.headers,
            metadata=info.metadata,
            options=wire.options_of(self._chunk_size),
        )
        return version, upload, before

    async def _require_unexpired(self, subject: str, chunks: int) -> None:
        found = (await self._backend.subjects(subject)).get(subject, 0)
        if found < chunks:
            bucket, name = self._backend.bucket, self._info.name
            msg = (
                f"Bucket '{bucket}', object {name!r}: {chunks - found} of its {chunks} chunks "
                "expired before the last one was sent; put it faster, or raise the bucket's "
                "ttl."
            )
            raise IncompleteObjectError(msg, bucket=bucket, name=name)

    async def _buffer(self, upload: ChunkUpload, view: memoryview) -> tuple[int, int, bytes]:
        size, step = view.nbytes, self._chunk_size
        digest = BufferDigest(view)
        try:
            for start in range(0, size, step):
                chunk = view[start : start + step]
                await upload.write(chunk)
                if self._progress is not None:
                    await report(self._progress, start + len(chunk), self._source.size)
            return size, -(-size // step), await digest.result()
        finally:
            await digest.stop()

    async def _pieces(self, upload: ChunkUpload) -> tuple[int, int, bytes]:
        digest = Digest()
        size = chunks = 0
        async with aclosing(self._source.chunks(self._chunk_size)) as source:
            async for chunk in source:
                if self._source.is_outgrown(size + len(chunk)):
                    # It can be read no more, so be sure that the stream has a leader.
                    if self._backend.may_lag:
                        await upload.settle()
                    self._source.let_go()
                await upload.write(chunk)
                await digest.add(chunk)
                size += len(chunk)
                chunks += 1
                if self._progress is not None:
                    await report(self._progress, size, self._source.size)
        return size, chunks, await digest.result()


def _is_stored(version: ObjectInfo, now: metadata.Entry) -> bool:
    """Whether a put that was refused is stored: a server that is behind has refused it."""
    return now.holds(version.nuid)


def _message(subject: str, info: ObjectInfo, entry: metadata.Entry) -> StoredMessage:
    """The message of a version of which only the entry is at hand."""
    data = wire.metadata_json(info, entry.raw)
    return StoredMessage(subject, data, entry.revision, time.time_ns(), size=len(data))


class _Commit:
    """The metadata that turns stored chunks into an object, and the steps that follow."""

    def __init__(
        self,
        backend: Backend,
        subject: str,
        version: ObjectInfo,
        upload: ChunkUpload,
        before: metadata.Entry,
        condition: Condition,
        began: float,
        life: expiry.Life | None,
        amends: dict[str, Any] | None,
    ) -> None:
        self._backend = backend
        self._subject = subject
        self._version = version
        self._upload = upload
        self._before = before
        self._condition = condition
        self._began = began
        self._life = life
        self._amends = amends
        self._plan: kept.Plan | None = None
        # Whether there is, or was, a write whose outcome is not known.
        self._unknown = False
        self._cancelled = False

    @property
    def created(self) -> bool:
        """Whether the object was new."""
        return self._before.revision == 0

    async def done(self) -> tuple[ObjectInfo, StoredMessage]:
        """Write it; even if cancelled, it ends up either completely written or not at all."""
        try:
            return await self._run()
        except asyncio.CancelledError:
            # It may be stored, or still be on its way. Writing it again reveals that by
            # compare-and-set. (A task per put that cannot be cancelled would take longer.)
            self._cancelled = True
            with suppress(ObjStoreError, WrongRevision):
                await run_to_completion(self._run(again=self._unknown))
            raise

    async def _run(self, *, again: bool = False) -> tuple[ObjectInfo, StoredMessage]:
        try:
            written = await self._write(again=again)
        except asyncio.CancelledError:
            raise
        except BaseException:
            # After a write with an unknown outcome, these chunks may belong to an object,
            # perhaps by now under another name. If it was replaced since, that writer has
            # removed them; if it was never stored, `sweep` removes them.
            if not self._unknown:
                await self._upload.abort()
            raise
        plan = self._plan
        if plan is not None and (plan.due or self._before.info is not None):
            await kept.settle(self._backend, self._before, plan, by=written[0].revision)
        return written

    async def _write(self, *, again: bool) -> tuple[ObjectInfo, StoredMessage]:
        backend, subject, version = self._backend, self._subject, self._version
        while True:
            if not again:
                modes.require(backend.bucket, version.name, self._before, self._condition)
                if isinstance(self._condition, Decision):
                    await self._condition.before_writing(self._before)
            if self._plan is None:
                # Only once for each replaced version: when written again, it must say the
                # same.
                plan = await kept.plan(backend, self._before, self._amends)
                if self._life is not None or backend.max_age:
                    age = asyncio.get_running_loop().time() - self._began
                    expiry.require_in_time(backend, version.name, self._life, age)
                    raw = lifetime.aged(backend, plan.raw, age)
                    plan = plan._replace(raw=expiry.with_life(raw, self._life))
                self._plan = plan
            self._unknown = True
            try:
                return await metadata.write(
                    backend,
                    subject,
                    version,
                    replaces=self._before.revision,
                    raw=self._plan.raw,
                    again=again,
                )
            except WrongRevision:
                self._unknown = again = False
                try:
                    now = await metadata.find(backend, subject, leader=True)
                except ObjStoreError:
                    # A server that was behind may have refused what is stored.
                    self._unknown = True
                    raise
                if now.info is not None and _is_stored(version, now):
                    # What it has replaced is known; this version must not be taken for that.
                    return now.info, _message(subject, now.info, now)
                if self._cancelled:
                    raise
                self._plan, self._before = None, now
            except PermissionDeniedError:
                # It was refused, although this is a `StoreTimeoutError`.
                self._unknown = False
                raise
            except (StoreTimeoutError, NotConnectedError):
                raise
            except ObjStoreError:
                # It was refused.
                self._unknown = False
                raise
