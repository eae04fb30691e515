"""One metadata message in place of another, by compare-and-set."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from faststream_objstore.backends.base import MetadataWrite, StoredMessage, WrongRevision
from faststream_objstore.backends.jetstream.api import (
    UNREADABLE,
    JetStreamAPI,
    Pauses,
    UnreadableError,
    is_electing,
)
from faststream_objstore.backends.jetstream.batch import headers_of
from faststream_objstore.backends.jetstream.connection import status_of
from faststream_objstore.backends.jetstream.deposed import FULL_SECONDS, Newest, is_final
from faststream_objstore.backends.jetstream.waiting import LateReplies
from faststream_objstore.exceptions import (
    BucketFullError,
    ObjStoreError,
    StoreAPIError,
    StoreTimeoutError,
)

__all__ = ("publish_metadata",)

# Another writer's message is usually stored by then.
_BUSY_SECONDS = 0.005


def publish_metadata(
    api: JetStreamAPI,
    bucket: str,
    write: MetadataWrite,
    *,
    marks: bool,
    timeout: float,
    newest: Newest | None,
    now: Callable[[], int],
) -> Coroutine[Any, Any, StoredMessage]:
    """Replace the messages of a subject; see `Backend.publish_metadata`.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        write: The message.
        marks: See `headers_of`.
        timeout: Seconds for each request, and for all attempts together.
        newest: Reads a subject, if the stream has replicas.
        now: The server's time, in nanoseconds since the epoch.
    """
    headers = headers_of(write, marks=marks)
    publication = _Publication(api, bucket, write, headers, timeout, now)
    return publication.sent() if newest is None else publication.confirmed(newest)


class _Publication:
    """A message that may take several attempts."""

    def __init__(
        self,
        api: JetStreamAPI,
        bucket: str,
        write: MetadataWrite,
        headers: dict[str, str],
        timeout: float,
        now: Callable[[], int],
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._write = write
        self._headers = headers
        self._timeout = timeout
        self._now = now
        self._pauses: Pauses | None = None
        # Takes the answers after the first one.
        self._late: LateReplies | None = None

    async def confirmed(self, newest: Newest) -> StoredMessage:
        """As `sent`, but a refusal counts only if it is final; see `deposed`."""
        self._late = late = LateReplies()
        try:
            return await self._confirmed(newest, late)
        finally:
            late.close()

    async def _confirmed(self, newest: Newest, late: LateReplies) -> StoredMessage:
        busy: Pauses | None = None
        full = False
        while True:
            refused: WrongRevision | ObjStoreError
            try:
                return await self.sent()
            except WrongRevision as error:
                refused = error
                if await self._is_final(newest, late) and late.acknowledgement is None:
                    raise
                busy = busy or Pauses(self._timeout, first=_BUSY_SECONDS)
                again = await busy.another()
            except BucketFullError as error:
                # The limits that a deposed leader sees are not the elected one's.
                refused, again, full = error, not full, True
                await asyncio.sleep(FULL_SECONDS)
            except ObjStoreError as error:
                refused, again = error, False
            if late.acknowledgement is not None:
                return self._stored(self._read(late.acknowledgement))
            if again:
                continue
            if busy is None:
                raise refused
            # An earlier attempt may be stored, although a server that was behind refused it.
            raise self._unknown(refused) from refused

    async def _is_final(self, newest: Newest, late: LateReplies) -> bool:
        try:
            return await is_final(
                self._api, self._bucket, self._write, newest, timeout=self._timeout
            )
        except ObjStoreError as error:
            if late.acknowledgement is not None:
                return False
            raise self._unknown(error) from error

    async def sent(self) -> StoredMessage:
        """Send it; again while a leader is elected, because then nobody has received it."""
        while True:
            pauses = self._pauses
            timeout = self._timeout if pauses is None else pauses.left
            reply = await self._api.connection.request(
                self._write.subject,
                self._write.data,
                timeout=timeout,
                bucket=self._bucket,
                headers=self._headers,
                # The store has to find out whether the first attempt arrived.
                resend=False,
                late=self._late,
            )
            try:
                if not reply.data and status_of(reply) == "503":
                    timeout = self._timeout if pauses is None else pauses.left
                    raise await self._api.why_no_responders(self._bucket, timeout=timeout)
                return self._stored(self._read(reply))
            except UnreadableError as error:
                raise self._unknown(error) from error
            except StoreAPIError as error:
                if not is_electing(error):
                    raise
                self._pauses = pauses or Pauses(self._timeout)
                if not await self._pauses.another():
                    raise

    def _read(self, reply: Any) -> dict[str, Any]:
        return self._api.read(reply, self._bucket, self._write.subject)

    def _stored(self, answer: dict[str, Any]) -> StoredMessage:
        subject, data = self._write.subject, self._write.data
        try:
            sequence = int(answer["seq"])
        except UNREADABLE as error:
            raise self._unknown(error) from error
        return StoredMessage(subject, data, sequence, self._now(), size=len(data))

    def _unknown(self, why: object) -> StoreTimeoutError:
        msg = (
            f"Bucket '{self._bucket}': no certain answer to a message on "
            f"{self._write.subject!r} ({why}); it may be stored or not."
        )
        return StoreTimeoutError(msg, bucket=self._bucket)
