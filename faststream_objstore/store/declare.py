"""Binding a declared bucket: create it, or check that the existing one matches."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from .. import wire
from ..backends.base import Backend, Server
from ..backends.origins import named
from ..exceptions import (
    BucketConfigMismatchError,
    BucketNotFoundError,
    InvalidOptionError,
)
from ..models import Mirror, ObjectStoreConfig

# What `delete` imports; now that the program has connected, no call should wait for it.
from . import amend  # noqa: F401

__all__ = ("bind_bucket", "mismatch")

# How each setting is spelled in the stream's configuration.
_STREAM_KEYS = {
    "description": ("description",),
    "ttl": ("max_age",),
    "max_bytes": ("max_bytes",),
    "storage": ("storage",),
    "replicas": ("num_replicas",),
    "placement": ("placement",),
    "compression": ("compression",),
    "metadata": ("metadata",),
    "keep_replaced": ("metadata",),
    "transactions": ("allow_atomic",),
    "object_ttl": ("allow_msg_ttl", "subject_delete_marker_ttl"),
    "mirror": ("mirror",),
    "sources": ("sources",),
}


_ANEW = "or copy the objects elsewhere, delete the bucket and create it again."


async def bind_bucket(
    server: Server,
    config: ObjectStoreConfig,
    *,
    declare: bool = True,
    update: bool = False,
) -> Backend:
    """Bind a bucket, creating it if it is declared and missing.

    Args:
        server: Where the bucket lives.
        config: What is declared. A setting of `None` is not compared.
        declare: Create a missing bucket, and compare an existing one. Otherwise use it as
            it is.
        update: Apply differences instead of refusing them.

    Returns:
        The bucket's backend.

    Raises:
        BucketNotFoundError: If it is missing and `declare` is false.
        BucketConfigMismatchError: If it exists with other settings, or its stream is
            not an Object Store's.
    """
    bucket = config.bucket
    if declare:
        config = await _at_home(server, config)
    try:
        backend = await server.open(bucket)
    except BucketNotFoundError:
        if not declare:
            msg = (
                f"Bucket '{bucket}' does not exist, and it is bound with declare=False; "
                "create it first, or declare it with declare=True."
            )
            raise BucketNotFoundError(msg, bucket=bucket) from None
        try:
            return await server.create(bucket, wire.stream_config(config))
        except BucketConfigMismatchError:
            # Another replica created it between our two requests, perhaps with equal settings.
            backend = await server.open(bucket)

    stream = (await backend.state()).config
    sealed = bool(stream.get("sealed"))
    if (ruined := _ruined(bucket, stream)) is not None:
        raise BucketConfigMismatchError(ruined, bucket=bucket)
    if not declare:
        return backend

    exists = wire.config_of(stream)
    changed = _differences(config, exists, sealed=sealed)
    if changed and update and not _becomes_another(changed):
        # What is not declared stays; two settings share the stream's metadata.
        declared = {option: declared for option, (_, declared) in changed.items()}
        wanted = wire.stream_config(replace(exists, **declared))
        merged = dict(stream)
        for option in changed:
            for key in _STREAM_KEYS[option]:
                merged[key] = wanted.get(key)
        # The server refuses a duplicate window longer than the ttl; it chose this one itself.
        max_age, window = merged.get("max_age") or 0, merged.get("duplicate_window") or 0
        if 0 < max_age < window:
            merged["duplicate_window"] = max_age
        try:
            await server.update(bucket, merged)
        except BucketConfigMismatchError as error:
            msg = _not_applied(bucket, changed, error.__cause__ or error)
            raise BucketConfigMismatchError(msg, bucket=bucket) from error
        # With the settings that it has now.
        return await server.open(bucket)
    if changed:
        fixed = _is_fixed(changed) or _becomes_another(changed)
        remedy = _ANEW if fixed else "or apply it with update=True."
        msg = (
            f"Bucket '{bucket}' exists with other settings: {_listed(changed)}. Change the "
            f"declaration, {remedy}"
        )
        raise BucketConfigMismatchError(msg, bucket=bucket)
    return backend


async def _at_home(server: Server, config: ObjectStoreConfig) -> ObjectStoreConfig:
    """What is declared, with the server's own domain left out."""
    mirror, sources = config.mirror, config.sources
    if not config.origins:
        return config
    if (config.max_bytes or -1) > 0:
        msg = (
            f"Bucket '{config.bucket}' follows the {named(config.origins)} and cannot have "
            "max_bytes: when it is full, the server skips what does not fit, and the objects "
            "are incomplete. Limit the origin instead."
        )
        raise InvalidOptionError(msg, bucket=config.bucket)
    if any(one.domain is not None for one in config.origins):
        own = await server.domain()

        def at_home(one: Mirror) -> Mirror:
            return Mirror(one.bucket) if one.domain == own else one

        mirror = None if mirror is None else at_home(mirror)
        sources = None if sources is None else tuple(map(at_home, sources))
    if mirror is not None and mirror.domain is None:
        # As `wire.stream_config` makes it.
        sources, mirror = (mirror,), None
    return replace(config, mirror=mirror, sources=sources)


