"""The `Server` of JetStream: buckets are opened, created, updated and deleted."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nats.aio.client import Client

from faststream_objstore.backends.jetstream.api import (
    JetStreamAPI,
    reading,
)
from faststream_objstore.backends.jetstream.backend import JetStreamBackend
from faststream_objstore.backends.jetstream.connection import Connection
from faststream_objstore.backends.jetstream.lane import Lanes
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketNotFoundError,
    FeatureNotEnabledError,
    InvalidBucketNameError,
    StoreAPIError,
)
from faststream_objstore.models import validate_bucket_name
from faststream_objstore.wire import (
    all_chunks_subject,
    bucket_of_stream,
    parse_time,
    stream_name,
)

__all__ = ("JetStreamServer",)

# Settings that an older server silently accepts and drops; the version that introduced each,
# and what it is for.
_FEATURES = {
    "allow_atomic": ("2.12", "transactions=True"),
    "allow_msg_ttl": ("2.11", "object_ttl"),
}


def _ignored(asked: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """The settings of a stream that the server does not support."""
    return [key for key in _FEATURES if asked.get(key) and not made.get(key)]


def _too_old(bucket: str, lacking: Sequence[str]) -> FeatureNotEnabledError:
    since, option = max(_FEATURES[key] for key in lacking)
    msg = (
        f"Bucket '{bucket}': the server is too old for {option}, which takes nats-server "
        f"{since} or later; use one, or leave the option out."
    )
    return FeatureNotEnabledError(msg, bucket=bucket)


class JetStreamServer:
    """Buckets on a NATS server with JetStream.

    Args:
        client: A connected nats-py client; it is not closed here.
        prefix: The subject prefix of the JetStream API; see `prefix_of` for domains.
        timeout: Seconds allowed for one step: a request, a chunk, an acknowledgement.
        lane: Whether a second connection may be opened for much traffic.
    """

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "$JS.API",
        timeout: float = 10.0,
        lane: bool = True,
    ) -> None:
        self.client = client
        self.timeout: float = timeout
        self._lane = lane
        ordinary = Connection.of(client)
        lanes = Lanes.of(ordinary) if lane else None
        if lanes is not None:
            lanes.allow(timeout)
        self.api: JetStreamAPI = JetStreamAPI(ordinary, prefix, lanes=lanes)

    @staticmethod
    def prefix_of(domain: str) -> str:
        """The API's prefix of a JetStream domain."""
        return f"$JS.{domain}.API"

    def in_domain(self, domain: str | None) -> "JetStreamServer":
        """The same connection's view of another JetStream domain.

        Args:
            domain: Its name; `None` for this one.
        """
        if domain is None:
            return self
        return JetStreamServer(
            self.client,
            prefix=self.prefix_of(domain),
            timeout=self.timeout,
            lane=self._lane,
        )

    async def open(self, bucket: str) -> JetStreamBackend:
        """The backend of an existing bucket."""
        validate_bucket_name(bucket)
        backend = JetStreamBackend(self, bucket)
        await backend.state()
        return backend

    async def create(self, bucket: str, config: dict[str, Any]) -> JetStreamBackend:
        """Create the stream of a bucket."""
        validate_bucket_name(bucket)
        asked_ns = time.monotonic_ns()
        info = await self._call("STREAM.CREATE", bucket, config)
        with reading(f"{self.api.prefix}.STREAM.CREATE.{stream_name(bucket)}", bucket):
            made, created = info["config"], bool(info.get("did_create"))
            lacking = _ignored(config, made)
            # Before 2.10 the server does not report it.
            time_ns = parse_time(info["ts"]) if "ts" in info else 0
        if lacking:
            if created:
                await self.delete(bucket)
            raise _too_old(bucket, lacking)
        backend = JetStreamBackend(self, bucket, made)
        if time_ns:
            backend.clock.told(asked_ns, time_ns)
        return backend

    async def update(self, bucket: str, config: dict[str, Any]) -> None:
        """Replace the configuration of a bucket's stream."""
        validate_bucket_name(bucket)
        try:
            info = await self._call("STREAM.UPDATE", bucket, config)
        except StoreAPIError as error:
            if error.err_code is None:
                raise
            msg = (
                f"Bucket '{bucket}': the server does not make this change: "
                f"{error.description} Keep the setting as it is, or copy the objects to a "
                "new bucket."
            )
            raise BucketConfigMismatchError(msg, bucket=bucket) from error
        with reading(f"{self.api.prefix}.STREAM.UPDATE.{stream_name(bucket)}", bucket):
            lacking = _ignored(config, info["config"])
        if lacking:
            raise _too_old(bucket, lacking)

    async def delete(self, bucket: str) -> None:
        """Delete a bucket and everything in it."""
        validate_bucket_name(bucket)
        await self._call("STREAM.DELETE", bucket)

    async def domain(self) -> str | None:
        """The name of its JetStream domain."""
        answer = await self.api.call("INFO", timeout=self.timeout)
        with reading(f"{self.api.prefix}.INFO", None):
            return answer.get("domain") or None

    async def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
        found = await self._names({"subject": all_chunks_subject("*")})
        # Those that follow others have no subjects.
        for bucket in await self._names({}) - found:
            with suppress(BucketNotFoundError, InvalidBucketNameError):
                if (await self.open(bucket)).origins:
                    found.add(bucket)
        return sorted(found)

    async def _names(self, filtered: Mapping[str, Any]) -> set[str]:
        names: list[str] = []
        offset = 0
        while True:
            answer = await self.api.call(
                "STREAM.NAMES", {"offset": offset, **filtered}, timeout=self.timeout
            )
            with reading(f"{self.api.prefix}.STREAM.NAMES", None):
                page = answer.get("streams") or []
                names += page
                offset += len(page)
                if not page or offset >= answer.get("total", 0):
                    return {one for name in names if (one := bucket_of_stream(name))}

    async def _call(
        self, verb: str, bucket: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return await self.api.call(
            f"{verb}.{stream_name(bucket)}", body, bucket=bucket, timeout=self.timeout
        )
