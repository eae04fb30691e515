"""`ObjectStore`: the handle to a bucket's objects (ADR-20), on any backend."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from os import PathLike
from pathlib import Path

from nats.aio.client import Client
from typing_extensions import Unpack

from ..backends.base import Backend
from ..exceptions import (
    InvalidOptionError,
    ObjectNotFoundError,
)
from ..models import (
    ObjectData,
    ObjectInfo,
    ObjectStoreConfig,
)
from ..settling import run_to_completion
from . import files, metadata
from .amend import delete
from .beside import BesideVerbs
from .bulk import BulkVerbs
from .declare import bind_bucket
from .dump import DumpVerbs
from .expiry import Ttl, kept
from .get import Version, content, newest, require_size, verified
from .given import AnyMeta, Headers
from .handle import announce
from .modes import AmendMode, PutMode, amend_condition, exact
from .prepare import PutOptions, prepare
from .provenance import Origin
from .put import Novelty, Progress, put_object
from .ranges import read_range
from .reader import ObjectReader
from .retire import RetireVerbs
from .sources import PutData
from .status import StatusVerbs
from .sweep import SweepVerbs
from .transaction import TransactionVerbs
from .watch import WatchVerbs

__all__ = ("ObjectStore", "PutMode")


class ObjectStore(
    TransactionVerbs,
    RetireVerbs,
    SweepVerbs,
    BulkVerbs,
    DumpVerbs,
    BesideVerbs,
    WatchVerbs,
    StatusVerbs,
):
    """The objects of one bucket.

    A superset of nats-py's `ObjectStore`, with the same names. Every method may raise
    `BucketNotFoundError` (the bucket is gone), `StoreTimeoutError` (no progress within
    the bucket's timeout, counted per chunk) and `NotConnectedError`; writes may also raise
    `BucketSealedError` and `BucketFullError`. See `exceptions.py` for the hierarchy.

    Handlers get one from `FromBucket`, other code from `Buckets.open` or `ObjectStore.bind`.

    Args:
        bucket: The bucket's name.
        source: Returns the current backend; called at the start of each operation, so that
            a handle outlives connections.
        origin: Marks each change with its origin, such as a trace; no marks if not given.

    Example:
        ```python
        info = await store.put("ann/report.csv", Path("report.csv"))
        content = await store.get("ann/report.csv")
        await store.delete(info)
        ```
    """

    def __init__(
        self,
        bucket: str,
        source: Callable[[], Awaitable[Backend]],
        *,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(bucket, source, origin=origin)
        self._novelty = Novelty()

    @classmethod
    def on(cls, backend: Backend, *, origin: Origin | None = None) -> "ObjectStore":
        """Make a store on a backend that is already bound.

        Args:
            backend: The bucket's backend.
            origin: Marks each change with its origin; no marks if not given.

        Returns:
            The store.
        """

        async def source() -> Backend:
            return backend

        return cls(backend.bucket, source, origin=origin)

    @classmethod
    async def bind(
        cls,
        client: Client,
        bucket: str | ObjectStoreConfig,
        *,
        declare: bool = False,
        domain: str | None = None,
        timeout: float = 10.0,
        lane: bool = True,
    ) -> "ObjectStore":
        """Open a bucket on a nats-py connection, for programs without FastStream.

        Args:
            client: A connected client. The caller keeps it, and closes it.
            bucket: The bucket's name, or its settings.
            declare: Create the bucket if it is missing, and compare its settings otherwise.
            domain: The JetStream domain of the bucket.
            timeout: How many seconds one step (a request, a chunk) may take.
            lane: Whether a second connection may be opened for much traffic.

        Returns:
            The store.

        Raises:
            BucketNotFoundError: If the bucket does not exist and `declare` is false.
            BucketConfigMismatchError: If the existing bucket has other settings.

        Example:
            ```python
            client = await nats.connect()
            store = await ObjectStore.bind(client, "photos", declare=True)
            ```
        """
        config = ObjectStoreConfig(bucket=bucket) if isinstance(bucket, str) else bucket
        # A service has it through its broker, if it connects at all.
        from ..backends.jetstream import JetStreamServer  # noqa: PLC0415

        prefix = "$JS.API" if domain is None else JetStreamServer.prefix_of(domain)
        server = JetStreamServer(client, prefix=prefix, timeout=timeout, lane=lane)
        return cls.on(await bind_bucket(server, config, declare=declare))

    def __repr__(self) -> str:
        return f"ObjectStore({self._bucket!r})"

    async def put(
        self,
        name: str,
        data: PutData,
        meta: AnyMeta | None = None,
        *,
        description: str | None = None,
        filename: str | None = None,
        headers: Headers | None = None,
        metadata: Mapping[str, str] | None = None,
        chunk_size: int | None = None,
        mode: PutMode = "overwrite",
        progress: Progress | None = None,
        ttl: Ttl = None,
    ) -> ObjectInfo:
        """Store an object, completely or not at all.

        Readers see either the old version or the new one. A put that fails or is cancelled
        removes its own chunks and leaves the old version alone; one that replaces a
        version removes that version's chunks.

        Args:
            name: The object's name: any non-empty text.
            data: A `str` (stored as UTF-8), anything bytes-like, a `Path`, a file open for
                binary reading (read from its current position), or an iterable of bytes;
                files and iterables may be async. A file open in text mode is read through
                its `.buffer`.
            meta: Description, headers, metadata and chunk size in one object; the keyword
                arguments take precedence. nats-py's `ObjectMeta` works too.
            description: Free text.
            filename: Stored as `metadata["filename"]`.
            headers: Values by name; each value is a str or a list of str.
            metadata: Free text by key.
            chunk_size: The size of a chunk in bytes, at most the server's `max_payload`. If
                not given, 128 KiB, or `max_payload` if that is less.
            mode: `"overwrite"`, `"create"`, or the revision (or the `ObjectInfo`) that
                must be the newest.
            progress: Called after each chunk with the bytes sent so far and the total (or
                `None`); sync or async.
            ttl: How long the object lives, as a `timedelta` or in seconds; 0 means for ever.
                The bucket must have `object_ttl`. If it has a `ttl` as well, whichever ends
                first counts.

        Returns:
            The new version, with its revision.

        Raises:
            InvalidObjectNameError, InvalidOptionError, UnsupportedDataError: If an argument
                is invalid; nothing has been sent.
            ObjectAlreadyExists: If `mode` is `"create"` and there is a live object.
            RevisionMismatchError: If the object is at another revision.
            FeatureNotEnabledError: If there is a `ttl`, and the bucket has no `object_ttl`.
            IncompleteObjectError: If the put of an object with a `ttl` took nearly an hour.

        Example:
            ```python
            await store.put("ann/cat.png", Path("cat.png"))
            await store.put("notes/today", "Buy milk.", headers={"Content-Type": "text/plain"})
            info = await store.get_info("counter")
            await store.put("counter", b"2", mode=info)  # unless it has changed
            ```
        """
        prepared = prepare(
            self._bucket,
            name,
            data,
            meta=meta,
            description=description,
            filename=filename,
            headers=headers,
            metadata=metadata,
            chunk_size=chunk_size,
            mode=mode,
            progress=progress,
            ttl=ttl,
        )
        backend = await self._target()
        size = prepared.chunk_size_on(backend)
        stored, message = await put_object(
            backend,
            self._origin.mark(prepared.info),
            prepared.source,
            chunk_size=size,
            condition=prepared.condition,
            progress=progress,
            novelty=self._novelty,
            ttl=prepared.ttl,
        )
        await backend.announce(message)
        return stored

    async def put_file(
        self, name: str, path: str | PathLike[str], **options: Unpack[PutOptions]
    ) -> ObjectInfo:
        """Store a file's content; its base name is stored as the filename.

        Args:
            name: The object's name.
            path: The file.
            options: The options of `put`.

        Returns:
            The new version, with its revision.

        Raises:
            OSError: If the file cannot be read. Otherwise whatever `put` raises.
        """
        path = Path(path)
        if options.get("filename") is None:
            options["filename"] = path.name
        return await self.put(name, path, **options)

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

        async def read(version: Version) -> ObjectData:
            require_size(version.info, max_size)
            return await content(version, progress)

        return await newest(await self._source(), name, read, show_deleted=show_deleted)

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
            window: How many bytes may be in flight or waiting to be read (8 MiB). A smaller
                window saves memory if there are many slow readers.

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

    async def delete(self, name: str | ObjectInfo, *, mode: AmendMode = "overwrite") -> bool:
        """Delete an object: a marker replaces it, then its chunks are removed.

        Deleting a link leaves its target alone.

        Args:
            name: The object's name, whatever its newest version is; or an `ObjectInfo`, for
                exactly that version.
            mode: Which version may be deleted: `"overwrite"` for any, or the revision
                (or the `ObjectInfo`) that must be the newest.

        Returns:
            Whether the object was live; `False` if it had already been deleted.

        Raises:
            ObjectNotFoundError: If the object never existed.
            RevisionMismatchError: If the object is at another revision; nothing is
                deleted.

        Example:
            ```python
            info = await store.get_info("report.csv")
            ...
            await store.delete(info)  # unless it was put again meanwhile
            ```
        """
        name, mode = exact(self._bucket, name, mode)
        condition = amend_condition(self._bucket, name, mode)
        backend = await self._target()
        was_live, message = await run_to_completion(
            delete(backend, name, self._amended, condition=condition)
        )
        await announce(backend, message)
        return was_live

    async def copy(
        self, name: str | ObjectInfo, to: str, bucket: str | None = None
    ) -> ObjectInfo:
        """Copy an object with its description, headers and metadata, in constant memory.

        The copy of an object with a `ttl` expires with the object, unless it is in a bucket
        without `object_ttl`.

        Args:
            name: The object's name, or an `ObjectInfo` for exactly that version. For a link,
                its target is copied.
            to: The name of the copy; replaced if it exists.
            bucket: The bucket of the copy; this one if not given.

        Returns:
            The copy.

        Raises:
            BucketNotFoundError: If that bucket does not exist. Otherwise whatever `get`
                raises.
        """
        elsewhere = bucket is not None and bucket != self._bucket
        backend = await (self._source() if elsewhere else self._target())
        target = self
        if bucket is not None and elsewhere:
            target = ObjectStore.on(await backend.other(bucket), origin=self._origin)

        async def copy(version: Version) -> ObjectInfo:
            meta = replace(self._origin.unmarked(version.info).meta, name=to)
            async with aclosing(verified(version)) as chunks:
                return await target.put(to, chunks, meta, ttl=kept(version.info))

        return await newest(backend, name, copy)
