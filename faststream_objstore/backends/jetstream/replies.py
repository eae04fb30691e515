"""Replies, routed by the last token of their subject; subjects that the server refuses."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from faststream_objstore.backends.jetstream.errors import ConnectionErrors
from faststream_objstore.backends.jetstream.waiting import retrieve
from faststream_objstore.exceptions import PermissionDeniedError

__all__ = ("ReceiveAll", "Replies", "Reply", "unsubscribe")

Reply: TypeAlias = "asyncio.Future[Msg | PermissionDeniedError | None]"
"""The answer; an error if the server refuses the request; `None` if no answer can come."""

Receive = Callable[[Msg], None]

ReceiveAll = Callable[[Sequence[Msg]], None]

Denied = Callable[[PermissionDeniedError], None]


_unsubscribing: set["asyncio.Task[None]"] = set()


async def unsubscribe(subscription: Subscription) -> None:
    """Remove a subscription; does nothing if the connection is gone."""
    try:
        await subscription.unsubscribe()
    except nats.errors.Error:
        # Closed or draining: the server has removed it, or is about to.
        return


def _unsubscribe_soon(subscription: Subscription) -> None:
    task = asyncio.ensure_future(unsubscribe(subscription))
    _unsubscribing.add(task)
    task.add_done_callback(_unsubscribing.discard)


class Replies(ConnectionErrors):
    """The part of a `Connection` that receives replies, over one wildcard subscription.

    Args:
        client: A connected client.
    """

    client: Client

    def __init__(self, client: Client) -> None:
        self.client = client
        self._inbox = client.new_inbox() + "."
        self._tokens = itertools.count()
        self._routes: dict[str, Receive] = {}
        self._replies: dict[str, tuple[Reply, str, str | None]] = {}
        self._watched_routes: dict[str, tuple[str, str | None, Denied]] = {}
        # Keyed by the subject in lower case, as in the server's refusals.
        self._watched: dict[str, list[tuple[str, str | None, Denied]]] = {}
        self._refusable: set[str] = set()
        self._subscription: Subscription | None = None
        self._subscribing: asyncio.Task[None] | None = None
        # What to undo when nothing references this any more: the subscription, and what the
        # connection adds.
        self._undone: list[Callable[[], None]] = []

    @property
    def is_stale(self) -> bool:
        """Whether the client was closed since it subscribed; it may have reconnected."""
        subscription = self._subscription
        return subscription is not None and subscription._id not in self.client._subs  # noqa: SLF001

    @property
    def has_replies(self) -> bool:
        """Whether replies can be received; otherwise `open_replies` comes first."""
        return self._subscription is not None

    async def open_replies(self, *, bucket: str | None = None) -> None:
        """Subscribe to the replies; only once, however many tasks need it at the same time."""
        while self._subscription is None:
            if self._subscribing is None:
                self._subscribing = asyncio.ensure_future(self._subscribe_replies(bucket))
                # All the tasks that wait for it may be cancelled.
                self._subscribing.add_done_callback(retrieve)
            # nats-py may swallow a cancellation while it subscribes, and other tasks wait too.
            await asyncio.shield(self._subscribing)

    async def _subscribe_replies(self, bucket: str | None) -> None:
        # Set here and not when the task is reported as done: until then, new callers would
        # wait for a task that has already ended, which does not suspend.
        try:
            receive = self._receiver()
            subscription = await self.subscribe(self._inbox + "*", receive, bucket=bucket)
            self._subscription = subscription
            self._undone[1:] = [self._ending(subscription)]
        finally:
            self._subscribing = None

    def _receiver(self) -> ReceiveAll:
        # The client keeps it, and it must not keep this object alive.
        replies, routes, cut = self._replies, self._routes, len(self._inbox)

        def receive(messages: Sequence[Msg]) -> None:
            for message in messages:
                token = message.subject[cut:]
                waiting = replies.pop(token, None)
                if waiting is not None:
                    future = waiting[0]
                    if not future.done():
                        future.set_result(message)
                    continue
                route = routes.get(token)
                if route is not None:
                    route(message)

        return receive

    def _ending(self, subscription: Subscription) -> Callable[[], None]:
        """A function that removes a subscription, from any thread, without this object."""
        loop, client = asyncio.get_running_loop(), self.client

        def end() -> None:
            if not (loop.is_closed() or client.is_closed):
                loop.call_soon_threadsafe(_unsubscribe_soon, subscription)

        return end

    def add_route(
        self, receive: Receive, *, watched: "tuple[str, str | None, Denied] | None" = None
    ) -> str:
        """Make a reply subject whose messages go to `receive`, until `remove_route`.

        Args:
            receive: Called with each message.
            watched: The subject that is published to, the bucket, and what to call when the
                server refuses the subject.
        """
        token = str(next(self._tokens))
        self._routes[token] = receive
        if watched is not None:
            self._watched_routes[token] = watched
        return self._inbox + token

    def remove_route(self, reply: str) -> None:
        """Remove a reply subject; messages that still arrive for it are dropped."""
        token = reply[len(self._inbox) :]
        self._routes.pop(token, None)
        self._watched_routes.pop(token, None)

    def watch(self, subject: str, denied: Denied, *, bucket: str | None) -> Callable[[], None]:
        """Call `denied` whenever the server refuses this subject.

        Returns:
            A function that stops that.
        """
        key, entry = subject.lower(), (subject, bucket, denied)
        self._watched.setdefault(key, []).append(entry)

        def stop() -> None:
            entries = self._watched.get(key, [])
            if entry in entries:
                entries.remove(entry)
                if not entries:
                    del self._watched[key]

        return stop

    def may_be_refused(self, subject: str) -> None:
        """Take note that refusals of a subject are dealt with, and no error of the client."""
        self._refusable.add(subject.lower())

    def _refused_subject(self, lowered: str) -> bool:
        """Handle a refused subject, which nats-py reports in lower case.

        Returns:
            Whether that is no error.
        """
        inbox = self._inbox + "*"
        if lowered == inbox.lower():
            # No requests can be answered. The next caller tries again.
            for future, _, bucket in self._replies.values():
                if not future.done():
                    future.set_result(self.denied(inbox, bucket))
            subscription, self._subscription = self._subscription, None
            if subscription is not None:
                self._ending(subscription)()
            return False
        for future, subject, bucket in self._replies.values():
            if subject.lower() == lowered and not future.done():
                future.set_result(self.denied(subject, bucket))
        for subject, bucket, denied in (
            *self._watched.get(lowered, ()),
            *(one for one in self._watched_routes.values() if one[0].lower() == lowered),
        ):
            denied(self.denied(subject, bucket))
        return lowered in self._refusable

    async def subscribe(
        self, subject: str, receive: ReceiveAll, *, bucket: str | None = None
    ) -> Subscription:
        """Subscribe; see `Connection`."""
        raise NotImplementedError
