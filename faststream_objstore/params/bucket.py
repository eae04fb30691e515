"""`FromBucket`: the store of a bucket."""

from typing import Any

from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.params.field import Field, extension_of
from faststream_objstore.store import ObjectStore

__all__ = ("FromBucket",)


class FromBucket(Field):
    """Injects the `ObjectStore` of a declared bucket.

    Works in handlers, in sync and async `Depends`, and in lifespans and hooks of an app, where
    a store connects the broker at its first use:

    ```python
    Photos = Annotated[ObjectStore, FromBucket("photos")]
    ```

    Args:
        bucket: The bucket's name, or its declaration.

    Raises:
        InvalidBucketNameError: If it cannot be a bucket's name.
    """

    __slots__ = ("bucket",)

    def __init__(self, bucket: str | Bucket) -> None:
        super().__init__(cast=False, required=True)
        self.bucket: str = name_of(bucket)

    def __repr__(self) -> str:
        return f"FromBucket({self.bucket!r})"

    @property
    def gives(self) -> type | None:
        """The store."""
        return ObjectStore

    @property
    def bucket_name(self) -> str:
        """The bucket that it names."""
        return self.bucket

    def use(self, /, **kwargs: Any) -> dict[str, Any]:
        """Set the parameter; a field that leaves it unset would get the message's body.

        Raises:
            BucketNotDeclaredError: If no `Buckets` here declares the bucket.
        """
        kwargs = super().use(**kwargs)
        extension = extension_of(kwargs.get("context__"), self.bucket)
        kwargs[str(self.param_name)] = extension.handle(self.bucket)
        return kwargs
