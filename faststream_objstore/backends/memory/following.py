"""A bucket in memory that follows others, as the streams of a server do."""

from typing import TYPE_CHECKING

from ...exceptions import BucketFullError
from ...models import Mirror
from ...wire import all_metadata_subject
from ..base import StoredMessage
from .stream import Stream, matcher

if TYPE_CHECKING:
    from .server import MemoryServer

__all__ = ("Following",)


class Following:
    """Copies what an origin stores into a bucket that follows it.

    As on a server, what is removed from the origin stays here.

    Args:
        server: Where the follower is.
        stream: The follower's stream.
        origin: What it follows.
        index: Which of the stream's origins this is.
    """

    def __init__(
        self, server: "MemoryServer", stream: Stream, origin: Mirror, index: int
    ) -> None:
        self.origin: Mirror = origin
        self._server = server
        self._stream = stream
        self._index = index
        self._followed: Stream | None = None
        self._keeps_sequences = bool(stream.config.get("mirror"))
        self._is_metadata = matcher(all_metadata_subject(stream.bucket))

    def awaits(self, server: "MemoryServer", bucket: str) -> bool:
        """Whether a bucket that has just been made is its origin."""
        return self.origin.bucket == bucket and server is self._server.home_of(
            self.origin, self._stream.bucket
        )

    def end(self) -> None:
        """Follow no longer."""
        if self._followed is not None:
            self._followed.followers.discard(self)
            self._followed = None

    def begin(self, origin: Stream) -> None:
        """Copy what is stored already, and then whatever follows."""
        self.end()
        self._followed = origin
        for message in list(origin.messages.values()):
            self.offer(message)
        origin.followers.add(self)

    def offer(self, message: StoredMessage) -> None:
        """Copy a message, unless one with its sequence has been copied before."""
        if self._stream.deleted or message.sequence <= (
            self._stream.positions[self._index] or 0
        ):
            return
        subject = self._here(message.subject)
        # The marker of an expired object replaces none; it comes after.
        rollup = bool(self._is_metadata(subject)) and not message.reason
        try:
            self._stream.copy(message, subject, rollup=rollup, keep=self._keeps_sequences)
        except BucketFullError:
            # It is skipped, as on a server.
            return
        self._stream.positions[self._index] = message.sequence

    async def announce(self, message: StoredMessage) -> None:
        """Show the copy of a metadata message to the follower's subscribers."""
        if self._stream.deleted:
            return
        copy = self._stream.last(self._here(message.subject))
        if copy is not None and copy.data == message.data:
            await self._server.announce(self._stream.bucket, copy)

    def _here(self, subject: str) -> str:
        return subject.replace(f"$O.{self.origin.bucket}.", f"$O.{self._stream.bucket}.", 1)
