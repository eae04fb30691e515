"""Patterns of object names, and what they capture."""

import itertools

import pytest

from faststream_objstore import pattern as module
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.pattern import NamePattern, name_filter

PATTERNS = [
    "*/*",
    "**/*b",
    "**/a",
    "a/**/b",
    "**/**/a",
    "*a*b",
    "*a**b*",
    "**a/*",
    "{one}/{two}",
    "{one}{two}",
    "{one}/{rest:path}",
    "{rest:path}/{last}",
    "{all:path}a{more:path}",
    "*{one}/**",
    "**/{one}",
    "a*{one}b*",
]
NAMES = [
    "".join(name) for size in range(1, 7) for name in itertools.product("ab/", repeat=size)
]


@pytest.mark.parametrize(
    "pattern,name,captured",
    [
        ("**", "a/b/c", {}),
        ("*", "a", {}),
        ("*", "a/b", None),
        ("*.png", ".png", {}),
        ("*.png", "catxpng", None),
        ("a?[b].txt", "a?[b].txt", {}),
        ("a?.txt", "ab.txt", None),
        ("**/x", "x", {}),
        ("**/x", "a/b/x", {}),
        ("**/x", "ax", None),
        ("a**", "ab/c", {}),
        ("{user}/*.png", "ann/cat.png", {"user": "ann"}),
        ("{user}/*.png", "/cat.png", None),
        ("{user}/*.png", "ann/b/cat.png", None),
        ("{user}-{year}", "ann-lee-2024", {"user": "ann-lee", "year": "2024"}),
        ("{rest:path}.txt", "a/b.txt", {"rest": "a/b"}),
        ("{rest:path}", "line\nline", {"rest": "line\nline"}),
        ("{{{user}}}", "{ann}", {"user": "ann"}),
        ("{a}/{b:path}/{c}", "1/2/3/4", {"a": "1", "b": "2/3", "c": "4"}),
    ],
)
def test_pattern_matches_what_it_says(
    pattern: str, name: str, captured: dict[str, str] | None
) -> None:
    assert NamePattern(pattern).match(name) == captured


@pytest.mark.parametrize("pattern", PATTERNS)
def test_long_names_are_matched_as_short_ones_are(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = NamePattern(pattern)
    short = {name: names.match(name) for name in NAMES}
    monkeypatch.setattr(module, "_AFFORDABLE_STEPS", 0)
    assert {name: names.match(name) for name in NAMES} == short
    # Neither all nor none, or nothing is compared.
    assert 0 < sum(found is not None for found in short.values()) < len(short)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("ending,captured", [("", None), ("b/c", {"last": "c"})])
def test_long_name_of_a_foreigner_does_not_stop_the_service(
    ending: str, captured: dict[str, str] | None
) -> None:
    # Tried one way after the other, these are more ways than there is time for.
    names = NamePattern("*a*a*a*a*a*a*a*a*b/{last}")
    assert names.match("a" * 2_900 + ending) == captured


@pytest.mark.parametrize(
    "pattern,why",
    [
        ("", "it must be a str"),
        (None, "it must be a str"),
        ("***", "'\\*\\*\\*' is neither"),
        ("{user", "the brace at position 0 is not closed"),
        ("user}.png", "the brace at position 4 is not opened; write '}}' for a literal brace"),
        ("{user}}.png", "the brace at position 6 is not opened"),
        ("a/{2nd}", "'{2nd}' does not name a parameter"),
        ("{user:int}", "'{user:int}' is neither"),
        ("{user}/{user}", "it captures 'user' twice"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(InvalidPatternError, match=why):
        NamePattern(pattern)


def test_filter_wants_the_prefix_and_the_pattern() -> None:
    wanted = name_filter("a/", "*/*.txt")
    assert wanted is not None
    names = ["a/b.txt", "a/b.png", "b/b.txt", "a/b/c.txt"]
    assert [name for name in names if wanted(name)] == ["a/b.txt"]
    assert name_filter(None, None) is None
    assert name_filter("", None) is None


def test_prefix_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"prefix must be a str, got 1\."):
        name_filter(1, None)  # type: ignore[arg-type]
