"""The newest message of each subject: when the walk is complete, and what it missed.

A consumer for the last message of each subject follows the stream's order. While others
overwrite messages, it never reaches an end: messages that it had yet to deliver are gone,
and reappear further on. So the walk ends once it has passed the messages that existed at
    its start, and any subjects that it has not seen by then are read by name.

A replica that lags may also still have the delete marker of an object that has been put again.
So if it lacks messages that the stream's leader had, the leader is asked about each marker.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage

__all__ = ("Snapshot",)

_AT_A_TIME = 32
# Subjects are compressed in blocks of this size, and take a tenth of the memory of a set then.
_BLOCK_BYTES = 256 * 1024


class _Subjects:
    """The subjects that were seen, which may be many, and which hardly ever matter."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._newest: list[str] = []
        self._newest_bytes = 0

    def add(self, subjects: Iterable[str]) -> None:
        """Take note of some."""
        # No subject contains a line feed.
        text = "\n".join(subjects)
        self._newest.append(text)
        self._newest_bytes += len(text)
        if self._newest_bytes >= _BLOCK_BYTES:
            block = "\n".join(self._newest).encode()
            self._blocks.append(zlib.compress(block, 1))
            self._newest, self._newest_bytes = [], 0

    def missing_in(self, subjects: Iterable[str]) -> set[str]:
        """Those of other subjects that were not seen."""
        missing = set(subjects)
        for block in self._blocks:
            text = zlib.decompress(block).decode()
            missing.difference_update(text.split("\n"))
        for text in self._newest:
            missing.difference_update(text.split("\n"))
        return missing


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
        subjects: Callable[[], Awaitable[Sequence[str]]],
        newest: Callable[[str], Awaitable[StoredMessage | None]],
        last: Callable[[], Awaitable[int]],
    ) -> None:
        self._until = until
        self._subjects = subjects
        self._newest = newest
        self._last = last
        self._seen = _Subjects()
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
        self._seen.add([message.subject for message in messages])
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
        subjects = await self._subjects()
        missing = self._seen.missing_in(subjects)
        wanted = [one for one in subjects if one in missing or one in doubted]
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
