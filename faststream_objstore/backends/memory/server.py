"""The buckets of this process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from ...exceptions import BucketNotFoundError
from ...models import Mirror, ObjectStoreConfig, validate_bucket_name
from ...wire import stream_config
from ..base import StoredMessage
from .backend import MemoryBackend
from .following import Following
from .stream import Stream, not_found
from .timing import Timing

__all__ = ("Announced", "MemoryServer")

Announced = Callable[[str, StoredMessage], Awaitable[None]]
"""What `MemoryServer.subscribe` takes: called with a bucket and a metadata message."""


class MemoryServer:
    """A `Server` in memory.

    Args:
        clock: Returns nanoseconds since the epoch; messages are stamped, and expire, by it.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._ahead_ns = 0
        self._streams: dict[str, Stream] = {}
        self._timings: dict[str, Timing] = {}
        self._subscribers: dict[object, Announced] = {}
        self._created_ns = 0
        # By the follower's name.
        self._followings: dict[str, list[Following]] = {}
        self._domains: dict[str, MemoryServer] = {}

    def now(self) -> int:
        """The clock's current time in nanoseconds since the epoch."""
        return self._clock() + self._ahead_ns

    async def advance(self, by: timedelta) -> None:
        """Let time pass; what expires meanwhile has expired, and is announced, at the end.

        Raises:
            Exception: What a subscriber raises.
        """
        self._ahead_ns += by // timedelta(microseconds=1) * 1000
        await self.expire_now()

    async def expire_now(self) -> None:
        """Drop what has expired, in all domains; see `Timing.expire_now`."""
        # The other domains have this clock.
        for home in tuple(self._domains.values()):
            await home.expire_now()
        for timing in tuple(self._timings.values()):
            await timing.expire_now()

    async def open(self, bucket: str) -> MemoryBackend:
        """The backend of an existing bucket; see `Server`."""
        await asyncio.sleep(0)
        self.find(validate_bucket_name(bucket))
        return MemoryBackend(self, bucket)

    async def create(self, bucket: str, config: dict[str, Any]) -> MemoryBackend:
        """Create a bucket, or accept one with exactly this configuration; see `Server`."""
        await asyncio.sleep(0)
        validate_bucket_name(bucket)
        stream = self._streams.get(bucket)
        if stream is None:
            self._add(bucket, config)
        else:
            stream.check_same(config)
        return MemoryBackend(self, bucket)

    async def update(self, bucket: str, config: dict[str, Any]) -> None:
        """Replace a bucket's configuration; see `Server`."""
        await asyncio.sleep(0)
        stream = self.find(validate_bucket_name(bucket))
        before = stream.origins
        stream.update(config)
        if stream.origins != before:
            self._follow(stream)

    async def delete(self, bucket: str) -> None:
        """Delete a bucket and everything in it; see `Server`."""
        await asyncio.sleep(0)
        self.find(validate_bucket_name(bucket)).delete()
        del self._streams[bucket]
        self._timings.pop(bucket).stop()
        for one in self._followings.pop(bucket, ()):
            one.end()

    async def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
        await asyncio.sleep(0)
        return sorted(self._streams)

    def subscribe(self, callback: Announced) -> Callable[[], None]:
        """Call a callback with every metadata message, after the change is done.

        Callbacks are called in the order in which they were added. What one raises is raised
        to the caller of `put` or `delete`, and the callbacks after it are not called.

        Args:
            callback: `async def callback(bucket: str, message: StoredMessage) -> None`.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    async def announce(self, bucket: str, message: StoredMessage) -> None:
        """Call the current subscribers, except those that leave in the meantime.

        Those of the buckets that follow this one come after them.
        """
        for key, callback in tuple(self._subscribers.items()):
            if key in self._subscribers:
                await callback(bucket, message)
        stream = self._streams.get(bucket)
        for follower in tuple(stream.followers) if stream is not None else ():
            await follower.announce(message)

    async def domain(self) -> str | None:
        """None: all domains are in this process."""
        return None

    def home_of(self, origin: Mirror, follower: str) -> "MemoryServer":
        """The server of a bucket that another follows.

        Args:
            origin: What is followed.
            follower: The bucket that follows it. If it has the same name, its origin is in a
                server of its own, which stands for the other domain; it is made here.
        """
        if origin.domain is None or origin.bucket != follower:
            return self
        home = self._domains.get(origin.domain)
        if home is None:
            home = self._domains[origin.domain] = MemoryServer(self.now)
        if origin.bucket not in home._streams:
            config = stream_config(ObjectStoreConfig(bucket=origin.bucket))
            home._add(origin.bucket, config)
        return home

    def _add(self, bucket: str, config: dict[str, Any]) -> None:
        stream = self._streams[bucket] = Stream(bucket, config, self.now)
        self._timings[bucket] = Timing(stream, partial(self.announce, bucket))
        # A recreated bucket has a different time, even if the clock stands still.
        self._created_ns = max(stream.created_ns, self._created_ns + 1)
        stream.created_ns = self._created_ns
        self._follow(stream)
        for following in self._followings.values():
            for one in following:
                if one.awaits(self, bucket):
                    one.begin(stream)

    def _follow(self, stream: Stream) -> None:
        """Let a bucket follow its origins, as far as they exist."""
        for one in self._followings.pop(stream.bucket, ()):
            one.end()
        self._followings[stream.bucket] = [
            Following(self, stream, origin, index)
            for index, origin in enumerate(stream.origins)
        ]
        for one in self._followings[stream.bucket]:
            home = self.home_of(one.origin, stream.bucket)
            with suppress(BucketNotFoundError):
                one.begin(home.find(one.origin.bucket))

    def find(self, bucket: str) -> Stream:
        """The stream of a bucket, without what has expired.

        Raises:
            BucketNotFoundError: If there is no such bucket.
        """
        stream = self._streams.get(bucket)
        if stream is None:
            raise not_found(bucket)
        self._timings[bucket].expire()
        return stream
