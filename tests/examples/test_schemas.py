"""Every example that is a service documents itself: `faststream docs gen`."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def has_app(path: Path) -> bool:
    """Whether the module assigns an `app`."""
    return any(
        isinstance(name, ast.Name) and name.id == "app"
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        for name in ast.walk(target)
    )


SERVICES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if has_app(path))


def test_the_quickstart_is_among_them() -> None:
    assert "quickstart" in SERVICES


@pytest.mark.parametrize("module", SERVICES)
def test_schema_is_made_without_a_warning(module: str, tmp_path: Path) -> None:
    schema = tmp_path / "asyncapi.json"
    done = subprocess.run(
        [
            sys.executable, "-W", "error", "-m", "faststream",
            "docs", "gen", f"examples.{module}:app", "--out", str(schema),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "warning" not in done.stdout.lower()
    assert json.loads(schema.read_text())["channels"]
