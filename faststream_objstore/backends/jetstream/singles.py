"""A bucket's stream: its settings, its state, and the newest messages of its subjects."""

import base64
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from nats.aio.msg import Msg

from faststream_objstore.backends.base import EarlyMessage, StoredMessage, StreamState
from faststream_objstore.backends.jetstream.api import (
    MARKER_REASON,
    NO_MESSAGE,
    UNREADABLE,
    reading,
    stored_header,
    unreadable,
)
from faststream_objstore.backends.jetstream.budget import Share
from faststream_objstore.backends.jetstream.clock import ServerClock
from faststream_objstore.backends.jetstream.deposed import newest_since
from faststream_objstore.backends.jetstream.early import JetStreamEarlyMessage
from faststream_objstore.backends.jetstream.multi_last import MultiLast, direct_message
from faststream_objstore.backends.jetstream.waiting import REPEAT_SECONDS
from faststream_objstore.exceptions import PermissionDeniedError, StoreAPIError
from faststream_objstore.models import Mirror
from faststream_objstore.wire import least_ttl, origins_of, parse_time, stream_name

if TYPE_CHECKING:
    from faststream_objstore.backends.jetstream.server import JetStreamServer

__all__ = ("SingleMessages",)

# The server closes the connection of a client that sends a longer line (`max_control_line`;
# the server does not report its value, so this is the default).
_CONTROL_LINE = 4096
# A generous estimate of verbs, spaces, sizes, "\r\n", and a consumer's name.
_CONTROL_LINE_REST = 96


