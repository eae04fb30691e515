"""The name of a result: text that is filled in with the message's `Path()` values."""

import re
from collections.abc import Mapping

from faststream_objstore.exceptions import InvalidObjectNameError, InvalidPatternError
from faststream_objstore.wire import metadata_subject

__all__ = ("NameTemplate",)

_PIECE = r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


class NameTemplate:
    """A compiled template: `{user}` is filled in, `{{` and `}}` are literal braces.

    Args:
        bucket: The bucket that the name is in, for errors.
        text: The template.

    Attributes:
        text: The template.
        placeholders: The names in braces, in order, without repetitions.

    Raises:
        InvalidPatternError: If the text is not a template.
        InvalidObjectNameError: If it cannot produce a valid name.
    """

    __slots__ = ("_bucket", "_parts", "placeholders", "text")

    def __init__(self, bucket: str, text: str) -> None:
        self._bucket = bucket
        if callable(text):
            msg = (
                f"Bucket '{bucket}': publisher is called before it decorates; write "
                '@bucket.publisher("{name}").'
            )
            raise InvalidPatternError(msg, bucket=bucket)
        # An empty name, or one that is not text.
        metadata_subject(bucket, text)
        self.text: str = text
        parts: list[tuple[str, str | None]] = []
        literal, position = "", 0
        for found in re.finditer(_PIECE, text):
            literal += text[position : found.start()]
            position = found.end()
            name = found["name"]
            if found[0] in {"{{", "}}"}:
                literal += found[0][0]
            elif name is not None and re.fullmatch(_IDENTIFIER, name):
                parts.append((literal, name))
                literal = ""
            else:
                self._refuse(found[0], found.start())
        parts.append((literal + text[position:], None))
        self._parts = tuple(parts)
        self.placeholders: tuple[str, ...] = tuple(
            dict.fromkeys(name for _, name in parts if name is not None)
        )

    def __repr__(self) -> str:
        return f"NameTemplate({self.text!r})"

    def _refuse(self, piece: str, position: int) -> None:
        why = (
            f"the brace at {position} stands alone; write {piece * 2!r} for one"
            if piece in {"{", "}"}
            else f"{piece!r} does not name a Path() value; write {{name}}"
        )
        msg = f"Bucket '{self._bucket}', publisher({self.text!r}): {why}."
        raise InvalidPatternError(msg, bucket=self._bucket)

    def fill(self, values: Mapping[str, object]) -> str:
        """The name with the values of one message.

        Raises:
            InvalidObjectNameError: If a value is missing.
        """
        name = ""
        for literal, placeholder in self._parts:
            name += literal
            if placeholder is None:
                continue
            if placeholder not in values:
                listed = ", ".join(map(repr, values)) or "none"
                msg = (
                    f"Bucket '{self._bucket}', publisher({self.text!r}): the message has no "
                    f"Path() value {placeholder!r} (it has {listed}); return "
                    "ObjectResponse(body, name=...), or pass name=... to publish()."
                )
                raise InvalidObjectNameError(msg, bucket=self._bucket)
            name += str(values[placeholder])
        return name
