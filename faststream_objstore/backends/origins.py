"""Buckets that follow others: what is said of a write, and how their links are read."""

from collections.abc import Sequence
from dataclasses import replace

from ..exceptions import BucketReadOnlyError
from ..models import Mirror, ObjectInfo, ObjectLink, ObjectMetaOptions

__all__ = ("localized", "named", "read_only")


def named(origins: Sequence[Mirror]) -> str:
    """Origins in an error message."""
    return " and ".join(map(str, origins))


def read_only(bucket: str, origins: Sequence[Mirror]) -> BucketReadOnlyError:
    """The error for a write to a bucket that follows others."""
    remedy = "write there" if len(origins) == 1 else "write to the one that the object is in"
    msg = (
        f"Bucket '{bucket}' can only be read, because it follows the {named(origins)}; "
        f"{remedy}, and the change arrives here."
    )
    return BucketReadOnlyError(msg, bucket=bucket)


def localized(info: ObjectInfo, origins: Sequence[Mirror]) -> ObjectInfo:
    """A version as it is meant here: what links into an origin is here as well.

    Args:
        info: The version, as the metadata says it: a link into the bucket that it was written
            to is read as one into this bucket already.
        origins: What its bucket follows.
    """
    link = info.link
    if link is None or all(one.bucket != link.bucket for one in origins):
        return info
    chunk_size = None if info.options is None else info.options.max_chunk_size
    options = ObjectMetaOptions(ObjectLink(info.bucket, link.name), chunk_size)
    return replace(info, options=options)
