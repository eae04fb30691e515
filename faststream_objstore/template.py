"""Names of objects that are filled in with a message's `Path()` values."""

import re
from collections.abc import Mapping

from .exceptions import InvalidPatternError
from .wire import metadata_subject

__all__ = ("NameTemplate", "UnfilledError")

# Compiled and cached by `re` when the first name with braces is parsed.
_PIECE = r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


class UnfilledError(LookupError):
    """A message lacks a value that a name needs; whoever fills it in adds the remedy."""


class NameTemplate:
    """A name with placeholders: `{user}` is filled in, `{{` and `}}` are literal braces.

    Args:
        bucket: The bucket that the name is in.
        text: The template.
        where: Who gave it, for errors.

    Attributes:
        text: The template.
        where: Who gave it.
        placeholders: The names in braces, in order, without repetitions.

    Raises:
        InvalidPatternError: If the text is not a template.
        InvalidObjectNameError: If it cannot produce a valid name.
    """

    __slots__ = ("_parts", "bucket", "placeholders", "text", "where")

    def __init__(self, bucket: str, text: str, where: str) -> None:
        self.bucket: str = bucket
        self.text: str = text
        self.where: str = where
        # An empty name, or one that is not text; the connection limits the length.
        metadata_subject(bucket, text)
        parts: list[tuple[str, str | None]] = []
        literal, position = "", 0
        # Most names have no braces, and most services no placeholders.
        for found in re.finditer(_PIECE, text) if "{" in text or "}" in text else ():
            literal += text[position : found.start()]
            position = found.end()
            name = found["name"]
            if found[0] in {"{{", "}}"}:
                literal += found[0][0]
            elif name is not None and re.fullmatch(_IDENTIFIER, name):
                parts.append((literal, name))
                literal = ""
            else:
                raise self._malformed(found[0], found.start())
        parts.append((literal + text[position:], None))
        self._parts = tuple(parts)
        self.placeholders: tuple[str, ...] = tuple(
            dict.fromkeys(name for _, name in parts if name is not None)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def _malformed(self, piece: str, position: int) -> InvalidPatternError:
        why = (
            f"the brace at {position} stands alone; write {piece * 2!r} for one"
            if piece in {"{", "}"}
            else f"{piece!r} does not name a Path() value; write {{name}}, or '{{{{' and "
            "'}}' for braces"
        )
        return InvalidPatternError(f"{self.where}: {why}.", bucket=self.bucket)

    def fill(self, values: Mapping[str, object]) -> str:
        """The name with the values of one message.

        Raises:
            UnfilledError: If a value is missing.
        """
        name = ""
        for literal, placeholder in self._parts:
            name += literal
            if placeholder is None:
                continue
            if placeholder not in values:
                listed = ", ".join(map(repr, values)) or "none"
                msg = (
                    f"{self.where}: the message has no Path() value {placeholder!r} (it has "
                    f"{listed})"
                )
                raise UnfilledError(msg)
            name += str(values[placeholder])
        return name
