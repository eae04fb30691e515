"""When there is a lane: it is opened for much traffic, and closed when there is none."""

import asyncio
import logging
import weakref
from functools import partial
from typing import ClassVar

from nats.aio.client import Client

from faststream_objstore.backends.jetstream.connection import Connection

from .connection import LaneConnection
from .handshake import LaneUnavailable, when_closed
from .lane import Lane

__all__ = ("Lanes",)

_LOGGER = logging.getLogger("faststream_objstore")

# Transfers of this size, reads of this many messages, or this many steps within a second
# justify opening a lane.
_LARGE_BYTES = 8 * 1024 * 1024
_MANY_MESSAGES = 2_000
_MANY_STEPS = 100
_MANY_SECONDS = 1.0

# Beyond this, a transfer uses the ordinary connection instead of waiting for the lane.
_OPEN_SECONDS = 2.0
# After a refusal, no new attempt is made for this long.
_PAUSE_SECONDS = 60.0
# A lane that is lost within that time is replaced at once; the second in a row after a second,
# and each further one after twice the time of the one before. Where something ends all of
# them, puts that start again with each would never get through.
_LOST_SECONDS = 1.0
_IDLE_SECONDS = 30.0
_LOOK_SECONDS = 1.0
# If nothing has arrived between so many looks, the server is asked for a sign of life; after
# so many, or after this part of the seconds that a request may take, the lane counts as lost.
# Requests then still have time to be answered over the ordinary connection. Looks are counted,
# and not seconds, because a blocked event loop sees neither.
_QUIET_LOOKS = 2
_SILENT_LOOKS = 6
_SILENT_PART = 0.6


class Lanes:
    """The lane that accompanies a connection.

    Args:
        connection: The ordinary connection, of a nats-py client.
    """

    _known: ClassVar["weakref.WeakKeyDictionary[Connection, Lanes]"] = (
        weakref.WeakKeyDictionary()
    )

    @classmethod
    def of(cls, connection: Connection) -> "Lanes":
        """The keeper of a connection, created at the first call."""
        lanes = cls._known.get(connection)
        if lanes is None:
            lanes = cls._known[connection] = cls(connection)
        return lanes

    def __init__(self, connection: Connection) -> None:
        self._ordinary = weakref.ref(connection)
        self._client: Client = connection.client
        self._lane: LaneConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._was_refused = False
        # When the lane was opened, and how many in a row have been lost soon.
        self._opened = 0.0
        self._losses = 0
        # The steps over the lane since the last look; without a lane, those since `_counting`.
        self._steps = 0
        self._counting = 0.0
        self._used = 0.0
        # What had arrived at the last look, and how many looks ago that was.
        self._reads = self._quiet = 0
        self._longest_timeout = 0.0
        when_closed(self._client, weakref.WeakMethod(self.close))

    def allow(self, timeout: float) -> None:
        """Take note of how many seconds a request may take."""
        self._longest_timeout = max(self._longest_timeout, timeout)

    @property
    def current(self) -> LaneConnection | None:
        """The lane, if one is open."""
        lane = self._lane
        return lane if lane is not None and lane.is_usable else None

    def step(self, count: int = 1) -> LaneConnection | None:
        """The lane for one more step, if one is open; many steps open one.

        Args:
            count: As how many steps it counts.
        """
        self._steps += count
        lane = self._lane
        if lane is not None and lane.is_usable:
            return lane
        if self._steps == count:
            self._counting = asyncio.get_running_loop().time()
        if self._steps >= _MANY_STEPS:
            now = asyncio.get_running_loop().time()
            self._steps = 0
            if now - self._counting <= _MANY_SECONDS:
                self._begin(now)
        return None

    def soon(self, messages: int) -> LaneConnection | None:
        """The lane, if it is open; otherwise many messages have one opened, for later."""
        lane = self.current
        if lane is not None:
            self._steps += 1
        elif messages >= _MANY_MESSAGES:
            self._begin(asyncio.get_running_loop().time())
        return lane

    def opens(self, size: int) -> bool:
        """Whether `open` would open a lane for a transfer of so many bytes."""
        return size >= _LARGE_BYTES and self.current is None

    async def open(self, *, size: int = 0, messages: int = 0) -> LaneConnection | None:
        """The lane for a transfer, opened if the transfer is large.

        Args:
            size: The size of the transfer in bytes.
            messages: Its number of messages.
        """
        if self.current is None:
            if size < _LARGE_BYTES and messages < _MANY_MESSAGES:
                return None
            self._begin(asyncio.get_running_loop().time())
            if self._opening is not None:
                await asyncio.wait((self._opening,), timeout=_OPEN_SECONDS)
        self._steps += 1
        return self.current

    def _begin(self, now: float) -> None:
        if self._opening is None and now >= self._not_before and self._client.is_connected:
            self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            lane = await Lane.open(self._client)
        except LaneUnavailable as error:
            if not self._was_refused:
                self._was_refused = True
                _LOGGER.warning(
                    "All objects go over the broker's own connection, which is slower: %s. "
                    "Bucket(lane=False) asks for no other.",
                    error,
                )
            self._not_before = loop.time() + _PAUSE_SECONDS
            return
        finally:
            self._opening = None
        ordinary = self._ordinary()
        if ordinary is None or self._client.is_closed:
            lane.close()
            return
        self._lane = LaneConnection(lane, ordinary)
        lane.when_lost(partial(self._lost, lane))
        self._used, self._steps = loop.time(), 0
        self._opened = loop.time()
        self._reads = self._quiet = 0
        self._timer = loop.call_later(_LOOK_SECONDS, self._look)

    def _lost(self, lane: Lane) -> None:
        """Take note of a loss, unless it was closed here, or the server asked for it."""
        if self._lane is None or self._lane.lane is not lane or lane.retired:
            return
        now = asyncio.get_running_loop().time()
        is_soon = now - self._opened < _PAUSE_SECONDS
        self._losses = self._losses + 1 if is_soon else 1
        if self._losses > 1:
            pause = _LOST_SECONDS * 2 ** min(self._losses - 2, 6)
            self._not_before = now + min(pause, _PAUSE_SECONDS)

    def _look(self) -> None:
        """Close the lane if it is idle, or if nothing uses it any more."""
        self._timer = None
        lane = self._lane
        if lane is None:
            return
        loop = asyncio.get_running_loop()
        if self._steps or lane.is_busy:
            self._steps, self._used = 0, loop.time()
        if lane.lane.is_connected and self._is_silent(lane.lane):
            self._lost(lane.lane)
            lane.lane.abort()
        if (
            not lane.is_usable
            or self._client.is_closed
            or self._ordinary() is None
            or loop.time() - self._used > _IDLE_SECONDS
        ) and not (lane.is_busy and lane.lane.is_connected and not self._client.is_closed):
            self.close()
            return
        self._timer = loop.call_later(_LOOK_SECONDS, self._look)

    def _is_silent(self, lane: Lane) -> bool:
        """Whether the server does not even answer a ping.

        Then the lane's connection is dead, whatever the client's own does: it was dropped by a
        firewall, or the network loses its packets.
        """
        if self._reads != lane.reads:
            self._reads, self._quiet = lane.reads, 0
            return False
        self._quiet += 1
        if self._quiet == _QUIET_LOOKS:
            lane.ping()
        # Who allows much time may have a link that needs it: a ping waits behind chunks.
        return self._quiet >= max(_SILENT_LOOKS, self._longest_timeout * _SILENT_PART)

    def close(self) -> None:
        """Close the lane; much traffic opens another."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._opening is not None:
            self._opening.cancel()
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.lane.close()
