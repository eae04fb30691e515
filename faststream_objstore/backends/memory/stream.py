"""The stream of one bucket: sequences, compare-and-set, limits. It never awaits."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    FeatureNotEnabledError,
    StoreAPIError,
)
from ..base import (
    BATCH_LIMIT,
    ConsumerState,
    MetadataWrite,
    StoredMessage,
    WrongRevision,
)

__all__ = ("MAX_PAYLOAD", "Listener", "Stream", "matcher", "not_found")

# A server's default.
MAX_PAYLOAD = 1024 * 1024
# The cost of a stored message besides subject, headers and body (nats-server 2.15).
_OVERHEAD = {"file": 30, "memory": 16}
# Added only by file storage, if there are headers.
_HEADERS_OVERHEAD = {"file": 4, "memory": 0}
# Settings that a server refuses to change.
_FIXED = ("name", "storage", "max_consumers")
# How sealing changes a stream's configuration, as a server does it.
_SEALED = {
    "sealed": True,
    "max_age": 0,
    "deny_delete": True,
    "deny_purge": True,
    "allow_rollup_hdrs": False,
}


def matcher(pattern: str) -> Callable[[str], object]:
    """Whether a subject matches, by NATS's rules; use the result as a truth value."""
    if not _has_wildcards(pattern):
        return pattern.__eq__
    tokens = pattern.split(".")
    parts = ["[^.]+" if one == "*" else re.escape(one) for one in tokens]
    if tokens[-1] == ">":
        parts[-1] = ".+"
    return re.compile(r"\.".join(parts)).fullmatch


def _has_wildcards(pattern: str) -> bool:
    tokens = pattern.split(".")
    return "*" in tokens or tokens[-1] == ">"


def not_found(bucket: str) -> BucketNotFoundError:
    """The error for a bucket that does not exist."""
    msg = f"Bucket '{bucket}' does not exist; create it first."
    return BucketNotFoundError(msg, bucket=bucket)


def _cas_headers(expected_sequence: int) -> int:
    """The bytes of the headers of a compare-and-set."""
    return len(
        "NATS/1.0\r\nNats-Rollup: sub\r\n"
        f"Nats-Expected-Last-Subject-Sequence: {expected_sequence}\r\n\r\n"
    )


def _batch_headers(number: int, count: int) -> int:
    """The additional header bytes of a message in a batch."""
    commit = "Nats-Batch-Commit: 1\r\n" if number == count else ""
    return len(f"Nats-Batch-Id: {'0' * 22}\r\nNats-Batch-Sequence: {number}\r\n{commit}")


class Listener(Protocol):
    """A reader, which the stream keeps up to date."""

    def offer(self, message: StoredMessage) -> None:
        """A message was stored."""

    def forget(self, sequence: int) -> None:
        """A message was removed."""

    def wake(self) -> None:
        """The stream was deleted."""

    def state(self) -> ConsumerState:
        """What it has yet to read."""


