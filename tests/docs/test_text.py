"""What the pages of `docs/` say of the package, the repository and each other is so."""

import inspect
import itertools
import re
from pathlib import Path

import pytest

import faststream_objstore
from faststream_objstore import exceptions
from faststream_objstore.pattern import NamePattern
from faststream_objstore.store import ObjectStore
from tests.docs.page import DOCS, ROOT, blocks_of, pages, program_of


def rows_of(page: str, head: str) -> list[list[str]]:
    """The cells of the table under a line that begins with these cells."""
    lines = (DOCS / page).read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(head))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def test_patterns_of_the_page_on_change_subscribers() -> None:
    rows = rows_of("changes.md", "| pattern | matches | does not match |")
    assert len(rows) == 6
    for pattern, matching, other in rows:
        matches = NamePattern(pattern.split("`")[1]).match
        captured = re.findall(r'(\w+)="([^"]+)"', matching)
        names = [one for one in re.findall(r"`([^`]+)`", matching) if "=" not in one]
        for name in names:
            assert matches(name) == dict(captured)
        for name in re.findall(r"`([^`]+)`", other):
            assert matches(name) is None
        assert names or pattern.endswith("the default")


def test_page_on_examples_names_each_of_them() -> None:
    linked = re.findall(r"\]\(\.\./examples/([\w/.]+)\)", (DOCS / "examples.md").read_text())
    programs = {one.name for one in (ROOT / "examples").glob("*.py") if one.stem != "__init__"}
    folders = {one.parent.name for one in (ROOT / "examples").glob("*/__main__.py")}
    assert programs | folders == {Path(one).parts[0] for one in linked}


def test_page_on_architecture_names_the_rooms_of_the_store() -> None:
    text = (DOCS / "architecture.md").read_text()
    section = text.split("\n## The store\n")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+\.py)`", section)
    rooms = (ROOT / "faststream_objstore/store").glob("*.py")
    assert sorted(named) == sorted(one.name for one in rooms if one.name != "__init__.py")


def test_each_python_block_is_of_a_program_that_a_test_runs() -> None:
    here = Path(__file__)
    tests = "".join(one.read_text() for one in here.parent.glob("test_*.py") if one != here)
    for page in pages():
        for title in {one.title for one in blocks_of(page) if one.language == "python"}:
            assert f'"{page}"' in tests, f"no test runs the blocks of {page}"
            # The files of the page on tests are found by their titles.
            assert title is None or page == "testing.md" or f'"{title}"' in tests, title


def test_rows_of_the_page_on_results_name_tests_that_exist() -> None:
    rows = rows_of("results.md", "| when | then | proved by |")
    tests = "".join(one.read_text() for one in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, row
        assert [one for one in named if f"def {one}(" not in tests] == []


@pytest.mark.parametrize("page", pages())
def test_links_of_a_page_lead_to_files_of_the_repository(page: str) -> None:
    text = re.sub(r"```.*?^```", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not ((DOCS / page).parent / link).exists()] == []


def test_commands_of_the_pages_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = "".join((DOCS / page).read_text() for page in pages())
    commands = set(re.findall(r"(?:^\$ |`)make ([\w-]+)", text, re.MULTILINE))
    assert {"demo", "test"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_pages_on_the_store_show_every_method() -> None:
    methods = {name for name, _ in inspect.getmembers(ObjectStore, callable) if name[0] != "_"}
    pages = "\n".join(
        map(
            program_of,
            ("store.md", "bulk.md", "filesystem.md", "transactions.md", "mirrors.md"),
        )
    )
    shown = re.findall(r"\b(?:store|old|ObjectStore)\.(\w+)\(", pages)
    # `on` takes a backend, and those are not public; `retire` is there for publishers.
    assert methods - {"on", "retire"} <= set(shown)


def test_reference_has_every_public_name() -> None:
    names = re.compile(r"^::: faststream_objstore\.(?:\w+\.)?(\w+)$", re.MULTILINE)
    reference = "".join((DOCS / page).read_text() for page in pages() if "reference/" in page)
    named = set(names.findall(reference))
    documented = {*named, *exceptions.__all__}
    assert [one for one in faststream_objstore.__all__ if one not in documented] == []
    assert "exceptions" in named
