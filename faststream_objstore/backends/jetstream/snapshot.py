"""The newest message of each subject: when it is all there, and what was passed by.

A consumer for the last message of each subject walks in the stream's order. While others
overwrite, it never reaches an end: what it still had to deliver is gone, and comes again
behind it. So the walk ends once it is past what was there at its start, and what it has not
met by then is asked for by name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from faststream_objstore.backends.base import StoredMessage

__all__ = ("Snapshot",)

_AT_A_TIME = 32


class Snapshot:
    """What a walk over the newest messages has met.

    Args:
        until: The stream's last sequence when it began.
        subjects: The subjects that the stream's leader has now.
        newest: The newest message of a subject, from the stream's leader.
    """

    def __init__(
        self,
        until: int,
        *,
        subjects: Callable[[], Awaitable[Iterable[str]]],
        newest: Callable[[str], Awaitable[StoredMessage | None]],
    ) -> None:
        self._until = until
        self._subjects = subjects
        self._newest = newest
        self._seen: set[str] = set()
        self.passed: bool = False
        """Whether it is past what was there when it began."""
        self.finished: bool = False
        """Whether nothing is left to be asked for."""
        self.lagging: bool = False
        """Whether the messages come from a replica that may not have all of them."""

    def saw(self, message: StoredMessage) -> None:
        """A message was met."""
        self._seen.add(message.subject)
        if message.sequence > self._until:
            self.passed = True

    async def rest(self) -> list[StoredMessage]:
        """What is there and was not met, in the order of the stream."""
        missing = [one for one in await self._subjects() if one not in self._seen]
        found: list[StoredMessage] = []
        for start in range(0, len(missing), _AT_A_TIME):
            some = missing[start : start + _AT_A_TIME]
            found += filter(None, await asyncio.gather(*map(self._newest, some)))
        self.finished = True
        return sorted(found, key=lambda one: one.sequence)
