"""Health checks: the problems of a service's buckets and subscribers."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from nats.aio.client import Client

from faststream_objstore._faststream import connection_of, custom_fields
from faststream_objstore.backends.base import Backend
from faststream_objstore.changes.retry import seconds_of
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    InvalidOptionError,
    OriginRecreatedError,
    PermissionDeniedError,
)
from faststream_objstore.fields import LiveField
from faststream_objstore.standing import bucket_standing, durable_standing
from faststream_objstore.store.declare import mismatch
from faststream_objstore.store.lag import lag_of

if TYPE_CHECKING:
    from faststream.asgi.handlers import GetHandler
    from faststream.specification import Tag

    from faststream_objstore.binding import Attached
    from faststream_objstore.bucket import Bucket
    from faststream_objstore.buckets import Buckets
    from faststream_objstore.changes.subscriber import ChangeSubscriber
    from faststream_objstore.connection import Binding

__all__ = (
    "Health",
    "HealthLimits",
    "Problem",
    "ProblemKind",
    "check",
    "make_health_asgi",
)

ProblemKind: TypeAlias = Literal[
    "connection",
    "no_answer",
    "bucket_missing",
    "bucket_settings",
    "bucket_nearly_full",
    "durable_missing",
    "lag",
    "loop_ended",
    "live_object_missing",
    "origin_recreated",
]
"""What can be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What it is.
        detail: A description for people, with a remedy where there is one.
        bucket: The bucket's name, if the problem concerns one.
        durable: The durable, if the problem concerns one.
        object: The object's name, if the problem concerns one.
    """

    kind: ProblemKind
    detail: str
    bucket: str | None = None
    durable: str | None = None
    object: str | None = None

    def as_json(self) -> dict[str, str]:
        """Convert it to JSON, for an HTTP response."""
        said = {
            "problem": self.kind,
            "bucket": self.bucket,
            "durable": self.durable,
            "object": self.object,
            "detail": self.detail,
        }
        return {key: value for key, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The result of `Buckets.health`.

    Attributes:
        problems: All problems that were found.
    """

    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Convert it to JSON, for an HTTP response."""
        return {
            "status": "ok" if self.ok else "unhealthy",
            "problems": [one.as_json() for one in self.problems],
        }


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What counts as healthy.

    Attributes:
        max_lag: The maximum age of the oldest unhandled change; `None` for any age.
        max_fill: The share of a bucket's `max_bytes` that may be used; `None` for all.
        timeout: How many seconds the check may take.

    Raises:
        InvalidOptionError: If one of them is invalid.
    """

    max_lag: float | timedelta | None = None
    max_fill: float | None = None
    timeout: float | timedelta = 5.0

    def __post_init__(self) -> None:
        lag = seconds_of(self.max_lag) if self.max_lag is not None else 0.0
        if lag is None or not lag >= 0:
            _refuse("max_lag", self.max_lag, "seconds or a timedelta from 0")
        fill = self.max_fill
        if fill is not None and (
            isinstance(fill, bool) or not isinstance(fill, (int, float)) or not 0 < fill <= 1
        ):
            _refuse("max_fill", fill, "a share of max_bytes above 0 and up to 1, such as 0.9")
        seconds = seconds_of(self.timeout)
        if seconds is None or not 0 < seconds < 1e9:
            _refuse("timeout", self.timeout, "positive seconds or a timedelta")

    @property
    def lag_seconds(self) -> float | None:
        """`max_lag` in seconds."""
        return None if self.max_lag is None else seconds_of(self.max_lag)

    @property
    def seconds(self) -> float:
        """`timeout` in seconds."""
        return seconds_of(self.timeout) or 0.0


def _refuse(option: str, value: object, wanted: str) -> None:
    msg = f"health: {option} must be {wanted}, got {value!r}."
    raise InvalidOptionError(msg)


