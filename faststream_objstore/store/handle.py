"""What every room of `ObjectStore` stands on: the bucket, its backend, whose doing it is."""

from collections.abc import Awaitable, Callable

from ..backends.base import Backend
from ..messages import StoredMessage
from ..models import ObjectInfo, validate_bucket_name
from .provenance import Origin

__all__ = ("StoreHandle", "announce")


class StoreHandle:
    """A bucket, and the way to the backend that is current; the verbs are in subclasses.

    Args:
        bucket: The bucket's name.
        source: Gives the backend that is current; asked at the start of each call, so
            a handle outlives connections.
        origin: Adds to each change whose doing it is; nothing if not given.
    """

    def __init__(
        self,
        bucket: str,
        source: Callable[[], Awaitable[Backend]],
        *,
        origin: Origin | None = None,
    ) -> None:
        self._bucket = validate_bucket_name(bucket)
        self._source = source
        self._origin = Origin() if origin is None else origin

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def _amended(self, info: ObjectInfo) -> ObjectInfo:
        """The version of a change that amends `info`, with this change's own origin."""
        return self._origin.mark(info, before=info)


async def announce(backend: Backend, *messages: StoredMessage | None) -> None:
    """Let in-process subscribers see the metadata messages of a change that is done."""
    for message in messages:
        if message is not None:
            await backend.announce(message)
