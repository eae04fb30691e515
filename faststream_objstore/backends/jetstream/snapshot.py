"""The newest message of each subject: when the walk is complete, and what it missed.

A consumer for the last message of each subject follows the stream's order. While others
overwrite messages, it never reaches an end: messages that it had yet to deliver are gone,
    and reappear further on. So the walk ends once it has passed the messages that existed at
    its start, and any subjects that it has not seen by then are read by name.

A replica that lags may also still have the delete marker of an object that has been put again.
So if it lacks messages that the stream's leader had, the leader is asked about each marker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage

__all__ = ("Snapshot",)

_AT_A_TIME = 32


class Snapshot:
    """The messages seen by a walk over the newest messages.

    Args:
        until: The stream's last sequence when the walk began.
        subjects: The current subjects, from the stream's leader.
        newest: The newest message of a subject, from the stream's leader.
        last: The sequence of the newest message on any subject, from the stream's leader.
    """

    def __init__(
        self,
        until: int,
        *,
        subjects: Callable[[], Awaitable[Iterable[str]]],
        newest: Callable[[str], Awaitable[StoredMessage | None]],
        last: Callable[[], Awaitable[int]],
    ) -> None:
        self._until = until
        self._subjects = subjects
        self._newest = newest
        self._last = last
        self._seen: set[str] = set()
        self._markers: dict[str, int] = {}
        self._met = 0
        self.passed: bool = False
        """Whether the walk has passed what existed when it began."""
        self.finished: bool = False
        """Whether there are no subjects left to read by name."""
        self.lagging: bool = False
        """Whether the messages come from a replica that may not have all of them."""

    def saw(self, messages: Sequence[StoredMessage]) -> None:
        """Record that messages were seen, in stream order."""
        self._seen.update([message.subject for message in messages])
        self._met = messages[-1].sequence
        if self.lagging:
            for message in messages:
                if wire.is_marker(message):
                    self._markers[message.subject] = message.sequence
                else:
                    self._markers.pop(message.subject, None)
        if self._met > self._until:
            self.passed = True

    async def rest(self) -> list[StoredMessage]:
        """The messages that exist and were not seen, in stream order."""
        doubted = self._markers if await self._lacks_some() else {}
        wanted = [
            one for one in await self._subjects() if one not in self._seen or one in doubted
        ]
        found: list[StoredMessage] = []
        for start in range(0, len(wanted), _AT_A_TIME):
            some = wanted[start : start + _AT_A_TIME]
            answers = filter(None, await asyncio.gather(*map(self._newest, some)))
            found += [one for one in answers if one.sequence > doubted.get(one.subject, 0)]
        self.finished = True
        return sorted(found, key=lambda one: one.sequence)

    async def _lacks_some(self) -> bool:
        """Whether a marker may have been replaced by a message that the replica lacks."""
        # Replicas apply messages in order: one that has the newest has all earlier ones.
        if not self._markers or self._met >= self._until:
            return False
        return self._met < await self._last()