async def check(attached: "Attached", limits: HealthLimits) -> Health:
    """Find all problems within the timeout, whatever the server does.

    Nothing is created, and nothing is bound.
    """
    connection = None if attached.broker is None else connection_of(attached.broker)
    if connection is None:
        return _unconnected("the broker is not connected: it was not started, or was stopped")
    if isinstance(connection, Client) and not connection.is_connected:
        return _unconnected("the connection to NATS is lost; nats-py is trying to restore it")
    binding = attached.binding_now
    if binding is None:
        return _unconnected("the buckets are not bound yet: the broker is starting")
    tasks = {
        asyncio.ensure_future(work): about
        for about, work in _checks(attached, binding, limits).items()
    }
    if tasks:
        await asyncio.wait(tasks, timeout=limits.seconds)
    problems: list[Problem] = []
    for task, about in tasks.items():
        if not task.done():
            # Not awaited: whatever delays it must not delay the result.
            task.cancel()
            problems.append(_silent(about, f"NATS did not answer within {limits.seconds:g} s"))
        elif (error := task.exception()) is not None:
            problems.append(_silent(about, f"{type(error).__name__}: {error}"))
        else:
            problems += task.result()
    return Health(problems=tuple(problems))


def _silent(about: "_About", detail: str) -> Problem:
    bucket, durable, name = about
    return Problem(
        kind="no_answer", bucket=bucket, durable=durable, object=name, detail=detail
    )


def _unconnected(detail: str) -> Health:
    return Health(problems=(Problem(kind="connection", detail=detail),))


_About: TypeAlias = tuple[str, str | None, str | None]
"""The bucket, the durable and the object that a check is about."""


def _checks(
    attached: "Attached", binding: "Binding", limits: HealthLimits
) -> dict[_About, Coroutine[Any, Any, list[Problem]]]:
    checks: dict[_About, Coroutine[Any, Any, list[Problem]]] = {}
    for bucket in attached.declared.values():
        checks[bucket.name, None, None] = _bucket(bucket, binding, limits)
        for subscriber in bucket.subscribers:
            options = subscriber.options
            about = (bucket.name, options.durable or options.title, None)
            checks[about] = _subscriber(subscriber, binding, limits)
    broker = attached.broker
    for _, field in custom_fields(broker) if broker is not None else ():
        if isinstance(field, LiveField) and field.must_exist:
            source = field.source
            if source.bucket in attached.declared:
                checks[source.bucket, None, source.name] = _live(attached, field)
    return checks


async def _bucket(bucket: "Bucket", binding: "Binding", limits: HealthLimits) -> list[Problem]:
    name = bucket.name
    try:
        backend = binding.backends.get(name) or await binding.server(limits.seconds).open(name)
        standing = await bucket_standing(backend)
    except BucketNotFoundError as error:
        return [Problem(kind="bucket_missing", bucket=name, detail=str(error))]
    problems: list[Problem] = []
    declared = bucket.declare and not binding.in_memory
    differs = mismatch(bucket.config, standing.config, declare=declared)
    if differs is not None:
        problems.append(Problem(kind="bucket_settings", bucket=name, detail=differs))
    fill = standing.fill
    if fill is not None and limits.max_fill is not None and fill >= limits.max_fill:
        detail = (
            f"{standing.bytes:,} of {standing.max_bytes:,} bytes are used ({fill:.0%}): "
            "delete objects, sweep, or raise max_bytes"
        )
        problems.append(Problem(kind="bucket_nearly_full", bucket=name, detail=detail))
    if backend.origins:
        problems += await _origins(backend, limits)
    return problems


async def _origins(backend: Backend, limits: HealthLimits) -> list[Problem]:
    # An origin that is out of reach is no problem here: what has arrived can be read.
    with suppress(asyncio.TimeoutError, PermissionDeniedError):
        state = await backend.state()
        try:
            await asyncio.wait_for(lag_of(backend, state), limits.seconds / 2)
        except OriginRecreatedError as error:
            about = backend.bucket
            return [Problem(kind="origin_recreated", bucket=about, detail=str(error))]
    return []


