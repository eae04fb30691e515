"""The JetStream API as raw JSON, with its errors converted to this package's.

nats-py's dataclasses drop fields that they do not know, so they would erase settings of a
stream that they update.
"""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nats.aio.msg import Msg

from faststream_objstore.backends.base import ConsumerState, StreamState, WrongRevision
from faststream_objstore.backends.jetstream.connection import Connection, status_of
from faststream_objstore.backends.jetstream.errors import in_bucket
from faststream_objstore.backends.jetstream.lane import Lanes
from faststream_objstore.backends.origins import read_only
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    FeatureNotEnabledError,
    JetStreamNotEnabledError,
    ObjStoreError,
    StoreAPIError,
)
from faststream_objstore.wire import (
    bucket_of_stream,
    load_json,
    origins_of,
    parse_time,
    stream_name,
)

__all__ = (
    "AFTER_ALL",
    "CONSUMER_NOT_FOUND",
    "MARKER_REASON",
    "NOT_DELETED",
    "NO_MESSAGE",
    "UNREADABLE",
    "JetStreamAPI",
    "Pauses",
    "UnreadableError",
    "consumer_state",
    "is_electing",
    "reading",
    "refusal",
    "stored_header",
    "unreadable",
)

# Error codes from the server's errors.json.
# The verbs that change nothing, and may be asked twice.
_READING = (
    "CONSUMER.INFO.",
    "CONSUMER.LIST.",
    "INFO",
    "STREAM.INFO.",
    "STREAM.MSG.GET.",
    "STREAM.NAMES",
)
_STREAM_NOT_FOUND = 10059
_STREAM_EXISTS = 10058
_STREAM_SEALED = 10109
_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_NO_RESOURCES = frozenset(
    {
        10023,  # insufficient resources
        10028,  # memory of the account or server
        10047,  # storage of the account or server
        10122,  # the account's limit of a stream's size
    }
)
_STORE_FAILED = 10077
_TTL_DISABLED = 10166
_NOT_ENABLED = frozenset({10039, 10076})
NO_MESSAGE = 10037
NOT_DELETED = 10057
CONSUMER_NOT_FOUND = 10014
# A leader is being elected: nothing was done, so any request may be repeated.
_ELECTING = frozenset(
    {
        10008,  # the cluster is not available
        10009,  # not its leader
        10118,  # the stream is offline
        10119,  # the consumer is offline
    }
)
# Beyond the last page of any listing.
AFTER_ALL = 1 << 31
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What parsing an answer raises if the answer is malformed."""

MARKER_REASON = "Nats-Marker-Reason"
"""The header of a marker: why there is no message any more (ADR-43)."""


def stored_header(message: Mapping[str, Any], key: str) -> str:
    """A header of a message in an answer of the API; empty if it has none."""
    block = base64.b64decode(message.get("hdrs") or "").decode(errors="replace")
    for line in block.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return ""


class UnreadableError(StoreAPIError):
    """An answer is malformed, so the requested action may or may not have been done."""


def unreadable(subject: str, bucket: str | None, error: Exception) -> UnreadableError:
    """The error for a malformed answer."""
    msg = (
        f"{in_bucket(bucket)}the answer to {subject!r} cannot be read ({error!r}): something "
        "between this client and the server has changed it, or answers in its place."
    )
    return UnreadableError(msg, bucket=bucket)


@contextmanager
def reading(subject: str, bucket: str | None) -> Iterator[None]:
    """Parse an answer; raises `UnreadableError` if it is malformed."""
    try:
        yield
    except UNREADABLE as error:
        raise unreadable(subject, bucket, error) from error


def is_electing(error: ObjStoreError | WrongRevision) -> bool:
    """Whether a request was not acted on because a leader is being elected."""
    return isinstance(error, StoreAPIError) and (
        error.err_code in _ELECTING or (error.err_code is None and error.code == 503)
    )


class Pauses:
    """Growing pauses between attempts, within a timeout.

    Args:
        timeout: Seconds for all attempts together.
        first: Seconds of the first pause.
    """

    __slots__ = ("_deadline", "_pause")

    def __init__(self, timeout: float, first: float = _FIRST_PAUSE) -> None:
        self._deadline = asyncio.get_running_loop().time() + timeout
        self._pause = first

    @property
    def left(self) -> float:
        """The remaining seconds."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def another(self) -> bool:
        """Wait; returns whether there is time for another attempt."""
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        if pause >= self.left:
            return False
        await asyncio.sleep(pause)
        return True


