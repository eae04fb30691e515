"""The values behind `LiveObject`: kept in memory, and replaced when their objects change.

On a server, each value is followed through one consumer on the subject of its object's
metadata. Where nothing runs in the background (in test mode, and before the broker has
started), the object's revision is compared at each use instead.
"""

import asyncio
import contextvars
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import nats.errors

from faststream_objstore.backends.base import Backend, Deliver
from faststream_objstore.backends.origins import named
from faststream_objstore.backoff import Backoff
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    CorruptObjectError,
    InvalidLinkError,
    LinkIsABucketError,
    ObjectChangedError,
    ObjectLoadError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ObjStoreError,
    PermissionDeniedError,
)
from faststream_objstore.fields import LiveSource
from faststream_objstore.models import Mirror, ObjectData, ObjectInfo
from faststream_objstore.store import ObjectStore, metadata
from faststream_objstore.store.lag import lag_of
from faststream_objstore.store.scan import parsed

__all__ = ("LiveObjects", "LiveValue")

Log = Callable[[int, str, BaseException | None], None]
"""Called with a level, a message, and an error whose traceback is logged with it."""

# How often a load may find its version replaced before it pauses.
_ATTEMPTS = 20
# How often a bucket that follows another one is looked at, while an object has yet to arrive.
_ARRIVAL_SECONDS = 0.1

# Permanent defects of a version; any other failure may be temporary.
_UNUSABLE = (
    CorruptObjectError,
    InvalidLinkError,
    LinkIsABucketError,
    ObjectNotFoundError,
    ObjectTooLargeError,
)


