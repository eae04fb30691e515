"""The newest messages of several subjects, in one request (ADR-31).

The server answers with one message for each subject that has any, and then with a status. Any
replica may answer. An answer may be incomplete: the connection is lost meanwhile, a message is
removed while the server is sending, or there is more than `max_bytes`.
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nats.aio.msg import Msg

from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream.api import (
    MARKER_REASON,
    JetStreamAPI,
    UnreadableError,
    reading,
)
from faststream_objstore.backends.jetstream.connection import Connection, status_of
from faststream_objstore.exceptions import (
    NotConnectedError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.logs import log
from faststream_objstore.wire import parse_time, stream_name

__all__ = ("Answer", "MultiLast", "direct_message", "multi_last")

# nats-server 2.11 has such requests too. But it looks into every block of the stream between
# the oldest and the newest of the messages, and reads those that it has not read lately: 12
# seconds for 64 messages that are spread over 6 GiB, while nobody can write.
_SINCE = (2, 12)

# If nothing arrives for so long, single requests do better. They would also get through where
# an account exports the API with one response for each request.
_PATIENCE_SECONDS = 2.0
# What was refused is not asked again for so long.
_REFUSED_SECONDS = 60.0
_DENIED_SECONDS = 3600.0
_NOBODY_SECONDS = 1.0

# The headers that a server adds to each message, at the end; parsing all of the headers takes
# six times as long.
_ADDED = re.compile(
    rb"\r\nNats-Subject: (\S+)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: (\S+)"
    rb"(?:\r\nNats-Num-Pending: \d+\r\nNats-Last-Sequence: \d+)?\r\n\r\n\Z"
)
# A named tuple made by its class takes twice as long.
_stored_message = tuple.__new__

# What a message takes besides its body: its subject, its headers, and those of the answer.
_OVERHEAD_BYTES = 1024
# What the metadata of an object is expected to take, with its overhead.
_METADATA_BYTES = 4 * 1024


class Answer(NamedTuple):
    """The answer to one request.

    Attributes:
        found: The messages, by subject.
        status: The status at its end; `None` if it was cut off.
        is_lost: Whether it was cut off because the connection was lost.
        pending: How many messages were left out.
        upto: Up to which sequence the server has looked; 0 if it had no message.
    """

    found: dict[str, StoredMessage]
    status: str | None
    is_lost: bool = False
    pending: int = 0
    upto: int = 0


async def multi_last(
    api: JetStreamAPI,
    connection: Connection,
    bucket: str,
    subjects: Sequence[str],
    *,
    patience: float,
    max_bytes: int = 0,
) -> Answer:
    """Ask for the newest message of each subject.

    Args:
        api: The JetStream API.
        connection: One of its connections.
        bucket: The bucket.
        subjects: The subjects, at most 1,024.
        patience: Seconds to wait for the next message of the answer.
        max_bytes: How much the server may send; it exceeds that by less than a message.

    Raises:
        PermissionDeniedError: If the user may not ask that.
        NotConnectedError: If the connection is closed.
    """
    if not connection.has_replies:
        await connection.open_replies(bucket=bucket)
    loop = asyncio.get_running_loop()
    asked = f"{api.prefix}.DIRECT.GET.{stream_name(bucket)}"
    ended: asyncio.Future[Msg | PermissionDeniedError | None] = loop.create_future()
    messages: list[Msg] = []

    def hear(message: Msg) -> None:
        if message.data or status_of(message) is None:
            messages.append(message)
        elif not ended.done():
            ended.set_result(message)

    def deny(error: PermissionDeniedError) -> None:
        if not ended.done():
            ended.set_result(error)

    body: dict[str, object] = {"multi_last": list(subjects)}
    if max_bytes:
        body["max_bytes"] = max_bytes
    generation = connection.generation
    connection.may_be_refused(asked)
    reply = connection.add_route(hear, watched=(asked, bucket, deny))
    try:
        payload = json.dumps(body).encode()
        await connection.publish(asked, payload, reply=reply, bucket=bucket)
        while True:
            heard = len(messages)
            end = await connection.answer(ended, loop.time() + patience, generation)
            is_lost = connection.reconnects > generation or connection.client.is_closed
            if end is not None or is_lost or len(messages) == heard:
                break
            ended = loop.create_future()
    finally:
        connection.remove_route(reply)
    if isinstance(end, PermissionDeniedError):
        raise end
    with reading(asked, bucket):
        found = {one.subject: one for one in map(_stored, messages)}
        if end is None:
            return Answer(found, None, is_lost)
        said = end.headers or {}
        return Answer(
            found,
            status_of(end),
            pending=int(said.get("Nats-Num-Pending", 0)),
            upto=int(said.get("Nats-UpTo-Sequence", 0)),
        )


def _stored(message: Msg) -> StoredMessage:
    stored = direct_message(message)
    if stored is None:
        msg = "an answer without a message"
        raise ValueError(msg)
    return stored


def direct_message(message: Msg, subject: str | None = None) -> StoredMessage | None:
    """The message in an answer to a direct get; `None` if it has none.

    Args:
        message: The answer.
        subject: The subject of the message, if it is known.

    Raises:
        KeyError, ValueError: If the answer is malformed.
    """
    # A lane's message has its header block.
    head: bytes | None = getattr(message, "head", None)
    data = message.data
    if head is not None and data and (added := _ADDED.search(head)) is not None:
        said, sequence, time = added.groups()
        fields = subject or said.decode(), data, int(sequence), parse_time(time.decode())
        return _stored_message(StoredMessage, (*fields, 0, len(data), ""))
    headers = message.headers
    if headers is None or "Nats-Sequence" not in headers:
        return None
    return StoredMessage(
        subject or headers["Nats-Subject"],
        data,
        int(headers["Nats-Sequence"]),
        parse_time(headers["Nats-Time-Stamp"]),
        size=len(data),
        reason="" if data else headers.get(MARKER_REASON, ""),
    )


class MultiLast:
    """The requests for one bucket, as long as its servers answer them.

    Args:
        api: The JetStream API.
        bucket: The bucket.
    """

    def __init__(self, api: JetStreamAPI, bucket: str) -> None:
        self._api = api
        self._bucket = bucket
        self._supported = False
        self._not_before = 0.0
        self._was_denied = False

    def heed(self, config: Mapping[str, object]) -> None:
        """Take note of the stream's configuration."""
        metadata = config.get("metadata")
        version = metadata.get("_nats.ver") if isinstance(metadata, dict) else None
        self._supported = bool(config.get("allow_direct")) and _version(version) >= _SINCE

    @property
    def is_possible(self) -> bool:
        """Whether a request is worth a try."""
        return self._supported and asyncio.get_running_loop().time() >= self._not_before

    async def get(
        self, subjects: Sequence[str], *, size: int, timeout: float
    ) -> dict[str, StoredMessage]:
        """The newest messages of the subjects, as far as they can be had together.

        Args:
            subjects: The subjects, at most 1,024.
            size: The bytes of all bodies together, if known; otherwise these are metadata.
            timeout: Seconds that a request may wait for its turn.

        Returns:
            The messages, by subject. What is missing may exist nonetheless.
        """
        found: dict[str, StoredMessage] = {}
        left = subjects
        while left and self.is_possible:
            each = _OVERHEAD_BYTES if size else _METADATA_BYTES
            most = size + len(left) * each
            answer = await self._ask(left, most, timeout)
            if answer is None:
                break
            found.update(answer.found)
            if not (answer.pending and answer.found):
                break
            left = [one for one in left if one not in found]
        return found

    async def _ask(self, subjects: Sequence[str], most: int, timeout: float) -> Answer | None:
        connection = self._api.connection_for(len(subjects))
        share = connection.singles(most)
        if not share.take(most) and not await share.acquire(most, timeout):
            return None
        try:
            answer = await multi_last(
                self._api,
                connection,
                self._bucket,
                subjects,
                patience=min(timeout, _PATIENCE_SECONDS),
                max_bytes=most,
            )
        except PermissionDeniedError as error:
            self._pause(_DENIED_SECONDS)
            if not self._was_denied:
                self._was_denied = True
                text = f"{error} Without them, small objects are read one by one."
                log(self._api, logging.INFO, text)
            return None
        except UnreadableError:
            self._pause(_REFUSED_SECONDS)
            return None
        except (NotConnectedError, StoreAPIError, StoreTimeoutError):
            # Single requests may still get through, or know what to do about it.
            return None
        finally:
            share.release(most)
        if answer.status == "503":
            self._pause(_NOBODY_SECONDS)
        elif answer.status not in {"204", "404"} and not answer.is_lost:
            self._pause(_REFUSED_SECONDS)
        return answer

    def _pause(self, seconds: float) -> None:
        self._not_before = asyncio.get_running_loop().time() + seconds


def _version(text: object) -> tuple[int, ...]:
    """The first two numbers of a server's version; none if it is not known."""
    numbers = str(text).split(".")[:2]
    return tuple(map(int, numbers)) if all(one.isdecimal() for one in numbers) else ()
