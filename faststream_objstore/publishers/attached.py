"""A bucket and the broker extension, as publishers need them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from faststream.nats import NatsBroker, NatsRouter

from faststream_objstore.backends.base import Backend
from faststream_objstore.store import ObjectStore

if TYPE_CHECKING:
    from faststream_objstore.publishers.publisher import ObjectPublisher

__all__ = ("Attachment", "Declaration")


class Attachment(Protocol):
    """The broker extension, as a bucket's publishers need it."""

    @property
    def broker(self) -> NatsBroker | None:
        """The broker."""

    def handle(self, bucket: str) -> ObjectStore:
        """The store of a bucket, which is bound at its first use."""

    async def backend_of(self, bucket: str) -> Backend:
        """A bucket's stream on the current connection."""


class Declaration(Protocol):
    """The bucket, as its publishers need it."""

    attachment: Any

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def router(self) -> NatsRouter:
        """Where its publishers are registered."""

    @property
    def publishers(self) -> "Sequence[ObjectPublisher]":
        """Its publishers, in the order of their declaration."""
