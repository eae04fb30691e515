"""The stream of a bucket: its name, its subjects, its configuration."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..models import Mirror, ObjectStoreConfig

__all__ = (
    "all_chunks_subject",
    "all_metadata_subject",
    "anchor_subject",
    "bucket_of_stream",
    "config_of",
    "has_wildcards",
    "keep_replaced",
    "least_ttl",
    "origins_of",
    "stream_config",
    "stream_name",
)

_STREAM_PREFIX = "OBJ_"
_NANOSECONDS = 1_000_000_000
# In the stream's metadata: seconds.
_KEEP_REPLACED = "faststream_objstore.keep_replaced"
# The last token of the subject.
_ANCHOR = "objstore-anchor"
_NOT_AT_ALL = timedelta(0)
# Around a domain's name in the prefix of its JetStream API.
_API, _OF_DOMAIN = "$JS.", ".API"


def stream_name(bucket: str) -> str:
    """`OBJ_<bucket>`."""
    return _STREAM_PREFIX + bucket


def bucket_of_stream(stream: str) -> str | None:
    """The bucket that a stream belongs to, or `None` for any other stream."""
    return stream[len(_STREAM_PREFIX) :] if stream.startswith(_STREAM_PREFIX) else None


def all_chunks_subject(bucket: str) -> str:
    """Matches every chunk of a bucket."""
    return f"$O.{bucket}.C.>"


def all_metadata_subject(bucket: str) -> str:
    """Matches every metadata message of a bucket, as the stream declares it."""
    return f"$O.{bucket}.M.>"


def anchor_subject(bucket: str) -> str:
    """Of the empty message that stays the first of a bucket with change subscribers.

    It is among the chunks, where it belongs to no object.
    """
    return f"$O.{bucket}.C.{_ANCHOR}"


def has_wildcards(subject: str) -> bool:
    """Whether a subject, used as a filter, would match other subjects too.

    A server does store what is published to `$O.photos.C.*`, but purging that subject would
    empty the bucket.
    """
    return not {"*", ">"}.isdisjoint(subject.split("."))


def stream_config(config: ObjectStoreConfig) -> dict[str, Any]:
    """The JetStream API's configuration of a new bucket's stream."""
    bucket = config.bucket
    ttl = config.ttl
    result: dict[str, Any] = {
        "name": stream_name(bucket),
        "subjects": [all_chunks_subject(bucket), all_metadata_subject(bucket)],
        "retention": "limits",
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_bytes": config.max_bytes if config.max_bytes is not None else -1,
        "max_age": _to_nanoseconds(ttl) if isinstance(ttl, timedelta) else 0,
        "storage": config.storage or "file",
        "num_replicas": config.replicas or 1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "compression": "s2" if config.compression else "none",
    }
    if config.transactions:
        result["allow_atomic"] = True
    if config.object_ttl:
        # Both cannot be taken back, and the second is also the least TTL of a message.
        result["allow_msg_ttl"] = True
        result["subject_delete_marker_ttl"] = _to_nanoseconds(config.object_ttl)  # type: ignore[arg-type]
    if config.origins:
        # Nothing may be published to it.
        del result["subjects"]
        followed = [_followed(bucket, one) for one in config.origins]
        if config.mirror is not None and config.mirror.domain is not None:
            result["mirror"] = followed[0]
        else:
            # Within a domain, the server lets a mirror answer direct gets of its origin
            # (`mirror_direct`), which it cannot if its subjects are others.
            result["sources"] = followed
    if config.description:
        result["description"] = config.description
    if config.placement:
        result["placement"] = dict(config.placement)
    metadata = dict(config.metadata or {})
    if config.keep_replaced:
        # To the microsecond, as `timedelta` has it.
        seconds = config.keep_replaced / timedelta(seconds=1)  # type: ignore[operator]
        metadata[_KEEP_REPLACED] = f"{seconds:.6f}".rstrip("0").rstrip(".")
    if metadata:
        result["metadata"] = metadata
    return result


def config_of(stream: Mapping[str, Any]) -> ObjectStoreConfig:
    """A bucket's settings, all of them set, from its stream's configuration."""
    max_age = int(stream.get("max_age") or 0)
    max_bytes = int(stream.get("max_bytes") or -1)
    origins = origins_of(stream)
    return ObjectStoreConfig(
        bucket=stream["name"][len(_STREAM_PREFIX) :],
        description=stream.get("description") or "",
        ttl=timedelta(microseconds=max_age / 1000),
        max_bytes=max_bytes if max_bytes > 0 else -1,
        storage=stream.get("storage") or "file",
        replicas=int(stream.get("num_replicas") or 1),
        placement=stream.get("placement") or {},
        compression=(stream.get("compression") or "none") != "none",
        metadata={
            key: value
            for key, value in (stream.get("metadata") or {}).items()
            # The server's own entries, such as `_nats.level`.
            if not key.startswith("_nats.") and key != _KEEP_REPLACED
        },
        # A bucket that follows others has none of these, whatever its stream allows.
        keep_replaced=_NOT_AT_ALL if origins else keep_replaced(stream.get("metadata") or {}),
        transactions=bool(stream.get("allow_atomic")) and not origins,
        object_ttl=_NOT_AT_ALL
        if origins
        else timedelta(microseconds=least_ttl(stream) / 1000),
        mirror=_mirror_of(stream),
        sources=_sources_of(stream),
    )


def origins_of(stream: Mapping[str, Any]) -> tuple[Mirror, ...]:
    """The buckets that a bucket follows, from its stream's configuration."""
    mirror = _mirror_of(stream)
    return _sources_of(stream) if mirror is None else (mirror,)


