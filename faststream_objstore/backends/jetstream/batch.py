"""Several metadata messages at once: an atomic batch (ADR-50, nats-server 2.12)."""

import asyncio
from collections.abc import Callable, Sequence
from secrets import token_hex

from nats.aio.msg import Msg

from faststream_objstore.backends.base import MetadataWrite, StoredMessage, WrongRevision
from faststream_objstore.backends.jetstream.api import (
    MARKER_REASON,
    UNREADABLE,
    JetStreamAPI,
    Pauses,
    UnreadableError,
    is_electing,
)
from faststream_objstore.backends.jetstream.connection import status_of
from faststream_objstore.backends.jetstream.deposed import FULL_SECONDS, Newest, is_final
from faststream_objstore.backends.jetstream.waiting import LateReplies
from faststream_objstore.exceptions import (
    BucketFullError,
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
    newest: Newest | None,
    now: Callable[[], int],
) -> list[StoredMessage]:
    """Store metadata messages, either all or none; see `Backend.publish_batch`.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        writes: The messages.
        marks: See `headers_of`.
        timeout: Seconds for all attempts together.
        newest: Reads a subject, if the stream has replicas.
        now: The server's time, in nanoseconds since the epoch.

    What the server has certainly not stored is sent again within the timeout: there may
    temporarily be too many batches, and a batch is lost if a leader is elected meanwhile.
    """

    def stored(last: int) -> list[StoredMessage]:
        time_ns, first = now(), last - len(writes) + 1
        return [
            StoredMessage(one.subject, one.data, sequence, time_ns, size=len(one.data))
            for sequence, one in enumerate(writes, first)
        ]

    pauses = Pauses(timeout)
    # Whether an earlier attempt may be stored, although it was refused; see `deposed`.
    doubtful = full = False
    while True:
        batch = _Batch(api, bucket, writes, marks=marks)
        late = LateReplies()
        try:
            last = await batch.done(pauses.left, None if newest is None else late)
        except BucketFullError as error:
            # The limits that a deposed leader sees are not the elected one's.
            again = newest is not None and not full
            full = True
            if again:
                await asyncio.sleep(FULL_SECONDS)
            if late.acknowledgement is not None:
                return stored(await batch.read(late.acknowledgement, pauses.left))
            if not again:
                if doubtful:
                    raise _uncertain(bucket, error) from error
                raise
            continue
        except (WrongRevision, StoreAPIError) as error:
            if newest is not None:
                final = await _is_final(api, bucket, writes, newest, pauses.left)
                doubtful = doubtful or isinstance(error, WrongRevision) or _lacks(error)
            else:
                final = True
            refused = batch.refused or error
            if isinstance(refused, WrongRevision):
                again = not final
            else:
                again = _may_be_sent_again(error) and not batch.is_refused_for_good
                if refused.err_code == _NOT_ENABLED:
                    msg = (
                        f"Bucket '{bucket}' has no transactions: its stream does not set "
                        "allow_atomic. Declare it with transactions=True and update=True."
                    )
                    raise FeatureNotEnabledError(msg, bucket=bucket) from error
            again = again and await pauses.another()
            if late.acknowledgement is not None:
                return stored(await batch.read(late.acknowledgement, pauses.left))
            if not again:
                if doubtful and not (final and isinstance(refused, WrongRevision)):
                    raise _uncertain(bucket, refused) from error
                raise refused from error
            continue
        finally:
            late.close()
        return stored(last)


def _lacks(error: Exception) -> bool:
    return isinstance(error, StoreAPIError) and error.err_code == _INCOMPLETE


def _may_be_sent_again(error: StoreAPIError | WrongRevision) -> bool:
    return is_electing(error) or (
        isinstance(error, StoreAPIError) and error.err_code in _TOO_MANY | {_INCOMPLETE}
    )


async def _is_final(
    api: JetStreamAPI,
    bucket: str,
    writes: Sequence[MetadataWrite],
    newest: Newest,
    timeout: float,
) -> bool:
    """Whether one of the objects has another revision than expected for good."""
    try:
        for one in writes:
            if await is_final(api, bucket, one, newest, timeout=timeout):
                return True
    except ObjStoreError as error:
        raise _uncertain(bucket, error) from error
    return False


def _uncertain(bucket: str, why: Exception) -> StoreTimeoutError:
    msg = (
        f"Bucket '{bucket}': no certain answer to a transaction ({why}); all of it may be "
        "stored, or nothing."
    )
    return StoreTimeoutError(msg, bucket=bucket)


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

    async def done(self, timeout: float, late: LateReplies | None) -> int:
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
                late=late,
            )
            return await self.read(answer, timeout)
        finally:
            for stop in stops:
                stop()
            connection.remove_route(reply)

    def _headers(self, number: int, write: MetadataWrite) -> dict[str, str]:
        return headers_of(write, marks=self._marks) | {
            "Nats-Batch-Id": self._id,
            "Nats-Batch-Sequence": str(number),
        }

    async def read(self, reply: Msg, timeout: float) -> int:
        """The sequence of the last message, from the answer to it."""
        subject = self._writes[-1].subject
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
            raise _uncertain(self._bucket, error) from error
        except UNREADABLE as error:
            raise _uncertain(self._bucket, error) from error
        except StoreAPIError as error:
            if self._denied is not None and error.err_code == _INCOMPLETE:
                raise self._denied from error
            raise

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
