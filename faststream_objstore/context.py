"""Registration of the stores, and of the extension, in FastStream's context."""

from collections.abc import Mapping

from faststream.nats import NatsBroker

from faststream_objstore._faststream import Application, ContextRepo
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import BucketInUseError, InvalidOptionError
from faststream_objstore.store import ObjectStore

__all__ = ("InContext", "extension_key", "refuse_twin")

_BUCKETS_KEY = "buckets"


def extension_key(bucket: str) -> str:
    """The context key of the `Attached` that declares a bucket."""
    return f"objstore:{bucket}"


class InContext:
    """The owner of stores in the contexts of a broker and of apps.

    Args:
        extension: The `Buckets`, which the context offers to handlers and hooks.
    """

    def __init__(self, extension: object) -> None:
        self.broker: NatsBroker | None = None
        self._extension = extension
        self._declared: dict[str, Bucket] = {}
        self._handles: dict[str, ObjectStore] = {}
        self._apps: list[Application] = []

    def handle(self, bucket: str) -> ObjectStore:
        """The store of a bucket."""
        raise NotImplementedError

    def has_lost(self, bucket: str) -> bool:
        """Whether a bucket was declared here until another took it over."""
        raise NotImplementedError

    def _require_free_key(self, bucket: Bucket, context: ContextRepo) -> None:
        key = bucket.context_key
        present = context.get(key)
        if present is None or present is self._handles.get(bucket.name):
            return
        holder = context.get(extension_key(bucket.name))
        if (
            isinstance(holder, InContext)
            and present is holder.handle(bucket.name)
            and self._may_follow(holder, bucket, context)
        ):
            return
        msg = (
            f"Bucket '{bucket.name}': FastStream's context has something else under the key "
            f"{key!r}, which a store must not replace: {present!r}. Give the bucket another "
            f"key: Bucket({bucket.name!r}, context_key=...)."
        )
        raise InvalidOptionError(msg, bucket=bucket.name)

    def _may_follow(self, holder: object, bucket: Bucket, context: ContextRepo) -> bool:
        """Whether the context's entry for a bucket is out of date."""
        held: object = bucket.attachment
        return (
            not isinstance(holder, InContext)
            or holder is self
            or holder is held
            or holder.has_lost(bucket.name)
            or not holder.is_in(context)
        )

    def is_in(self, context: ContextRepo) -> bool:
        """Whether its stores belong in this context."""
        contexts = [app.context for app in self._apps]
        if self.broker is not None:
            contexts.append(self.broker.context)
        return any(context is one for one in contexts)

    def _register(self, context: ContextRepo) -> None:
        for bucket in self._declared.values():
            self._require_free_key(bucket, context)
        for bucket in self._declared.values():
            context.set_global(bucket.context_key, self.handle(bucket.name))
            key = extension_key(bucket.name)
            if self._may_follow(context.get(key), bucket, context):
                context.set_global(key, self)
        # It is only a convenience, so a user's own entry takes precedence.
        if isinstance(context.get(_BUCKETS_KEY), type(self._extension) | None):
            context.set_global(_BUCKETS_KEY, self._extension)

    def _require_distinct(self, buckets: tuple[Bucket, ...]) -> None:
        together = dict(self._declared)
        for bucket in buckets:
            refuse_twin(bucket, together)
            together[bucket.name] = bucket


def refuse_twin(bucket: Bucket, declared: Mapping[str, Bucket]) -> None:
    """Refuse a bucket with the name or the context key of another.

    Raises:
        BucketInUseError: If another bucket has it.
    """
    for other in declared.values():
        for option in ("name", "context_key"):
            if other is not bucket and getattr(other, option) == getattr(bucket, option):
                msg = (
                    f"Bucket '{bucket.name}': this broker has another Bucket of the same "
                    f"{option}; share one declaration, or give it a different one."
                )
                raise BucketInUseError(msg, bucket=bucket.name)