def _followed(bucket: str, origin: Mirror) -> dict[str, Any]:
    result: dict[str, Any] = {"name": stream_name(origin.bucket)}
    if origin.domain is not None:
        result["external"] = {"api": f"{_API}{origin.domain}{_OF_DOMAIN}"}
    if origin.bucket != bucket:
        result["subject_transforms"] = [
            {"src": f"$O.{origin.bucket}.>", "dest": f"$O.{bucket}.>"}
        ]
    return result


def _mirror_of(stream: Mapping[str, Any]) -> Mirror | None:
    followed = stream.get("mirror")
    return _origin_of(followed) if followed else None


def _sources_of(stream: Mapping[str, Any]) -> tuple[Mirror, ...]:
    # A foreign program may source from a stream that is no bucket's.
    found = map(_origin_of, stream.get("sources") or ())
    return tuple(one for one in found if one is not None)


def _origin_of(followed: Mapping[str, Any]) -> Mirror | None:
    bucket = bucket_of_stream(followed.get("name") or "")
    if not bucket:
        return None
    api = (followed.get("external") or {}).get("api") or ""
    domain = api.removeprefix(_API).removesuffix(_OF_DOMAIN)
    # What another account's API is imported as is no domain; that origin is out of reach.
    return Mirror(bucket, domain.replace(".", "-") or None)


def least_ttl(stream: Mapping[str, Any]) -> int:
    """The least TTL of a single message, nanoseconds; 0 if messages have none of their own."""
    if not stream.get("allow_msg_ttl"):
        return 0
    # Without markers it is the server's limit.
    return int(stream.get("subject_delete_marker_ttl") or _NANOSECONDS)


def keep_replaced(metadata: Mapping[str, str]) -> timedelta:
    """How long replaced versions are kept, according to the metadata of the stream."""
    said = metadata.get(_KEEP_REPLACED)
    if said is None:
        return _NOT_AT_ALL
    try:
        return max(timedelta(seconds=float(said)), _NOT_AT_ALL)
    except (ValueError, TypeError, OverflowError):
        # Another program uses the key for something else.
        return _NOT_AT_ALL


def _to_nanoseconds(duration: timedelta) -> int:
    return (
        duration.days * 86_400 + duration.seconds
    ) * _NANOSECONDS + duration.microseconds * 1000
