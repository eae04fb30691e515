"""`ObjectStore`: the handle to a bucket's objects (ADR-20), on any backend."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

from nats.aio.client import Client
from typing_extensions import Unpack

from ..backends.base import Backend
from ..models import ObjectInfo, ObjectStoreConfig
from ..settling import run_to_completion
from .archive import DumpVerbs
from .begin import TransactionVerbs
from .beside import BesideVerbs
from .bulk import BulkVerbs
from .dirs import DirVerbs
from .expiry import Ttl
from .get import Version, newest, until, verified
from .given import AnyMeta, Headers
from .handle import announce
from .modes import AmendMode, PutMode, amend_condition, exact
from .prepare import PutOptions, prepare
from .provenance import Origin
from .put import Novelty, Progress, put_object
from .read import ReadVerbs
from .retire import RetireVerbs
from .sources import Again, PutData
from .status import StatusVerbs
from .sweep import SweepVerbs
from .watch import WatchVerbs

__all__ = ("ObjectStore", "PutMode")


class ObjectStore(
    ReadVerbs,
    TransactionVerbs,
    RetireVerbs,
    SweepVerbs,
    BulkVerbs,
    DirVerbs,
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
        # A service has them through its broker, if it connects at all.
        from ..backends.jetstream import JetStreamServer  # noqa: PLC0415
        from .declare import bind_bucket  # noqa: PLC0415

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
        from .amend import delete  # noqa: PLC0415 - see `store/__init__.py`

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
            chunks = Again(lambda: verified(version))
            return await target.put(to, chunks, meta, ttl=await until(version))

        return await newest(backend, name, copy)
