"""Which `Buckets` owns a bucket: it is claimed, released, or taken over by another."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from faststream.nats import NatsBroker

from faststream_objstore._faststream import (
    BrokerHook,
    connection_of,
)
from faststream_objstore.bucket import Bucket
from faststream_objstore.context import InContext, refuse_twin
from faststream_objstore.exceptions import (
    BucketInUseError,
    BucketNotDeclaredError,
)

__all__ = ("TAKEN_OVER", "BucketOwner", "is_live", "not_declared")

TAKEN_OVER = (
    "it was taken over by another Buckets, because a Bucket belongs to one Buckets at a "
    "time. Use that one, or declare a Bucket for each."
)


def not_declared(
    bucket: str, declared: Iterable[str], *, taken_over: bool = False
) -> BucketNotDeclaredError:
    """Make the error for a bucket that is not declared.

    Args:
        bucket: Its name.
        declared: The names of the declared buckets.
        taken_over: Whether it was declared until another `Buckets` took it over.

    Returns:
        The error.
    """
    if taken_over:
        msg = f"Bucket '{bucket}' is not declared here any more: {TAKEN_OVER}"
        return BucketNotDeclaredError(msg, bucket=bucket)
    listed = ", ".join(f"'{one}'" for one in sorted(declared)) or "none"
    msg = (
        f"Bucket '{bucket}' is not declared here (declared: {listed}). Pass "
        f"Bucket({bucket!r}) to the Buckets(broker, ...) of this broker."
    )
    return BucketNotDeclaredError(msg, bucket=bucket)


def is_live(broker: NatsBroker | None) -> bool:
    """Whether a broker is running or connected."""
    return broker is not None and (broker.running or connection_of(broker) is not None)


class BucketOwner(InContext):
    """The owner of declared buckets, until another owner takes one over.

    Args:
        extension: The `Buckets`, which the context offers to handlers and hooks.
    """

    def __init__(self, extension: object) -> None:
        super().__init__(extension)
        self._taken_over: set[str] = set()

    @property
    def declared(self) -> Mapping[str, Bucket]:
        """The declared buckets by name."""
        return MappingProxyType(self._declared)

    def _require_free(self, bucket: Bucket, broker: NatsBroker) -> None:
        """Refuse a bucket whose name or key another broker, `Buckets` or the context uses."""
        for other in BrokerHook.attached_to(broker):
            if isinstance(other, BucketOwner):
                refuse_twin(bucket, other.declared)
        holder = bucket.attachment
        if isinstance(holder, BucketOwner) and holder is not self:
            held_by = holder.broker
            if held_by is not None and held_by is not broker and is_live(held_by):
                msg = (
                    f"Bucket '{bucket.name}' belongs to another broker, which is running; "
                    "stop that one first, or declare a second Bucket of this name."
                )
                raise BucketInUseError(msg, bucket=bucket.name)
        self._require_free_key(bucket, broker.context)

    def release(self, bucket: Bucket) -> None:
        """Forget a bucket that moves to another `Buckets`."""
        if self._declared.pop(bucket.name, None) is not None:
            self._taken_over.add(bucket.name)
        if not self._declared and self.broker is not None:
            BrokerHook.of(self.broker).discard(self)

    def has_lost(self, bucket: str) -> bool:
        """Whether a bucket was declared here until another `Buckets` took it over."""
        return bucket in self._taken_over
