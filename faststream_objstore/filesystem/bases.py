"""Typed stand-ins for fsspec's base classes, which have no type annotations."""

from typing import TYPE_CHECKING, Any

__all__ = ("AbstractAsyncStreamedFile", "AbstractBufferedFile", "AsyncFileSystem")

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    class _Untyped:
        def __init__(self, *args: Any, **options: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    class AsyncFileSystem(_Untyped):
        """Base of file systems."""

        async def _cat(self, path: Any, **options: Any) -> Any: ...

        async def _copy(self, path1: Any, path2: Any, **options: Any) -> None: ...

        async def _cat_ranges(
            self, paths: Any, starts: Any, ends: Any, **options: Any
        ) -> Any: ...

        async def _get(self, rpath: Any, lpath: Any, **options: Any) -> Any: ...

        def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
            """The options of a file system, as JSON knows them."""

    class AbstractBufferedFile(_Untyped):
        """Base of files."""

        details: Any

    class AbstractAsyncStreamedFile(_Untyped):
        """Base of files for `async with`."""

        async def __aenter__(self) -> Self: ...

        async def __aexit__(
            self,
            exc_type: type[BaseException] | None,
            exc_val: BaseException | None,
            exc_tb: TracebackType | None,
        ) -> None: ...

else:
    from fsspec.asyn import AbstractAsyncStreamedFile, AsyncFileSystem
    from fsspec.spec import AbstractBufferedFile
