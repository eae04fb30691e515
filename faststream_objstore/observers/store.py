"""A store whose operations are observed.

It is a separate class, so that a store without observers does not check for them.
"""

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectData, ObjectInfo
from faststream_objstore.observers.events import OperationEvent, OperationResult
from faststream_objstore.observers.notifying import Observers
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.get import Version
from faststream_objstore.store.provenance import Origin
from faststream_objstore.store.reader import ObjectReader
from faststream_objstore.store.transaction import Transaction

__all__ = ("OPERATIONS", "ObservedStore")

T = TypeVar("T")

# The operations that move content; the size of their result is what they have moved.
_CONTENT = frozenset({"put", "put_file", "get", "get_file", "copy"})
_METHODS = (
    *sorted(_CONTENT),
    "get_range",
    "get_info",
    "list",
    "delete",
    "update_meta",
    "rename",
    "add_link",
    "add_bucket_link",
    "status",
    "sweep",
    "seal",
    "retire",
)
OPERATIONS: tuple[str, ...] = (*_METHODS, "open", "iter", "transaction")
"""The possible values of `OperationEvent.operation`."""

_CONFLICTS = (ObjectAlreadyExists, ObjectChangedError, RevisionMismatchError)


class ObservedStore(ObjectStore):
    """An `ObjectStore` that notifies observers of each of its operations, once.

    Args:
        bucket: The bucket's name.
        source: Returns the current backend.
        origin: Marks each change with its origin.
        observers: The observers to notify.
    """

    def __init__(
        self,
        bucket: str,
        source: Callable[[], Awaitable[Backend]],
        *,
        origin: Origin | None = None,
        observers: Observers,
    ) -> None:
        super().__init__(bucket, source, origin=origin)
        self._observers = observers
        # It does the work, so that a method that calls others is reported as one operation.
        self._plain = ObjectStore(bucket, source, origin=origin)

    @property
    def _reader(self) -> Callable[..., ObjectReader]:
        return partial(_ObservedReader, _Report(self._observers, self._bucket, "open"))

    def transaction(self) -> Transaction:
        """As `ObjectStore.transaction`."""
        report = _Report(self._observers, self._bucket, "transaction")
        return _ObservedTransaction(self._plain, report)

    async def _several(
        self, targets: Sequence[str | ObjectInfo], *, max_size: int | None = None
    ) -> list[ObjectData | None]:
        began = perf_counter()
        found = await self._plain._several(targets, max_size=max_size)  # noqa: SLF001
        for data in found:
            if data is not None:
                report = _Report(self._observers, self._bucket, "get", began)
                report(None, info=data.info, moved=data.info.size)
        return found

    async def iter(self, **options: Any) -> AsyncGenerator[ObjectInfo, None]:
        """As `ObjectStore.iter`."""
        report = _Report(self._observers, self._bucket, "iter")
        try:
            async with aclosing(self._plain.iter(**options)) as infos:
                async for info in infos:
                    yield info
        except GeneratorExit:
            report(None)
            raise
        except BaseException as error:
            report(error)
            raise
        report(None)


def _observed(method: str, operation: str = "") -> Callable[..., Any]:
    operation = operation or method

    async def call(self: ObservedStore, *args: Any, **options: Any) -> Any:
        observers = self._observers
        with observers.scope(self._bucket, operation):
            report = _Report(observers, self._bucket, operation)
            try:
                result = await getattr(self._plain, method)(*args, **options)
            except BaseException as error:
                report(error)
                raise
            info = result if isinstance(result, ObjectInfo) else None
            moved = 0
            if isinstance(result, ObjectData):
                info = result.info
            if info is not None and method in _CONTENT:
                moved = info.size
            elif isinstance(result, bytes):
                moved = len(result)
            elif method == "sweep":
                moved = result
            elif method == "retire":
                # What it returns is what the marker has replaced.
                info = None
            report(None, info=info, moved=moved)
            return result

    return functools.wraps(getattr(ObjectStore, method))(call)


for _method in _METHODS:
    setattr(ObservedStore, _method, _observed(_method))
# What `restore` makes links with.
ObservedStore._restore_link = _observed("_restore_link", "add_link")  # type: ignore[method-assign]  # noqa: SLF001


class _Report:
    """Reports one operation, from its beginning to the first call."""

    __slots__ = ("_began", "_bucket", "_observers", "_operation")

    def __init__(
        self, observers: Observers, bucket: str, operation: str, began: float | None = None
    ) -> None:
        self._observers: Observers | None = observers
        self._bucket = bucket
        self._operation = operation
        self._began = perf_counter() if began is None else began

    async def entering(self, block: Awaitable[T]) -> T:
        """Begin the operation with the entry of its block, and report one that fails."""
        self._began = perf_counter()
        try:
            return await block
        except BaseException as error:
            self(error)
            raise

    def __call__(
        self, error: BaseException | None, *, info: ObjectInfo | None = None, moved: int = 0
    ) -> None:
        """Report the end of the operation."""
        observers, self._observers = self._observers, None
        if observers is not None:
            event = OperationEvent(
                bucket=self._bucket,
                operation=self._operation,
                outcome=_outcome(error),
                seconds=perf_counter() - self._began,
                bytes=moved,
                info=info,
                error=error,
            )
            observers.operation(event)


class _ObservedReader(ObjectReader):
    """A reader that reports what was read when it is closed."""

    def __init__(self, report: _Report, /, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._report = report
        self._moved = 0

    async def __aenter__(self) -> Self:
        return await self._report.entering(super().__aenter__())

    def _wanted(self, version: Version) -> AsyncGenerator[bytes, None]:
        return self._counted(super()._wanted(version))

    async def _counted(
        self, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            async for chunk in chunks:
                self._moved += len(chunk)
                yield chunk

    async def aclose(self) -> None:
        """As `ObjectReader`."""
        try:
            await super().aclose()
        finally:
            if self._info is not None:
                self._report(self._failure, info=self._info, moved=self._moved)


class _ObservedTransaction(Transaction):
    """A transaction that is reported when its block ends, as one operation."""

    def __init__(self, store: ObjectStore, report: _Report) -> None:
        super().__init__(store)
        self._report = report

    async def __aenter__(self) -> Self:
        return await self._report.entering(super().__aenter__())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        except BaseException as error:
            self._report(error)
            raise
        self._report(exc_val, moved=0 if exc_val is not None else self._stored_bytes)


def _outcome(error: BaseException | None) -> OperationResult:
    if error is None:
        return "success"
    if isinstance(error, ObjectNotFoundError):
        return "not_found"
    if isinstance(error, _CONFLICTS):
        return "conflict"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "error"
