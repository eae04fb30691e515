"""The reader: an object's content as a stream."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType

from typing_extensions import Self

from ..backends.base import Backend
from ..exceptions import IncompleteObjectError, InvalidOptionError
from ..models import ObjectInfo
from .get import Version, newest, require_size, verified
from .ranges import stream_range

__all__ = ("ObjectReader",)


class ObjectReader:
    """An object's content as a stream, in constant memory.

    Made by `ObjectStore.open` and used in `async with`, which may be left early. The whole
    content is verified before its last chunk is returned: a caller that has received all
    bytes has received what was put, and any damage raises an error. When only a part is read
    (`start`, `stop`), the number and size of the chunks are verified.

    Example:
        ```python
        async with store.open("video.mp4") as reader:
            header = await reader.read(512)
            async for chunk in reader:
                ...
        ```
    """

    def __init__(
        self,
        source: Callable[[], Awaitable[Backend]],
        target: str | ObjectInfo,
        *,
        show_deleted: bool = False,
        max_size: int | None = None,
        start: int = 0,
        stop: int | None = None,
        window: int | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._show_deleted = show_deleted
        self._max_size = max_size
        self._start = start
        self._stop = stop
        self._window = window
        self._info: ObjectInfo | None = None
        self._chunks: AsyncGenerator[bytes, None] | None = None
        self._rest = memoryview(b"")
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def info(self) -> ObjectInfo:
        """The version that is being read; of a link, its target."""
        if self._info is None:
            msg = "the reader is not open: use it as `async with store.open(name) as reader`."
            raise InvalidOptionError(msg)
        return self._info

    async def __aenter__(self) -> Self:
        await newest(
            await self._source(), self._target, self._begin, show_deleted=self._show_deleted
        )
        return self

    async def _begin(self, version: Version) -> None:
        require_size(version.info, self._max_size)
        chunks = self._wanted(version)
        try:
            # The first chunk is fetched here, so that a version that is being replaced is
            # noticed while the newer one can still be read instead.
            self._rest = memoryview(await chunks.__anext__())
        except StopAsyncIteration:
            self._rest = memoryview(b"")
        except BaseException:
            await chunks.aclose()
            raise
        self._info, self._chunks = version.info, chunks

    def _wanted(self, version: Version) -> AsyncGenerator[bytes, None]:
        size = version.info.size
        stop = size if self._stop is None else self._stop
        if self._start == 0 and stop >= size:
            return verified(version, window=self._window)
        return stream_range(version, self._start, stop, window=self._window)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading; nothing is left on the server."""
        self._closed = True
        self._rest = memoryview(b"")
        if self._chunks is not None:
            chunks, self._chunks = self._chunks, None
            await chunks.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece, which is never empty.

        Raises:
            ObjectChangedError: If the version has been replaced or deleted.
            IncompleteObjectError, DigestMismatchError: If it is damaged.
            StoreTimeoutError: If the next chunk does not arrive within the timeout.
        """
        info = self.info
        if self._closed:
            msg = f"Bucket '{info.bucket}', object {info.name!r}: the reader is closed."
            raise InvalidOptionError(msg, bucket=info.bucket, name=info.name)
        while not self._rest:
            if self._chunks is None:
                raise StopAsyncIteration
            if self._failure is not None:
                # The generator has ended; that must not be mistaken for the object's end.
                msg = (
                    f"Bucket '{info.bucket}', object {info.name!r}: an earlier read failed "
                    f"or was cancelled ({self._failure!r}); open the object again."
                )
                raise IncompleteObjectError(msg, bucket=info.bucket, name=info.name)
            try:
                self._rest = memoryview(await self._chunks.__anext__())
            except StopAsyncIteration:
                raise
            except BaseException as error:
                self._failure = error
                raise
        piece, self._rest = self._rest, memoryview(b"")
        whole = piece.obj
        return whole if type(whole) is bytes and len(whole) == len(piece) else bytes(piece)

    async def read(self, size: int = -1, /) -> bytes:
        """Read bytes, as a binary file does.

        Args:
            size: At most this many, fewer only at the end; negative for all that is left.

        Returns:
            The bytes; none at the end. Raises as iteration does.
        """
        parts: list[memoryview] = []
        missing = size
        while missing:
            if not self._rest:
                try:
                    self._rest = memoryview(await self.__anext__())
                except StopAsyncIteration:
                    break
            part = self._rest if missing < 0 else self._rest[:missing]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            if missing > 0:
                missing -= len(part)
        return b"".join(parts)
