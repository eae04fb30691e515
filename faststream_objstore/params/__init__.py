"""Parameters of handlers, for `Annotated`: buckets, objects, and values kept up to date."""

from typing import TYPE_CHECKING

from faststream_objstore.lazy import lazy_names
from faststream_objstore.params.bucket import FromBucket

if TYPE_CHECKING:
    from faststream_objstore.params.live import LiveObject
    from faststream_objstore.params.objects import FromObject, OpenObject, StatObject
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "FromObject": "objects",
            "LiveObject": "live",
            "OpenObject": "objects",
            "StatObject": "objects",
        },
    )

__all__ = ("FromBucket", "FromObject", "LiveObject", "OpenObject", "StatObject")
