"""The teeth of the checker: mends that a chaos run can do without, one at a time.

`make chaos REVERT=<name> SEEDS=<seed> SECONDS=60` undoes one in the clients of the run, by
replacing what it added. The run must then find violations, and finds none without; so whoever
changes the checker, or the mix of calls, tries each of these again. A busy machine does fewer
calls, and may need more time or another seed. Those without a seed are too rare for a minute;
the tests named in `docs/guarantees.md` force them.

| name | what the clients do again | found as | seed |
| --- | --- | --- | --- |
| `replica-markers` | believe a replica that still has a marker | reported missing | 23 |
| `no-elections` | fail at once while a leader is elected | gave up early | 22 |
| `unknown-puts` | remove the chunks of a put whose outcome is unknown | damaged | 2 |
| `moved-chunks` | remove replaced chunks that another name holds by now | damaged | 2 |
| `list-markers` | believe a lagging replica's markers in a list | reported missing | |
| `unsettled-updates` | update beside a rename's writes | lost by update_meta | |
| `first-answers` | believe the first answer to a write, and | removed, and needed | 101 |
|  | take a put's own version for the one it replaced | | |
"""

from collections.abc import Callable
from typing import Any

from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import api, backend, conditional, snapshot
from faststream_objstore.exceptions import StoreTimeoutError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import amend, metadata, put, removal

__all__ = ("REVERTS", "apply")


def _replica_markers() -> None:
    async def read(
        backend: Backend, name: str, *, show_deleted: bool = False, leader: bool = False
    ) -> ObjectInfo:
        entry = await metadata.find(backend, metadata.subject_of(backend, name), leader=leader)
        return metadata.require(backend, name, entry, show_deleted=show_deleted)

    metadata.read = read


def _no_elections() -> None:
    async def another(self: Any) -> bool:
        return False

    api.Pauses.another = another  # type: ignore[method-assign]


def _unknown_puts() -> None:
    run = put._Commit._run

    async def purging(self: Any, *, again: bool = False) -> Any:
        try:
            return await run(self, again=again)
        except StoreTimeoutError:
            await self._upload.abort()
            raise

    put._Commit._run = purging  # type: ignore[method-assign]


def _moved_chunks() -> None:
    async def is_needed(*args: Any, **kwargs: Any) -> bool:
        return False

    removal._is_needed = is_needed


def _list_markers() -> None:
    async def lacks_some(self: Any) -> bool:
        return False

    snapshot.Snapshot._lacks_some = lacks_some  # type: ignore[method-assign]


def _unsettled_updates() -> None:
    async def settle(*args: Any, **kwargs: Any) -> bool:
        return True

    amend.__dict__["settle"] = settle
    amend.__dict__["noted"] = lambda raw, _: raw


def _first_answers() -> None:
    publish = conditional.publish_metadata

    async def first(*args: Any, **options: Any) -> Any:
        return await publish(*args, **options | {"newest": None})

    backend.__dict__["publish_metadata"] = first
    put.__dict__["_is_stored"] = lambda *_: False


REVERTS: dict[str, Callable[[], None]] = {
    "replica-markers": _replica_markers,
    "no-elections": _no_elections,
    "unknown-puts": _unknown_puts,
    "moved-chunks": _moved_chunks,
    "list-markers": _list_markers,
    "unsettled-updates": _unsettled_updates,
    "first-answers": _first_answers,
}


def apply(name: str) -> None:
    """Undo a mend in this process."""
    if name:
        REVERTS[name]()
