"""The newest message of each subject: when it is all there, and what was passed by.

A consumer for the last message of each subject walks in the stream's order. While others
overwrite, it never reaches an end: what it still had to deliver is gone, and comes again
behind it. So the walk ends once it is past what was there at its start, and what it has not
met by then is asked for by name.

A replica that lags may also have a delete marker of an object that has been put again. So
where it lacks what the stream's leader had, the leader is asked again about each marker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage

__all__ = ("Snapshot",)

_AT_A_TIME = 32


class Snapshot:
    """What a walk over the newest messages has met.

    Args:
        until: The stream's last sequence when it began.
        subjects: The subjects that the stream's leader has now.
        newest: The newest message of a subject, from the stream's leader.
        last: The sequence of the newest message of all subjects, from the stream's leader.
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
        """Whether it is past what was there when it began."""
        self.finished: bool = False
        """Whether nothing is left to be asked for."""
        self.lagging: bool = False
        """Whether the messages come from a replica that may not have all of them."""

    def saw(self, message: StoredMessage) -> None:
        """A message was met."""
        self._seen.add(message.subject)
        self._met = max(self._met, message.sequence)
        if self.lagging:
            if wire.is_marker(message):
                self._markers[message.subject] = message.sequence
            else:
                self._markers.pop(message.subject, None)
        if message.sequence > self._until:
            self.passed = True

    async def rest(self) -> list[StoredMessage]:
        """What is there and was not met, in the order of the stream."""
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
        """Whether a marker may have been replaced where the replica does not have it yet."""
        # Replicas apply in order: one that has the newest has all that came before.
        if not self._markers or self._met >= self._until:
            return False
        return self._met < await self._last()
