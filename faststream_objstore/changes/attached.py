"""What a change subscriber sees of its bucket and of what that is attached to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from faststream.nats import NatsBroker, NatsRouter

from faststream_objstore.backends.base import Backend, Server
from faststream_objstore.observers.notifying import Observers

if TYPE_CHECKING:
    from faststream_objstore.changes.subscriber import ChangeSubscriber

__all__ = ("Attachment", "Declaration")


class Attachment(Protocol):
    """The broker extension, as a bucket's subscribers need it."""

    @property
    def broker(self) -> NatsBroker | None:
        """The broker."""

    @property
    def observers(self) -> Observers | None:
        """The observers of changes, if any."""

    async def server_of(self, bucket: str) -> Server:
        """Where the bucket is, once it is bound."""

    async def backend_of(self, bucket: str) -> Backend:
        """The bucket's stream, once it is bound."""


class Declaration(Protocol):
    """The bucket, as its subscribers need it."""

    attachment: Attachment | None

    @property
    def router(self) -> NatsRouter:
        """Where its subscribers are registered."""

    @property
    def subscribers(self) -> "Sequence[ChangeSubscriber]":
        """Its subscribers, in the order of their declaration."""
