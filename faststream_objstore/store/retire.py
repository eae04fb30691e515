"""`retire`: a delete marker whose metadata depends on what it replaces."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from ..backends.base import Backend, StoredMessage, WrongRevision
from ..models import ObjectInfo
from ..settling import run_to_completion
from . import kept, metadata
from .handle import StoreHandle, announce
from .metadata import Entry

__all__ = ("RetireVerbs",)

Texts: TypeAlias = Callable[[Entry], Mapping[str, str] | None]
"""Returns the marker's metadata, given the current entry; `None` leaves it alone."""


class RetireVerbs(StoreHandle):
    """The verbs of `ObjectStore` that publishers need."""

    async def retire(self, name: str, decide: Texts) -> ObjectInfo | None:
        """Write a delete marker under a name, even if there has never been an object.

        Args:
            name: The name.
            decide: Called with the current entry, and again after each lost race.

        Returns:
            The version that was replaced, which may be a marker; `None` if there was none.
        """
        backend = await self._target()
        went, message = await run_to_completion(_retire(backend, name, decide, self))
        await announce(backend, message)
        return went


async def _retire(
    backend: Backend, name: str, decide: Texts, handle: RetireVerbs
) -> tuple[ObjectInfo | None, StoredMessage | None]:
    subject = metadata.subject_of(backend, name)
    while True:
        entry = await metadata.find(backend, subject, leader=True)
        texts = decide(entry)
        if texts is None:
            return entry.info, None
        known = entry.info or ObjectInfo(name=name, bucket=backend.bucket)
        marker = metadata.marker(replace(handle._amended(known), metadata=dict(texts)))  # noqa: SLF001
        plan = await kept.plan(backend, entry, metadata.noted(entry.raw, None))
        try:
            _, message = await metadata.write(
                backend,
                subject,
                marker,
                replaces=entry.revision,
                raw=plan.raw,
            )
        except WrongRevision:
            continue
        await kept.settle(backend, entry, plan, by=message.sequence)
        return entry.info, message
