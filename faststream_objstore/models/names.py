"""The names of buckets."""

from ..exceptions import InvalidBucketNameError

__all__ = ("validate_bucket_name",)

_BUCKET_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)


def validate_bucket_name(bucket: object) -> str:
    """Return `bucket` if it is a valid ADR-20 bucket name, `[A-Za-z0-9_-]+`.

    Raises:
        InvalidBucketNameError: If it is anything else.
    """
    if not isinstance(bucket, str) or not bucket or not _BUCKET_CHARACTERS.issuperset(bucket):
        msg = (
            f"{bucket!r} is not a bucket name: use one or more of the letters A-Z and a-z, "
            "the digits, '_' and '-' (ADR-20)."
        )
        raise InvalidBucketNameError(msg, bucket=bucket if isinstance(bucket, str) else None)
    return bucket
