"""Which object a field refers to: the one that triggered the handler, or a named one."""

import re
from typing import NamedTuple

from faststream_objstore._faststream import ContextRepo
from faststream_objstore.bucket import Bucket, name_of
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params.field import extension_of
from faststream_objstore.store import ObjectStore
from faststream_objstore.wire import metadata_subject

__all__ = ("Address",)

# Compiled and cached by `re` when the first name with braces is parsed.
_PIECE = r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


class Address(NamedTuple):
    """An object's bucket and name; if neither is set, the object of a change handler.

    Attributes:
        bucket: The bucket's name.
        template: The object's name, with `{placeholders}` of the message's `Path()` values.
        text: How the user wrote it, for error messages.
        parts: The template's literal pieces, each with the placeholder that follows it.
    """

    bucket: str | None
    template: str | None
    text: str
    parts: tuple[tuple[str, str | None], ...] = ()

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
        # Refuses an empty name and what is not a str; the connection limits the length.
        metadata_subject(of, name)
        return cls(of, name, text, _parse(name, text))

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
        if self.bucket is None:
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
        return store, self._fill(getattr(message, "path", None) or {})

    def _fill(self, values: dict[str, object]) -> str:
        name = ""
        for text, placeholder in self.parts:
            name += text
            if placeholder is None:
                continue
            if placeholder not in values:
                listed = ", ".join(map(repr, values)) or "none"
                msg = (
                    f"{self.text}: the message has no Path() value {placeholder!r} (it has: "
                    f"{listed}); name it in the subscriber's subject or pattern."
                )
                raise InvalidOptionError(msg, bucket=self.bucket)
            name += str(values[placeholder])
        return name


def _parse(template: str, text: str) -> tuple[tuple[str, str | None], ...]:
    if "{" not in template and "}" not in template:
        return ((template, None),)
    parts: list[tuple[str, str | None]] = []
    position = 0
    for found in re.finditer(_PIECE, template):
        literal, token = template[position : found.start()], found[0]
        position = found.end()
        if token in {"{{", "}}"}:
            parts.append((literal + token[0], None))
            continue
        name = found["name"]
        if name is None or not re.fullmatch(_IDENTIFIER, name):
            msg = (
                f"{text}: {token!r} is not the name of a Path() value in braces; write "
                "'{{' and '}}' for braces."
            )
            raise InvalidPatternError(msg)
        parts.append((literal, name))
    parts.append((template[position:], None))
    return tuple(parts)
