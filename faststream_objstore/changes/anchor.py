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
from faststream_objstore.backends.jetstream.api import reading
from faststream_objstore.exceptions import BucketSealedError, ObjStoreError
from faststream_objstore.logs import log

__all__ = ("store_anchor",)

# Elsewhere, in another domain or account, the subjects need not lead to the stream.
_PREFIX = "$JS.API"


async def store_anchor(server: JetStreamServer, bucket: str, state: StreamState) -> int:
    """Store a bucket's anchor, unless it has one.

    Without the right to do so, or where the bucket is full, changes are received all the same.

    Args:
        server: The server of the bucket.
        bucket: The bucket's name.
        state: The state of its stream before.

    Returns:
        The anchor's sequence if it is the first message of all; otherwise 0.
    """
    config = state.config
    if server.api.prefix != _PREFIX or wire.origins_of(config) or config.get("sealed"):
        return 0
    subject = wire.anchor_subject(bucket)
    headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
    if config.get("allow_msg_ttl"):
        headers["Nats-TTL"] = "never"
    connection = server.api.ordinary
    connection.may_be_refused(subject)
    try:
        reply = await connection.request(
            subject, headers=headers, timeout=server.timeout, bucket=bucket
        )
        answer = server.api.read(reply, bucket, subject)
        with reading(subject, bucket):
            sequence = int(answer["seq"])
    except BucketSealedError:
        # Sealed meanwhile: nothing changes.
        return 0
    except WrongRevision:
        backend = await server.open(bucket)
        anchor = await backend.last_message(subject, leader=True)
        sequence = 0 if anchor is None else anchor.sequence
    except ObjStoreError as error:
        log(
            connection,
            logging.INFO,
            f"Bucket '{bucket}': no message can be stored at {subject!r} ({error}). Without "
            "it, nats-server may never deliver again what a killed process had received.",
        )
        return 0
    first = state.first_sequence if state.messages else state.last_sequence + 1
    return sequence if first >= sequence else 0
