"""Type checkers see what users see: mypy and pyright judge the files in `tests/typing`.

Each of those asserts types, and marks with an ignore what must be an error; an ignore that
nothing needs is an error itself. Of pyright, basedpyright runs, because it brings its Node.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FILES = ROOT / "tests" / "typing"
CONFIG = FILES / "pyrightconfig.json"

# The checkers judge for Python 3.10, whatever runs them.
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

WRONG = """
from typing_extensions import assert_type
from faststream_objstore import ObjectInfo, ObjectStore

async def read(store: ObjectStore) -> None:
    assert_type(await store.get_info("one"), str)
    assert_type(await store.put("one", b""), ObjectInfo)
    await store.exists("one")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue]
    await store.put("one", 1)
"""
WRONG_LINES = [6, 8, 9]


def mypy(*files: Path, config: Path = ROOT / "pyproject.toml") -> str:
    command = [sys.executable, "-m", "mypy", "--config-file", str(config)]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def pyright(*arguments: str) -> Any:
    """What pyright reports, as `--outputjson` gives it."""
    # It looks for modules where the `python` on PATH does.
    scripts = Path(sys.executable).parent
    command = shutil.which("basedpyright", path=str(scripts))
    assert command is not None, "basedpyright belongs to the dependency group dev"
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    done = subprocess.run(
        [command, "--outputjson", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_mypy_sees_the_types_and_the_errors_that_it_should() -> None:
    assert mypy(FILES).startswith("Success: ")


def test_pyright_sees_the_types_and_the_errors_that_it_should() -> None:
    report = pyright("--project", str(CONFIG))
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == len(list(FILES.glob("*.py")))


def test_mypy_reports_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    output = mypy(file).splitlines()
    lines = [int(line.split(":")[1]) for line in output if ": error: " in line]
    assert lines == WRONG_LINES


def test_pyright_reports_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    config = tmp_path / CONFIG.name
    settings = json.loads(CONFIG.read_text())
    config.write_text(json.dumps({**settings, "extraPaths": [str(ROOT)]}))
    report = pyright("--project", str(config))
    # It counts lines from 0.
    lines = [one["range"]["start"]["line"] + 1 for one in report["generalDiagnostics"]]
    assert sorted(lines) == WRONG_LINES


def test_every_public_symbol_has_a_type_that_all_checkers_agree_on() -> None:
    report = pyright("--verifytypes", "faststream_objstore", "--ignoreexternal")
    completeness = report["typeCompleteness"]
    # The package is found at all.
    assert completeness["exportedSymbolCounts"]["withKnownType"] > 500
    unknown = [
        f"{symbol['name']}: {one['message']}"
        for symbol in completeness["symbols"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        for one in symbol["diagnostics"]
    ]
    assert unknown == []
    assert completeness["completenessScore"] == 1
