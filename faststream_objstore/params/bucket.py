"""`FromBucket`: the store of a bucket."""

from typing import Any

from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.params.field import Field, extension_of
from faststream_objstore.store import ObjectStore

__all__ = ("FromBucket",)


class FromBucket(Field):
    """Injects the `ObjectStore` of a declared bucket.

    Works in handlers, in sync and async `Depends`, and in the lifespan and hooks of an app,
    where the store connects the broker when it is first used.

    Args:
        bucket: The bucket's name, or its declaration.

    Raises:
        InvalidBucketNameError: If the name is not a valid bucket name.

    Example:
        ```python
        Photos = Annotated[ObjectStore, FromBucket("photos")]


        @broker.subscriber("reports.{name}")
        async def report(name: Annotated[str, Path()], store: Photos) -> int:
            return (await store.get_info(name)).size
        ```
    """

    __slots__ = ("bucket",)

    def __init__(self, bucket: str | Bucket) -> None:
        super().__init__(cast=False, required=True)
        self.bucket: str = name_of(bucket)

    def __repr__(self) -> str:
        return f"FromBucket({self.bucket!r})"

    @property
    def gives(self) -> type | None:
        """The type of what is injected."""
        return ObjectStore

    @property
    def bucket_name(self) -> str:
        """The bucket's name."""
        return self.bucket

    def use(self, /, **kwargs: Any) -> dict[str, Any]:
        """Set the parameter to the store.

        Raises:
            BucketNotDeclaredError: If no `Buckets` here declares the bucket.
        """
        kwargs = super().use(**kwargs)
        extension = extension_of(kwargs.get("context__"), self.bucket)
        kwargs[str(self.param_name)] = extension.handle(self.bucket)
        return kwargs
