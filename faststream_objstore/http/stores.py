"""The store of a declared bucket at the time of a request."""

from faststream_objstore.binding import Attached
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import BucketNotDeclaredError
from faststream_objstore.store import ObjectStore

__all__ = ("store_of",)


def store_of(bucket: Bucket | ObjectStore) -> ObjectStore:
    """The store of a bucket on its broker's current connection.

    Raises:
        BucketNotDeclaredError: If the `Bucket` belongs to no `Buckets`.
    """
    if isinstance(bucket, ObjectStore):
        return bucket
    if isinstance(bucket.attachment, Attached):
        return bucket.attachment.handle(bucket.name)
    msg = (
        f"Bucket '{bucket.name}' belongs to no Buckets, so there is no connection to serve it "
        "from: pass it to Buckets(broker, ...)."
    )
    raise BucketNotDeclaredError(msg, bucket=bucket.name)