async def _subscriber(
    subscriber: "ChangeSubscriber", binding: "Binding", limits: HealthLimits
) -> list[Problem]:
    options = subscriber.options
    name, durable = options.bucket, options.durable
    problems: list[Problem] = []
    if not binding.in_memory and not subscriber.is_receiving:
        detail = (
            f"{subscriber.handler_name} receives no changes: the broker was not started, or "
            "the subscriber has stopped"
        )
        problems.append(
            Problem(kind="loop_ended", bucket=name, durable=durable, detail=detail)
        )
    if durable is None:
        return problems
    seconds = limits.seconds
    try:
        standing = await durable_standing(
            binding.server(seconds), name, durable, timeout=seconds
        )
    except BucketNotFoundError:
        # The bucket's own check reports it.
        return problems
    if standing is None:
        detail = "the server has no such consumer: it was deleted, or never created"
        problems.append(
            Problem(kind="durable_missing", bucket=name, durable=durable, detail=detail)
        )
    elif limits.lag_seconds is not None and standing.oldest > limits.lag_seconds:
        detail = (
            f"its oldest unhandled change is {standing.oldest:.1f} s old, more than "
            f"{limits.lag_seconds:g} s; {standing.pending} pending, {standing.in_work} in "
            f"work, {standing.redelivered} redelivered"
        )
        problems.append(Problem(kind="lag", bucket=name, durable=durable, detail=detail))
    return problems


async def _live(attached: "Attached", field: LiveField) -> list[Problem]:
    source = field.source
    value = await attached.live_value(source, current=True)
    if value.info is not None:
        return []
    detail = "a required LiveObject has no value: put an object that can be loaded"
    return [
        Problem(
            kind="live_object_missing",
            bucket=source.bucket,
            object=source.name,
            detail=detail,
        )
    ]


def make_health_asgi(
    buckets: "Buckets",
    /,
    *,
    max_lag: float | timedelta | None = None,
    max_fill: float | None = None,
    timeout: float | timedelta = 5.0,
    include_in_schema: bool = True,
    description: str | None = None,
    tags: Sequence[Union["Tag", dict[str, Any]]] | None = None,
    unique_id: str | None = None,
) -> "GetHandler":
    """Make an ASGI route that checks the buckets: 200 or 503, with JSON.

    Use it next to FastStream's `make_ping_asgi`:

    ```python
    app = AsgiFastStream(
        broker,
        asgi_routes=[("/health", make_health_asgi(buckets, max_lag=300, max_fill=0.9))],
    )
    ```

    A 503 names each problem: `{"status": "unhealthy", "problems": [{"problem": "lag",
    "bucket": "photos", "durable": "thumbnailer", "detail": ...}]}`.

    Args:
        buckets: The buckets to check.
        max_lag: The maximum age of a durable's oldest unhandled change, in seconds or as a
            `timedelta`; unlimited if not given.
        max_fill: The share of its `max_bytes` that a bucket may use; all of it if not given.
        timeout: How many seconds a request may take, whatever NATS does.
        include_in_schema: Whether to include it in the AsyncAPI document.
        description: The description in AsyncAPI.
        tags: The tags in AsyncAPI.
        unique_id: The id in AsyncAPI.

    Returns:
        The route.

    Raises:
        InvalidOptionError: If an option is invalid.
    """
    from faststream.asgi import AsgiResponse, get  # noqa: PLC0415 - only where it is served

    # Refused now, not at the first request.
    HealthLimits(max_lag=max_lag, max_fill=max_fill, timeout=timeout)

    @get(
        include_in_schema=include_in_schema,
        description=description,
        tags=tags,
        unique_id=unique_id,
    )
    async def health(scope: Any) -> AsgiResponse:  # noqa: ARG001
        found = await buckets.health(max_lag=max_lag, max_fill=max_fill, timeout=timeout)
        return AsgiResponse(
            json.dumps(found.as_json()).encode(),
            200 if found.ok else 503,
            {"content-type": "application/json", "cache-control": "no-store"},
        )

    return health
