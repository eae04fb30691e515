"""Names of results: what a template may say, and what comes of it."""

import pytest

from faststream_objstore.exceptions import InvalidObjectNameError, InvalidPatternError
from faststream_objstore.publishers.template import ResultName


@pytest.mark.parametrize(
    "text, name",
    [
        ("report.pdf", "report.pdf"),
        ("{user}/{stem}.webp", "ann/cat.webp"),
        ("{user}{user}", "annann"),
        ("{{{user}}}", "{ann}"),
        ("{{user}}", "{user}"),
        ("*/{stem}/**", "*/cat/**"),
    ],
)
def test_values_are_filled_in_and_all_else_is_itself(text: str, name: str) -> None:
    assert ResultName("thumbs", text).fill({"user": "ann", "stem": "cat"}) == name


def test_placeholders_are_named_once_in_order() -> None:
    assert ResultName("thumbs", "{b}/{a}/{b}").placeholders == ("b", "a")


@pytest.mark.parametrize(
    "text, why",
    [
        ("{user", "the brace at 0 stands alone; write '{{' for one"),
        ("a}", "the brace at 1 stands alone; write '}}' for one"),
        ("{}", "'{}' does not name a Path() value"),
        ("{rest:path}", "'{rest:path}' does not name a Path() value"),
    ],
)
def test_malformed_template_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(InvalidPatternError) as error:
        ResultName("thumbs", text)
    assert why in str(error.value)
    assert "Bucket 'thumbs', publisher(" in str(error.value)


@pytest.mark.parametrize("text", ["", 5, None])
def test_what_cannot_become_a_name_is_refused(text: object) -> None:
    with pytest.raises(InvalidObjectNameError, match="Bucket 'thumbs'"):
        ResultName("thumbs", text)  # type: ignore[arg-type]


def test_forgotten_parentheses_are_pointed_out() -> None:
    with pytest.raises(InvalidPatternError, match="called before it decorates"):
        ResultName("thumbs", lambda: None)  # type: ignore[arg-type]


def test_missing_value_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(InvalidObjectNameError) as error:
        ResultName("thumbs", "{user}.webp").fill({"stem": "cat"})
    assert "no Path() value 'user' (it has 'stem')" in str(error.value)
    assert "ObjectResponse(body, name=...)" in str(error.value)
