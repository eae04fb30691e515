"""The interface between a store and the stream under its bucket.

A backend knows subjects, sequences and messages. It knows nothing about objects: names,
versions, digests and links are up to the store, which is written once for all backends.

A backend raises only errors of this package (`exceptions.py`), never nats-py's.
Every wait is bounded by `timeout`, except on a followed `MessageStream`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from typing_extensions import Self

from ..messages import StoredMessage
from ..models import Mirror
from .early import EarlyMessage

__all__ = (
    "BATCH_LIMIT",
    "TOGETHER",
    "Backend",
    "ChunkUpload",
    "ConsumerState",
    "Deliver",
    "EarlyMessage",
    "MessageStream",
    "MetadataWrite",
    "Room",
    "Server",
    "StoredMessage",
    "StreamState",
    "WrongRevision",
)


BATCH_LIMIT = 1000
"""Messages that a server stores together (nats-server 2.12)."""


TOGETHER = 64
"""Messages that one request reads; more of them are not faster."""


class StreamState(NamedTuple):
    """The stream under a bucket at one moment.

    Attributes:
        config: The stream's configuration as the JetStream API has it, unknown keys too.
        messages: Number of messages.
        bytes: Bytes stored, subjects and headers included.
        last_sequence: Sequence of the newest message ever stored.
        created: When it was made; tells a recreated bucket from the old one.
        time_ns: The server's time, in nanoseconds since the epoch.
        first_time_ns: When its oldest message was stored; 0 if there is none.
        positions: For each of `Backend.origins`, the last sequence of it that has arrived;
            `None` if that is not known.
    """

    config: dict[str, Any]
    messages: int
    bytes: int
    last_sequence: int
    created: str
    time_ns: int
    first_time_ns: int = 0
    positions: tuple[int | None, ...] = ()


class ConsumerState(NamedTuple):
    """How far a consumer of the stream has come.

    Attributes:
        name: Its name; a durable's is its own.
        filters: The subjects that it wants, wildcards allowed; none for all.
        floor: Up to this sequence, it has all that it wants.
        idle: Whether it has all that there is: nothing is pending or unacknowledged.
    """

    name: str
    filters: tuple[str, ...]
    floor: int
    idle: bool

    def has_passed(self, subject: str, sequence: int) -> bool:
        """Whether it no longer needs a message, or never wanted it."""
        return (
            self.idle
            or self.floor >= sequence
            or not any(_matches(one, subject) for one in self.filters or (">",))
        )


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    for index, one in enumerate(wanted):
        if one == ">":
            return len(given) > index
        if index >= len(given) or one not in {"*", given[index]}:
            return False
    return len(wanted) == len(given)


class Deliver(Enum):
    """Where a `MessageStream` begins."""

    ALL = "all"
    """With the oldest message that matches."""
    LAST_PER_SUBJECT = "last_per_subject"
    """With the newest message of each subject that matches."""
    NEW = "new"
    """With what is stored from now on."""


class WrongRevision(Exception):  # noqa: N818 - a signal for the store, never a user's error
    """A compare-and-set write met another sequence than it expected."""


class MetadataWrite(NamedTuple):
    """One of the metadata messages that are stored together.

    Attributes:
        subject: The object's metadata subject; no two of a batch have the same.
        data: The JSON of its metadata.
        expected_sequence: The sequence of the subject's newest message; 0 for none.
        ttl: Seconds after which the stream drops it; 0 for never. At least `least_ttl`.
        marker: Whether it is a delete marker, which the stream drops without a trace.
    """

    subject: str
    data: bytes
    expected_sequence: int
    ttl: int = 0
    marker: bool = False


class ChunkUpload(Protocol):
    """An upload of one object's chunks into the stream.

    A single task uses it, and ends it with `finish` or `abort`.
    """

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send a chunk; wait while the window of unacknowledged chunks is full.

        The buffer may be reused by the caller as soon as this returns.

        Raises:
            BucketFullError, BucketSealedError, BucketNotFoundError: If the stream
                refused an earlier chunk.
            ConnectionLostError: If the connection was lost while chunks were out.
            StoreTimeoutError: If no chunk was acknowledged within the timeout.
        """

    async def settle(self) -> None:
        """Wait until the stream has acknowledged every chunk; raises what `write` raises."""

    async def finish(self) -> None:
        """Send nothing more, and wait as `settle` does."""

    async def abort(self) -> None:
        """Remove whatever was stored or is still in flight; never raises.

        Safe to await from a cancelled task: it runs to completion in bounded time.
        """


class Room(Protocol):
    """Memory into which bodies are received, one after the other."""

    def reserve(self, size: int) -> memoryview | None:
        """Memory for the next body, the same until `commit`; `None` if there is no room."""

    def commit(self, size: int) -> None:
        """Note that the next body has been received."""


