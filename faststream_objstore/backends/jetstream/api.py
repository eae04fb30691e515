"""The JetStream API in its raw JSON, and its refusals as this package's errors.

nats-py's dataclasses drop the fields they do not know, and so would erase settings of a
stream that they update.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nats.aio.msg import Msg

from faststream_objstore.backends.base import StreamState, WrongRevision
from faststream_objstore.backends.jetstream.connection import Connection, in_bucket, status_of
from faststream_objstore.exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    JetStreamNotEnabledError,
    ObjStoreError,
    StoreAPIError,
)
from faststream_objstore.wire import stream_name

__all__ = (
    "CONSUMER_NOT_FOUND",
    "NOT_DELETED",
    "NO_MESSAGE",
    "JetStreamAPI",
    "parse_time",
    "refusal",
)

# The server's errors.json.
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
_NOT_ENABLED = frozenset({10039, 10076})
NO_MESSAGE = 10037
NOT_DELETED = 10057
CONSUMER_NOT_FOUND = 10014

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - both sides of the subtraction are UTC


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time, exactly.

    `datetime` holds microseconds, and in Python 3.10 parses three or six digits only.
    """
    seconds, rest = text[:19], text[19:]
    since = datetime.fromisoformat(seconds) - _EPOCH
    result = (since.days * 86_400 + since.seconds) * 1_000_000_000
    zone = rest.lstrip(".0123456789")
    fraction = rest[1 : len(rest) - len(zone)]
    if fraction:
        result += int(fraction[:9].ljust(9, "0"))
    if zone[:1] in {"+", "-"}:
        hours, _, minutes = zone[1:].partition(":")
        offset = (int(hours) * 60 + int(minutes)) * 60 * 1_000_000_000
        result += offset if zone[0] == "-" else -offset
    return result


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
        # Any failure of the store has this code; only a limit is a full bucket.
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


class JetStreamAPI:
    """Requests to the JetStream API.

    Args:
        connection: Where to send them.
        prefix: `$JS.API`, or that of a domain or an import.
    """

    def __init__(self, connection: Connection, prefix: str) -> None:
        self.connection = connection
        self.prefix = prefix

    async def call(
        self,
        verb: str,
        body: Mapping[str, Any] | None = None,
        *,
        bucket: str | None = None,
        timeout: float,
    ) -> dict[str, Any]:
        """Ask for something, and return the answer.

        Args:
            verb: The subject after the prefix: `STREAM.INFO.OBJ_photos`.
            body: The JSON of the request.
            bucket: The bucket that errors name.
            timeout: Seconds until the answer.

        Raises:
            ObjStoreError: What `refusal` makes of the answer.
            JetStreamNotEnabledError: If nobody answers.
        """
        payload = b"" if body is None else json.dumps(body).encode()
        reply = await self.connection.request(
            f"{self.prefix}.{verb}", payload, timeout=timeout, bucket=bucket
        )
        return self.read(reply, bucket)

    @staticmethod
    def read(reply: Msg, bucket: str | None) -> dict[str, Any]:
        """The JSON of an answer; raises as `call` does."""
        status = status_of(reply)
        if status == "503":
            raise _not_enabled(bucket, "no responders")
        try:
            answer = json.loads(reply.data)
        except ValueError as error:
            msg = f"Bucket '{bucket}': an answer of JetStream is not JSON ({status=})."
            raise StoreAPIError(msg, bucket=bucket) from error
        if refused := answer.get("error"):
            raise refusal(refused, bucket)
        return answer  # type: ignore[no-any-return]

    async def state(self, bucket: str, *, timeout: float) -> StreamState:
        """The stream's configuration and size."""
        info = await self.call(
            f"STREAM.INFO.{stream_name(bucket)}", bucket=bucket, timeout=timeout
        )
        state = info["state"]
        return StreamState(
            config=info["config"],
            messages=state["messages"],
            bytes=state["bytes"],
            last_sequence=state["last_seq"],
            created=info["created"],
            # Before 2.10 it does not say; no earlier than its newest message.
            time_ns=parse_time(info.get("ts") or state["last_ts"]),
        )

    async def count(self, bucket: str, subject: str, *, timeout: float) -> int:
        """How many messages of a subject the stream's leader has."""
        info = await self.call(
            f"STREAM.INFO.{stream_name(bucket)}",
            {"subjects_filter": subject},
            bucket=bucket,
            timeout=timeout,
        )
        return int((info["state"].get("subjects") or {}).get(subject, 0))

    async def why_no_responders(
        self,
        bucket: str,
        *,
        timeout: float,
    ) -> ObjStoreError:
        """The error for a message to the stream that nobody took.

        The stream is gone, or it has no leader at the moment.
        """
        try:
            await self.state(bucket, timeout=timeout)
        except ObjStoreError as error:
            return error
        msg = (
            f"Bucket '{bucket}': its stream took no message, but exists; it may be electing "
            "a leader. Try again."
        )
        return StoreAPIError(msg, bucket=bucket, code=503)
