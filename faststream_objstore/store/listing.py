"""The verbs that list objects."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias, overload

from ..models import ObjectInfo
from ..pattern import name_filter
from .handle import StoreHandle
from .scan import entries, everything

if TYPE_CHECKING:
    from .folders import Listing

__all__ = ("ListVerbs",)

# Inside the class, `list` is the method.
Infos: TypeAlias = list[ObjectInfo]


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
        backend = await self._source()
        matches = name_filter(prefix, pattern)
        if delimiter is None and matches is None:
            found = await everything(backend, None)
            infos = map(found.__getitem__, sorted(found))
            return [info for info in infos if include_deleted or not info.deleted]
        from .pages import Metadata, matching_names  # noqa: PLC0415 - as above

        names, total = await matching_names(backend, prefix or "", matches)
        metadata = Metadata(backend, total, matches, include_deleted=include_deleted)
        if delimiter is None:
            return [info for info in await metadata.of(names) if info is not None]
        from .folders import fold  # noqa: PLC0415 - as above

        return await fold(
            names,
            metadata.of,
            prefix=prefix or "",
            delimiter=delimiter,
            after=after or "",
            limit=limit,
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