class Stream:
    """The messages of one bucket. It never awaits, so each call is atomic."""

    def __init__(self, bucket: str, config: dict[str, Any], now: Callable[[], int]) -> None:
        self.bucket = bucket
        self.config: dict[str, Any] = copy.deepcopy(config)
        self.created_ns: int = now()
        self.bytes: int = 0
        self.last_sequence: int = 0
        self.deleted: bool = False
        self.messages: OrderedDict[int, StoredMessage] = OrderedDict()
        self.subjects: dict[str, OrderedDict[int, StoredMessage]] = {}
        self.listeners: set[Listener] = set()
        self.now = now
        self._sizes: dict[int, int] = {}

    def check_same(self, config: dict[str, Any]) -> None:
        """Raise `BucketConfigMismatchError`, with each difference, unless it is the same."""
        differences = [
            f"{key}: {self.config.get(key)!r} exists, {config.get(key)!r} is asked for"
            for key in sorted(config.keys() | self.config.keys())
            # A server omits empty values.
            if (config.get(key) or None) != (self.config.get(key) or None)
        ]
        if differences:
            msg = (
                f"Bucket '{self.bucket}' exists with another configuration "
                f"({'; '.join(differences)}); update it, or declare what exists."
            )
            raise BucketConfigMismatchError(msg, bucket=self.bucket)

    def update(self, config: dict[str, Any]) -> None:
        """Replace the configuration, if a server would."""
        fixed = [key for key in _FIXED if config.get(key) != self.config.get(key)]
        if self.config.get("sealed") and not config.get("sealed"):
            fixed.append("sealed")
        if fixed:
            msg = (
                f"Bucket '{self.bucket}': {', '.join(fixed)} cannot be changed; "
                "declare what exists, or make another bucket."
            )
            raise BucketConfigMismatchError(msg, bucket=self.bucket)
        self.config = copy.deepcopy(config)

    def seal(self) -> None:
        """Make it permanently read-only."""
        self.config.update(_SEALED)

    def last(self, subject: str) -> StoredMessage | None:
        """The newest message of a subject."""
        messages = self.subjects.get(subject)
        return next(reversed(messages.values())) if messages else None

    def matching(self, *subjects: str) -> list[StoredMessage]:
        """The messages of subjects, in order; wildcards are allowed."""
        if len(subjects) == 1 and not _has_wildcards(subjects[0]):
            return list(self.subjects.get(subjects[0], {}).values())
        matchers = [matcher(one) for one in subjects]
        return [
            message
            for message in self.messages.values()
            if any(matches(message.subject) for matches in matchers)
        ]

    def replace_last(self, subject: str, data: bytes, expected_sequence: int) -> StoredMessage:
        """Compare-and-set with rollup, as defined by `Backend.publish_metadata`."""
        self._check_writable()
        self._check_last(subject, expected_sequence)
        return self._replace(subject, data, _cas_headers(expected_sequence))

    def replace_all(self, writes: Sequence[MetadataWrite]) -> list[StoredMessage]:
        """Compare-and-set with rollup for several subjects, either all or none."""
        self._check_writable()
        if not self.config.get("allow_atomic"):
            msg = f"Bucket '{self.bucket}' has no transactions; declare it with them."
            raise FeatureNotEnabledError(msg, bucket=self.bucket)
        if len(writes) > BATCH_LIMIT:
            msg = f"Bucket '{self.bucket}': a batch has {BATCH_LIMIT} messages at most."
            raise StoreAPIError(msg, bucket=self.bucket, code=400, err_code=10199)
        for one in writes:
            self._check_last(one.subject, one.expected_sequence)
        headers = [
            _cas_headers(one.expected_sequence) + _batch_headers(number, len(writes))
            for number, one in enumerate(writes, 1)
        ]
        together = zip(writes, headers, strict=True)
        self._check_room(
            sum(self._size(one.subject, one.data, more) for one, more in together)
        )
        together = zip(writes, headers, strict=True)
        return [self._replace(one.subject, one.data, more) for one, more in together]

    def _check_last(self, subject: str, expected_sequence: int) -> None:
        last = self.last(subject)
        found = last.sequence if last else 0
        if found != expected_sequence:
            msg = f"{subject}: the last sequence is {found}, not {expected_sequence}"
            raise WrongRevision(msg)

    def _replace(self, subject: str, data: bytes, headers: int) -> StoredMessage:
        older = self.matching(subject)
        # As on a server, the old message still counts when the new one is admitted.
        message = self.append(subject, data, headers=headers)
        for one in older:
            self.remove(one)
        return message

    def _size(self, subject: str, data: bytes, headers: int) -> int:
        """The size by which a message counts; raises if it is larger than a message can be."""
        if headers + len(data) > MAX_PAYLOAD:
            msg = (
                f"Bucket '{self.bucket}': a message of {headers + len(data)} bytes, headers "
                f"included, is more than the server's max_payload, {MAX_PAYLOAD}."
            )
            raise StoreAPIError(msg, bucket=self.bucket, code=400, err_code=10054)
        storage = self.config.get("storage") or "file"
        size = len(data) + len(subject) + headers + _OVERHEAD[storage]
        return size + (_HEADERS_OVERHEAD[storage] if headers else 0)

    def _check_room(self, size: int) -> None:
        limit = self.config.get("max_bytes") or -1
        if 0 < limit < self.bytes + size:
            msg = (
                f"Bucket '{self.bucket}' is full: {self.bytes} of {limit} bytes are used; "
                "delete objects, or raise max_bytes."
            )
            raise BucketFullError(msg, bucket=self.bucket)

    def append(self, subject: str, data: bytes, *, headers: int = 0) -> StoredMessage:
        """Store a message; `headers` is their number of bytes."""
        self._check_writable()
        size = self._size(subject, data, headers)
        self._check_room(size)
        self.last_sequence += 1
        message = StoredMessage(subject, data, self.last_sequence, self.now(), size=len(data))
        self.messages[message.sequence] = message
        self.subjects.setdefault(subject, OrderedDict())[message.sequence] = message
        self._sizes[message.sequence] = size
        self.bytes += size
        for listener in self.listeners:
            listener.offer(message)
        return message

    def remove(self, message: StoredMessage) -> None:
        """Remove a message, also from the readers' queues."""
        sequence, subject = message.sequence, message.subject
        del self.messages[sequence]
        del self.subjects[subject][sequence]
        if not self.subjects[subject]:
            del self.subjects[subject]
        self.bytes -= self._sizes.pop(sequence)
        for listener in self.listeners:
            listener.forget(sequence)

    def remove_one(self, sequence: int) -> bool:
        """Remove the message with a sequence; returns whether it existed."""
        self._check_writable()
        message = self.messages.get(sequence)
        if message is not None:
            self.remove(message)
        return message is not None

    def purge(self, subject: str, up_to: int | None = None) -> int:
        """Remove the messages of a subject up to a sequence; returns how many there were."""
        self._check_writable()
        messages = [
            one for one in self.matching(subject) if up_to is None or one.sequence <= up_to
        ]
        for message in messages:
            self.remove(message)
        return len(messages)

    def expire(self) -> None:
        """Remove what is older than `max_age`."""
        if not (max_age := self.config.get("max_age")):
            return
        oldest = self.now() - max_age
        while self.messages:
            message = next(iter(self.messages.values()))
            if message.time_ns > oldest:
                break
            self.remove(message)

    def delete(self) -> None:
        """End every reader; the server forgets the stream."""
        self.deleted = True
        for listener in self.listeners:
            listener.wake()

    def _check_writable(self) -> None:
        if self.config.get("sealed"):
            msg = f"Bucket '{self.bucket}' is sealed: it can be read, never changed."
            raise BucketSealedError(msg, bucket=self.bucket)
