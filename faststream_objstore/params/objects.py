"""`FromObject`, `StatObject`, `OpenObject`: one object, for one call of a handler."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from faststream import Depends

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import ObjectNotFoundError
from faststream_objstore.models import ObjectData, ObjectInfo
from faststream_objstore.params.address import Address
from faststream_objstore.params.decoding import decoded
from faststream_objstore.params.field import MISSING, Field, validate_max_size
from faststream_objstore.store import ObjectReader

__all__ = ("FromObject", "OpenObject", "StatObject")


class _ObjectField(Field):
    """A field that refers to an object, with a default."""

    __slots__ = ("address", "default", "max_size")

    def __init__(
        self,
        bucket: str | Bucket | None,
        name: str | None,
        *,
        default: Any,
        max_size: int | None,
        cast: bool = False,
        marker: str | None = None,
    ) -> None:
        super().__init__(cast=cast, required=True)
        self.address: Address = Address.of(marker or type(self).__name__, bucket, name)
        self.default: Any = default
        self.max_size: int | None = validate_max_size(max_size)

    def __repr__(self) -> str:
        return self.address.text

    @property
    def bucket_name(self) -> str | None:
        """The bucket's name, if the field names one."""
        return self.address.bucket

    @property
    def of_change(self) -> bool:
        """Whether it refers to the object that triggered the handler."""
        return self.address.bucket is None

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The `Path()` values that the object's name uses."""
        return () if self.address.name is None else self.address.name.placeholders

    def or_default(self, error: ObjectNotFoundError) -> Any:
        """Return the default, or raise the error if there is none."""
        if self.default is MISSING:
            raise error
        return self.default


class FromObject(_ObjectField):
    """Injects an object's whole content, verified, before the handler runs.

    Without arguments, in handlers of a bucket's `on_put` and `on_change`, it injects the
    object that triggered the handler, in exactly that version. With arguments it works in any
    handler and in its dependencies, sync ones included, and injects the newest version.

    It does not work in lifespans and sync hooks of an app, where FastDepends resolves
    parameters synchronously; use `FromBucket` there.

    Args:
        bucket: The bucket's name, or its declaration.
        name: The object's name. `{user}` is filled in from the message's `Path()` values;
            `{{` and `}}` are literal braces. A link is followed.
        decode: Decode the content by its type: the `Content-Type` header, or else the name's
            extension. `text/*` becomes a `str`, JSON is decoded, content without a type is
            decoded if it is JSON, and everything else stays bytes. The result, or the
            default, is then cast to the parameter's type, as a message's body is.
        default: The value if the object does not exist or has been deleted. Without it,
            that is an error.
        max_size: The largest object to read, in bytes.

    Raises:
        InvalidOptionError: If an option is invalid.

    Example:
        ```python
        @photos.on_put("*.png")
        async def shrink(image: Annotated[bytes, FromObject()]) -> None: ...


        @broker.subscriber("mail.{template}")
        async def send(
            html: Annotated[str, FromObject("templates", "{template}.html", decode=True)],
        ) -> None: ...
        ```
    """

    __slots__ = ("decode",)

    @property
    def gives(self) -> type | None:
        """The type of what is injected; `None` if it depends on the content."""
        return None if self.decode else ObjectData

    def __init__(
        self,
        bucket: str | Bucket | None = None,
        name: str | None = None,
        *,
        decode: bool = False,
        default: Any = MISSING,
        max_size: int | None = None,
    ) -> None:
        # Casting would copy the bytes.
        super().__init__(bucket, name, default=default, max_size=max_size, cast=decode)
        self.decode: bool = decode

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Set the parameter to the object's content.

        Raises:
            ObjectNotFoundError: If it does not exist and there is no default.
            ObjectChangedError: If the version that triggered the handler is gone.
            ObjectTooLargeError: If it has more than `max_size` bytes.
            ObjectLoadError: If it cannot be decoded. Otherwise whatever `ObjectStore.get`
                raises.
        """
        kwargs = super().use(**kwargs)
        store, target = self.address.resolve(kwargs.get("context__"))
        try:
            data = await store.get(target, max_size=self.max_size)
        except ObjectNotFoundError as error:
            value = self.or_default(error)
        else:
            value = decoded(data) if self.decode else data
        kwargs[str(self.param_name)] = value
        return kwargs


class StatObject(_ObjectField):
    """Injects the `ObjectInfo` of an object, without fetching its content.

    Without arguments it is that of the object that triggered the handler, which may be a
    delete marker. Links are not followed. Works wherever `FromObject` does.

    Args:
        bucket: As for `FromObject`.
        name: As for `FromObject`.
        default: As for `FromObject`.

    Raises:
        InvalidOptionError: If an option is invalid.

    Example:
        ```python
        @broker.subscriber("quota.{user}")
        async def quota(
            info: Annotated[
                ObjectInfo | None, StatObject("photos", "{user}/all.zip", default=None)
            ],
        ) -> int:
            return info.size if info else 0
        ```
    """

    __slots__ = ()

    @property
    def gives(self) -> type | None:
        """The type of what is injected."""
        return ObjectInfo

    def __init__(
        self,
        bucket: str | Bucket | None = None,
        name: str | None = None,
        *,
        default: Any = MISSING,
    ) -> None:
        super().__init__(bucket, name, default=default, max_size=None)

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Set the parameter to the object's metadata.

        Raises:
            ObjectNotFoundError: If it does not exist and there is no default.
            BadObjectMetaError: If its metadata cannot be parsed.
        """
        kwargs = super().use(**kwargs)
        store, target = self.address.resolve(kwargs.get("context__"))
        value: Any
        if isinstance(target, ObjectInfo):
            value = target
        else:
            try:
                value = await store.get_info(target)
            except ObjectNotFoundError as error:
                value = self.or_default(error)
        kwargs[str(self.param_name)] = value
        return kwargs


class _Opening(_ObjectField):
    """Injects a reader that is not open yet."""

    __slots__ = ()

    def use(self, /, **kwargs: Any) -> dict[str, Any]:
        kwargs = super().use(**kwargs)
        store, target = self.address.resolve(kwargs.get("context__"))
        kwargs[str(self.param_name)] = store.open(target, max_size=self.max_size)
        return kwargs


def OpenObject(  # noqa: N802 - reads as the other markers do
    bucket: str | Bucket | None = None,
    name: str | None = None,
    *,
    default: Any = MISSING,
    max_size: int | None = None,
) -> Any:
    """Injects an `ObjectReader`: the content as a stream, in constant memory.

    It is opened before the handler runs and closed afterwards, even if the handler fails.
    Each parameter has its own reader. Works wherever `FromObject` does.

    Args:
        bucket: As for `FromObject`.
        name: As for `FromObject`.
        default: As for `FromObject`.
        max_size: As for `FromObject`.

    Returns:
        A `Depends(...)`, because only that can close what it has opened.

    Raises:
        InvalidOptionError: If an option is invalid.

    Example:
        ```python
        @videos.on_put()
        async def scan(video: Annotated[ObjectReader, OpenObject()]) -> None:
            async for chunk in video: ...
        ```
    """
    field = _Opening(bucket, name, default=default, max_size=max_size, marker="OpenObject")

    async def open_object(opening: Any = field) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            reader: ObjectReader | Any
            try:
                reader = await stack.enter_async_context(opening)
            except ObjectNotFoundError as error:
                reader = field.or_default(error)
            yield reader

    # Cast, and thereby checked: a key of the message's body could otherwise replace it.
    return Depends(open_object, use_cache=False)
