"""A direct get whose answer may turn out not to be needed."""

from collections.abc import Callable
from typing import TypeAlias

from nats.aio.msg import Msg

from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream.begun import Begun, BegunRequests
from faststream_objstore.backends.jetstream.budget import Share
from faststream_objstore.exceptions import PermissionDeniedError

__all__ = ("JetStreamEarlyMessage",)

Read: TypeAlias = Callable[[Msg, str], StoredMessage | None]


class JetStreamEarlyMessage:
    """The `EarlyMessage` of a server.

    Args:
        subject: The subject.
        connection: The connection that it was requested on.
        begun: The request.
        share: The account that its size was taken from.
        size: The bytes.
        read: Makes a message of the answer, given the subject; `None` if it has none.
    """

    __slots__ = ("_begun", "_connection", "_read", "_share", "_size", "subject")

    def __init__(
        self,
        subject: str,
        connection: BegunRequests,
        begun: Begun,
        share: Share,
        size: int,
        read: Read,
    ) -> None:
        self.subject: str = subject
        self._connection = connection
        self._begun = begun
        self._share = share
        self._size = size
        self._read = read

    async def message(self) -> StoredMessage | None:
        """Wait for it; see `EarlyMessage`."""
        answer = await self._begun[1]
        if answer is None or isinstance(answer, PermissionDeniedError):
            return None
        return self._read(answer, self.subject)

    def close(self) -> None:
        """Drop it; see `EarlyMessage`."""
        self._connection.end(self._begun)
        self._share.release(self._size)
