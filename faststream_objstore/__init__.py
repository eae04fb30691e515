"""NATS JetStream Object Store buckets for FastStream: declare, inject, react, test."""

from typing import TYPE_CHECKING

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
from .lazy import lazy_names
from .models import (
    Mirror,
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
)
from .params.bucket import FromBucket
from .store import ObjectReader, ObjectStore

if TYPE_CHECKING:
    from .middlewares import ClaimCheckMiddleware
    from .models import BulkResult, ObjectSource, ObjectStoreStatus
    from .params.live import LiveObject
    from .params.objects import FromObject, OpenObject, StatObject
    from .publishers import ObjectResponse
    from .store import Listing, ObjectWatcher
    from .sweeping import Sweep
else:
    # Not every service uses them, and they are much of what it would import.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BulkResult": "models",
            "ClaimCheckMiddleware": "middlewares",
            "FromObject": "params.objects",
            "Listing": "store",
            "LiveObject": "params.live",
            "ObjectResponse": "publishers",
            "ObjectSource": "models",
            "ObjectStoreStatus": "models",
            "ObjectWatcher": "store",
            "OpenObject": "params.objects",
            "StatObject": "params.objects",
            "Sweep": "sweeping",
        },
    )

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
