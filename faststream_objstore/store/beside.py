"""From a store to what is beside it: other buckets, a link's target, a file system."""

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
        """The store of another bucket of the same server.

        Args:
            bucket: Its name.

        Raises:
            BucketNotFoundError: If it does not exist.
        """
        store = cast("ObjectStore", self)
        if validate_bucket_name(bucket) == self._bucket:
            return store
        backend = await (await self._source()).other(bucket)
        # Not `type(self)`: a store that is observed is made in its own way.
        from .store import ObjectStore  # noqa: PLC0415 - the store is made of this

        return ObjectStore.on(backend, origin=self._origin)

    async def resolve(self, target: str | ObjectInfo) -> ObjectInfo:
        """The object that a name means: of a link its target, which may be elsewhere.

        Args:
            target: The name, or a version.

        Raises:
            ObjectNotFoundError: If it does not exist.
            BucketNotFoundError: If the link leads into a bucket that does not exist.
            LinkIsABucketError: If it is a link to a bucket.
        """
        return (await locate(await self._source(), target)).info

    def filesystem(self) -> "ObjectStoreFileSystem":
        """The bucket as an fsspec file system, on this store's connection.

        To be called in the event loop. pandas and what else is sync then runs in a thread
        beside it; async code calls fsspec's async verbs, such as `await fs._cat_file(path)`.
        Paths begin with the bucket. Needs the extra `fsspec`.

        Returns:
            The file system; it cannot be pickled, nor used in the loop's own thread by its
            sync verbs.

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
