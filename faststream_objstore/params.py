"""What handlers ask for in `Annotated`: FastDepends' custom fields."""

from typing import Any

from faststream_objstore._faststream import ContextRepo, CustomField
from faststream_objstore.bucket import Bucket
from faststream_objstore.errors import BucketNotDeclaredError
from faststream_objstore.extension import ObjStore, store_key
from faststream_objstore.models import validate_bucket_name
from faststream_objstore.store import ObjectStore

__all__ = ("FromBucket",)


class FromBucket(CustomField):
    """Injects the `ObjectStore` of a declared bucket.

    Works in handlers, sync and async `Depends`, and, after `ObjStore.install(app)`, in
    lifespans and hooks of the app::

        Photos = Annotated[ObjectStore, FromBucket("photos")]

    Args:
        bucket: The bucket's name, or its declaration.

    Raises:
        InvalidBucketNameError: If it cannot be a bucket's name.
    """

    # FastDepends copies a field for every parameter: plain data only.
    __slots__ = ("bucket",)

    def __init__(self, bucket: str | Bucket) -> None:
        super().__init__(cast=False, required=True)
        name = bucket.name if isinstance(bucket, Bucket) else bucket
        self.bucket = validate_bucket_name(name)

    def __repr__(self) -> str:
        return f"FromBucket({self.bucket!r})"

    def use(self, /, **kwargs: Any) -> dict[str, Any]:
        """Set the parameter; a field that leaves it unset would get the message's body.

        Raises:
            BucketNotDeclaredError: If no `ObjStore` here declares the bucket.
        """
        kwargs = super().use(**kwargs)
        kwargs[str(self.param_name)] = _find(kwargs.get("context__"), self.bucket)
        return kwargs


def _find(context: ContextRepo | None, bucket: str) -> ObjectStore:
    declared: set[str] = set()
    if context is not None:
        # In a handler, its own broker decides; an app's context has no broker.
        broker = context.get("broker")
        extensions = ObjStore.all_of(broker) if broker is not None else []
        for extension in extensions:
            if bucket in extension.buckets:
                return extension.handle(bucket)
            declared.update(extension.buckets)
        if broker is None or not extensions:
            store = context.get(store_key(bucket))
            if isinstance(store, ObjectStore):
                return store
            installed = context.get("objstore")
            if isinstance(installed, ObjStore):
                declared.update(installed.buckets)
    listed = ", ".join(f"'{one}'" for one in sorted(declared)) or "none"
    msg = (
        f"Bucket '{bucket}' is not declared here (declared: {listed}). Pass "
        f"Bucket({bucket!r}) to ObjStore(broker, ...); in a lifespan or a hook of an app "
        "also call install(app) first."
    )
    raise BucketNotDeclaredError(msg, bucket=bucket)
