"""The handle: a bucket's objects, as ADR-20 means them, on any backend."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TypeAlias, overload

from nats.aio.client import Client
from typing_extensions import Unpack

from .. import wire
from ..backends.base import Backend
from ..backends.jetstream import JetStreamServer
from ..exceptions import (
    InvalidOptionError,
    ObjectNotFoundError,
)
from ..models import (
    ObjectData,
    ObjectInfo,
    ObjectStoreConfig,
    ObjectStoreStatus,
)
from ..pattern import name_filter
from ..settling import to_its_end
from . import files, listing, metadata
from .amend import delete
from .beside import BesideVerbs
from .bulk import BulkVerbs
from .declare import bind_bucket
from .folders import Listing, fold, require_page
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
from .sweep import SweepVerbs
from .transaction import TransactionVerbs
from .watch import ObjectWatch, ObjectWatcher

__all__ = ("ObjectStore", "PutMode")

# Inside the class, `list` is the method.
Infos: TypeAlias = list[ObjectInfo]


class ObjectStore(TransactionVerbs, RetireVerbs, SweepVerbs, BulkVerbs, BesideVerbs):
    """The objects of one bucket.

    A superset of nats-py's `ObjectStore`, with its names. Every method may raise
    `BucketNotFoundError` (the bucket is gone), `StoreTimeoutError` (no progress within
    the bucket's timeout, counted per chunk) and `NotConnectedError`; writes also
    `BucketSealedError` and `BucketFullError`. See `exceptions.py` for the tree.

    Args:
        bucket: The bucket's name.
        source: Gives the backend that is current; asked at the start of each call, so
            a handle outlives connections.
        origin: Adds to each change whose doing it is; nothing if not given.
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
        """The store on a backend that is bound already."""

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
        """The store on a connection of nats-py, for programs without FastStream.

        Args:
            client: A connected client. It stays yours to close.
            bucket: The bucket's name, or how it is made.
            declare: Create it if it is missing, and compare its settings if it exists.
            domain: The JetStream domain that it is in.
            timeout: Seconds that one step may take: a request, a chunk.
            lane: Whether a second connection may be opened while much is transferred.

        Raises:
            BucketNotFoundError: If it does not exist, without `declare`.
            BucketConfigMismatchError: If it has other settings than `bucket` says.
        """
        config = ObjectStoreConfig(bucket=bucket) if isinstance(bucket, str) else bucket
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
    ) -> ObjectInfo:
        """Store an object, all of it or nothing.

        Readers see the old version or the new one. A put that fails or is cancelled
        removes its own chunks and leaves the old version alone; one that replaces a
        version removes that version's chunks.

        Args:
            name: Any text but the empty one.
            data: `str` (as UTF-8), anything bytes-like, a `Path`, a file open for
                binary reading (from where it stands), or an iterable of bytes; files
                and iterables may be async. A file open in text mode is read through its
                `.buffer`.
            meta: Description, headers, metadata and chunk size in one; the keywords
                win over it. nats-py's `ObjectMeta` works too.
            description: Free text.
            filename: Kept as `metadata["filename"]`.
            headers: Values by name; a value is a str, or a list of them.
            metadata: Free text by key.
            chunk_size: Bytes of a chunk, at most the server's `max_payload`; if not
                given, 128 KiB, or `max_payload` where that is less.
            mode: `"overwrite"`, `"create"`, or the revision (or the `ObjectInfo`) that
                must be the newest.
            progress: Called with the bytes sent and the bytes in all (or `None`) after
                each chunk; sync or async.

        Returns:
            The new version, with its revision.

        Raises:
            InvalidObjectNameError, InvalidOptionError, UnsupportedDataError: Before
                anything is sent.
            ObjectAlreadyExists: With `"create"`, if there is a live object.
            RevisionMismatchError: If the object is at another revision.
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
        )
        backend = await self._source()
        size = prepared.chunk_size_on(backend)
        stored, message = await put_object(
            backend,
            self._origin.mark(prepared.info),
            prepared.source,
            chunk_size=size,
            condition=prepared.condition,
            progress=progress,
            novelty=self._novelty,
        )
        await backend.announce(message)
        return stored

    async def put_file(
        self, name: str, path: str | PathLike[str], **options: Unpack[PutOptions]
    ) -> ObjectInfo:
        """Store a file's content; its base name is kept as the filename.

        Args:
            name: The object's name.
            path: The file.
            options: As `put` takes them.

        Raises:
            OSError: If the file cannot be read.
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
        """Read an object whole, verified: chunk count, size and SHA-256.

        Args:
            name: The object, the newest version of it; or an `ObjectInfo` for exactly
                that version. A link is followed.
            writeinto: A file open for binary writing, sync or async, which then gets
                the content; the result is empty. The file is not closed.
            show_deleted: Give a deleted object, which is empty, instead of an error.
            max_size: Most bytes that are wanted.
            progress: Called with the bytes received and the bytes in all.

        Raises:
            ObjectNotFoundError: If it does not exist; `ObjectDeletedError` if it did.
            ObjectChangedError: If that version is gone; with `writeinto` also if the
                object is replaced after some of it was written.
            ObjectTooLargeError: Before anything is fetched.
            IncompleteObjectError, DigestMismatchError, BadObjectMetaError: If it is
                damaged.
            LinkIsABucketError: If it is a link to a bucket.
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
        """A reader of an object's content, or of a part of it, in constant memory.

        Use it as `async with store.open(name) as reader`, then iterate over it or call
        `reader.read(n)`. It raises what `get` raises.

        Args:
            name: The object, or exactly one version of it.
            show_deleted: Give a deleted object, which is empty, instead of an error.
            max_size: Most bytes that the whole object may have.
            start: First byte that is wanted.
            stop: Byte after the last that is wanted; the object's end if not given. Only
                the chunks of the part are transferred, and the digest, which is of the
                whole, is not verified.
            window: Bytes that may be under way or wait to be read (8 MiB). Less saves
                memory where there are many slow readers.

        Raises:
            InvalidOptionError: If `start`, `stop` or `window` cannot work.
        """
        self._require_range(name, start, start if stop is None else stop)
        if window is not None and (type(window) is not int or window < 1):
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: window={window!r} cannot work; "
                "it must be a positive number of bytes."
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
        """What makes a reader; observed stores have another one."""
        return ObjectReader

    def _require_range(self, name: str | ObjectInfo, start: int, stop: int) -> None:
        if type(start) is not int or type(stop) is not int or not 0 <= start <= stop:
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: the range {start!r} to {stop!r} "
                "cannot work; give 0 <= start <= stop, in bytes."
            )
            raise InvalidOptionError(msg, bucket=self._bucket)

    async def get_range(self, name: str | ObjectInfo, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (exclusive) of an object.

        Only the chunks that hold them are transferred, and the last one. The digest is
        of the whole content, so it is not verified; sizes are.

        Args:
            name: The object, or exactly one version of it.
            start: First byte, from 0.
            stop: Byte after the last; what lies beyond the end is left out.

        Raises:
            InvalidOptionError: If the range is negative. Otherwise as `get`.
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
        """Write an object to a file, which appears whole and verified or not at all.

        Args:
            name: The object, or exactly one version of it.
            path: The file; replaced if it exists. Its folder must exist.
            progress: Called with the bytes received and the bytes in all.

        Raises:
            OSError: If the file cannot be written. Otherwise as `get`.
        """

        async def save(version: Version) -> ObjectInfo:
            async with aclosing(verified(version)) as chunks:
                await files.save(Path(path), chunks, version.info, progress)
            return version.info

        return await newest(await self._source(), name, save)

    async def get_info(self, name: str, show_deleted: bool = False) -> ObjectInfo:
        """What is known of an object, without its content. A link is not followed.

        Raises:
            ObjectNotFoundError: If it does not exist; `ObjectDeletedError` if it did
                and `show_deleted` is false.
            BadObjectMetaError: If its metadata does not parse.
        """
        backend = await self._source()
        return await metadata.read(backend, name, show_deleted=show_deleted)

    async def exists(self, name: str) -> bool:
        """Whether there is a live object, or a link, of that name.

        Raises:
            BadObjectMetaError: If its metadata does not parse.
        """
        try:
            await self.get_info(name)
        except ObjectNotFoundError:
            return False
        return True

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
    ) -> Listing: ...

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
    ) -> Infos | Listing:
        """All objects, sorted by name; none is missed that is live all the while.

        Args:
            prefix: Only names that begin with it. It is taken literally: `*` is a star.
            pattern: Only names that match, as change subscribers match them.
            include_deleted: Delete markers too.
            ignore_deletes: nats-py's name for the opposite; it wins where it is given.
            delimiter: Give a `Listing`, in which the objects whose names have it behind the
                prefix are folders: `"/"`, or `""` for pages without folders.
            after: Only what is behind this object or folder: a page's `after`.
            limit: Most objects and folders of a page.

        Returns:
            The objects; with a delimiter, a page of objects and folders.

        Raises:
            InvalidPatternError: If the pattern is malformed.
            InvalidOptionError: If `after` or `limit` comes without a delimiter, or cannot
                work.

        Example:
            ```python
            page = await store.list(prefix="ann/", delimiter="/", limit=100)
            page.folders  # ["ann/2025/", "ann/2026/"]
            page.objects  # what is in ann/ itself
            ```
        """
        require_page(self._bucket, delimiter=delimiter, after=after, limit=limit)
        if ignore_deletes is not None:
            include_deleted = not ignore_deletes
        found: dict[str, ObjectInfo] = {}
        backend = await self._source()
        matches = name_filter(prefix, pattern)
        async with aclosing(
            listing.entries(backend, matches=matches, include_deleted=True)
        ) as batches:
            async for batch in batches:
                found |= {info.name: info for info in batch}
        infos = [
            found[name] for name in sorted(found) if include_deleted or not found[name].deleted
        ]
        if delimiter is None:
            return infos
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
        """As `list`, one by one, in constant memory, in the order of the last change.

        An object that changes meanwhile comes again, newer.
        """
        matches = name_filter(prefix, pattern)
        backend = await self._source()
        async with aclosing(
            listing.entries(backend, matches=matches, include_deleted=include_deleted)
        ) as batches:
            async for infos in batches:
                for info in infos:
                    yield info

    async def delete(self, name: str | ObjectInfo, *, mode: AmendMode = "overwrite") -> bool:
        """Delete an object: a marker replaces it, then its chunks are removed.

        A link is deleted, never its target.

        Args:
            name: The object, whatever its newest version is; or an `ObjectInfo` for
                exactly that version.
            mode: Which version may be deleted: `"overwrite"` for any, or the revision
                (or the `ObjectInfo`) that must be the newest.

        Returns:
            Whether it was live; `False` if it was deleted before.

        Raises:
            ObjectNotFoundError: If there never was one.
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
        backend = await self._source()
        was_live, message = await to_its_end(
            delete(backend, name, self._amended, condition=condition)
        )
        await announce(backend, message)
        return was_live

    async def copy(
        self, name: str | ObjectInfo, to: str, bucket: str | None = None
    ) -> ObjectInfo:
        """Copy an object with its description, headers and metadata, in constant memory.

        Args:
            name: The object, or exactly one version of it; a link's target is copied.
            to: Name of the copy; replaced if it exists.
            bucket: Bucket of the copy; this one if not given.

        Raises:
            BucketNotFoundError: If that bucket does not exist. Otherwise as `get`.
        """
        backend = await self._source()
        target = self
        if bucket is not None and bucket != self._bucket:
            target = ObjectStore.on(await backend.other(bucket), origin=self._origin)

        async def copy(version: Version) -> ObjectInfo:
            meta = replace(self._origin.unmarked(version.info).meta, name=to)
            async with aclosing(verified(version)) as chunks:
                return await target.put(to, chunks, meta)

        return await newest(backend, name, copy)

    def watch(
        self,
        *,
        updates_only: bool = False,
        ignore_deletes: bool = False,
        include_history: bool = False,
        meta_only: bool = False,  # noqa: ARG002
    ) -> ObjectWatch:
        """Follow the bucket: its present state, then every change.

        `async for info in store.watch()`, `async with store.watch() as watcher` and
        `watcher = await store.watch()` all work; see `ObjectWatch`.

        Args:
            updates_only: Leave the present state out.
            ignore_deletes: Leave delete markers out.
            include_history: Every metadata message that is stored, not only the newest
                of each object; only clients that do not roll up leave more than one.
            meta_only: Accepted because nats-py does; a watch is never about content.

        Raises:
            InvalidOptionError: If options exclude each other.
        """

        async def start() -> ObjectWatcher:
            return ObjectWatcher(
                await self._source(),
                updates_only=updates_only,
                ignore_deletes=ignore_deletes,
                include_history=include_history,
            )

        return ObjectWatch(start)

    async def status(self, *, count: bool = True) -> ObjectStoreStatus:
        """The bucket's settings and size, and how many objects it has.

        Args:
            count: Count the objects, which reads the metadata of each. With `False` it is
                one request, whatever the bucket holds, and the result's `count` is `None`.
        """
        backend = await self._source()
        state = await backend.state()
        config = wire.config_of(state.config)
        objects = len(await self.list()) if count else None
        return ObjectStoreStatus(
            bucket=self._bucket,
            description=config.description or None,
            ttl=config.ttl if isinstance(config.ttl, timedelta) and config.ttl else None,
            storage=config.storage or "file",
            replicas=config.replicas or 1,
            sealed=bool(state.config.get("sealed")),
            size=state.bytes,
            count=objects,
            backing_store=backend.name,
            compressed=bool(config.compression),
            metadata=dict(config.metadata or {}),
            max_bytes=config.max_bytes if (config.max_bytes or -1) > 0 else None,
            keep_replaced=wire.keep_replaced(state.config.get("metadata") or {}) or None,
            transactions=bool(config.transactions),
        )

    async def seal(self) -> bool:
        """Make the bucket read-only for ever. There is no way back.

        Returns:
            `True`.
        """
        backend = await self._source()
        await backend.seal()
        return True
