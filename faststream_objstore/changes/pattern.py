"""Patterns of object names.

A pattern comes from a developer, but a name comes from anybody who may put, so matching
must not backtrack: a regular expression for `*-*-*-*.png` takes hours on a long name of
dashes. Here the set of positions that a prefix of the pattern can reach is the bits of one
integer, and each token maps that set to the next: the time is linear in the name.
"""

import keyword
from dataclasses import dataclass
from enum import Enum, auto

from faststream_objstore.errors import InvalidPatternError

__all__ = ("Pattern",)


class _Kind(Enum):
    LITERAL = auto()
    SEGMENT = auto()
    """`*`: any text without a `/`, also none."""
    ANYTHING = auto()
    """`**`: any text, also none."""
    FOLDERS = auto()
    """`**/` where a segment begins: whole segments, also none."""
    NAME = auto()
    """`{name}`: a part of one segment, not empty."""
    PATH = auto()
    """`{name:path}`: any text but the empty one."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str = ""


class Pattern:
    """Matches object names, and takes parts of them out.

    `*` stands for any text within a segment between `/`, `**` for any text; `**/` at the
    beginning of a segment also stands for nothing, so `**/x` matches `x`. `{user}` takes a
    part of one segment, `{rest:path}` a part across segments; neither takes the empty
    text, and of two that could share a text the left one takes more. Every other character
    is itself.

    Args:
        text: The pattern.

    Raises:
        InvalidPatternError: If it is malformed.
    """

    __slots__ = ("_tokens", "captures", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            msg = f"A pattern of object names is a str, not {text!r}; '**' matches every name."
            raise InvalidPatternError(msg)
        if not text:
            msg = "A pattern of object names must not be empty; '**' matches every name."
            raise InvalidPatternError(msg)
        self.text = text
        self._tokens = tuple(_parse(text))
        self.captures = tuple(
            token.text for token in self._tokens if token.kind in {_Kind.NAME, _Kind.PATH}
        )
        if len(set(self.captures)) < len(self.captures):
            msg = f"Pattern {text!r}: each name in braces may stand there once."
            raise InvalidPatternError(msg)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def match(self, name: str) -> dict[str, str] | None:
        """What the braces take out of `name`, or `None` if it does not match."""
        text = _Text(name)
        reached = [1]
        for token in self._tokens:
            positions = text.after(token, reached[-1])
            if not positions:
                return None
            reached.append(positions)
        if not reached[-1] >> len(name):
            return None
        return self._captured(name, text, reached) if self.captures else {}

    def _captured(self, name: str, text: "_Text", reached: list[int]) -> dict[str, str]:
        result: dict[str, str] = {}
        end = len(name)
        for token, positions in zip(self._tokens[::-1], reached[-2::-1], strict=True):
            start = text.before(token, positions, end)
            if token.kind in {_Kind.NAME, _Kind.PATH}:
                result[token.text] = name[start:end]
            end = start
        return {capture: result[capture] for capture in self.captures}


class _Text:
    """A name, and the sets of its positions that tokens lead to.

    Bit `p` of a set stands for the position before character `p`; the highest, `len(name)`,
    for the end.
    """

    __slots__ = ("_after_slash", "_in_segment", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        slashes = 0
        for position in _occurrences(name, "/"):
            slashes |= 1 << position
        self._after_slash = slashes << 1
        # The characters that a text within a segment can step over.
        self._in_segment = ((1 << len(name)) - 1) & ~slashes

    def after(self, token: _Token, positions: int) -> int:
        """The positions that `token` leads to from any of `positions`, which has some."""
        match token.kind:
            case _Kind.LITERAL:
                found = 0
                for position in _occurrences(self._name, token.text):
                    found |= 1 << position
                return (positions & found) << len(token.text)
            case _Kind.SEGMENT:
                return self._through_segment(positions)
            case _Kind.ANYTHING:
                return self._from_first(positions)
            case _Kind.FOLDERS:
                return positions | (self._after_slash & (self._from_first(positions) << 1))
            case _Kind.NAME:
                return self._through_segment((positions & self._in_segment) << 1)
            case _Kind.PATH:
                return self._from_first(positions << 1)

    def before(self, token: _Token, positions: int, end: int) -> int:
        """The last of `positions` from which `token` leads to `end`."""
        if token.kind is _Kind.LITERAL:
            return end - len(token.text)
        not_empty = token.kind in {_Kind.NAME, _Kind.PATH}
        limit = end if not_empty else end + 1
        return (positions & ((1 << limit) - 1)).bit_length() - 1

    def _from_first(self, positions: int) -> int:
        first = positions & -positions
        return ((1 << (len(self._name) + 1)) - 1) & ~(first - 1)

    def _through_segment(self, positions: int) -> int:
        # Each round doubles the distance that has been stepped (Kogge-Stone).
        steppable, distance = self._in_segment << 1, 1
        while steppable:
            positions |= steppable & (positions << distance)
            steppable &= steppable << distance
            distance *= 2
        return positions


def _occurrences(name: str, text: str) -> list[int]:
    found = []
    position = name.find(text)
    while position >= 0:
        found.append(position)
        position = name.find(text, position + 1)
    return found


def _parse(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    literal = ""
    position = 0

    def add(kind: _Kind, capture: str = "") -> None:
        nonlocal literal
        if literal:
            tokens.append(_Token(_Kind.LITERAL, literal))
            literal = ""
        tokens.append(_Token(kind, capture))

    while position < len(text):
        begins_segment = position == 0 or text[position - 1] == "/"
        if begins_segment and text.startswith("**/", position):
            add(_Kind.FOLDERS)
            position += 3
        elif text.startswith("**", position):
            add(_Kind.ANYTHING)
            position += 2
        elif text[position] == "*":
            add(_Kind.SEGMENT)
            position += 1
        elif text[position] == "{":
            end = text.find("}", position)
            inside = text[position + 1 : end]
            if end < 0 or "{" in inside:
                msg = f"Pattern {text!r}: the brace at character {position} is never closed."
                raise InvalidPatternError(msg)
            add(*_capture(text, inside))
            position = end + 1
        elif text[position] == "}":
            msg = f"Pattern {text!r}: the brace at character {position} was never opened."
            raise InvalidPatternError(msg)
        else:
            literal += text[position]
            position += 1
    if literal:
        tokens.append(_Token(_Kind.LITERAL, literal))
    return tokens


def _capture(text: str, inside: str) -> tuple[_Kind, str]:
    name, colon, convertor = inside.partition(":")
    if not name.isidentifier() or keyword.iskeyword(name):
        msg = (
            f"Pattern {text!r}: {name!r} in braces is not the name of a parameter; write "
            "{user} or {rest:path}."
        )
        raise InvalidPatternError(msg)
    if colon and convertor != "path":
        msg = (
            f"Pattern {text!r}: {convertor!r} in {{{inside}}} is unknown; only ':path' is, "
            "and Path() converts what it takes to the parameter's type."
        )
        raise InvalidPatternError(msg)
    return (_Kind.PATH if colon else _Kind.NAME), name
