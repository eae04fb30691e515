"""The interface between a store and the stream under its bucket.

A backend knows subjects, sequences and messages. It knows nothing about objects: names,
versions, digests and links are up to the store, which is written once for all backends.

A backend raises only errors of this package (`exceptions.py`), never nats-py's.
Every wait is bounded by `timeout`, except on a followed `MessageStream`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..messages import StoredMessage
from ..models import Mirror
from .early import EarlyMessage
from .transfers import ChunkUpload, MessageStream, Room
from .values import (
    BATCH_LIMIT,
    TOGETHER,
    ConsumerState,
    Deliver,
    MetadataWrite,
    StreamState,
    WrongRevision,
)

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
