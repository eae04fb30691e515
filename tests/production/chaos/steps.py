"""What the calls of a chaos run wrote and removed: who has taken the chunks of a version.

`record` replaces the two methods of the backend by which anything of the names changes, and
notes each use in a file. `needed` finds the removals that nothing justifies.
"""

import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from faststream_objstore import wire
from faststream_objstore.backends.base import WrongRevision
from faststream_objstore.backends.jetstream import JetStreamBackend
from faststream_objstore.backends.jetstream.upload import JetStreamUpload
from faststream_objstore.store import kept, removal, rename, sweep

UNDER: ContextVar[str] = ContextVar("under", default="")
"""The call that is under way, as `process.number`."""
WHY: ContextVar[str] = ContextVar("why", default="")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One metadata message, or one removal of chunks.

    Attributes:
        kind: `write` or `purge`.
        under: The call that made it.
        name: Of the object, where it is known.
        nuid: Of the chunks.
        live: Whether a write made an object of them, and not a marker.
        expected: The revision that a write replaced.
        sequence: Of a write that was acknowledged; 0 if it was not.
        refused: Whether a write was refused for good.
        purged: How many chunks were removed.
        why: What a removal rests on.
    """

    kind: str
    under: str
    began: float
    ended: float = 0.0
    name: str = ""
    nuid: str = ""
    live: bool = False
    expected: int = 0
    sequence: int = 0
    refused: bool = False
    purged: int = 0
    why: str = ""

    def __str__(self) -> str:
        when = f"({self.began:.3f} to {self.ended:.3f})"
        if self.kind == "purge":
            took = f"took {self.purged} chunks of {self.nuid}"
            return f"[{self.under} purge {when} {took}: {self.why}]"
        became = f"@{self.sequence}" if self.sequence else ("refused" if self.refused else "?")
        what = f"{self.name}: {self.nuid}" if self.live else f"{self.name}: a marker"
        return f"[{self.under} write {when} {what} over @{self.expected} {became}]"


def record(path: Path) -> None:
    """Note every step of this process in a file, from now on."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(step: Step) -> None:
        fields = {key: value for key, value in asdict(step).items() if value}
        os.write(file, json.dumps(fields).encode() + b"\n")

    write, purge = JetStreamBackend.publish_metadata, JetStreamBackend.purge

    @wraps(write)
    async def publish_metadata(
        self: JetStreamBackend, subject: str, data: bytes, **options: Any
    ) -> Any:
        said = json.loads(data)
        fields: dict[str, Any] = {
            "kind": "write",
            "under": UNDER.get(),
            "began": time.monotonic(),
            "name": wire.name_of(subject) or "",
            "nuid": said.get("nuid", ""),
            "live": not said.get("deleted"),
            "expected": options["expected_sequence"],
        }
        # At once, so that a process that is killed has left it.
        note(Step(**fields))
        sequence, refused = 0, False
        try:
            message = await write(self, subject, data, **options)
            sequence = message.sequence
        except WrongRevision:
            refused = True
            raise
        finally:
            note(Step(**fields, ended=time.monotonic(), sequence=sequence, refused=refused))
        return message

    @wraps(purge)
    async def purging(
        self: JetStreamBackend, subject: str, *, up_to: int | None = None
    ) -> int:
        began, purged = time.monotonic(), 0
        try:
            purged = await purge(self, subject, up_to=up_to)
        finally:
            if f".{self.bucket}.C." in subject:
                note(
                    Step(
                        kind="purge",
                        under=UNDER.get(),
                        began=began,
                        ended=time.monotonic(),
                        nuid=subject.rpartition(".")[2],
                        purged=purged,
                        why=WHY.get(),
                    )
                )
        return purged

    JetStreamBackend.publish_metadata = publish_metadata  # type: ignore[method-assign]
    JetStreamBackend.purge = purging  # type: ignore[method-assign]
    _record_why()


def _record_why() -> None:
    removed, aborted, swept = (
        removal.remove_chunks,
        JetStreamUpload._remove,
        sweep._remove_orphans,
    )

    @wraps(removed)
    async def remove_chunks(backend: Any, replaced: Any, *, by: int) -> None:
        name = replaced.info.name if replaced.info else "?"
        noted = f", noted {replaced.move}" if replaced.move else ""
        with _because(f"{name} was replaced by @{by}{noted}"):
            await removed(backend, replaced, by=by)

    @wraps(aborted)
    async def remove(self: JetStreamUpload) -> None:
        with _because("the put was not stored"):
            await aborted(self)

    @wraps(swept)
    async def remove_orphans(backend: Any, orphans: set[str], before_ns: int) -> int:
        with _because("it was swept"):
            return await swept(backend, orphans, before_ns)

    for module in (removal, kept, rename):
        module.__dict__["remove_chunks"] = remove_chunks
    JetStreamUpload._remove = remove  # type: ignore[method-assign]
    sweep.__dict__["_remove_orphans"] = remove_orphans


@contextlib.contextmanager
def _because(why: str) -> Iterator[None]:
    token = WHY.set(why)
    try:
        yield
    finally:
        WHY.reset(token)


def noted(paths: Iterable[Path]) -> list[Step]:
    """The steps in files of `record`; a write that has no end may or may not be stored."""
    steps: list[Step] = []
    for path in paths:
        under_way: dict[tuple[str, float, str], Step] = {}
        for line in path.read_bytes().split(b"\n"):
            if not line:
                continue
            step = Step(**json.loads(line))
            key = step.under, step.began, step.name
            if step.kind == "write" and not step.ended:
                under_way[key] = step
            else:
                under_way.pop(key, None)
                steps.append(step)
        steps += under_way.values()
    return sorted(steps, key=lambda one: one.began)


def needed(steps: Iterable[Step]) -> Iterator[tuple[Step, Step]]:
    """Removals of chunks that were an object's, each with the write that made it one.

    A version of a name stays an object until a write that names its revision is stored, and
    only the elected leader stores one. Writes whose outcome is unknown may have been.
    """
    steps = list(steps)
    holders: defaultdict[str, list[Step]] = defaultdict(list)
    over: defaultdict[tuple[str, int], list[Step]] = defaultdict(list)
    for one in steps:
        if one.kind != "write":
            continue
        if one.live and one.sequence:
            holders[one.nuid].append(one)
        if not one.refused:
            over[one.name, one.expected].append(one)
    for one in steps:
        if one.kind == "purge" and one.purged:
            for holder in holders[one.nuid]:
                replacing = over[holder.name, holder.sequence]
                if not any(other.began < one.ended for other in replacing):
                    yield one, holder
