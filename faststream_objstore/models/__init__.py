"""The data of an Object Store, as ADR-20 names it. Values only, no I/O.

Making a dataclass takes up to a millisecond, so those that few programs use are imported when
they are first asked for.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names
from .buckets import MOST_TTL, ObjectStoreConfig, Storage
from .durations import as_timedelta
from .mirrors import Mirror
from .names import validate_bucket_name
from .objects import (
    DEFAULT_CHUNK_SIZE,
    ObjectData,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    new_info,
)

if TYPE_CHECKING:
    from .bulk import BulkResult
    from .sources import ObjectSource
    from .status import ObjectStoreStatus
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BulkResult": "bulk",
            "ObjectSource": "sources",
            "ObjectStoreStatus": "status",
        },
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