class LiveValue:
    """The newest version of one object that could be loaded.

    Attributes:
        source: The object to load.
        info: The version in use; `None` before the first.
        loads: How many versions have been loaded.
        failures: How many versions could not be loaded.
    """

    def __init__(
        self, source: LiveSource, backend: Callable[[], Awaitable[Backend]], log: Log
    ) -> None:
        self.source = source
        self.info: ObjectInfo | None = None
        self.loads: int = 0
        self.failures: int = 0
        self._backend = backend
        self._log = log
        self._value: Any = None
        self._seen: ObjectInfo | None = None
        self._gone = True
        self._problem: ObjStoreError | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(
            lambda level, text: log(level, text, None),
            lost=f"{source}: not followed for now",
            back=f"{source}: followed again",
        )
        self._ended = False
        self._origins: Sequence[Mirror] = ()

    def __repr__(self) -> str:
        revision = self.info.revision if self.info else None
        return (
            f"<LiveValue of {self.source.name!r} in {self.source.bucket!r}, revision "
            f"{revision}, {self.loads} loads, {self.failures} failures>"
        )

    @property
    def followed(self) -> bool:
        """Whether it is updated in the background."""
        return self._task is not None and not self._task.done()

    def get(self, *, required: bool, default: Any = None) -> Any:
        """Return the value.

        Args:
            required: Raise if there is no value, and keep it when the object is deleted.
            default: Returned instead, if there is no value and it is not required.

        Returns:
            The value, or the default.

        Raises:
            ObjectNotFoundError: If the object never existed.
            ObjectLoadError: If no version of it could be loaded.
        """
        if self.info is not None and (required or not self._gone):
            return self._value
        if not required:
            return default
        problem = self._problem or self._missing()
        # A new exception for each message: a shared one would collect all tracebacks.
        raise type(problem)(
            str(problem), bucket=problem.bucket, name=problem.name
        ) from problem.__cause__

    async def refresh(self) -> None:
        """Check for a newer version, unless the object is being followed anyway."""
        if self.followed:
            return
        async with self._lock:
            if not self.followed:
                await self._refresh()

    async def follow(self) -> None:
        """Start following the object; returns once its current version is loaded."""
        if self.followed:
            return
        async with self._lock:
            if self.followed:
                return
            await self._refresh()
            if self._ended:
                return
            # In an empty context, not in that of the message whose handler ran first.
            self._task = contextvars.Context().run(
                asyncio.create_task, self._follow(), name=f"live: {self.source}"
            )

    async def arrive(self) -> None:
        """Wait for the object where its bucket follows another one, and may not have it yet.

        It returns when there is a version, when the bucket has everything that its origins
        have, or after the bucket's timeout.

        Raises:
            OriginRecreatedError: If an origin was deleted and made anew.
        """
        backend = await self._backend()
        self._origins = backend.origins
        ends = time.monotonic() + backend.timeout
        while self._origins and self._seen is None and self.failures == 0:
            try:
                lag = await lag_of(backend, await backend.state())
            except PermissionDeniedError:
                # Who may not ask the origin can still wait.
                lag = None
            async with self._lock:
                await self._refresh()
            if lag == 0 or time.monotonic() >= ends:
                return
            await asyncio.sleep(_ARRIVAL_SECONDS)

    async def stop(self) -> None:
        """Stop following the object, even if `follow` is still under way; keep the value."""
        self._ended = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _refresh(self) -> None:
        backend = await self._backend()
        try:
            info = await metadata.read(backend, self.source.name, show_deleted=True)
        except ObjectNotFoundError:
            self._lost(None)
        except BadObjectMetaError as error:
            if self._problem is None or str(self._problem.__cause__) != str(error):
                self._failed(None, error)
        else:
            await self._take(backend, info)

    async def _follow(self) -> None:
        while True:
            self._backoff.begin()
            try:
                await self._follow_once()
                trouble = "the server ended the subscription"
            except (ObjStoreError, nats.errors.Error, OSError) as error:
                trouble = str(error)
            except Exception as error:  # noqa: BLE001 - the loop survives any error
                trouble = repr(error)
            self._backoff.failed(trouble)
            await self._backoff.pause()

    async def _follow_once(self) -> None:
        backend = await self._backend()
        subject = metadata.subject_of(backend, self.source.name)
        async with backend.messages(
            subject, deliver=Deliver.LAST_PER_SUBJECT, follow=True
        ) as stream:
            self._backoff.succeeded()
            if not stream.pending:
                self._lost(None)
            async for message in stream:
                info = parsed(message, backend)
                if info is not None:
                    await self._take(backend, info)

    async def _take(self, backend: Backend, info: ObjectInfo) -> None:
        """Load a version, or the one that has replaced it in the meantime."""
        store = ObjectStore.on(backend)
        for _ in range(_ATTEMPTS):
            if self._is_known(info):
                return
            if info.deleted:
                self._lost(info)
                return
            try:
                data = await store.get(info, max_size=self.source.max_size)
            except ObjectChangedError:
                try:
                    info = await metadata.read(
                        backend, self.source.name, show_deleted=True, leader=True
                    )
                except ObjectNotFoundError:
                    self._lost(None)
                    return
            except _UNUSABLE as error:
                self._failed(info, error)
                return
            else:
                await self._load(info, data)
                return
        msg = f"{self.source} is being replaced faster than it can be read."
        raise ObjectChangedError(msg, bucket=self.source.bucket, name=self.source.name)

    def _is_known(self, info: ObjectInfo) -> bool:
        seen = self._seen
        if seen is None or info.revision > seen.revision:
            return False
        # Revisions start over when a bucket is deleted and created again.
        return info.mtime is None or seen.mtime is None or info.mtime <= seen.mtime

    async def _load(self, info: ObjectInfo, data: ObjectData) -> None:
        try:
            value = await _loaded(self.source.load, data)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            self._failed(info, error)
            return
        self._value, self.info, self._seen = value, info, info
        self._gone, self._problem = False, None
        self.loads += 1

    def _failed(self, info: ObjectInfo | None, error: Exception) -> None:
        self.failures += 1
        self._seen = info or self._seen
        version = f"revision {info.revision}" if info else "its newest version"
        outcome = (
            f"revision {self.info.revision} stays in use"
            if self.info is not None
            else "there is no value yet"
        )
        msg = (
            f"{self.source}: {version} could not be loaded, and {outcome}; put a version that "
            f"can be loaded: {type(error).__name__}: {error}"
        )
        self._log(logging.ERROR, msg, error)
        self._problem = ObjectLoadError(msg, bucket=self.source.bucket, name=self.source.name)
        self._problem.__cause__ = error

    def _lost(self, info: ObjectInfo | None) -> None:
        self._seen = info or self._seen
        if self.info is None:
            self._problem = self._missing()
        elif not self._gone:
            self._log(
                logging.WARNING,
                f"{self.source} was deleted; revision {self.info.revision} stays in use where "
                "it is required.",
                None,
            )
        self._gone = True

    def _missing(self) -> ObjectNotFoundError:
        where = f" into the {named(self._origins)}" if self._origins else ""
        msg = (
            f"{self.source} does not exist, but a LiveObject requires it: put it{where} "
            "before the broker starts, or declare LiveObject(..., required=False)."
        )
        return ObjectNotFoundError(msg, bucket=self.source.bucket, name=self.source.name)


class LiveObjects:
    """The live values of one connection.

    Attributes:
        running: Whether values are followed: from the broker's start to its stop.

    Args:
        log: Receives their messages.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.running: bool = False
        self._values: dict[LiveSource, LiveValue] = {}

    def __iter__(self) -> Iterator[LiveValue]:
        return iter(tuple(self._values.values()))

    def of(self, source: LiveSource, backend: Callable[[], Awaitable[Backend]]) -> LiveValue:
        """Return the value that all markers with this source share."""
        if source not in self._values:
            self._values[source] = LiveValue(source, backend, self._log)
        return self._values[source]

    async def start(self, values: Iterable[LiveValue]) -> None:
        """Follow these values, and those that are requested until `stop`.

        Args:
            values: The values to follow at once.

        Raises:
            ObjStoreError: If one of them cannot be read.
        """
        self.running = True
        outcomes = await asyncio.gather(
            *(value.follow() for value in values), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        """Stop following all of them."""
        self.running = False
        await asyncio.gather(*(value.stop() for value in self))

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()


async def _loaded(load: Callable[[ObjectData], Any] | None, data: ObjectData) -> Any:
    if load is None:
        return data
    if inspect.iscoroutinefunction(load):
        return await load(data)
    # In a thread, as FastStream runs sync handlers: parsing a model takes long.
    value = await asyncio.to_thread(load, data)
    return await value if inspect.isawaitable(value) else value
