"""A lane as the backend uses a NATS client."""

import weakref
from collections.abc import Callable
from functools import partial
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import (
    Connection,
    Destination,
    Receive,
)
from faststream_objstore.backends.jetstream.permissions import Heard, refused_subject

from .lane import Lane

__all__ = ("LaneConnection",)


class LaneConnection(Connection):
    """A `Connection` on a lane: messages come without a queue, bodies where they stay.

    Args:
        lane: An open lane.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__(cast("Client", lane))
        self.lane = lane

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
        """Remove a subscription; nothing happens if the lane is lost."""
        self.lane.unlisten(cast("str", subscription))
