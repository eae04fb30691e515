"""Patterns of object names: `*`, `**`, `{user}`, `{rest:path}`.

Names are base64-encoded in subjects, so the server cannot filter them; the client does it
here. Names are untrusted input, so a match takes time linear in the name's length.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from .exceptions import InvalidOptionError, InvalidPatternError

__all__ = ("NamePattern", "name_filter")

# Compiled and cached by `re` when the first pattern is parsed.
_PIECE = (
    r"(?P<dirs>(?:(?<=/)|^)\*\*/)"
    r"|(?P<stars>\*+)"
    r"|(?P<brace>\{\{|\}\})"
    r"|(?P<capture>\{[^{}]*\})"
    r"|(?P<lone>[{}])"
)

# `re` backtracks: with several wildcards it takes len(name) ** wildcards steps in the worst
# case. Up to this many steps it is by far the faster way.
_AFFORDABLE_STEPS = 50_000


class _Token(NamedTuple):
    """One piece of a pattern: `text` is set for a literal, `name` for a capture."""

    text: str = ""
    name: str | None = None
    across: bool = False
    least: int = 0
    whole_segments: bool = False


class NamePattern:
    """A compiled pattern.

    `*` matches any text within a `/` segment, `**` any text at all (`**/x` matches `x` too),
    `{user}` a non-empty part of one segment, and `{rest:path}` any non-empty text.
    `{{` and `}}` are literal braces; every other character matches itself.

    Args:
        pattern: The pattern's text.

    Attributes:
        text: The pattern's text.
        captures: The names in braces, in order.

    Raises:
        InvalidPatternError: If the pattern is malformed.
    """

    __slots__ = ("_regex", "_tokens", "_wildcards", "captures", "text")

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str) or not pattern:
            self._refuse(pattern, 'it must be a str, such as "**" for all names')
        self.text: str = pattern
        self._tokens = tuple(self._parse(pattern))
        self.captures: tuple[str, ...] = tuple(
            one.name for one in self._tokens if one.name is not None
        )
        for name in self.captures:
            if self.captures.count(name) > 1:
                self._refuse(pattern, f"it captures {name!r} twice")
        self._wildcards = sum(not one.text for one in self._tokens)
        self._regex = re.compile("".join(map(_to_regex, self._tokens)), re.DOTALL)

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"

    @staticmethod
    def _refuse(pattern: object, why: str) -> None:
        msg = f"the pattern {pattern!r} is invalid: {why}."
        raise InvalidPatternError(msg)

    def _parse(self, pattern: str) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        for found in re.finditer(_PIECE, pattern):
            if literal := pattern[position : found.start()]:
                tokens.append(_Token(literal))
            position = found.end()
            kind, text = found.lastgroup, found[0]
            if kind == "dirs":
                tokens.append(_Token(across=True, whole_segments=True))
            elif kind == "stars":
                if len(text) > 2:
                    self._refuse(pattern, f"{text!r} is neither * nor **")
                tokens.append(_Token(across=text == "**"))
            elif kind == "brace":
                tokens.append(_Token(text[0]))
            elif kind == "capture":
                name, colon, kind = text[1:-1].partition(":")
                if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                    self._refuse(pattern, f"{text!r} does not name a parameter")
                if colon and kind != "path":
                    self._refuse(pattern, f"{text!r} is neither {{name}} nor {{name:path}}")
                tokens.append(_Token(name=name, across=bool(colon), least=1))
            else:
                wrong = "closed" if text == "{" else "opened"
                self._refuse(
                    pattern,
                    f"the brace at position {found.start()} is not {wrong}; write "
                    f"{text * 2!r} for a literal brace",
                )
        if literal := pattern[position:]:
            tokens.append(_Token(literal))
        return tokens

    def match(self, name: str) -> dict[str, str] | None:
        """Match a name against the pattern.

        Args:
            name: The object's name.

        Returns:
            The captured parts by name, or `None` if the name does not match.
        """
        if len(name) ** self._wildcards > _AFFORDABLE_STEPS and self._wildcards > 1:
            return self._match_long(name)
        found = self._regex.fullmatch(name)
        return None if found is None else found.groupdict()

    def _match_long(self, name: str) -> dict[str, str] | None:
        """Match like the regular expression, in time linear in the name's length."""
        # Built from the last token backwards: the positions from which the rest matches.
        length = len(name)
        reachable = [bytearray(length + 1) for _ in range(len(self._tokens) + 1)]
        reachable[-1][length] = 1
        for index in range(len(self._tokens) - 1, -1, -1):
            token, after, here = self._tokens[index], reachable[index + 1], reachable[index]
            if token.text:
                for start in range(length - len(token.text), -1, -1):
                    if after[start + len(token.text)] and name.startswith(token.text, start):
                        here[start] = 1
                continue
            # Whether the token can reach some end, at or after `start`, that works.
            ahead = False
            for start in range(length, -1, -1):
                if not token.across and start < length and name[start] == "/":
                    ahead = False
                if token.whole_segments:
                    here[start] = ahead or after[start]
                    ahead = ahead or bool(after[start] and start and name[start - 1] == "/")
                elif token.least:
                    here[start] = ahead
                    ahead = ahead or bool(after[start])
                else:
                    ahead = ahead or bool(after[start])
                    here[start] = ahead
        if not reachable[0][0]:
            return None

        captured: dict[str, str] = {}
        start = 0
        for index, token in enumerate(self._tokens):
            if token.text:
                start += len(token.text)
                continue
            end = length if token.across else name.find("/", start)
            end = length if end < 0 else end
            after = reachable[index + 1]
            while not after[end] or (
                token.whole_segments and end != start and name[end - 1] != "/"
            ):
                end -= 1
            if token.name is not None:
                captured[token.name] = name[start:end]
            start = end
        return captured


def _to_regex(token: _Token) -> str:
    if token.text:
        return re.escape(token.text)
    if token.whole_segments:
        return "(?:.*/)?"
    body = ("." if token.across else "[^/]") + ("+" if token.least else "*")
    return f"(?P<{token.name}>{body})" if token.name is not None else body


def name_filter(prefix: str | None, pattern: str | None) -> Callable[[str], bool] | None:
    """Build the name filter of `list` and `iter`.

    Args:
        prefix: What names must start with.
        pattern: The pattern that names must match.

    Returns:
        The filter, or `None` if every name is selected.

    Raises:
        InvalidOptionError: If the prefix is not a str.
        InvalidPatternError: If the pattern is malformed.
    """
    if prefix is not None and not isinstance(prefix, str):
        msg = f"prefix must be a str, got {prefix!r}."
        raise InvalidOptionError(msg)
    compiled = NamePattern(pattern) if pattern is not None else None
    if not prefix and compiled is None:
        return None

    def matches(name: str) -> bool:
        if prefix and not name.startswith(prefix):
            return False
        return compiled is None or compiled.match(name) is not None

    return matches
