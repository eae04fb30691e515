"""What a store and a backend tell each other: the state of a stream, what is written to it."""

from enum import Enum
from typing import Any, NamedTuple

__all__ = (
    "BATCH_LIMIT",
    "TOGETHER",
    "ConsumerState",
    "Deliver",
    "MetadataWrite",
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
        first_sequence: Sequence of its oldest message; 0 if that is not known.
    """

    config: dict[str, Any]
    messages: int
    bytes: int
    last_sequence: int
    created: str
    time_ns: int
    first_time_ns: int = 0
    positions: tuple[int | None, ...] = ()
    first_sequence: int = 0


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
