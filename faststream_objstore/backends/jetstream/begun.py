"""Requests whose answers are not awaited at once, and may turn out not to be needed."""

import asyncio
from typing import Any, TypeAlias

from nats.aio.client import Client

from faststream_objstore.backends.jetstream.replies import Replies, Reply
from faststream_objstore.backends.jetstream.waiting import Waiting, retrieve

__all__ = ("Begun", "BegunRequests")

Begun: TypeAlias = tuple[str, Reply]
"""A request: the last token of its reply subject, and what will be its answer."""

_MANY_WAITING = 8


class BegunRequests(Replies):
    """The part of a `Connection` that begins requests.

    Args:
        client: A connected client.
    """

    _waiting: Waiting

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def is_crowded(self) -> bool:
        """Whether many requests are waiting for their answers.

        They wait for the server and for this process rather than for round trips, so to begin
        requests early would only cost time.
        """
        return len(self._replies) >= _MANY_WAITING

    def begin(self, subject: str, *, timeout: float, bucket: str | None) -> Begun | None:
        """Publish an empty request, on a lane together with what is published next.

        `end` must follow, whether there is an answer or not.

        Args:
            subject: The subject to publish to.
            timeout: Seconds until the answer.
            bucket: The bucket that errors name.

        Returns:
            The request; `None` if it cannot be published without waiting.
        """
        if self._subscription is None:
            return None
        loop = asyncio.get_running_loop()
        token = str(next(self._tokens))
        generation = self.generation
        if not self._publish_with_next(subject, self._inbox + token, bucket):
            return None
        future: Reply = loop.create_future()
        self._replies[token] = future, subject, bucket
        self._waiting.add(future, loop.time() + timeout, generation)
        return token, future

    def end(self, begun: Begun) -> None:
        """Drop the answer to a request, if it is still to come."""
        token, future = begun
        self._replies.pop(token, None)
        self._waiting.remove(future)

    def _publish_with_next(self, subject: str, reply: str, bucket: str | None) -> bool:
        """Publish an empty message; returns whether that is possible without waiting."""
        if not self.client.is_connected or self.client.pending_data_size:
            return False
        publishing = asyncio.ensure_future(self.publish(subject, reply=reply, bucket=bucket))
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        # Without an answer, whoever waits for one asks again, and is told the reason.
        publishing.add_done_callback(retrieve)
        return True

    @property
    def generation(self) -> int:
        """Counts connections; see `Connection`."""
        raise NotImplementedError

    async def publish(self, subject: str, *, reply: str, bucket: str | None) -> Any:
        """Publish; see `Connection`."""
        raise NotImplementedError