def _becomes_another(changed: Mapping[str, tuple[Any, Any]]) -> bool:
    """Whether a bucket would become one that is written to, or stop being one."""
    return "mirror" in changed or ("sources" in changed and not all(changed["sources"]))


def mismatch(
    config: ObjectStoreConfig, stream: Mapping[str, Any], *, declare: bool
) -> str | None:
    """Describe how a bucket differs from its declaration.

    Args:
        config: The declared settings. A setting of `None` is not compared.
        stream: The configuration of the bucket's stream.
        declare: Whether to compare settings at all.

    Returns:
        The differences; `None` if there are none.
    """
    ruined = _ruined(config.bucket, stream)
    if ruined is not None or not declare:
        return ruined
    sealed = bool(stream.get("sealed"))
    exists = wire.config_of(dict(stream))
    if _follows_the_same(config, exists):
        config = replace(config, mirror=None, sources=None)
    changed = _differences(config, exists, sealed=sealed)
    if not changed:
        return None
    return f"Bucket '{config.bucket}' has other settings: {_listed(changed)}."


def _follows_the_same(declared: ObjectStoreConfig, exists: ObjectStoreConfig) -> bool:
    """Whether the origins are the declared ones; the server's own domain is not known here."""
    ours, theirs = declared.origins, exists.origins
    return len(ours) == len(theirs) and all(
        one.bucket == other.bucket and other.domain in {None, one.domain}
        for one, other in zip(ours, theirs, strict=True)
    )


def _ruined(bucket: str, stream: Mapping[str, Any]) -> str | None:
    if stream.get("sealed") or stream.get("allow_rollup_hdrs"):
        return None
    return (
        f"Bucket '{bucket}': the stream {wire.stream_name(bucket)} does not allow "
        "rollups, so it is not an Object Store (ADR-20), or something has rewritten "
        'it, as FastStream does for stream="OBJ_..." without declare=False.'
    )


def _listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(
        f"{option} is {_shown(option, exists)}, declared {_shown(option, declared)}"
        for option, (exists, declared) in changed.items()
    )


def _not_applied(
    bucket: str, changed: Mapping[str, tuple[Any, Any]], reason: BaseException
) -> str:
    """The error message for an update that the server refuses."""
    said = str(reason).removeprefix(f"Bucket '{bucket}': ").rstrip(".")
    remedy = _ANEW
    if not _is_fixed(changed) and changed.keys() & {"replicas", "placement"}:
        remedy = "or use a cluster with enough servers for it."
    return (
        f"Bucket '{bucket}' exists with other settings, which update=True could not change: "
        f"{_listed(changed)} ({said}). Change the declaration, {remedy}"
    )


def _is_fixed(changed: Mapping[str, tuple[Any, Any]]) -> bool:
    """Whether a server never makes one of the changes."""
    return "storage" in changed or not all(changed.get("object_ttl", (True, True))[1:])


def _differences(
    declared: ObjectStoreConfig, exists: ObjectStoreConfig, *, sealed: bool
) -> dict[str, tuple[Any, Any]]:
    result: dict[str, tuple[Any, Any]] = {}
    for option in (one.name for one in fields(declared)):
        ours, theirs = getattr(declared, option), getattr(exists, option)
        # The server removes a stream's max_age when sealing it.
        if ours is None or option == "bucket" or (sealed and option == "ttl"):
            continue
        if isinstance(ours, Mapping):
            ours, theirs = dict(ours), dict(theirs or {})
        if ours != theirs:
            result[option] = (theirs, ours)
    return result


def _shown(option: str, value: object) -> str:
    if option == "object_ttl" and not value:
        return "off"
    if isinstance(value, timedelta):
        return str(value) if value else "for ever"
    return repr(value)
