"""The bases of the fields, which a broker looks for in its handlers when it starts."""

from collections.abc import Callable
from typing import Any, NamedTuple

from faststream_objstore._faststream import CustomField
from faststream_objstore.models import ObjectData

__all__ = ("BucketField", "LiveField", "LiveSource")


class BucketField(CustomField):
    """What the handlers of a broker are searched for: the fields of this package."""

    __slots__ = ()

    @property
    def gives(self) -> type | None:
        """The type of its value, or `None` if it cannot be determined."""
        return None

    @property
    def converter(self) -> str:
        """The argument that makes something else of an object's content."""
        return "decode=True"

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The `Path()` values that it needs."""
        return ()

    @property
    def of_change(self) -> bool:
        """Whether it refers to the object whose change is being handled."""
        return False

    @property
    def bucket_name(self) -> str | None:
        """The bucket that it names, if any."""
        return None


class LiveSource(NamedTuple):
    """Which object to load, and how; equal sources share one value.

    Attributes:
        bucket: The bucket's name.
        name: The object's name.
        load: Turns the content into the value, sync or async; `None` for the content.
        max_size: The largest object to load, in bytes.
    """

    bucket: str
    name: str
    load: Callable[[ObjectData], Any] | None = None
    max_size: int | None = None

    def __str__(self) -> str:
        return f"Bucket '{self.bucket}', object {self.name!r}"


class LiveField(CustomField):
    """The field that a broker looks for in its handlers when it starts.

    Attributes:
        source: The object to load.
        must_exist: Whether there must be a value.
    """

    __slots__ = ("must_exist", "source")

    source: LiveSource
    must_exist: bool
