"""Where buckets and their durables stand now, for health, metrics and the console."""

from dataclasses import dataclass
from typing import Any

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Server, StreamState
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.api import CONSUMER_NOT_FOUND, parse_time
from faststream_objstore.exceptions import StoreAPIError

__all__ = ("BucketStanding", "DurableStanding", "bucket_standing", "durable_standing")

_NO_MESSAGE = 10037


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketStanding:
    """How large a bucket is.

    Attributes:
        bucket: Its name.
        bytes: Bytes stored, subjects and headers included.
        max_bytes: How many it may have; `None` for no limit.
        objects: How many objects there are; `None` if they were not counted.
        config: The stream's configuration, as the JetStream API has it.
    """

    bucket: str
    bytes: int
    max_bytes: int | None
    objects: int | None
    config: dict[str, Any]

    @property
    def fill(self) -> float | None:
        """The share of `max_bytes` that is used; `None` without a limit."""
        return None if self.max_bytes is None else self.bytes / self.max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableStanding:
    """How far a durable of a bucket has come.

    Attributes:
        bucket: The bucket's name.
        durable: The durable's name.
        pending: Changes that no replica has been given yet.
        in_work: Changes that are being handled, or that wait for their next attempt.
        redelivered: Those of them that were delivered more than once.
        oldest: Seconds since the oldest change that is not handled; 0 if all are.
    """

    bucket: str
    durable: str
    pending: int = 0
    in_work: int = 0
    redelivered: int = 0
    oldest: float = 0.0


async def bucket_standing(backend: Backend, *, objects: int | None = None) -> BucketStanding:
    """How large a bucket is, by one request.

    Args:
        backend: The bucket.
        objects: How many objects there are, where that is known.
    """
    state = await backend.state()
    limit = state.config.get("max_bytes") or -1
    return BucketStanding(
        bucket=backend.bucket,
        bytes=state.bytes,
        max_bytes=limit if limit > 0 else None,
        objects=objects,
        config=state.config,
    )


async def durable_standing(
    server: Server, bucket: str, durable: str, *, timeout: float
) -> DurableStanding | None:
    """How far a durable has come; `None` if the server does not have it.

    In memory, where puts call the handlers, all is always handled.

    Args:
        server: Where the bucket is.
        bucket: Its name.
        durable: The durable's name.
        timeout: Seconds of each request.
    """
    if not isinstance(server, JetStreamServer):
        return DurableStanding(bucket=bucket, durable=durable)
    stream = wire.stream_name(bucket)
    try:
        info = await server.api.call(
            f"CONSUMER.INFO.{stream}.{durable}", bucket=bucket, timeout=timeout
        )
    except StoreAPIError as error:
        if error.err_code == CONSUMER_NOT_FOUND:
            return None
        raise
    pending, in_work = int(info["num_pending"]), int(info["num_ack_pending"])
    oldest = 0.0
    if pending or in_work:
        floor = int(info["ack_floor"]["stream_seq"])
        oldest = await _age_behind(server, bucket, floor, timeout=timeout)
    return DurableStanding(
        bucket=bucket,
        durable=durable,
        pending=pending,
        in_work=in_work,
        redelivered=int(info.get("num_redelivered") or 0),
        oldest=oldest,
    )


async def _age_behind(
    server: JetStreamServer, bucket: str, floor: int, *, timeout: float
) -> float:
    """Seconds since the first change behind a sequence, by the server's clock."""
    try:
        found = await server.api.call(
            f"STREAM.MSG.GET.{wire.stream_name(bucket)}",
            {"seq": floor + 1, "next_by_subj": wire.all_metadata_subject(bucket)},
            bucket=bucket,
            timeout=timeout,
        )
    except StoreAPIError as error:
        if error.err_code == _NO_MESSAGE:
            # Handled, or replaced by a newer one that is handled, since we asked.
            return 0.0
        raise
    state: StreamState = await server.api.state(bucket, timeout=timeout)
    return max(0.0, (state.time_ns - parse_time(found["message"]["time"])) / 1e9)
