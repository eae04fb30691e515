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
    """A field with an address and a default."""

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
        """The bucket that it names, if it names one."""
        return self.address.bucket

    @property
    def of_change(self) -> bool:
        """Whether it means the object that fired."""
        return self.address.bucket is None

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The `Path()` values that its object's name needs."""
        return tuple(name for _, name in self.address.parts if name is not None)

    def or_default(self, error: ObjectNotFoundError) -> Any:
        """The default, or the error."""
        if self.default is MISSING:
            raise error
        return self.default


class FromObject(_ObjectField):
    """Injects an object's content, read whole and verified, before the handler runs.

    Without arguments it is for handlers of a bucket's `on_put` and `on_change`: the object
    that fired, exactly that version. With them it works in any handler and in its
    dependencies, sync ones too, and gives the newest version:

    ```python
    @photos.on_put("*.png")
    async def shrink(image: Annotated[bytes, FromObject()]) -> None: ...


    @broker.subscriber("mail.{template}")
    async def send(
        html: Annotated[str, FromObject("templates", "{template}.html", decode=True)],
    ) -> None: ...
    ```

    Not in lifespans and sync hooks of an app, which FastDepends solves synchronously: take
    the store there (`FromBucket`).

    Args:
        bucket: The bucket's name, or its declaration.
        name: The object's name. `{user}` is filled in from the message's `Path()` values;
            `{{` and `}}` are braces. A link is followed.
        decode: Give what the content type says instead of bytes: the `Content-Type` header,
            else the name's ending. `text/*` is a `str`, JSON is decoded, without a type it
            is JSON if it can be, and all else stays bytes. The result, and the default, are
            cast to the parameter's type, as a message's body is.
        default: Given where the object does not exist, or is deleted; without it that is
            an error.
        max_size: Most bytes that are wanted.

    Raises:
        InvalidOptionError: If an option cannot work.
    """

    __slots__ = ("decode",)

    @property
    def gives(self) -> type | None:
        """Bytes, unless they are decoded, and then cast."""
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
        """Read the object.

        Raises:
            ObjectNotFoundError: If it does not exist and there is no default.
            ObjectChangedError: If the version that fired is gone.
            ObjectTooLargeError: If it has more than `max_size` bytes.
            ObjectLoadError: If it does not decode. Otherwise as `ObjectStore.get`.
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
    """Injects the `ObjectInfo` of an object; its content is not fetched.

    Without arguments it is that of the object that fired, a delete's marker too. A link is
    not followed. Works where `FromObject` does.

    Args:
        bucket: As for `FromObject`.
        name: As for `FromObject`.
        default: As for `FromObject`.

    Raises:
        InvalidOptionError: If an option cannot work.
    """

    __slots__ = ()

    @property
    def gives(self) -> type | None:
        """The metadata."""
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
        """Read the object's metadata.

        Raises:
            ObjectNotFoundError: If it does not exist and there is no default.
            BadObjectMetaError: If its metadata does not parse.
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
    """Gives a reader that is not open yet."""

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

    It is opened before the handler runs and closed after it, in error too. Each parameter
    has a reader of its own. Works where `FromObject` does:

    ```python
    @videos.on_put()
    async def scan(video: Annotated[ObjectReader, OpenObject()]) -> None:
        async for chunk in video: ...
    ```

    Args:
        bucket: As for `FromObject`.
        name: As for `FromObject`.
        default: As for `FromObject`.
        max_size: As for `FromObject`.

    Returns:
        A `Depends(...)`: it can close what it has opened, which no other field can.

    Raises:
        InvalidOptionError: If an option cannot work.
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

    # Cast, and thereby checked: a key of a message's body would stand in for a dependency.
    return Depends(open_object, use_cache=False)
