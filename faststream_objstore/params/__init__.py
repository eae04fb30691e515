"""Parameters of handlers, for `Annotated`: buckets, objects, and values kept up to date."""

from faststream_objstore.params.bucket import FromBucket
from faststream_objstore.params.live import LiveObject
from faststream_objstore.params.objects import FromObject, OpenObject, StatObject

__all__ = ("FromBucket", "FromObject", "LiveObject", "OpenObject", "StatObject")
