"""NATS JetStream Object Store buckets for FastStream: declare, inject, react, test."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bucket import Bucket
from .buckets import Buckets
from .changes.retry import Retry
from .exceptions import (
    BucketFullError,
    BucketNotFoundError,
    BucketReadOnlyError,
    BucketSealedError,
    BulkError,
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
    BulkResult,
    Mirror,
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectSource,
    ObjectStoreConfig,
    ObjectStoreStatus,
)
from .params import FromBucket, FromObject, LiveObject, OpenObject, StatObject
from .store import Listing, ObjectReader, ObjectStore, ObjectWatcher

if TYPE_CHECKING:
    from .middlewares import ClaimCheckMiddleware
    from .publishers import ObjectResponse
    from .sweeping import Sweep

__all__ = (
    "Bucket",
    "BucketFullError",
    "BucketNotFoundError",
    "BucketReadOnlyError",
    "BucketSealedError",
    "Buckets",
    "BulkError",
    "BulkResult",
    "ClaimCheckMiddleware",
    "CorruptObjectError",
    "FromBucket",
    "FromObject",
    "InvalidObjectNameError",
    "Listing",
    "LiveObject",
    "Mirror",
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
    "ObjectResponse",
    "ObjectSource",
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
    "Sweep",
)


# Few services need them, and they are most of what those would import in vain.
_LATE = {
    "ClaimCheckMiddleware": "middlewares",
    "ObjectResponse": "publishers",
    "Sweep": "sweeping",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        value = getattr(import_module(f".{_LATE[name]}", __name__), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
