"""Which object a field means: the one that fired, or a named one."""

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

# `re` compiles and keeps them when the first name with braces comes.
_PIECE = r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


class Address(NamedTuple):
    """An object's bucket and name; without both, the object of a change handler.

    Attributes:
        bucket: The bucket's name.
        template: The object's name, with `{placeholders}` of the message's `Path()` values.
        text: How it was written, for errors.
        parts: The template's literal pieces, each with the placeholder that follows it.
    """

    bucket: str | None
    template: str | None
    text: str
    parts: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def of(cls, marker: str, bucket: str | Bucket | None, name: str | None) -> "Address":
        """Check what a marker was given.

        Raises:
            InvalidOptionError: If there is a bucket without a name, or the other way round.
            InvalidBucketNameError, InvalidObjectNameError: If they cannot work.
            InvalidPatternError: If a placeholder is malformed.
        """
        if bucket is None and name is None:
            return cls(None, None, f"{marker}()")
        if bucket is None or name is None:
            msg = (
                f"{marker} takes a bucket and an object's name, or nothing, for the object "
                f"that fired: {marker}(bucket={bucket!r}, name={name!r}) cannot work."
            )
            raise InvalidOptionError(msg)
        of = name_of(bucket)
        text = f"{marker}({of!r}, {name!r})"
        # Refuses what is no text, or empty; how long it may be, the connection says.
        metadata_subject(of, name)
        return cls(of, name, text, _parse(name, text))

    def resolve(self, context: ContextRepo | None) -> tuple[ObjectStore, str | ObjectInfo]:
        """The store, and the object in it: a name, or the version that fired.

        Raises:
            BucketNotDeclaredError: If no `Buckets` here declares the bucket.
            InvalidOptionError: If the message has not what the address needs.
        """
        message = context.get("message") if context is not None else None
        if self.bucket is None:
            # Who asks for the object that fired has a change handler, and so loaded this.
            from faststream_objstore.changes.delivery import ChangeMessage  # noqa: PLC0415

            raw = getattr(message, "raw_message", None)
            if not isinstance(raw, ChangeMessage):
                msg = (
                    f"{self.text} is for handlers of a bucket's on_put, on_delete and "
                    "on_change, and this is none; give a bucket and a name."
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
