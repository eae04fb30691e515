"""Reading all objects of a bucket, with a warning for metadata that cannot be parsed."""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias, overload

from .. import wire
from ..backends.base import Backend, Deliver, StoredMessage
from ..backends.origins import localized
from ..exceptions import BadObjectMetaError
from ..logs import log
from ..models import ObjectInfo
from ..pattern import name_filter
from .handle import StoreHandle
from .lifetime import Lifetimes

if TYPE_CHECKING:
    from .folders import Listing

__all__ = ("ListVerbs", "entries", "parsed", "present")

# Inside the class, `list` is the method.
Infos: TypeAlias = list[ObjectInfo]

# Each message is reported once, so that a list in a loop does not fill the log, and each
# bucket at most this often: the first hundred bad messages say as much as thousands.
_COMPLAINTS = 100
_BUCKETS = 1024
_complained: dict[str, set[tuple[str, int]]] = {}


def parsed(message: StoredMessage, backend: Backend) -> ObjectInfo | None:
    """Parse a metadata message; `None`, and one warning, if it cannot be parsed."""
    try:
        info, _ = wire.info_of(message, backend.bucket)
        return localized(info, backend.origins) if backend.origins else info
    except BadObjectMetaError as error:
        _complain(error, message, backend)
        return None


async def present(backend: Backend, messages: Iterable[StoredMessage]) -> list[ObjectInfo]:
    """Parse metadata messages, leaving out those that are malformed or have expired."""
    bucket, origins = backend.bucket, backend.origins
    lifetimes = Lifetimes(backend)
    expires = bool(backend.max_age)
    found = []
    for message in messages:
        try:
            info, raw = wire.info_of(message, bucket)
        except BadObjectMetaError as error:
            _complain(error, message, backend)
        else:
            if (expires or info.expires is not None) and await lifetimes.is_over(
                info, raw, message.time_ns
            ):
                continue
            found.append(localized(info, origins) if origins else info)
    return found


def _complain(error: BadObjectMetaError, message: StoredMessage, backend: Backend) -> None:
    bucket = backend.bucket
    if bucket not in _complained and len(_complained) >= _BUCKETS:
        _complained.clear()
    known = _complained.setdefault(bucket, set())
    key = (message.subject, message.sequence)
    if key in known or len(known) > _COMPLAINTS:
        return
    known.add(key)
    if len(known) <= _COMPLAINTS:
        log(backend, logging.WARNING, f"{error} It is skipped.")
    else:
        text = (
            f"Bucket '{bucket}': more than {_COMPLAINTS} metadata messages cannot be parsed; "
            "further ones are not logged."
        )
        log(backend, logging.WARNING, text)


async def entries(
    backend: Backend,
    *,
    matches: Callable[[str], bool] | None = None,
    include_deleted: bool = False,
) -> AsyncGenerator[list[ObjectInfo], None]:
    """Yield the newest version of each object in batches, in the order of the last change.

    An object that changes meanwhile is yielded again, in its new version. An object that
    exists throughout is never missed.
    """
    async with backend.messages(
        wire.metadata_wildcard(backend.bucket), deliver=Deliver.LAST_PER_SUBJECT
    ) as stream:
        while messages := await stream.take():
            infos = await present(backend, messages)
            if not include_deleted:
                infos = [info for info in infos if not info.deleted]
            if matches is not None:
                infos = [info for info in infos if matches(info.name)]
            yield infos


class ListVerbs(StoreHandle):
    """The verbs of `ObjectStore` that list objects."""

    @overload
    async def list(
        self,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        include_deleted: bool = False,
        ignore_deletes: bool | None = None,
        delimiter: None = None,
    ) -> Infos: ...

    @overload
    async def list(
        self,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        include_deleted: bool = False,
        ignore_deletes: bool | None = None,
        delimiter: str,
        after: str | None = None,
        limit: int | None = None,
    ) -> "Listing": ...

    async def list(
        self,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        include_deleted: bool = False,
        ignore_deletes: bool | None = None,
        delimiter: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> "Infos | Listing":
        """List the objects, sorted by name.

        An object that exists throughout the call is never missed.

        Args:
            prefix: Only names that start with it. It is taken literally: `*` is a star.
            pattern: Only names that match this pattern, as in `on_put`.
            include_deleted: Include delete markers.
            ignore_deletes: nats-py's name for the opposite; takes precedence if given.
            delimiter: Return a `Listing`, in which objects whose names contain the delimiter
                after the prefix are grouped into folders: `"/"`, or `""` for pages without
                folders.
            after: Only what comes after this object or folder: the `after` of a page.
            limit: The maximum number of objects and folders on a page.

        Returns:
            The objects; with a delimiter, a page of objects and folders.

        Raises:
            InvalidPatternError: If the pattern is malformed.
            InvalidOptionError: If `after` or `limit` is invalid, or given without a
                delimiter.

        Example:
            ```python
            page = await store.list(prefix="ann/", delimiter="/", limit=100)
            page.folders  # ["ann/2025/", "ann/2026/"]
            page.objects  # what is in ann/ itself
            ```
        """
        if delimiter is not None or after is not None or limit is not None:
            from .folders import require_page  # noqa: PLC0415 - see `store/__init__.py`

            require_page(self._bucket, delimiter=delimiter, after=after, limit=limit)
        if ignore_deletes is not None:
            include_deleted = not ignore_deletes
        found: dict[str, ObjectInfo] = {}
        backend = await self._source()
        matches = name_filter(prefix, pattern)
        async with aclosing(
            entries(backend, matches=matches, include_deleted=True)
        ) as batches:
            async for batch in batches:
                found |= {info.name: info for info in batch}
        infos = [
            found[name] for name in sorted(found) if include_deleted or not found[name].deleted
        ]
        if delimiter is None:
            return infos
        from .folders import fold  # noqa: PLC0415 - see `store/__init__.py`

        return fold(
            infos, prefix=prefix or "", delimiter=delimiter, after=after or "", limit=limit
        )

    async def iter(
        self,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        include_deleted: bool = False,
    ) -> AsyncGenerator[ObjectInfo, None]:
        """Iterate over the objects in constant memory, in the order of their last change.

        An object that changes during the iteration is yielded again, in its new version.

        Args:
            prefix: As for `list`.
            pattern: As for `list`.
            include_deleted: As for `list`.

        Yields:
            The objects.

        Raises:
            InvalidPatternError: If the pattern is malformed.
        """
        matches = name_filter(prefix, pattern)
        backend = await self._source()
        async with aclosing(
            entries(backend, matches=matches, include_deleted=include_deleted)
        ) as batches:
            async for infos in batches:
                for info in infos:
                    yield info
