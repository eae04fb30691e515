"""The anchor: a message that stays the first of a bucket, so that no change is forgotten.

When a metadata message is replaced, nats-server 2.15 looks at the consumers whose
acknowledgement floor is below the stream's first sequence. If an unacknowledged change has
been replaced, it moves the floor beyond those that are still to be acknowledged, and never
delivers them again. With a message that is older than all that a consumer delivers, and that
nothing removes, the floor is never below the first sequence.
"""

import logging

from faststream_objstore import wire
from faststream_objstore.backends.base import StreamState, WrongRevision
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.api import Pauses, is_electing, reading
from faststream_objstore.exceptions import (
    BucketSealedError,
    JetStreamNotEnabledError,
    ObjStoreError,
    StoreAPIError,
)
from faststream_objstore.logs import log

__all__ = ("store_anchor",)

# Elsewhere, in another domain or account, the subjects need not lead to the stream.
_PREFIX = "$JS.API"
# No start waits longer for an answer, which never comes where only others listen.
_SECONDS = 2.0
# For a leader that has just been elected.
_ELECTION_SECONDS = 0.5


async def store_anchor(
    server: JetStreamServer, bucket: str, state: StreamState, *, find: bool
) -> int:
    """Store a bucket's anchor, unless it has one.

    Without the right to do so, or where the bucket is full, changes are received all the same.

    Args:
        server: The server of the bucket.
        bucket: The bucket's name.
        state: The state of its stream before.
        find: Whether to find out where it is if the bucket has one already.

    Returns:
        The anchor's sequence if it is known to be the first message of all; otherwise 0.
    """
    config = state.config
    if server.api.prefix != _PREFIX or wire.origins_of(config) or config.get("sealed"):
        return 0
    subject = wire.anchor_subject(bucket)
    headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
    if config.get("allow_msg_ttl"):
        headers["Nats-TTL"] = "never"
    server.api.ordinary.may_be_refused(subject)
    try:
        sequence = await _store(server, bucket, subject, headers)
    except BucketSealedError:
        # Sealed meanwhile: nothing changes.
        return 0
    except WrongRevision:
        sequence = await _find(server, bucket, subject) if find else 0
    except ObjStoreError as error:
        log(
            server.api.ordinary,
            logging.INFO,
            f"No message can be stored at {subject!r}, without which nats-server may never "
            f"deliver again what a killed process had received: {error}",
        )
        return 0
    first = state.first_sequence if state.messages else state.last_sequence + 1
    return sequence if sequence == first else 0


async def _store(
    server: JetStreamServer, bucket: str, subject: str, headers: dict[str, str]
) -> int:
    pauses = Pauses(_ELECTION_SECONDS)
    while True:
        reply = await server.api.ordinary.request(
            subject, headers=headers, timeout=min(server.timeout, _SECONDS), bucket=bucket
        )
        try:
            answer = server.api.read(reply, bucket, subject)
        except (JetStreamNotEnabledError, StoreAPIError) as error:
            electing = isinstance(error, JetStreamNotEnabledError) or is_electing(error)
            if not (electing and await pauses.another()):
                raise
        else:
            with reading(subject, bucket):
                return int(answer["seq"])


async def _find(server: JetStreamServer, bucket: str, subject: str) -> int:
    try:
        backend = await server.open(bucket)
        anchor = await backend.last_message(subject, leader=True)
    except ObjStoreError:
        # The consumer then begins with the first message, whichever it is.
        return 0
    return 0 if anchor is None else anchor.sequence
