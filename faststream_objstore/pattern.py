"""Patterns of object names: `*`, `**`, `{user}`, `{rest:path}`.

Names travel base64-encoded, so the server cannot filter them; this does, on the client.
Names are other people's input, so a match takes time linear in the name's length.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from .exceptions import InvalidOptionError, InvalidPatternError

__all__ = ("NamePattern", "name_filter")

# `re` compiles and keeps it when the first pattern comes.
_PIECE = (
    r"(?P<dirs>(?:(?<=/)|^)\*\*/)"
    r"|(?P<stars>\*+)"
    r"|(?P<brace>\{\{|\}\})"
    r"|(?P<capture>\{[^{}]*\})"
    r"|(?P<lone>[{}])"
)

# `re` backtracks: with several wildcards it takes len(name) ** wildcards steps at worst.
# Up to this many it is the faster way by far.
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

    `*` is any text within a `/` segment, `**` any text at all (`**/x` matches `x` too),
    `{user}` a part of one segment, not empty, and `{rest:path}` any text, not empty.
    `{{` and `}}` are braces; every other character is itself.

    Args:
        pattern: The text.

    Attributes:
        text: The text.
        captures: The names in braces, in order.

    Raises:
        InvalidPatternError: If the text is not a pattern.
    """

    __slots__ = ("_regex", "_tokens", "_wildcards", "captures", "text")

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str) or not pattern:
            self._refuse(pattern, 'it must be a text, such as "**" for all names')
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
        msg = f"the pattern {pattern!r} cannot work: {why}."
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
                    f"the brace at {found.start()} is not {wrong}; write {text * 2!r} for one",
                )
        if literal := pattern[position:]:
            tokens.append(_Token(literal))
        return tokens

    def match(self, name: str) -> dict[str, str] | None:
        """The captured parts of a name, or `None` if it does not match."""
        if len(name) ** self._wildcards > _AFFORDABLE_STEPS and self._wildcards > 1:
            return self._match_long(name)
        found = self._regex.fullmatch(name)
        return None if found is None else found.groupdict()

    def _match_long(self, name: str) -> dict[str, str] | None:
        """As the regular expression does, in time linear in the name's length."""
        # From the back: the positions from which the remaining tokens match.
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
            # Whether some end at or behind `start` that the token can reach is fine.
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
    """What `list` and `iter` select by; `None` for everything.

    Raises:
        InvalidOptionError: If the prefix is not text, or the pattern is malformed.
    """
    if prefix is not None and not isinstance(prefix, str):
        msg = f"prefix={prefix!r} cannot work; give a str."
        raise InvalidOptionError(msg)
    compiled = NamePattern(pattern) if pattern is not None else None
    if not prefix and compiled is None:
        return None

    def matches(name: str) -> bool:
        if prefix and not name.startswith(prefix):
            return False
        return compiled is None or compiled.match(name) is not None

    return matches
