"""Which object a field refers to: the one that triggered the handler, or a named one."""

from typing import NamedTuple

from faststream_objstore._faststream import ContextRepo
from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params.field import extension_of
from faststream_objstore.store import ObjectStore
from faststream_objstore.template import NameTemplate, UnfilledError

__all__ = ("Address",)


class Address(NamedTuple):
    """An object's bucket and name; if neither is set, the object of a change handler.

    Attributes:
        bucket: The bucket's name.
        name: The object's name, with `{placeholders}` of the message's `Path()` values.
        text: How the user wrote it, for error messages.
    """

    bucket: str | None
    name: NameTemplate | None
    text: str

    @classmethod
    def of(cls, marker: str, bucket: str | Bucket | None, name: str | None) -> "Address":
        """Check the arguments of a marker.

        Args:
            marker: The marker's name, for error messages.
            bucket: The bucket's name, or its declaration.
            name: The object's name, which may have placeholders.

        Returns:
            The address.

        Raises:
            InvalidOptionError: If there is a bucket without a name, or a name without a
                bucket.
            InvalidBucketNameError, InvalidObjectNameError: If one of them is invalid.
            InvalidPatternError: If a placeholder is malformed.
        """
        if bucket is None and name is None:
            return cls(None, None, f"{marker}()")
        if bucket is None or name is None:
            msg = (
                f"{marker} takes a bucket and an object's name, or neither, for the object "
                f"that triggered the handler; got bucket={bucket!r}, name={name!r}."
            )
            raise InvalidOptionError(msg)
        of = name_of(bucket)
        text = f"{marker}({of!r}, {name!r})"
        return cls(of, NameTemplate(of, name, text), text)

    def resolve(self, context: ContextRepo | None) -> tuple[ObjectStore, str | ObjectInfo]:
        """Find the store, and the object in it.

        Args:
            context: The context of the message.

        Returns:
            The store, and the object's name or the version that triggered the handler.

        Raises:
            BucketNotDeclaredError: If no `Buckets` here declares the bucket.
            InvalidOptionError: If the message lacks a value that the name needs, or is not
                a change of an object.
        """
        message = context.get("message") if context is not None else None
        if self.bucket is None or self.name is None:
            # Only change handlers get here in practice, and they have loaded this module.
            from faststream_objstore.changes.delivery import ChangeMessage  # noqa: PLC0415

            raw = getattr(message, "raw_message", None)
            if not isinstance(raw, ChangeMessage):
                msg = (
                    f"{self.text} only works in handlers of a bucket's on_put, on_delete and "
                    "on_change; give a bucket and a name here."
                )
                raise InvalidOptionError(msg)
            info = raw.info
            return extension_of(context, info.bucket).handle(info.bucket), info
        store = extension_of(context, self.bucket).handle(self.bucket)
        try:
            return store, self.name.fill(getattr(message, "path", None) or {})
        except UnfilledError as error:
            msg = f"{error}; name it in the subscriber's subject or pattern."
            raise InvalidOptionError(msg, bucket=self.bucket) from None