def refusal(error: Mapping[str, Any], bucket: str | None) -> ObjStoreError | WrongRevision:
    """This package's error for the `error` of a JetStream answer."""
    code, err_code = error.get("code"), error.get("err_code")
    said = error.get("description") or "no reason given"
    where = f"Bucket '{bucket}'" if bucket else "JetStream"
    if err_code in _WRONG_LAST_SEQUENCE:
        return WrongRevision(said)
    if err_code == _STREAM_NOT_FOUND:
        return _not_found(bucket)
    if err_code == _STREAM_SEALED:
        msg = f"{where} is sealed: it can be read, never changed."
        return BucketSealedError(msg, bucket=bucket)
    if err_code in _NO_RESOURCES or (
        # Every storage failure has this code; only an exceeded limit means that a bucket is
        # full.
        err_code == _STORE_FAILED and ("maximum" in said or "no space" in said)
    ):
        msg = (
            f"{where} is full ({said}): delete objects, let `sweep` remove what failed "
            "writers left, or raise its max_bytes or the account's storage."
        )
        return BucketFullError(msg, bucket=bucket)
    if err_code == _STREAM_EXISTS:
        msg = (
            f"{where} exists with a different configuration; change the declaration, or "
            "apply it with update=True."
        )
        return BucketConfigMismatchError(msg, bucket=bucket)
    if err_code == _TTL_DISABLED:
        msg = f"{where} has no TTLs for single objects: its stream does not set allow_msg_ttl."
        return FeatureNotEnabledError(msg, bucket=bucket)
    if err_code in _NOT_ENABLED:
        return _not_enabled(bucket, said)
    msg = f"{where}: JetStream refused: {said} (code {code}, err_code {err_code})."
    return StoreAPIError(msg, bucket=bucket, code=code, err_code=err_code)


def _not_found(bucket: str | None) -> BucketNotFoundError:
    msg = (
        f"Bucket '{bucket}' does not exist (no stream {stream_name(bucket or '')!r}): it was "
        "never created, or it has been deleted. A service that declares it creates it when "
        "it starts."
    )
    return BucketNotFoundError(msg, bucket=bucket)


def _not_enabled(bucket: str | None, said: str) -> JetStreamNotEnabledError:
    msg = (
        f"{in_bucket(bucket)}JetStream does not answer ({said}): it is "
        "not enabled on the server or for this account (`nats-server -js`), the domain is "
        "another one, or the server is just starting; in that case try again."
    )
    return JetStreamNotEnabledError(msg, bucket=bucket)


def consumer_state(info: dict[str, Any]) -> ConsumerState:
    """The API's information about a consumer."""
    config = info.get("config") or {}
    only = config.get("filter_subject")
    return ConsumerState(
        name=info["name"],
        filters=(only,) if only else tuple(config.get("filter_subjects") or ()),
        floor=info["ack_floor"]["stream_seq"],
        idle=not info.get("num_pending") and not info.get("num_ack_pending"),
    )


def _positions(info: Mapping[str, Any]) -> tuple[int | None, ...]:
    """How far a stream has followed each of its origins."""
    config = info["config"]
    if config.get("mirror"):
        # It keeps the origin's sequences.
        return (info["state"]["last_seq"],)
    told = {_followed(one): one.get("seq") for one in info.get("sources") or ()}
    # Zero is left out, and older servers tell nothing at all.
    zero = 0 if any(told.values()) or not info["state"]["last_seq"] else None
    return tuple(
        told.get(_followed(one)) or zero
        for one in config.get("sources") or ()
        if bucket_of_stream(one["name"])
    )


def _followed(source: Mapping[str, Any]) -> tuple[str, str]:
    return source["name"], (source.get("external") or {}).get("api") or ""


