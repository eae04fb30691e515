"""The console's live feed: changes of all buckets, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timezone

from faststream_objstore.exceptions import ObjStoreError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

__all__ = ("changes_of",)

# How many changes a slow browser may leave unread; it is then told how many it missed.
_MOST_WAITING = 1000
# So that a proxy in between does not mistake silence for the end.
_SILENCE = 15.0
_PAUSE = 2.0


async def changes_of(stores: list[ObjectStore]) -> AsyncIterator[bytes]:
    """Each change from now on; ends when the client disconnects.

    Args:
        stores: The buckets to follow.
    """
    feed = _Feed()
    tasks = [asyncio.create_task(feed.follow(store)) for store in stores]
    try:
        # Send the headers to the browser now, not with the first change.
        yield b"retry: 2000\n\n"
        while True:
            try:
                event = await asyncio.wait_for(feed.waiting.get(), _SILENCE)
            except asyncio.TimeoutError:
                yield b": nothing has changed\n\n"
                continue
            yield event
            if missed := feed.take_missed():
                yield _event("missed", {"count": missed})
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Feed:
    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._missed = 0

    def take_missed(self) -> int:
        missed, self._missed = self._missed, 0
        return missed

    async def follow(self, store: ObjectStore) -> None:
        while True:
            try:
                async with store.watch(updates_only=True) as watcher:
                    self._add(_event("following", {"bucket": store.bucket}))
                    async for info in watcher:
                        if info is not None:
                            self._add(_event("change", _change(info)))
            except ObjStoreError as error:
                self._add(
                    _event("lost", {"bucket": store.bucket, "why": type(error).__name__})
                )
            await asyncio.sleep(_PAUSE)

    def _add(self, event: bytes) -> None:
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._missed += 1


def _change(info: ObjectInfo) -> dict[str, object]:
    when = info.mtime and info.mtime.astimezone(timezone.utc).isoformat()
    return {
        "bucket": info.bucket,
        "name": info.name,
        "deleted": info.deleted,
        "expired": info.expired,
        "size": info.size,
        "revision": info.revision,
        "time": when,
    }


def _event(kind: str, data: dict[str, object]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
