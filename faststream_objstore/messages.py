"""A message of a bucket's stream: what a backend reads and `wire` understands."""

from datetime import datetime, timezone
from typing import NamedTuple

__all__ = ("StoredMessage",)

_from_timestamp, _UTC = datetime.fromtimestamp, timezone.utc


class StoredMessage(NamedTuple):
    """A message as the bucket's stream holds it.

    Attributes:
        subject: Its subject.
        data: Its body; empty where only headers were asked for.
        sequence: Its sequence in the stream, from 1.
        time_ns: When the server stored it, nanoseconds since the epoch.
        pending: How many messages that match come after it (`MessageStream` only).
        size: Bytes of the body, also where only headers were asked for.
        reason: Why the server has put this message, which has no body, in place of the
            subject's last one: `"MaxAge"` if that has expired. Empty for any other message.
    """

    subject: str
    data: bytes
    sequence: int
    time_ns: int
    pending: int = 0
    size: int = 0
    reason: str = ""

    @property
    def time(self) -> datetime:
        """`time_ns`, in UTC; microseconds are what `datetime` can hold."""
        # Exact: a float tells microseconds apart until the year 2242.
        return _from_timestamp(self.time_ns // 1000 / 1e6, _UTC)
