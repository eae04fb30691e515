"""What the clients of a chaos run did and were told: the material of `checker`.

Times are of `time.monotonic`, which all processes of a machine share.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from math import inf
from pathlib import Path
from typing import Any

from tests.production.chaos.steps import Step

BLOCK = 16


class Outcome(str, Enum):
    """How a call ended.

    `FAILED` has changed nothing, for sure. `UNKNOWN` may have: the answer was lost, the call
    was cancelled, its process was killed.
    """

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Seen:
    """One version of one object, as a call has shown it."""

    name: str
    revision: int
    digest: str | None = None
    mark: str = ""
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call.

    Attributes:
        kind: The method's name; `get_version` is `get` with an `ObjectInfo`, and `final` is
            `get` when all is over and every server is up to date.
        name: The object; `None` for `list`.
        to: The other name of `rename` and `copy`.
        mode: Of `put`, `delete` and others that take one: a revision, "create", "overwrite".
            Of `get_version`, the revision.
        token: What the bytes of a put are made of, see `content`; no other put has it.
        digest: Of the bytes of a put.
        mark: What a put or an update_meta writes into the metadata; no other has it.
        error: The name of the exception's class.
        seen: The versions that the result tells of.
        read: The token of the bytes that were read.
        damage: Why these bytes are not those of one put.
        was_live: The result of `delete`.
    """

    kind: str
    name: str | None = None
    to: str | None = None
    mode: int | str = "overwrite"
    token: str = ""
    digest: str | None = None
    mark: str = ""
    process: int = 0
    number: int = 0
    invoked: float
    returned: float = inf
    outcome: Outcome = Outcome.UNKNOWN
    error: str = ""
    message: str = ""
    seen: tuple[Seen, ...] = ()
    read: str = ""
    damage: str = ""
    was_live: bool | None = None

    @property
    def under(self) -> str:
        """What its steps call it."""
        return f"{self.process}.{self.number}"

    def __str__(self) -> str:
        parts = [f"{self.under} {self.kind}", self.name]
        parts += [self.to and f"to {self.to}"]
        parts += [f"mode={self.mode}" if self.mode != "overwrite" else ""]
        parts += [f"({self.invoked:.3f} to {self.returned:.3f})"]
        parts += [self.outcome.value, self.error]
        parts += [", ".join(f"{one.name}@{one.revision}" for one in self.seen[:3])]
        return f"[{' '.join(filter(None, parts))}]"


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What the stream held in the end, after a sweep.

    Attributes:
        orphans: Chunk subjects that no live object refers to.
        shared: Pairs of live objects with the same chunks.
    """

    orphans: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole run.

    Attributes:
        operations: The calls.
        leftovers: What was there in the end.
        steps: What the calls wrote and removed.
        partitions: From when to when some servers could not hear each other.
    """

    operations: tuple[Operation, ...]
    leftovers: Leftovers = field(default_factory=Leftovers)
    steps: tuple[Step, ...] = ()
    partitions: tuple[tuple[float, float], ...] = ()


def content(token: str, size: int) -> bytes:
    """The bytes of a put: any 31 of them tell which put it was, and where they stand."""
    count = size // BLOCK + 1
    return b"".join(f"{token}{number:08x}".encode() for number in range(count))[:size]


def token_of(data: bytes, start: int = 0) -> tuple[str, str]:
    """The token of bytes that begin at `start`, and what is wrong with them if anything is."""
    offset = -start % BLOCK
    if len(data) < offset + BLOCK:
        return "", f"only {len(data)} bytes from {start} on"
    token = data[offset : offset + BLOCK // 2].decode("ascii", "replace")
    whole = content(token, start + len(data))[start:]
    if data == whole:
        return token, ""
    at = next(i for i, (a, b) in enumerate(zip(data, whole, strict=True)) if a != b)
    there = data[at : at + BLOCK]
    return token, f"{len(data)} bytes from {start} on are {token}'s, but for {there!r} at {at}"


class Recorder:
    """Writes operations into a file of its own, each event at once: a killed process has
    left what it had begun.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def begun(self, operation: Operation) -> None:
        self._note(operation)

    def ended(self, operation: Operation) -> None:
        self._note(operation)

    def _note(self, operation: Operation) -> None:
        fields = {
            key: value
            for key, value in asdict(operation).items()
            if value not in ("", None, (), inf)
        }
        os.write(self._file, json.dumps(fields, default=str).encode() + b"\n")


def recorded(paths: Mapping[Path, float]) -> list[Operation]:
    """The operations in files of `Recorder`, with the time when the process ended.

    What has no end of its own was under way when the process was killed.
    """
    found: list[Operation] = []
    for path, died in paths.items():
        latest: dict[int, Operation] = {}
        for line in path.read_bytes().split(b"\n"):
            if line:
                operation = _operation(json.loads(line))
                latest[operation.number] = operation
        found += [
            replace(one, returned=died, error="Killed") if one.returned == inf else one
            for one in latest.values()
        ]
    return sorted(found, key=lambda one: one.invoked)


def _operation(fields: dict[str, Any]) -> Operation:
    fields["outcome"] = Outcome(fields["outcome"])
    fields["seen"] = tuple(Seen(**one) for one in fields.get("seen", ()))
    return Operation(**fields)
