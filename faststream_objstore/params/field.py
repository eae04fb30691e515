"""The base class of the fields: how they are copied, and how they find the extension."""

import copy
from enum import Enum
from typing import Any, Final

from typing_extensions import Self

from faststream_objstore._faststream import ContextRepo, brokers_of
from faststream_objstore.binding import Attached, attached_to
from faststream_objstore.context import extension_key
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.fields import BucketField
from faststream_objstore.ownership import not_declared

__all__ = ("MISSING", "Field", "Missing", "extension_of", "validate_max_size")


class Missing(Enum):
    """The type of `MISSING`, which stands for no default."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class Field(BucketField):
    """A field that is safe to deep-copy.

    FastDepends deep-copies fields for every parameter. The copies share what a field holds,
    such as a default, or a bound method of an object with a lock.
    """

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)


def validate_max_size(max_size: int | None) -> int | None:
    """Check a `max_size` option.

    Args:
        max_size: The option's value.

    Returns:
        The value.

    Raises:
        InvalidOptionError: If it is neither a number of bytes nor `None`.
    """
    if max_size is not None and (type(max_size) is not int or max_size < 0):
        msg = f"max_size must be a number of bytes, 0 or more, got {max_size!r}."
        raise InvalidOptionError(msg)
    return max_size


def extension_of(context: ContextRepo | None, bucket: str) -> Attached:
    """Find the extension that declares a bucket, on the handler's broker or on the app's.

    Args:
        context: The context of a message, a hook or a lifespan.
        bucket: The bucket's name.

    Returns:
        The extension.

    Raises:
        BucketNotDeclaredError: If no extension declares the bucket.
    """
    declared: set[str] = set()
    taken_over = False
    if context is not None:
        # In a handler, its own broker decides; the context of hooks and lifespans has an
        # app instead.
        broker = context.get("broker")
        brokers = brokers_of(context.get("app")) if broker is None else [broker]
        extensions = [one for each in brokers for one in attached_to(each)]
        for extension in extensions:
            if bucket in extension.declared:
                return extension
            declared.update(extension.declared)
            taken_over = taken_over or extension.has_lost(bucket)
        if broker is None or not extensions:
            known = context.get(extension_key(bucket))
            if isinstance(known, Attached):
                return known
    raise not_declared(bucket, declared, taken_over=taken_over)