class JetStreamAPI:
    """Requests to the JetStream API.

    Args:
        ordinary: The connection for ordinary requests.
        prefix: `$JS.API`, or that of a domain or an import.
        lanes: Provides a lane instead, if there is one.
    """

    def __init__(
        self, ordinary: Connection, prefix: str, *, lanes: Lanes | None = None
    ) -> None:
        self.ordinary: Connection = ordinary
        """The connection of the nats-py client, for what must last."""
        self.prefix: str = prefix
        self._lanes = lanes
        self._answered = False

    @property
    def connection(self) -> Connection:
        """The connection for the next step."""
        lane = None if self._lanes is None else self._lanes.step()
        return self.ordinary if lane is None else lane

    def connection_for(self, messages: int) -> Connection:
        """The connection for a step that is answered with so many messages."""
        lane = None if self._lanes is None else self._lanes.step(messages)
        return self.ordinary if lane is None else lane

    def opens_lane(self, size: int) -> bool:
        """Whether `open_lane` would open a lane for a transfer of so many bytes."""
        return self._lanes is not None and self._lanes.opens(size)

    async def open_lane(self, *, size: int = 0, messages: int = 0) -> Connection | None:
        """The lane for a transfer; `None` if the transfer is small, or if no lane is possible.

        Args:
            size: The size of the transfer in bytes.
            messages: Its number of messages.
        """
        if self._lanes is None:
            return None
        return await self._lanes.open(size=size, messages=messages)

    def lane_soon(self, messages: int) -> Connection | None:
        """The lane, if it is open; otherwise many messages have one opened, for later.

        Args:
            messages: How many messages are to be read.
        """
        return None if self._lanes is None else self._lanes.soon(messages)

    async def call(
        self,
        verb: str,
        body: Mapping[str, Any] | None = None,
        *,
        bucket: str | None = None,
        timeout: float,
    ) -> dict[str, Any]:
        """Send a request, and return the answer.

        Args:
            verb: The subject after the prefix: `STREAM.INFO.OBJ_photos`.
            body: The JSON of the request.
            bucket: The bucket that errors name.
            timeout: Seconds until the answer. While a leader is being elected, the request is
                repeated within that time, and if it only reads, while nobody answers.

        Raises:
            ObjStoreError: The error that `refusal` makes of the answer.
            JetStreamNotEnabledError: If nobody answers.
        """
        payload = b"" if body is None else json.dumps(body).encode()
        subject = f"{self.prefix}.{verb}"
        repeat = verb.startswith(_READING)
        reply = await self.connection.request(
            subject, payload, timeout=timeout, bucket=bucket, repeat=repeat
        )
        pauses: Pauses | None = None
        while True:
            try:
                answer = self.read(reply, bucket, subject)
            except (JetStreamNotEnabledError, StoreAPIError) as error:
                # JetStream has answered before, so a server is just starting.
                starting = isinstance(error, JetStreamNotEnabledError) and self._answered
                if not (starting or is_electing(error)):
                    raise
                pauses = pauses or Pauses(timeout)
                if not await pauses.another():
                    raise
            else:
                self._answered = True
                return answer
            reply = await self.connection.request(
                subject, payload, timeout=pauses.left, bucket=bucket, repeat=repeat
            )

    @staticmethod
    def read(reply: Msg, bucket: str | None, subject: str) -> dict[str, Any]:
        """The JSON of an answer; raises as `call` does."""
        if not reply.data and status_of(reply) == "503":
            raise _not_enabled(bucket, "no responders")
        try:
            answer: dict[str, Any] = load_json(reply.data)
            refused = answer.get("error")
            wrong = refusal(refused, bucket) if refused else None
        except UNREADABLE as error:
            raise unreadable(subject, bucket, error) from error
        if wrong is not None:
            raise wrong
        return answer

    async def state(self, bucket: str, *, timeout: float) -> StreamState:
        """The stream's configuration and size."""
        verb = f"STREAM.INFO.{stream_name(bucket)}"
        info = await self.call(verb, bucket=bucket, timeout=timeout)
        try:
            state = info["state"]
            return StreamState(
                config=info["config"],
                messages=state["messages"],
                bytes=state["bytes"],
                last_sequence=state["last_seq"],
                created=info["created"],
                # Before 2.10 the server does not report it; it is not before its newest
                # message.
                time_ns=parse_time(info.get("ts") or state["last_ts"]),
                first_time_ns=parse_time(state["first_ts"]) if state["messages"] else 0,
                first_sequence=int(state.get("first_seq") or 0),
                positions=_positions(info),
            )
        except UNREADABLE as error:
            raise unreadable(f"{self.prefix}.{verb}", bucket, error) from error

    async def count(self, bucket: str, subject: str, *, timeout: float) -> int:
        """The number of messages on a subject, according to the stream's leader."""
        verb = f"STREAM.INFO.{stream_name(bucket)}"
        info = await self.call(
            verb, {"subjects_filter": subject}, bucket=bucket, timeout=timeout
        )
        try:
            return int((info["state"].get("subjects") or {}).get(subject, 0))
        except UNREADABLE as error:
            raise unreadable(f"{self.prefix}.{verb}", bucket, error) from error

    async def count_subjects(self, bucket: str, subject: str, *, timeout: float) -> int:
        """The number of subjects with messages that a pattern matches."""
        verb = f"STREAM.INFO.{stream_name(bucket)}"
        # Their number is told even if the page that is asked for begins after the last one.
        page = {"subjects_filter": subject, "offset": AFTER_ALL}
        info = await self.call(verb, page, bucket=bucket, timeout=timeout)
        try:
            return int(info.get("total", 0))
        except UNREADABLE as error:
            raise unreadable(f"{self.prefix}.{verb}", bucket, error) from error

    async def why_no_responders(
        self,
        bucket: str,
        *,
        timeout: float,
    ) -> ObjStoreError:
        """The error for a message to the stream that was not received by anything.

        The stream is gone, or it currently has no leader.
        """
        try:
            state = await self.state(bucket, timeout=timeout)
        except ObjStoreError as error:
            return error
        if origins := origins_of(state.config):
            return read_only(bucket, origins)
        msg = (
            f"Bucket '{bucket}': its stream took no message, but exists; it may be electing "
            "a leader. Try again."
        )
        return StoreAPIError(msg, bucket=bucket, code=503)
