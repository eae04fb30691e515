"""The verbs of `ObjectStore` that read one object: its content, a part of it, its metadata."""

from collections.abc import Callable
from contextlib import aclosing
from os import PathLike
from pathlib import Path

from ..exceptions import InvalidOptionError, ObjectNotFoundError
from ..models import ObjectData, ObjectInfo
from . import files, metadata
from .get import Version, content, newest, require_size, verified
from .handle import StoreHandle
from .put import Progress
from .ranges import read_range
from .reader import ObjectReader

__all__ = ("ReadVerbs",)


class ReadVerbs(StoreHandle):
    """The methods of `ObjectStore` that read one object."""

    async def get(
        self,
        name: str | ObjectInfo,
        writeinto: files.WriteTarget | None = None,
        *,
        show_deleted: bool = False,
        max_size: int | None = None,
        progress: Progress | None = None,
    ) -> ObjectData:
        """Read a whole object, and verify its chunk count, size and SHA-256 digest.

        Args:
            name: The object's name, for its newest version; or an `ObjectInfo`, for exactly
                that version. A link is followed.
            writeinto: A file open for binary writing, sync or async, to write the content
                to; the result is then empty. The file is not closed.
            show_deleted: Return a deleted object, which is empty, instead of raising.
            max_size: The largest object to read, in bytes.
            progress: Called with the bytes received so far and the total.

        Returns:
            The content, as `bytes` with an `info` attribute.

        Raises:
            ObjectNotFoundError: If the object does not exist; `ObjectDeletedError` if it has
                been deleted.
            ObjectChangedError: If the requested version is gone; with `writeinto`, also if
                the object is replaced after a part of it was written.
            ObjectTooLargeError: If it is larger than `max_size`; nothing has been fetched.
            IncompleteObjectError, DigestMismatchError, BadObjectMetaError: If it is
                damaged.
            LinkIsABucketError: If it is a link to a bucket.

        Example:
            ```python
            content = await store.get("settings.json", max_size=1024**2)
            settings = json.loads(content)
            content.info.revision
            ```
        """
        if writeinto is not None:
            files.require_writable(writeinto)
            async with self.open(name, show_deleted=show_deleted, max_size=max_size) as reader:
                await files.write_into(writeinto, reader, reader.info, progress)
                return ObjectData(b"", reader.info)

        backend = await self._source()
        again = self._read_again
        early = again.request(backend, name, max_size) if isinstance(name, str) else None

        async def read(version: Version) -> ObjectData:
            require_size(version.info, max_size)
            return await content(version, progress, early)

        try:
            data = await newest(backend, name, read, show_deleted=show_deleted)
        except BaseException:
            if isinstance(name, str):
                again.forget(name)
            raise
        finally:
            if early is not None:
                early.close()
        if isinstance(name, str):
            again.saw(name, data.info)
        return data

    def open(
        self,
        name: str | ObjectInfo,
        *,
        show_deleted: bool = False,
        max_size: int | None = None,
        start: int = 0,
        stop: int | None = None,
        window: int | None = None,
    ) -> ObjectReader:
        """Open an object, or a part of it, for reading as a stream in constant memory.

        The object is located when the reader is entered, which raises what `get` raises.

        Args:
            name: The object's name, or an `ObjectInfo` for exactly that version.
            show_deleted: Read a deleted object, which is empty, instead of raising.
            max_size: The largest object to read, in bytes, counting the whole object.
            start: The first byte to read.
            stop: The byte after the last one to read; the object's end if not given. Only
                the chunks of the range are transferred, and the digest, which covers the
                whole object, is not verified.
            window: How many bytes may be in flight or waiting to be read; by default 8 MiB,
                and up to 32 MiB if a round trip takes longer than 10 ms. A smaller window
                saves memory if there are many slow readers.

        Returns:
            A reader to use in `async with`; iterate over it, or call `reader.read(n)`.

        Raises:
            InvalidOptionError: If `start`, `stop` or `window` is invalid.

        Example:
            ```python
            async with store.open("video.mp4") as reader:
                async for chunk in reader:
                    await response.write(chunk)
            ```
        """
        self._require_range(name, start, start if stop is None else stop)
        if window is not None and (type(window) is not int or window < 1):
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: window must be a positive number "
                f"of bytes, got {window!r}."
            )
            raise InvalidOptionError(msg, bucket=self._bucket)
        return self._reader(
            self._source,
            name,
            show_deleted=show_deleted,
            max_size=max_size,
            start=start,
            stop=stop,
            window=window,
        )

    @property
    def _reader(self) -> Callable[..., ObjectReader]:
        """The class of readers; observed stores override it."""
        return ObjectReader

    def _require_range(self, name: str | ObjectInfo, start: int, stop: int) -> None:
        if type(start) is not int or type(stop) is not int or not 0 <= start <= stop:
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: a range must have 0 <= start <= "
                f"stop, in bytes, got start={start!r}, stop={stop!r}."
            )
            raise InvalidOptionError(msg, bucket=self._bucket)

    async def get_range(self, name: str | ObjectInfo, start: int, stop: int) -> bytes:
        """Read the bytes from `start` to `stop` (exclusive) of an object.

        Only the chunks that hold them, and the last chunk, are transferred. The digest
        covers the whole content, so it is not verified; sizes are.

        Args:
            name: The object's name, or an `ObjectInfo` for exactly that version.
            start: The first byte to read, counted from 0.
            stop: The byte after the last one; a range that exceeds the object is cut.

        Returns:
            The bytes.

        Raises:
            InvalidOptionError: If the range is invalid. Otherwise whatever `get` raises.

        Example:
            ```python
            header = await store.get_range("video.mp4", 0, 512)
            ```
        """
        self._require_range(name, start, stop)

        async def read(version: Version) -> bytes:
            return await read_range(version, start, stop)

        return await newest(await self._source(), name, read)

    async def get_file(
        self,
        name: str | ObjectInfo,
        path: str | PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> ObjectInfo:
        """Save an object to a file, which appears complete and verified, or not at all.

        Args:
            name: The object's name, or an `ObjectInfo` for exactly that version.
            path: The file; replaced if it exists. Its folder must exist.
            progress: Called with the bytes received so far and the total.

        Returns:
            The version that was saved.

        Raises:
            OSError: If the file cannot be written. Otherwise whatever `get` raises.
        """

        async def save(version: Version) -> ObjectInfo:
            async with aclosing(verified(version)) as chunks:
                await files.save(Path(path), chunks, version.info, progress)
            return version.info

        return await newest(await self._source(), name, save)

    async def get_info(self, name: str, show_deleted: bool = False) -> ObjectInfo:
        """Read an object's metadata, without its content. Links are not followed.

        Args:
            name: The object's name.
            show_deleted: Return the delete marker of a deleted object instead of raising.

        Returns:
            The object's newest version.

        Raises:
            ObjectNotFoundError: If the object does not exist; `ObjectDeletedError` if it has
                been deleted and `show_deleted` is false.
            BadObjectMetaError: If its metadata cannot be parsed.
        """
        backend = await self._source()
        return await metadata.read(backend, name, show_deleted=show_deleted)

    async def exists(self, name: str) -> bool:
        """Check whether there is a live object, or a link, with this name.

        Args:
            name: The object's name.

        Returns:
            Whether it exists.

        Raises:
            BadObjectMetaError: If its metadata cannot be parsed.
        """
        try:
            await self.get_info(name)
        except ObjectNotFoundError:
            return False
        return True