class SingleMessages:
    """The part of a `JetStreamBackend` that knows the stream and reads single messages.

    Args:
        server: Where it is.
        bucket: The bucket's name.
        config: The configuration of its stream; ADR-20's defaults if not given.
    """

    def __init__(
        self,
        server: "JetStreamServer",
        bucket: str,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.bucket = bucket
        self.timeout: float = server.timeout
        self._server = server
        self._api = server.api
        self._stream = stream_name(bucket)
        self._direct_get = f"{self._api.prefix}.DIRECT.GET.{self._stream}."
        # The longest of the requests about a subject.
        self._max_subject = (
            _CONTROL_LINE
            - _CONTROL_LINE_REST
            - len(self._direct_get)
            - self._api.ordinary.reply_length
        )
        self._together = MultiLast(self._api, bucket)
        self._heed({"allow_direct": True} if config is None else config)
        self.clock: ServerClock = ServerClock()

    def _heed(self, config: Mapping[str, Any]) -> None:
        self._direct = bool(config.get("allow_direct"))
        self._together.heed(config)
        self._atomic = bool(config.get("allow_atomic"))
        self._origins = origins_of(config)
        self._replicas: int = config.get("num_replicas", 1)
        self._max_age: int = config.get("max_age") or 0
        self._least_ttl = least_ttl(config)
        self._metadata: Mapping[str, str] = config.get("metadata") or {}

    @property
    def may_lag(self) -> bool:
        """Whether a replica may answer with less than the leader has."""
        return self._replicas > 1

    @property
    def max_payload(self) -> int:
        """The largest body of one message in bytes."""
        return self._api.ordinary.client.max_payload

    @property
    def metadata(self) -> Mapping[str, str]:
        """The stream's metadata, as of the last time that its configuration was read."""
        return self._metadata

    @property
    def max_age(self) -> int:
        """Nanoseconds after which the stream drops a message; see `Backend`."""
        return self._max_age

    @property
    def least_ttl(self) -> int:
        """The least TTL of a single message in nanoseconds; see `Backend`."""
        return self._least_ttl

    def latest_time(self) -> int:
        """The latest that the server's clock can be now; see `Backend`."""
        return self.clock.latest()

    @property
    def knows_time(self) -> bool:
        """Whether the server's clock was read lately."""
        return self.clock.is_fresh

    @property
    def atomic(self) -> bool:
        """Whether the stream accepts atomic batches."""
        return self._atomic

    @property
    def origins(self) -> tuple[Mirror, ...]:
        """The buckets that this one follows; see `Backend`."""
        return self._origins

    @property
    def max_subject(self) -> int:
        """The longest subject, in bytes, that fits into every request about it."""
        return self._max_subject

    async def last_message(
        self, subject: str, *, leader: bool = False, since: int = 0, size: int = 0
    ) -> StoredMessage | None:
        """The newest message of a subject, or `None`."""
        if since and self._direct and self.may_lag:
            return await self._newest_since(subject, since)
        connection = self._api.connection
        share: Share | None = None
        if size:
            # Metadata can claim any size, but the size of a message is limited.
            size = min(size, self.max_payload)
            share = connection.singles(size)
            if not share.take(size) and not await share.acquire(size, self.timeout):
                raise self._api.ordinary.held_up(self.timeout, self.bucket)
        try:
            if leader or not self._direct:
                return await self._leader_get(subject)
            asked = self._direct_get + subject
            reply = await connection.request(
                asked, timeout=self.timeout, bucket=self.bucket, repeat=True
            )
            return self._direct_message(reply, subject) or await self._without_message(
                subject, reply.headers or {}
            )
        finally:
            if share is not None:
                share.release(size)

    async def last_messages(
        self, subjects: Sequence[str], *, size: int = 0
    ) -> dict[str, StoredMessage]:
        """The newest messages of several subjects, as far as one request gets them."""
        if not self._together.is_possible:
            return {}
        found = await self._together.get(subjects, size=size, timeout=self.timeout)
        if not found and subjects:
            # The bucket may be gone, which is what a single request finds out.
            first = await self.last_message(subjects[0])
            return {} if first is None else {subjects[0]: first}
        return found

    def early_message(self, subject: str, *, size: int) -> EarlyMessage | None:
        """Request the newest message of a subject before it is needed; see `Backend`."""
        if not self._direct:
            return None
        connection = self._api.connection
        if connection.is_crowded:
            return None
        share = connection.singles(size)
        if not share.take(size):
            return None
        asked = self._direct_get + subject
        timeout = min(self.timeout, REPEAT_SECONDS)
        begun = connection.begin(asked, timeout=timeout, bucket=self.bucket)
        if begun is None:
            share.release(size)
            return None
        return JetStreamEarlyMessage(
            subject, connection, begun, share, size, self._direct_message
        )

    def _direct_message(self, reply: Msg, subject: str) -> StoredMessage | None:
        """The message in the answer to a direct get; `None` if it has none."""
        try:
            return direct_message(reply, subject)
        except UNREADABLE as error:
            raise unreadable(self._direct_get + subject, self.bucket, error) from error

    async def _without_message(
        self, subject: str, headers: Mapping[str, str]
    ) -> StoredMessage | None:
        """What the answer to a direct get means that has no message."""
        status = headers.get("Status")
        if status == "404":
            return None
        if status == "503":
            # The stream is gone, currently has no leader, or refuses direct gets.
            await self.state()
            return await self._leader_get(subject)
        msg = (
            f"Bucket '{self.bucket}': a direct get was refused: {status} "
            f"{headers.get('Description', '')}."
        )
        raise StoreAPIError(
            msg,
            bucket=self.bucket,
            code=int(status) if status and status.isdigit() else None,
        )

    async def _newest_since(self, subject: str, since: int) -> StoredMessage | None:
        try:
            return await newest_since(
                self._api, self.bucket, subject, since, timeout=self.timeout
            )
        except (PermissionDeniedError, StoreAPIError):
            return await self._leader_get(subject)

    async def _leader_get(self, subject: str) -> StoredMessage | None:
        try:
            answer = await self._call("STREAM.MSG.GET", {"last_by_subj": subject})
        except StoreAPIError as error:
            if error.err_code == NO_MESSAGE:
                return None
            raise
        try:
            message = answer["message"]
            data = base64.b64decode(message.get("data") or "")
            return StoredMessage(
                subject=message["subject"],
                data=data,
                sequence=int(message["seq"]),
                time_ns=parse_time(message["time"]),
                size=len(data),
                reason="" if data else stored_header(message, MARKER_REASON),
            )
        except UNREADABLE as error:
            asked = f"{self._api.prefix}.STREAM.MSG.GET.{self._stream}"
            raise unreadable(asked, self.bucket, error) from error

    async def state(self) -> StreamState:
        """The stream's configuration and size."""
        asked_ns = time.monotonic_ns()
        state = await self._api.state(self.bucket, timeout=self.timeout)
        self.clock.told(asked_ns, state.time_ns)
        self._heed(state.config)
        return state

    def _reading(self, verb: str) -> AbstractContextManager[None]:
        return reading(f"{self._api.prefix}.{verb}.{self._stream}", self.bucket)

    async def _call(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._api.call(
            f"{verb}.{self._stream}", body, bucket=self.bucket, timeout=self.timeout
        )
