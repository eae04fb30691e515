"""What a bucket follows: another bucket, perhaps in another JetStream domain."""

from dataclasses import dataclass

from ..exceptions import InvalidOptionError
from .names import validate_bucket_name

__all__ = ("Mirror", "validate_mirrors")


@dataclass(frozen=True, slots=True)
class Mirror:
    """The origin of a bucket that follows it and that can only be read.

    ```python
    photos = Bucket("photos-eu", mirror=Mirror("photos", domain="hub"))
    every = Bucket("all", sources=[Mirror("photos"), Mirror("scans")])
    ```

    Attributes:
        bucket: The origin, which is written to.
        domain: The JetStream domain of the origin; the same as the follower's if not given.

    Raises:
        InvalidBucketNameError: If the bucket's name is invalid.
        InvalidOptionError: If the domain is not one token of a subject.
    """

    bucket: str
    domain: str | None = None

    def __post_init__(self) -> None:
        validate_bucket_name(self.bucket)
        domain: object = self.domain
        if domain is not None and (
            not isinstance(domain, str) or not domain or set(domain) & set(" \t\r\n.*>")
        ):
            msg = (
                f"Mirror of bucket '{self.bucket}': domain must be the name of a JetStream "
                f"domain, got {domain!r}."
            )
            raise InvalidOptionError(msg, bucket=self.bucket)

    def __str__(self) -> str:
        where = "" if self.domain is None else f" in the domain '{self.domain}'"
        return f"bucket '{self.bucket}'{where}"


def validate_mirrors(
    bucket: str, mirror: object, sources: object
) -> tuple[Mirror, ...] | None:
    """Check what a bucket is declared to follow.

    Args:
        bucket: The bucket.
        mirror: Its option `mirror`.
        sources: Its option `sources`.

    Returns:
        The sources as a tuple; `None` if not given.

    Raises:
        InvalidOptionError: If they are invalid.
    """

    def refuse(wrong: str) -> InvalidOptionError:
        return InvalidOptionError(f"Bucket '{bucket}': {wrong}", bucket=bucket)

    if mirror is not None and not isinstance(mirror, Mirror):
        raise refuse(f'mirror must be a Mirror("..."), got {mirror!r}.')
    if isinstance(sources, (str, bytes, Mirror)) or not hasattr(sources or (), "__iter__"):
        raise refuse(f"sources must be a list of Mirror(...), got {sources!r}.")
    given: tuple[object, ...] = tuple(sources or ())  # type: ignore[arg-type]
    if mirror is not None and given:
        raise refuse("mirror and sources cannot be combined; add the mirror to the sources.")
    every = [] if mirror is None else [mirror]
    for one in given:
        if not isinstance(one, Mirror):
            raise refuse(f"sources must be a list of Mirror(...), got {one!r} in it.")
        if one in every:
            raise refuse(f"sources names the {one} twice.")
        every.append(one)
    for one in every:
        if one.bucket == bucket and one.domain is None:
            raise refuse("it cannot follow itself; give the origin's domain or another name.")
    return None if sources is None else tuple(every if mirror is None else ())
