"""Small objects that are read again and again: their chunk is requested with their metadata.

The metadata says where the content is, so a get takes two round trips, one after the other.
If an object had the same version at the last two gets, the chunk of that version is requested
together with the metadata, which remains decisive: if there is another version by now, what
came is dropped, and that version is read.
"""

from .. import wire
from ..backends.base import Backend, EarlyMessage
from ..models import DEFAULT_CHUNK_SIZE, ObjectInfo

__all__ = ("ReadAgain",)

# The names that are remembered. (A bucket may have millions.)
_NAMES = 1024
# A larger chunk takes longer than the round trip, and would be a waste if it was not needed.
_LARGEST = DEFAULT_CHUNK_SIZE


class ReadAgain:
    """The versions that were found by the most recent gets of one bucket."""

    def __init__(self) -> None:
        # The nuid of a version, the subject and the size of its chunk, and whether the version
        # was found twice in a row.
        self._versions: dict[str, tuple[str, str, int, bool]] = {}

    def request(
        self, backend: Backend, name: str, max_size: int | None
    ) -> EarlyMessage | None:
        """Request the chunk of the version that an object probably still has.

        Args:
            backend: The bucket.
            name: The object's name.
            max_size: The largest chunk to request, in bytes.
        """
        known = self._versions.get(name)
        if known is None:
            return None
        _, subject, size, twice = known
        if not twice or (max_size is not None and size > max_size):
            return None
        return backend.early_message(subject, size=size)

    def saw(self, name: str, info: ObjectInfo) -> None:
        """Remember the version that a get has found."""
        versions = self._versions
        known = versions.pop(name, None)
        if known is not None and known[0] == info.nuid:
            nuid, subject, size, _ = known
            versions[name] = known if known[3] else (nuid, subject, size, True)
        elif info.chunks == 1 and info.size <= _LARGEST and info.name == name:
            subject = wire.chunk_subject(info.bucket, info.nuid)
            versions[name] = (info.nuid, subject, info.size, False)
            if len(versions) > _NAMES:
                del versions[next(iter(versions))]

    def forget(self, name: str) -> None:
        """Forget an object that could not be read."""
        self._versions.pop(name, None)
