"""The options of one change subscriber, checked when it is declared."""

import string
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from faststream_objstore.changes.retry import Retry, seconds_of
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.pattern import NamePattern

__all__ = ("ChangeOptions", "Event")

Event = Literal["put", "delete", "expire", "change"]

# A durable is a token in NATS subjects and, on disk, the name of a folder.
_DURABLE = frozenset(string.ascii_letters + string.digits + "_-")
_MOST_DURABLE = 200
# The server does not schedule redeliveries more precisely.
_MIN_ACK_WAIT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """The options of a change subscriber; see `Bucket.on_put`.

    Raises:
        InvalidPatternError: If the pattern is malformed.
        InvalidOptionError: If another option is invalid.
    """

    bucket: str
    event: Event
    pattern: str = "**"
    durable: str | None = None
    replay: bool = False
    max_workers: int = 1
    retry: Retry | None = field(default_factory=Retry)
    dead_letter: str | None = None
    ack_wait: float | timedelta = 30.0

    names: NamePattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if callable(self.pattern):
            msg = (
                f"Bucket '{self.bucket}': on_{self.event} must be called; write "
                f"@bucket.on_{self.event}()."
            )
            raise InvalidPatternError(msg, bucket=self.bucket)
        try:
            names = NamePattern(self.pattern)
        except InvalidPatternError as error:
            msg = f"{self.declaration}: {error}"
            raise InvalidPatternError(msg, bucket=self.bucket) from None
        object.__setattr__(self, "names", names)
        self._check(
            self.durable is None
            or (
                isinstance(self.durable, str)
                and 1 <= len(self.durable) <= _MOST_DURABLE
                and _DURABLE.issuperset(self.durable)
            ),
            "durable",
            "1 to 200 of the letters A-Z and a-z, the digits, '_' and '-'",
        )
        self._check(isinstance(self.replay, bool), "replay", "True or False")
        self._check(
            type(self.max_workers) is int and self.max_workers >= 1, "max_workers", "1 or more"
        )
        self._check(
            self.retry is None or isinstance(self.retry, Retry),
            "retry",
            "a Retry(...), or None for a single attempt",
        )
        self._check(
            self.dead_letter is None
            or (isinstance(self.dead_letter, str) and _is_subject(self.dead_letter)),
            "dead_letter",
            "a NATS subject without spaces and wildcards",
        )
        seconds = seconds_of(self.ack_wait)
        self._check(
            seconds is not None and _MIN_ACK_WAIT <= seconds < 1e9,
            "ack_wait",
            f"seconds or a timedelta, {_MIN_ACK_WAIT:g} s or more",
        )
        object.__setattr__(self, "ack_wait", seconds)
        object.__setattr__(self, "retry", self.retry or Retry(attempts=1))

    def _check(self, holds: bool, option: str, wanted: str) -> None:
        if not holds:
            msg = (
                f"{self.declaration}: {option} must be {wanted}, got "
                f"{getattr(self, option)!r}."
            )
            raise InvalidOptionError(msg, bucket=self.bucket)

    @property
    def ack_seconds(self) -> float:
        """`ack_wait` in seconds."""
        return seconds_of(self.ack_wait) or 0.0

    @property
    def retries(self) -> Retry:
        """`retry`, where `None` is a single attempt."""
        return self.retry or Retry(attempts=1)

    @property
    def declaration(self) -> str:
        """The declaration, for error messages: `Bucket 'photos', on_put('{user}/*.png')`."""
        return f"Bucket '{self.bucket}', on_{self.event}({self.pattern!r})"

    @property
    def title(self) -> str:
        """The subscription in one line: `photos: put {user}/*.png`."""
        return f"{self.bucket}: {self.event} {self.pattern}"


def _is_subject(text: str) -> bool:
    return all(
        token and not any(one.isspace() or one in "*>" for one in token)
        for token in text.split(".")
    )
