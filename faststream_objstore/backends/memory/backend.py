"""One bucket in memory, which gives other tasks their turns as a network would."""

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ... import wire
from ...exceptions import BucketNotFoundError, InvalidOptionError, ObjStoreError
from ...models import Mirror
from ..base import (
    ConsumerState,
    Deliver,
    EarlyMessage,
    MetadataWrite,
    StoredMessage,
    StreamState,
)
from .reader import MemoryReader
from .stream import MAX_PAYLOAD, Stream, matcher

if TYPE_CHECKING:
    from .server import MemoryServer

__all__ = ("MemoryBackend", "MemoryUpload")

# A server reads control lines of at most 4,096 bytes, and a subject shares its line with the
# reply subject and, in a direct get, a prefix. This is less than JetStream accepts, so that a
# name that passes a test is also accepted in production.
_MAX_SUBJECT = 3_800


class MemoryUpload:
    """A `ChunkUpload`; a chunk is stored when `write` returns."""

    def __init__(self, find: Callable[[], Stream], subject: str, ttl: int = 0) -> None:
        self._find = find
        self._subject = subject
        self._ttl = ttl
        self._headers = len(f"NATS/1.0\r\nNats-TTL: {ttl}s\r\n\r\n") if ttl else 0
        self._refused: ObjStoreError | None = None

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Store a chunk, or immediately raise what a server would answer later."""
        data = bytes(chunk)
        await asyncio.sleep(0)
        self._check()
        try:
            self._find().append(self._subject, data, headers=self._headers, ttl=self._ttl)
        except ObjStoreError as error:
            self._refused = error
            raise

    async def settle(self) -> None:
        """Raise the earlier error again, if there was one; see `ChunkUpload`."""
        self._check()

    async def finish(self) -> None:
        """Raise the earlier error again, if there was one; see `ChunkUpload`."""
        await asyncio.sleep(0)
        self._check()

    async def abort(self) -> None:
        """Remove what was stored; see `ChunkUpload`."""
        # Without suspending, so that a cancelled task completes it.
        with suppress(ObjStoreError):
            self._find().purge(self._subject)

    def _check(self) -> None:
        if self._refused:
            raise self._refused


class MemoryBackend:
    """A `Backend` in memory, made by `MemoryServer`; it looks up its stream at each call."""

    name = "memory"

    def __init__(self, server: "MemoryServer", bucket: str) -> None:
        self.bucket = bucket
        self.timeout: float = 10.0
        self._server = server

    @property
    def metadata(self) -> Mapping[str, str]:
        """The stream's metadata; see `Backend`."""
        try:
            return self._find().config.get("metadata") or {}
        except BucketNotFoundError:
            return {}

    @property
    def max_age(self) -> int:
        """Nanoseconds after which a message goes; see `Backend`."""
        try:
            return self._find().config.get("max_age") or 0
        except BucketNotFoundError:
            return 0

    @property
    def least_ttl(self) -> int:
        """Nanoseconds that a TTL must have at least; see `Backend`."""
        try:
            return wire.least_ttl(self._find().config)
        except BucketNotFoundError:
            return 0

    def latest_time(self) -> int:
        """What the clock says; see `Backend`."""
        return self._server.now()

    @property
    def knows_time(self) -> bool:
        """Always true: it is the only clock."""
        return True

    @property
    def may_lag(self) -> bool:
        """Always false: there is only one replica."""
        return False

    @property
    def atomic(self) -> bool:
        """Whether the bucket has transactions; see `Backend`."""
        try:
            return bool(self._find().config.get("allow_atomic"))
        except BucketNotFoundError:
            return False

    @property
    def origins(self) -> tuple[Mirror, ...]:
        """The buckets that this one follows; see `Backend`."""
        try:
            return self._find().origins
        except BucketNotFoundError:
            return ()

    @property
    def max_payload(self) -> int:
        """A server's default, 1 MiB."""
        return MAX_PAYLOAD

    @property
    def max_subject(self) -> int:
        """Slightly less than on JetStream, so that what passes here passes there."""
        return _MAX_SUBJECT

    async def last_message(
        self,
        subject: str,
        *,
        leader: bool = False,  # noqa: ARG002 - there is one replica
        since: int = 0,  # noqa: ARG002 - and it has everything
        size: int = 0,  # noqa: ARG002 - nothing is under way
    ) -> StoredMessage | None:
        """The newest message of a subject; see `Backend`."""
        return (await self._stream()).last(subject)

    async def last_messages(
        self,
        subjects: Sequence[str],
        *,
        size: int = 0,  # noqa: ARG002 - nothing is under way
    ) -> dict[str, StoredMessage]:
        """The newest messages of several subjects; see `Backend`."""
        stream = await self._stream()
        found = {subject: stream.last(subject) for subject in subjects}
        return {subject: one for subject, one in found.items() if one is not None}

    def early_message(
        self,
        subject: str,  # noqa: ARG002 - nothing takes long
        *,
        size: int,  # noqa: ARG002
    ) -> EarlyMessage | None:
        """Always `None`: nothing would be faster."""
        return None

    async def publish_metadata(
        self,
        subject: str,
        data: bytes,
        *,
        expected_sequence: int,
        ttl: int = 0,
        marker: bool = False,
    ) -> StoredMessage:
        """Replace the subject's messages, compare-and-set; see `Backend`."""
        stream = await self._stream()
        write = MetadataWrite(subject, bytes(data), expected_sequence, ttl, marker)
        message = stream.replace_last(write)
        # The reply's way back: a task cancelled here has written, and does not know it.
        await asyncio.sleep(0)
        return message

    async def publish_batch(self, writes: Sequence[MetadataWrite]) -> list[StoredMessage]:
        """Replace the messages of several subjects, either all or none; see `Backend`."""
        messages = (await self._stream()).replace_all(writes)
        # As above: a task cancelled here has written, and does not know it.
        await asyncio.sleep(0)
        return messages

    def upload(
        self,
        subject: str,
        *,
        size: int | None = None,  # noqa: ARG002 - one way for all sizes
        ttl: int = 0,
    ) -> MemoryUpload:
        """Begin to store chunks; see `Backend`."""
        return MemoryUpload(self._find, subject, ttl)

    def messages(
        self,
        subject: str | Sequence[str],
        *,
        deliver: Deliver = Deliver.ALL,
        start_sequence: int | None = None,
        follow: bool = False,
        headers_only: bool = False,
        size: int | None = None,  # noqa: ARG002 - nothing is under way
        window: int | None = None,  # noqa: ARG002 - nothing is under way
        expected: int | None = None,  # noqa: ARG002 - there is one replica
    ) -> MemoryReader:
        """Read messages in order; see `Backend`."""
        if start_sequence is not None and deliver is not Deliver.ALL:
            msg = f"start_sequence={start_sequence} needs Deliver.ALL, not {deliver}."
            raise InvalidOptionError(msg, bucket=self.bucket)
        return MemoryReader(
            self._find,
            subject,
            deliver=deliver,
            start_sequence=start_sequence,
            follow=follow,
            headers_only=headers_only,
        )

    async def purge(self, subject: str, *, up_to: int | None = None) -> int:
        """Remove every message of a subject; see `Backend`."""
        return (await self._stream()).purge(subject, up_to)

    async def remove(self, sequence: int) -> bool:
        """Remove one message; see `Backend`."""
        return (await self._stream()).remove_one(sequence)

    async def consumers(self) -> list[ConsumerState]:
        """What readers of the stream still have to read; see `Backend`."""
        return [one.state() for one in (await self._stream()).listeners]

    async def subjects(self, subject: str) -> dict[str, int]:
        """The subjects that match and their numbers of messages; see `Backend`."""
        matches = matcher(subject)
        found = (await self._stream()).subjects
        return {one: len(messages) for one, messages in found.items() if matches(one)}

    async def state(self) -> StreamState:
        """The stream's configuration and size; see `Backend`."""
        stream = await self._stream()
        seconds, nanoseconds = divmod(stream.created_ns, 1_000_000_000)
        created = datetime.fromtimestamp(seconds, timezone.utc)
        return StreamState(
            config=copy.deepcopy(stream.config),
            messages=len(stream.messages),
            bytes=stream.bytes,
            last_sequence=stream.last_sequence,
            created=f"{created:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z",
            time_ns=stream.now(),
            first_time_ns=next((one.time_ns for one in stream.messages.values()), 0),
            positions=tuple(stream.positions),
        )

    async def seal(self) -> None:
        """Make the stream permanently read-only; see `Backend`."""
        (await self._stream()).seal()

    async def other(self, bucket: str) -> "MemoryBackend":
        """The backend of another bucket of the same server; see `Backend`."""
        backend = await self._server.open(bucket)
        backend.timeout = self.timeout
        return backend

    async def origin(self, origin: Mirror) -> "MemoryBackend":
        """The backend of a bucket that this one follows; see `Backend`."""
        backend = await self._server.home_of(origin, self.bucket).open(origin.bucket)
        backend.timeout = self.timeout
        return backend

    async def announce(self, message: StoredMessage) -> None:
        """Call the server's subscribers; see `MemoryServer.subscribe`."""
        await self._server.announce(self.bucket, message)

    def _find(self) -> Stream:
        return self._server.find(self.bucket)

    async def _stream(self) -> Stream:
        await asyncio.sleep(0)
        return self._find()
