"""The data of an Object Store, as ADR-20 names it. Values only, no I/O."""

from .buckets import (
    MOST_TTL,
    ObjectStoreConfig,
    ObjectStoreStatus,
    Storage,
)
from .durations import as_timedelta
from .mirrors import Mirror
from .names import validate_bucket_name
from .objects import (
    DEFAULT_CHUNK_SIZE,
    BulkResult,
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectSource,
    new_info,
)

__all__ = (
    "DEFAULT_CHUNK_SIZE",
    "MOST_TTL",
    "BulkResult",
    "Mirror",
    "ObjectData",
    "ObjectInfo",
    "ObjectLink",
    "ObjectMeta",
    "ObjectMetaOptions",
    "ObjectSource",
    "ObjectStoreConfig",
    "ObjectStoreStatus",
    "Storage",
    "as_timedelta",
    "new_info",
    "validate_bucket_name",
)
