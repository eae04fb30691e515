"""A lane with the interface of the backend's `Connection`."""

import asyncio
import weakref
from collections.abc import Callable
from functools import partial
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import (
    Connection,
    Destination,
    Receive,
)
from faststream_objstore.backends.jetstream.permissions import Heard, refused_subject
from faststream_objstore.exceptions import NotConnectedError

from .lane import Lane

__all__ = ("LaneConnection",)


class LaneConnection(Connection):
    """A `Connection` over a lane: messages skip the queue, bodies go to their destination.

    Args:
        lane: An open lane.
        ordinary: The connection that completes what a lost lane leaves unfinished.
    """

    def __init__(self, lane: Lane, ordinary: Connection) -> None:
        super().__init__(cast("Client", lane))
        self.lane: Lane = lane
        self._ordinary = weakref.ref(ordinary)
        lane.when_lost(self._waiting.look)

    @property
    def is_usable(self) -> bool:
        """Whether new operations may start on it."""
        return self.lane.is_connected and not self.lane.retired

    @property
    def is_busy(self) -> bool:
        """Whether operations are in progress on it."""
        return bool(self._replies or self._waiting or self._routes) or self.lane.listening > 1

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        timeout: float,
        bucket: str | None = None,
        headers: dict[str, str] | None = None,
        resend: bool = True,
    ) -> Msg:
        """Publish, and return the first reply, over the ordinary connection if necessary."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await super().request(
                subject,
                payload,
                timeout=timeout,
                bucket=bucket,
                headers=headers,
                resend=resend,
            )
        except NotConnectedError:
            # The lane is lost. The message was not sent, or it may be sent again.
            ordinary = self._ordinary()
            if ordinary is None:
                raise
            return await ordinary.request(
                subject,
                payload,
                timeout=max(0.0, timeout - (loop.time() - began)),
                bucket=bucket,
                headers=headers,
                resend=resend,
            )

    def _hear_refusals(self, heard: "weakref.WeakMethod[Heard]") -> Callable[[], None]:
        listeners = cast("Lane", self.client).error_listeners

        def listen(error: Exception) -> None:
            subject = refused_subject(error)
            if subject is not None and (tell := heard()) is not None:
                tell(subject)

        listeners.append(listen)
        return partial(listeners.remove, listen)

    def _ending(self, subscription: Subscription) -> Callable[[], None]:
        return partial(self.lane.unlisten, cast("str", subscription))

    async def subscribe(
        self,
        subject: str,
        receive: Receive,
        *,
        destination: Destination | None = None,
        bucket: str | None = None,
    ) -> Subscription:
        """Subscribe; see `Connection`."""
        try:
            sid = self.lane.listen(subject, receive, destination)  # type: ignore[arg-type]
        except nats.errors.ConnectionClosedError as error:
            raise self._refused(error, bucket) from error
        return cast("Subscription", sid)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription; does nothing if the lane is lost."""
        self.lane.unlisten(cast("str", subscription))
