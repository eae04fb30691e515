"""The stream of one bucket: sequences, compare-and-set, limits. It never awaits."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ... import wire
from ...exceptions import (
    BucketConfigMismatchError,
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    FeatureNotEnabledError,
    StoreAPIError,
)
from ...models import Mirror
from ...wire import origins_of
from ..base import (
    BATCH_LIMIT,
    ConsumerState,
    MetadataWrite,
    StoredMessage,
    WrongRevision,
)
from .lives import Lives

__all__ = ("MAX_PAYLOAD", "Follower", "Listener", "Stream", "matcher", "not_found")

# A server's default.
MAX_PAYLOAD = 1024 * 1024
# The cost of a stored message besides subject, headers and body (nats-server 2.15).
_OVERHEAD = {"file": 30, "memory": 16}
# Added only by file storage, if there are headers.
_HEADERS_OVERHEAD = {"file": 4, "memory": 0}
_SECOND = 1_000_000_000
# The headers of a marker that the server leaves.
_MARKER_HEADERS = 76
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


def _nobody() -> None:
    """Called where nobody waits for what expires."""


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


def _cas_headers(write: MetadataWrite, *, marks: bool) -> int:
    """The bytes of the headers of a compare-and-set."""
    ttl = f"Nats-TTL: {write.ttl}s\r\n" if write.ttl else ""
    marker = "Nats-Marker-Reason: Remove\r\n" if write.marker and marks else ""
    return len(
        f"NATS/1.0\r\nNats-Rollup: sub\r\n{ttl}{marker}"
        f"Nats-Expected-Last-Subject-Sequence: {write.expected_sequence}\r\n\r\n"
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


class Follower(Protocol):
    """What another bucket copies this one with."""

    def offer(self, message: StoredMessage) -> None:
        """A message was stored."""

    async def announce(self, message: StoredMessage) -> None:
        """A change was done."""


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
        self.followers: set[Follower] = set()
        self.origins: tuple[Mirror, ...] = origins_of(config)
        self.positions: list[int | None] = [0] * len(self.origins)
        self.now = now
        self.changed: Callable[[], None] = _nobody
        """Called when what is stored may expire sooner than what was there."""
        self._sizes: dict[int, int] = {}
        self._lives = Lives()
        self._marked: list[StoredMessage] = []

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
        if self.config.get("allow_msg_ttl") and not config.get("allow_msg_ttl"):
            msg = f"Bucket '{self.bucket}': message TTL status can not be disabled."
            raise BucketConfigMismatchError(msg, bucket=self.bucket)
        self.config = copy.deepcopy(config)
        known = dict(zip(self.origins, self.positions, strict=True))
        self.origins = origins_of(config)
        self.positions = [known.get(one, 0) for one in self.origins]
        self.changed()

    def seal(self) -> None:
        """Make it permanently read-only."""
        self.config.update(_SEALED)

    def last(self, subject: str) -> StoredMessage | None:
        """The newest message of a subject, or of those that match its wildcards."""
        if _has_wildcards(subject):
            matches = matcher(subject)
            newest = reversed(self.messages.values())
            return next((one for one in newest if matches(one.subject)), None)
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

    @property
    def least_ttl(self) -> int:
        """Nanoseconds that a TTL has at least; 0 if there are none."""
        return wire.least_ttl(self.config)

    def replace_last(self, write: MetadataWrite) -> StoredMessage:
        """Compare-and-set with rollup, as defined by `Backend.publish_metadata`."""
        self._check_writable()
        self._check_last(write.subject, write.expected_sequence)
        return self._replace(write, _cas_headers(write, marks=self.least_ttl > 0))

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
            _cas_headers(one, marks=self.least_ttl > 0) + _batch_headers(number, len(writes))
            for number, one in enumerate(writes, 1)
        ]
        together = zip(writes, headers, strict=True)
        self._check_room(
            sum(self._size(one.subject, one.data, more) for one, more in together)
        )
        together = zip(writes, headers, strict=True)
        return [self._replace(one, more) for one, more in together]

    def _check_last(self, subject: str, expected_sequence: int) -> None:
        last = self.last(subject)
        found = last.sequence if last else 0
        if found != expected_sequence:
            msg = f"{subject}: the last sequence is {found}, not {expected_sequence}"
            raise WrongRevision(msg)

    def _replace(self, write: MetadataWrite, headers: int) -> StoredMessage:
        older = self.matching(write.subject)
        # As on a server, the old message still counts when the new one is admitted.
        message = self.append(write.subject, write.data, headers=headers, ttl=write.ttl)
        if write.marker:
            self._lives.leave_no_marker(message.sequence)
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
        storage = self._storage
        size = len(data) + len(subject) + headers + _OVERHEAD[storage]
        return size + (_HEADERS_OVERHEAD[storage] if headers else 0)

    @property
    def _storage(self) -> str:
        storage: str = self.config.get("storage") or "file"
        return storage

    def _check_room(self, size: int) -> None:
        limit = self.config.get("max_bytes") or -1
        if 0 < limit < self.bytes + size:
            msg = (
                f"Bucket '{self.bucket}' is full: {self.bytes} of {limit} bytes are used; "
                "delete objects, or raise max_bytes."
            )
            raise BucketFullError(msg, bucket=self.bucket)

    def append(
        self, subject: str, data: bytes, *, headers: int = 0, ttl: int = 0
    ) -> StoredMessage:
        """Store a message.

        Args:
            subject: Its subject.
            data: Its body.
            headers: The bytes of its headers.
            ttl: Seconds after which it is dropped; 0 for never.
        """
        self._check_writable()
        if ttl and not self.least_ttl:
            msg = (
                f"Bucket '{self.bucket}' has no TTLs for single objects; declare it with them."
            )
            raise FeatureNotEnabledError(msg, bucket=self.bucket)
        size = self._size(subject, data, headers)
        self._check_room(size)
        message = self._add(
            StoredMessage(subject, data, self.last_sequence + 1, self.now(), size=len(data)),
            size,
        )
        if ttl:
            lives_ns = max(ttl * _SECOND, self.least_ttl)
            self._lives.add(message.sequence, message.time_ns + lives_ns)
        if ttl or self.least_ttl:
            self.changed()
        return message

    def _add(self, message: StoredMessage, size: int) -> StoredMessage:
        subject = message.subject
        self.last_sequence = message.sequence
        self.messages[message.sequence] = message
        self.subjects.setdefault(subject, OrderedDict())[message.sequence] = message
        self._sizes[message.sequence] = size
        self.bytes += size
        for listener in self.listeners:
            listener.offer(message)
        for follower in self.followers:
            follower.offer(message)
        return message

    def copy(self, message: StoredMessage, subject: str, *, rollup: bool, keep: bool) -> None:
        """Store a message of another stream.

        Args:
            message: The message.
            subject: Its subject here.
            rollup: Whether it replaces the messages of its subject.
            keep: Whether it keeps its sequence and its time.
        """
        size = self._size(subject, message.data, 0)
        self._check_room(size)
        older = self.matching(subject) if rollup else []
        copy = message._replace(subject=subject)
        if not keep:
            copy = copy._replace(sequence=self.last_sequence + 1, time_ns=self.now())
        self._add(copy, size)
        for one in older:
            self.remove(one)

    def remove(self, message: StoredMessage) -> None:
        """Remove a message, also from the readers' queues."""
        sequence, subject = message.sequence, message.subject
        del self.messages[sequence]
        self._lives.forget(sequence)
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
        """Remove what is older than `max_age`, or than its own TTL."""
        max_age = self.config.get("max_age")
        if not max_age and not self._lives:
            return
        now = self.now()
        while max_age and self.messages:
            message = next(iter(self.messages.values()))
            if message.time_ns > now - max_age:
                break
            self._expire_one(message)
        while (sequence := self._lives.due(now)) is not None:
            self._expire_one(self.messages[sequence])

    def _expire_one(self, message: StoredMessage) -> None:
        leaves_marker = self._lives.leaves_marker(message.sequence)
        self.remove(message)
        marker_ttl = self.config.get("subject_delete_marker_ttl") or 0
        if not marker_ttl or not leaves_marker or message.subject in self.subjects:
            return
        # As a server does, whatever the limits are.
        marker = StoredMessage(
            message.subject, b"", self.last_sequence + 1, self.now(), reason="MaxAge"
        )
        self._add(marker, len(message.subject) + _OVERHEAD[self._storage] + _MARKER_HEADERS)
        self._lives.add(marker.sequence, marker.time_ns + marker_ttl)
        self._lives.leave_no_marker(marker.sequence)
        self._marked.append(marker)

    def take_marked(self) -> list[StoredMessage]:
        """The markers that were left since the last call."""
        marked, self._marked = self._marked, []
        return marked

    @property
    def next_expiry(self) -> int | None:
        """When the next message expires, nanoseconds since the epoch; `None` for never."""
        due = self._lives.first
        max_age = self.config.get("max_age")
        if max_age and self.least_ttl and self.messages:
            oldest = next(iter(self.messages.values())).time_ns + max_age
            due = oldest if due is None else min(due, oldest)
        return due

    def delete(self) -> None:
        """End every reader; the server forgets the stream."""
        self.deleted = True
        for listener in self.listeners:
            listener.wake()

    def _check_writable(self) -> None:
        if self.config.get("sealed"):
            msg = f"Bucket '{self.bucket}' is sealed: it can be read, never changed."
            raise BucketSealedError(msg, bucket=self.bucket)