class MessageStream(Protocol):
    """Messages in the stream's order, each once, without a gap.

    Enter it before iterating; leaving it removes what it needed on the server, in
    error and cancellation too. A lost connection or a restarted server is resumed
    after the last message that was delivered.
    """

    pending: int
    """How many messages matched when it was opened."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[StoredMessage]: ...

    async def __anext__(self) -> StoredMessage:
        """The next message.

        Not followed, it stops after the last message that matches; that is also where
        messages that were counted have been removed meanwhile. Followed, it waits.

        Raises:
            StopAsyncIteration: At the end.
            StoreTimeoutError: If an expected message does not come (not followed).
            BucketNotFoundError: If the bucket is deleted meanwhile, also if it is made again.
        """

    def limit(self, count: int) -> None:
        """Stop after `count` messages (not followed), and transfer no more.

        Call it before reading the first message; none is requested until then.
        """

    def place(self, room: Room) -> bool:
        """Receive the bodies that arrive from now on into memory of the caller.

        Call it right after a `take`, before anything else is awaited. The messages then
        have an empty `data`, except for bodies that did not fit.

        Returns:
            Whether this is supported; otherwise `data` is still the body.
        """

    async def take(self) -> list[StoredMessage]:
        """Return all messages that have arrived, at least one; none at the end.

        Waits and raises as `__anext__` does. Cheaper if there are many.
        """


class Backend(Protocol):
    """One bucket's stream, `OBJ_<bucket>`, which exists when the backend does."""

    bucket: str
    """The bucket's name."""
    name: str
    """What `ObjectStoreStatus.backing_store` calls it."""
    timeout: float
    """Seconds that one step may take: a request, a chunk, an acknowledgement."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The stream's metadata, as it was when the backend last saw its configuration."""

    @property
    def max_age(self) -> int:
        """Nanoseconds after which the stream drops a message, as last seen; 0 for never."""

    @property
    def least_ttl(self) -> int:
        """Nanoseconds that a message with a TTL of its own lives at least, as last seen.

        0 if messages cannot have one. For as long, a message with `StoredMessage.reason` stays
        where the last message of a subject has expired.
        """

    def latest_time(self) -> int:
        """What the server's clock says at most; nanoseconds since the epoch.

        Told without a request, by what it said last; `state` asks it.
        """

    @property
    def knows_time(self) -> bool:
        """Whether the server's clock was read lately: what is stored then has its time."""

    @property
    def may_lag(self) -> bool:
        """Whether a replica may answer with less than the leader has (ADR-31)."""

    @property
    def atomic(self) -> bool:
        """Whether `publish_batch` works, when the backend last saw the configuration."""

    @property
    def origins(self) -> tuple[Mirror, ...]:
        """The buckets that this one follows, and what therefore is not written here."""

    @property
    def max_payload(self) -> int:
        """Largest body of one message, bytes."""

    @property
    def max_subject(self) -> int:
        """Longest subject that every request about it can carry, bytes."""

    async def last_message(
        self, subject: str, *, leader: bool = False, since: int = 0, size: int = 0
    ) -> StoredMessage | None:
        """The newest message of a subject, or `None`.

        Args:
            subject: A subject; with wildcards only if the leader is asked.
            leader: Ask the stream's leader. Otherwise any replica may answer, which is
                faster and may be stale (ADR-31).
            since: A sequence that this client knows to be stored: the answer is not older. A
                leader that was deposed, and does not know it yet, may answer for a moment.
            size: Bytes that are expected, where they are many.
        """

    async def last_messages(
        self, subjects: Sequence[str], *, size: int = 0
    ) -> dict[str, StoredMessage]:
        """The newest messages of several subjects, as far as they can be read together.

        What is missing may exist: ask `last_message` about it.

        Args:
            subjects: The subjects, at most `TOGETHER`, without wildcards.
            size: Bytes of all their bodies together, if known; otherwise each is expected to
                be an object's metadata.

        Returns:
            Their newest messages, by subject, from any replica (ADR-31).

        Raises:
            BucketNotFoundError: If the bucket is gone.
        """

    def early_message(self, subject: str, *, size: int) -> EarlyMessage | None:
        """Request the newest message of a subject before it is certain that it is needed.

        Args:
            subject: The subject.
            size: The bytes that are expected.

        Returns:
            The request; `None` if that would not be faster, or is not possible now.
        """

    async def publish_metadata(
        self,
        subject: str,
        data: bytes,
        *,
        expected_sequence: int,
        ttl: int = 0,
        marker: bool = False,
    ) -> StoredMessage:
        """Replace the subject's messages by this one, if nothing has changed it.

        Published with `Nats-Rollup: sub` and `Nats-Expected-Last-Subject-Sequence`.

        Args:
            subject: The object's metadata subject.
            data: The JSON of its metadata.
            expected_sequence: The sequence of the subject's newest message; 0 for none.
            ttl: Seconds after which the stream drops it; 0 for never. Not less than
                `least_ttl`, to which the server raises it.
            marker: Whether it is a delete marker, which the stream drops without a trace.

        Returns:
            The message as stored. Its `time_ns` is what the server's clock says by what it
            said last, or the client's clock; see `knows_time`.

        Raises:
            WrongRevision: If the newest message has another sequence.
            BucketFullError, BucketSealedError, BucketNotFoundError: If refused.
            StoreTimeoutError: If the answer did not come, or was lost with the
                connection: it may be stored or not.
        """

    async def publish_batch(self, writes: Sequence[MetadataWrite]) -> list[StoredMessage]:
        """Replace the messages of several subjects, all of them or none.

        Each as `publish_metadata` does. They are stored next to each other, in this order.

        Args:
            writes: At most `BATCH_LIMIT` of them.

        Raises:
            WrongRevision: If the newest message of one of the subjects has another
                sequence. It is not known of which.
            FeatureNotEnabledError: If the stream does not allow it.
            StoreTimeoutError: If the answer did not come: all may be stored, or none.
        """

    def upload(self, subject: str, *, size: int | None = None, ttl: int = 0) -> ChunkUpload:
        """Begin to store chunks on a subject that nothing else writes to.

        Args:
            subject: The subject.
            size: Bytes that are expected in all, where that is known.
            ttl: Seconds after which the stream drops each of them; 0 for never.
        """

    def messages(
        self,
        subject: str | Sequence[str],
        *,
        deliver: Deliver = Deliver.ALL,
        start_sequence: int | None = None,
        follow: bool = False,
        headers_only: bool = False,
        size: int | None = None,
        window: int | None = None,
        expected: int | None = None,
    ) -> MessageStream:
        """Read messages in order.

        With `Deliver.LAST_PER_SUBJECT`, and not followed, it ends however fast others write,
        and has met each subject that is there all the while.

        Args:
            subject: A subject, wildcards allowed; or several that do not overlap.
            deliver: Where to begin.
            start_sequence: Begin with the first match at or after it; needs
                `Deliver.ALL`.
            follow: Wait for new messages instead of stopping at the end.
            headers_only: Leave the bodies on the server.
            size: Bytes that are expected in all, where that is known.
            window: Bytes that may be under way or wait to be read; the backend's own
                measure if not given.
            expected: How many messages match, where that is known. A replica that has
                another number is not believed: the leader's counts, and what the replica
                lacks is waited for.
        """

    async def purge(self, subject: str, *, up_to: int | None = None) -> int:
        """Remove every message of a subject; how many there were.

        Args:
            subject: What to remove. `*` and `>` are wildcards here, also where a client
                has published to a subject that has them as its own tokens.
            up_to: The last sequence that is removed; whatever is newer stays.

        Raises:
            BucketSealedError, BucketNotFoundError: If refused.
        """

    async def remove(self, sequence: int) -> bool:
        """Remove one message; whether it was there.

        Raises:
            BucketSealedError, BucketNotFoundError: If refused.
        """

    async def consumers(self) -> list[ConsumerState]:
        """Every consumer of the stream, whoever made it.

        Raises:
            StoreAPIError: If some of them did not answer.
        """

    async def subjects(self, subject: str) -> dict[str, int]:
        """The subjects that match, each with its number of messages."""

    async def state(self) -> StreamState:
        """The stream's configuration and size.

        Raises:
            BucketNotFoundError: If the bucket is gone.
        """

    async def seal(self) -> None:
        """Make the stream read-only for ever.

        The server then also drops its `max_age`: what is in it stays.

        Raises:
            BucketNotFoundError: If the bucket is gone.
        """

    async def other(self, bucket: str) -> "Backend":
        """The backend of another bucket of the same server.

        Raises:
            BucketNotFoundError: If there is none.
        """

    async def origin(self, origin: Mirror) -> "Backend":
        """The backend of one of `origins`.

        Raises:
            BucketNotFoundError: If it does not exist.
            JetStreamNotEnabledError, StoreTimeoutError: If its domain is out of reach.
        """

    async def announce(self, message: StoredMessage) -> None:
        """Let in-process subscribers see a metadata message, after the change is done.

        A server does this by itself, so only the memory backend has work here; what a
        subscriber raises is raised to the caller of `put` or `delete`.
        """


class Server(Protocol):
    """Where buckets live: a NATS server with JetStream, or this process's memory."""

    async def open(self, bucket: str) -> Backend:
        """The backend of a bucket that exists.

        Raises:
            BucketNotFoundError: If there is no such bucket.
            JetStreamNotEnabledError: If the server has no JetStream.
        """

    async def create(self, bucket: str, config: dict[str, Any]) -> Backend:
        """Make the stream of a bucket, as `wire.stream_config` describes it.

        Nothing happens if it exists with this very configuration.

        Raises:
            BucketConfigMismatchError: If it exists with a different one.
            StoreAPIError: If the server refuses the configuration.
        """

    async def update(self, bucket: str, config: dict[str, Any]) -> None:
        """Replace the configuration of a bucket's stream.

        Raises:
            BucketNotFoundError: If there is no such bucket.
            BucketConfigMismatchError: If the server cannot change a setting.
        """

    async def delete(self, bucket: str) -> None:
        """Delete a bucket and everything in it.

        Raises:
            BucketNotFoundError: If there is no such bucket.
        """

    async def domain(self) -> str | None:
        """The name of its JetStream domain, if it has one."""

    async def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
