"""`LiveObject`: a value that is kept in memory and replaced when its object changes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.fields import LiveField, LiveSource
from faststream_objstore.models import ObjectData
from faststream_objstore.params.field import Field, extension_of, validate_max_size
from faststream_objstore.wire import metadata_subject

__all__ = ("LiveObject",)


class LiveObject(LiveField, Field):
    """Injects an object's current value from memory, without reading it on each call.

    For configuration, templates, models and feature flags. The object is loaded when the
    broker starts, before any handler runs, and again, once per version, when it changes. All
    handlers share one value, so do not modify it. A version that fails to load is logged and
    counted (see `Buckets.live_objects`), and the last good value stays in use. In test mode,
    where buckets start empty, the object is looked up each time it is injected. Works
    wherever `FromObject` does.

    Args:
        bucket: The bucket's name, or its declaration.
        name: The object's name, taken literally (braces are not placeholders). If it is a
            link, changes to the link are noticed, but not changes to its target.
        load: Turns the `ObjectData` into the value. An async function runs in the event
            loop, any other in a thread. If not given, the value is the `ObjectData`.
        required: Whether the broker refuses to start without a value. If the object is
            deleted later, the last value stays in use.
        default: The value to inject, with `required=False`, when the object does not exist
            or has been deleted.
        max_size: The largest object to load, in bytes.

    Raises:
        InvalidOptionError: If an option is invalid.

    Example:
        ```python
        Churn = Annotated[Model, LiveObject("models", "churn.json", load=parse)]


        @broker.subscriber("customers")
        async def score(customer: Customer, model: Churn) -> float:
            return model.score(customer)
        ```
    """

    __slots__ = ("default",)

    def __init__(
        self,
        bucket: str | Bucket,
        name: str,
        *,
        load: Callable[[ObjectData], Any] | None = None,
        required: bool = True,
        default: Any = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(cast=False, required=True)
        of = name_of(bucket)
        metadata_subject(of, name)
        if load is not None and not callable(load):
            msg = (
                f"LiveObject({of!r}, {name!r}): load must be a function that takes the "
                f"ObjectData, got {load!r}."
            )
            raise InvalidOptionError(msg, bucket=of, name=name)
        if required and default is not None:
            msg = (
                f"LiveObject({of!r}, {name!r}): a required object never uses its default; "
                "add required=False, or remove the default."
            )
            raise InvalidOptionError(msg, bucket=of, name=name)
        self.source: LiveSource = LiveSource(
            of, name, _hashable(load), validate_max_size(max_size)
        )
        self.must_exist = required
        self.default: Any = default

    @property
    def gives(self) -> type | None:
        """The type of what is injected; `None` if `load` makes it."""
        return None if self.source.load else ObjectData

    @property
    def converter(self) -> str:
        """The argument that makes something else of an object's content."""
        return "load="

    @property
    def bucket_name(self) -> str | None:
        """The bucket."""
        return self.source.bucket

    def __repr__(self) -> str:
        return f"LiveObject({self.source.bucket!r}, {self.source.name!r})"

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Set the parameter to the current value.

        Raises:
            ObjectNotFoundError: If there is no value because the object does not exist.
            ObjectLoadError: If there is no value because no version could be loaded.
        """
        kwargs = super().use(**kwargs)
        bucket = self.source.bucket
        extension = extension_of(kwargs.get("context__"), bucket)
        live = await extension.live_value(self.source, current=True)
        kwargs[str(self.param_name)] = live.get(required=self.must_exist, default=self.default)
        return kwargs


def _hashable(
    load: Callable[[ObjectData], Any] | None,
) -> Callable[[ObjectData], Any] | None:
    try:
        hash(load)
    except TypeError:
        return None if load is None else partial(load)
    return load
