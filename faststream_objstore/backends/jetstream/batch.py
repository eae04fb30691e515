"""Several metadata messages at once: an atomic batch (ADR-50, nats-server 2.12)."""

import time
from collections.abc import Callable, Sequence
from secrets import token_hex

from nats.aio.msg import Msg

from faststream_objstore.backends.base import MetadataWrite, StoredMessage
from faststream_objstore.backends.jetstream.api import (
    MARKER_REASON,
    UNREADABLE,
    JetStreamAPI,
    Pauses,
    UnreadableError,
    is_electing,
)
from faststream_objstore.backends.jetstream.connection import status_of
from faststream_objstore.exceptions import (
    FeatureNotEnabledError,
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
)

__all__ = ("headers_of", "publish_batch")

_NOT_ENABLED = 10174
# The stream, or the server, has reached its limit of open batches.
_TOO_MANY = frozenset({10210, 10211})
# A part is missing: it was refused, lost with a connection, or the leader has changed.
_INCOMPLETE = 10176


def headers_of(write: MetadataWrite, *, marks: bool) -> dict[str, str]:
    """The headers of a metadata message.

    Args:
        write: The message.
        marks: Whether the stream leaves a marker where the last message of a subject has
            expired. There is none for a message that is itself a marker, so that an object
            that was deleted does not expire as well.
    """
    headers = {
        "Nats-Rollup": "sub",
        "Nats-Expected-Last-Subject-Sequence": str(write.expected_sequence),
    }
    if write.ttl:
        headers["Nats-TTL"] = f"{write.ttl}s"
    if write.marker and marks:
        headers[MARKER_REASON] = "Remove"
    return headers


async def publish_batch(
    api: JetStreamAPI,
    bucket: str,
    writes: Sequence[MetadataWrite],
    *,
    marks: bool,
    timeout: float,
) -> list[StoredMessage]:
    """Store metadata messages, either all or none; see `Backend.publish_batch`.

    What the server has certainly not stored is sent again within the timeout: there may
    temporarily be too many batches, and a batch is lost if a leader is elected meanwhile.
    """
    pauses = Pauses(timeout)
    while True:
        batch = _Batch(api, bucket, writes, marks=marks)
        try:
            last = await batch.done(pauses.left)
        except StoreAPIError as error:
            refused = batch.refused or error
            again = is_electing(error) or error.err_code in _TOO_MANY | {_INCOMPLETE}
            if refused.err_code == _NOT_ENABLED:
                msg = (
                    f"Bucket '{bucket}' has no transactions: its stream does not set "
                    "allow_atomic. Declare it with transactions=True and update=True."
                )
                raise FeatureNotEnabledError(msg, bucket=bucket) from error
            if not again or batch.is_refused_for_good:
                raise refused from error
            if not await pauses.another():
                raise refused from error
            continue
        now = time.time_ns()
        first = last - len(writes) + 1
        return [
            StoredMessage(one.subject, one.data, sequence, now, size=len(one.data))
            for sequence, one in enumerate(writes, first)
        ]


class _Batch:
    """One attempt.

    Attributes:
        refused: Why one of its messages was refused before the last was sent.
    """

    def __init__(
        self,
        api: JetStreamAPI,
        bucket: str,
        writes: Sequence[MetadataWrite],
        *,
        marks: bool,
    ) -> None:
        self._api = api
        self._connection = api.connection
        self._bucket = bucket
        self._writes = writes
        self._marks = marks
        self._id = token_hex(11)
        self.refused: StoreAPIError | None = None
        self._denied: PermissionDeniedError | None = None

    @property
    def is_refused_for_good(self) -> bool:
        """Whether one of its messages was refused, and would be refused again."""
        refused = self.refused
        return refused is not None and not (
            is_electing(refused) or refused.err_code in _TOO_MANY | {_INCOMPLETE}
        )

    async def done(self, timeout: float) -> int:
        """Send it; returns the sequence of its last message."""
        *others, last = self._writes
        connection = self._connection
        await connection.open_replies(bucket=self._bucket)
        # The first message is always answered at once, the others only if they are refused.
        reply = connection.add_route(self._heard)
        stops: list[Callable[[], None]] = []
        try:
            for number, one in enumerate(others, 1):
                stops.append(
                    connection.watch(one.subject, self._hear_denied, bucket=self._bucket)
                )
                await connection.publish(
                    one.subject,
                    one.data,
                    reply=reply,
                    headers=self._headers(number, one),
                    bucket=self._bucket,
                )
            headers = self._headers(len(self._writes), last) | {"Nats-Batch-Commit": "1"}
            answer = await connection.request(
                last.subject,
                last.data,
                timeout=timeout,
                bucket=self._bucket,
                headers=headers,
                # The store has to find out whether the first attempt arrived.
                resend=False,
            )
            return await self._read(answer, last.subject, timeout)
        finally:
            for stop in stops:
                stop()
            connection.remove_route(reply)

    def _headers(self, number: int, write: MetadataWrite) -> dict[str, str]:
        return headers_of(write, marks=self._marks) | {
            "Nats-Batch-Id": self._id,
            "Nats-Batch-Sequence": str(number),
        }

    async def _read(self, reply: Msg, subject: str, timeout: float) -> int:
        try:
            if status_of(reply) == "503":
                raise await self._api.why_no_responders(self._bucket, timeout=timeout)
            answer = self._api.read(reply, self._bucket, subject)
            if answer.get("batch") != self._id or answer.get("count") != len(self._writes):
                # A server that does not know batches would have stored only the last message.
                msg = f"it is not of a batch of {len(self._writes)}"
                raise UnreadableError(msg, bucket=self._bucket)
            return int(answer["seq"])
        except UnreadableError as error:
            raise self._unknown(error) from error
        except UNREADABLE as error:
            raise self._unknown(error) from error
        except StoreAPIError as error:
            if self._denied is not None and error.err_code == _INCOMPLETE:
                raise self._denied from error
            raise

    def _unknown(self, error: Exception) -> StoreTimeoutError:
        msg = (
            f"Bucket '{self._bucket}': the acknowledgement of a transaction cannot be read "
            f"({error}); all of it may be stored, or nothing."
        )
        return StoreTimeoutError(msg, bucket=self._bucket)

    def _heard(self, message: Msg) -> None:
        if not message.data or self.refused is not None:
            return
        try:
            self._api.read(message, self._bucket, "a batch")
        except StoreAPIError as error:
            self.refused = error
        except ObjStoreError:
            # Repeated in the answer to the last message.
            return

    def _hear_denied(self, error: PermissionDeniedError) -> None:
        self._denied = error
