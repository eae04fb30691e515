"""The base of `ObjectStore` and its verbs: the bucket, its backend, the origin of changes."""

from collections.abc import Awaitable, Callable

from ..backends.base import Backend
from ..backends.origins import read_only
from ..messages import StoredMessage
from ..models import ObjectInfo, validate_bucket_name
from .again import ReadAgain
from .provenance import Origin

__all__ = ("StoreHandle", "announce")


class StoreHandle:
    """A bucket, and access to its current backend; the verbs are in subclasses.

    Args:
        bucket: The bucket's name.
        source: Returns the current backend; called at the start of each operation, so that
            a handle outlives connections.
        origin: Marks each change with its origin; no marks if not given.
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
        self._read_again = ReadAgain()

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    async def _target(self) -> Backend:
        """The current backend, for a change.

        Raises:
            BucketReadOnlyError: If the bucket follows another one.
        """
        backend = await self._source()
        if backend.origins:
            raise read_only(self._bucket, backend.origins)
        return backend

    def _amended(self, info: ObjectInfo) -> ObjectInfo:
        """Mark a change of `info` with its own origin."""
        return self._origin.mark(info, before=info)


async def announce(backend: Backend, *messages: StoredMessage | None) -> None:
    """Show the metadata messages of a completed change to in-process subscribers."""
    for message in messages:
        if message is not None:
            await backend.announce(message)
