"""A lane with the interface of the backend's `Connection`."""

import weakref
from collections.abc import Callable
from functools import partial
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.connection import Connection, Destination
from faststream_objstore.backends.jetstream.permissions import Heard, refused_subject
from faststream_objstore.backends.jetstream.replies import ReceiveAll
from faststream_objstore.backends.jetstream.window import Losses

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
        self._protocol = lane._protocol  # noqa: SLF001 - one thing with its parts
        self._ordinary = weakref.ref(ordinary)
        # It is a connection to the same server.
        self.losses: Losses = ordinary.losses
        lane.when_lost(self._waiting.look)

    @property
    def is_usable(self) -> bool:
        """Whether new operations may start on it."""
        return not (self._protocol.is_lost or self.lane.retired)

    @property
    def is_busy(self) -> bool:
        """Whether operations are in progress on it."""
        return bool(self._replies or self._waiting or self._routes) or self.lane.listening > 1

    @property
    def reconnects(self) -> int:
        """1 once it is lost."""
        return int(self._protocol.is_lost)

    @property
    def generation(self) -> int:
        """Counts connections; see `Connection`."""
        return 2 if self._protocol.is_lost else 0

    def _substitute(self) -> Connection | None:
        return self._ordinary()

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
        bucket: str | None = None,
    ) -> None:
        """Publish; see `Connection`."""
        if not self.publish_now(subject, payload, reply, headers, bucket):
            await super().publish(
                subject, payload, reply=reply, headers=headers, bucket=bucket
            )

    def _publish_with_next(
        self,
        subject: str,
        reply: str,
        bucket: str | None,  # noqa: ARG002 - nothing is refused
    ) -> bool:
        if self._protocol.paused is not None or self._protocol.is_lost:
            return False
        self.lane.send(subject, b"", reply, None, with_next=True)
        return True

    @staticmethod
    def _counting_reconnects(client: Client) -> Callable[[], int]:
        protocol = cast("Lane", client)._protocol  # noqa: SLF001
        return lambda: int(protocol.is_lost)

    def publish_now(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        reply: str = "",
        headers: dict[str, str] | None = None,
        bucket: str | None = None,
    ) -> bool:
        """Publish if that needs no waiting; see `Connection`."""
        protocol = self._protocol
        if protocol.paused is not None or protocol.is_lost:
            return False
        if headers or len(payload) > self.lane.max_payload:
            self._size_of(payload, headers, bucket)
        self.lane.send(subject, payload, reply, headers)
        return True

    def _hear_refusals(self, heard: "weakref.WeakMethod[Heard]") -> Callable[[], None]:
        listeners = cast("Lane", self.client).error_listeners

        def listen(error: Exception) -> bool:
            subject = refused_subject(error)
            tell = None if subject is None else heard()
            return subject is not None and tell is not None and tell(subject)

        listeners.append(listen)
        return partial(listeners.remove, listen)

    def _ending(self, subscription: Subscription) -> Callable[[], None]:
        return partial(self.lane.unlisten, cast("str", subscription))

    async def subscribe(
        self,
        subject: str,
        receive: ReceiveAll,
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

    async def drain(self, subscription: Subscription, seconds: float) -> None:
        """Remove a subscription when what is on its way has been received."""
        await self.lane.drain(cast("str", subscription), seconds)
