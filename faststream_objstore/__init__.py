"""NATS JetStream Object Store buckets for FastStream: declare, inject, react, test."""

from typing import TYPE_CHECKING, Any

from .bucket import Bucket
from .buckets import Buckets
from .changes.retry import Retry
from .exceptions import (
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    CorruptObjectError,
    InvalidObjectNameError,
    NotConnectedError,
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectLoadError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ObjStoreError,
    RevisionMismatchError,
    StoreTimeoutError,
)
from .models import (
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
    ObjectStoreStatus,
)
from .params import FromBucket, FromObject, LiveObject, OpenObject, StatObject
from .store import ObjectReader, ObjectStore, ObjectWatcher

if TYPE_CHECKING:
    from .middlewares import ClaimCheckMiddleware

__all__ = (
    "Bucket",
    "BucketFullError",
    "BucketNotFoundError",
    "BucketSealedError",
    "Buckets",
    "ClaimCheckMiddleware",
    "CorruptObjectError",
    "FromBucket",
    "FromObject",
    "InvalidObjectNameError",
    "LiveObject",
    "NotConnectedError",
    "ObjStoreError",
    "ObjectAlreadyExists",
    "ObjectChangedError",
    "ObjectData",
    "ObjectDeletedError",
    "ObjectInfo",
    "ObjectLink",
    "ObjectLoadError",
    "ObjectMeta",
    "ObjectMetaOptions",
    "ObjectNotFoundError",
    "ObjectReader",
    "ObjectStore",
    "ObjectStoreConfig",
    "ObjectStoreStatus",
    "ObjectTooLargeError",
    "ObjectWatcher",
    "OpenObject",
    "Retry",
    "RevisionMismatchError",
    "StatObject",
    "StoreTimeoutError",
)


def __getattr__(name: str) -> Any:
    # Few services need it, and it is most of what they would import in vain.
    if name == "ClaimCheckMiddleware":
        from .middlewares import ClaimCheckMiddleware  # noqa: PLC0415

        globals()[name] = ClaimCheckMiddleware
        return ClaimCheckMiddleware
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
