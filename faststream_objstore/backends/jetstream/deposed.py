"""Streams with replicas: what a deposed leader says, and what is certain nonetheless.

When a partition heals, the former leader of its smaller side takes a moment (a second or so)
to learn that another one was elected. Until then both receive every message, and each answers
from what it knows: the former one refuses a compare-and-set write that the elected one
stores, or answers a read with a version that was replaced long ago. The faster answer arrives
first. An acknowledgement takes a majority of the replicas, so it is final. A refusal and a
read are not, unless they show that the server has stored what this client knows to be stored.
"""

from collections.abc import Awaitable, Callable

from faststream_objstore.backends.base import MetadataWrite, StoredMessage
from faststream_objstore.backends.jetstream.api import JetStreamAPI, Pauses, reading
from faststream_objstore.backends.jetstream.multi_last import Answer, multi_last
from faststream_objstore.exceptions import (
    NotConnectedError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.wire import stream_name

__all__ = ("FULL_SECONDS", "Newest", "is_final", "newest_since")

FULL_SECONDS = 0.1
"""By then the elected leader has answered, if a deposed one said that the bucket is full."""

Newest = Callable[[str], Awaitable[StoredMessage | None]]
"""The newest message of a subject, according to a server that leads, or believes so."""


async def is_final(
    api: JetStreamAPI, bucket: str, write: MetadataWrite, newest: Newest, *, timeout: float
) -> bool:
    """Whether a refused write is refused for good.

    An elected leader that stored it, and a later version too, has answered it before it shows
    that version: so call this first, and then look at `LateReplies.acknowledgement`.

    Args:
        api: The JetStream API.
        bucket: The bucket.
        write: The write.
        newest: Reads a subject.
        timeout: Seconds for each request.

    Returns:
        `False` if the server that refused it is behind, or busy with another write of the
        subject: then it may be stored, and is to be sent again.
    """
    current = await newest(write.subject)
    sequence = 0 if current is None else current.sequence
    if sequence != write.expected_sequence:
        return sequence > write.expected_sequence or await _is_removed(
            api, bucket, write, timeout=timeout
        )
    return False


async def _is_removed(
    api: JetStreamAPI, bucket: str, write: MetadataWrite, *, timeout: float
) -> bool:
    """Whether the message that a write replaces was removed, in a server that had it."""
    verb = f"STREAM.INFO.{stream_name(bucket)}"
    body = {"subjects_filter": write.subject}
    info = await api.call(verb, body, bucket=bucket, timeout=timeout)
    with reading(f"{api.prefix}.{verb}", bucket):
        state = info["state"]
        return state["last_seq"] >= write.expected_sequence and not state.get("subjects")


async def newest_since(
    api: JetStreamAPI, bucket: str, subject: str, since: int, *, timeout: float
) -> StoredMessage | None:
    """The newest message of a subject, from a server that has stored `since`.

    Raises:
        PermissionDeniedError: If the user may not ask that.
        StoreAPIError: If the server does not know such a request (before 2.11).
        StoreTimeoutError: If no server has stored it within the timeout.
    """
    pauses = Pauses(timeout)
    while True:
        answer = await _ask(api, bucket, subject, timeout=pauses.left)
        if answer.upto >= since:
            return answer.found.get(subject)
        if answer.status == "404" and await _is_removed(
            api, bucket, MetadataWrite(subject, b"", since), timeout=timeout
        ):
            return None
        if not await pauses.another():
            msg = (
                f"Bucket '{bucket}': no server has stored message {since} of the stream "
                f"within {timeout:g} s."
            )
            raise StoreTimeoutError(msg, bucket=bucket)


async def _ask(api: JetStreamAPI, bucket: str, subject: str, *, timeout: float) -> Answer:
    connection = api.connection
    try:
        answer = await multi_last(api, connection, bucket, [subject], patience=timeout)
    except NotConnectedError:
        if connection is api.ordinary:
            raise
        # The lane is lost.
        return Answer({}, None, is_lost=True)
    if answer.status is None and not answer.is_lost:
        raise connection.timed_out("no answer to a direct get", timeout, bucket)
    if answer.status not in {None, "204", "404"}:
        msg = f"Bucket '{bucket}': a direct get was refused: {answer.status}."
        raise StoreAPIError(msg, bucket=bucket)
    return answer
