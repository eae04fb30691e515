"""From a store to others: another bucket, a link's target, a file system."""

import asyncio
from typing import TYPE_CHECKING, cast

from ..models import ObjectInfo, validate_bucket_name
from .get import locate
from .handle import StoreHandle

if TYPE_CHECKING:
    from ..filesystem import ObjectStoreFileSystem
    from .store import ObjectStore

__all__ = ("BesideVerbs",)


class BesideVerbs(StoreHandle):
    """The verbs of `ObjectStore` that lead out of its bucket."""

    async def beside(self, bucket: str) -> "ObjectStore":
        """Open another bucket on the same server.

        Args:
            bucket: Its name.

        Returns:
            Its store.

        Raises:
            BucketNotFoundError: If it does not exist.
        """
        store = cast("ObjectStore", self)
        if validate_bucket_name(bucket) == self._bucket:
            return store
        backend = await (await self._source()).other(bucket)
        # Not `type(self)`: an observed store has a different constructor.
        from .store import ObjectStore  # noqa: PLC0415 - the store inherits from this

        return ObjectStore.on(backend, origin=self._origin)

    async def origins(self) -> "list[ObjectStore]":
        """Open the buckets that this one follows, which are the ones to write to.

        Returns:
            Their stores; none for a bucket that can be written to.

        Raises:
            BucketNotFoundError: If one of them does not exist.
            JetStreamNotEnabledError, StoreTimeoutError: If the domain of one is out of reach.

        Example:
            ```python
            (photos,) = await photos_eu.origins()
            await photos.put("cat.png", Path("cat.png"))
            ```
        """
        from .store import ObjectStore  # noqa: PLC0415 - the store inherits from this

        backend = await self._source()
        return [
            ObjectStore.on(await backend.origin(one), origin=self._origin)
            for one in backend.origins
        ]

    async def resolve(self, target: str | ObjectInfo) -> ObjectInfo:
        """Find the object that a name refers to, following a link, also to other buckets.

        Args:
            target: The name, or an `ObjectInfo`.

        Returns:
            The object, or the link's target.

        Raises:
            ObjectNotFoundError: If it does not exist.
            BucketNotFoundError: If the link leads into a bucket that does not exist.
            LinkIsABucketError: If it is a link to a bucket.
        """
        return (await locate(await self._source(), target)).info

    def filesystem(self) -> "ObjectStoreFileSystem":
        """Make an fsspec file system of the bucket, on this store's connection.

        Call it in the event loop. pandas and other sync code then has to run in another
        thread; async code uses fsspec's async methods, such as `await fs._cat_file(path)`.
        Paths start with the bucket. Needs the extra `fsspec`.

        Returns:
            The file system. It cannot be pickled, and its sync methods cannot be used in the
            loop's own thread.

        Raises:
            ImportError: If fsspec is not installed.
            RuntimeError: If no event loop runs.

        Example:
            ```python
            fs = store.filesystem()
            frame = await asyncio.to_thread(
                pandas.read_parquet, f"{store.bucket}/2026.parquet", filesystem=fs
            )
            ```
        """
        from ..filesystem import ObjectStoreFileSystem  # noqa: PLC0415 - fsspec is an extra

        return ObjectStoreFileSystem(
            store=cast("ObjectStore", self),
            loop=asyncio.get_running_loop(),
            skip_instance_cache=True,
        )
