"""The arrows between the rooms go one way, as docs/architecture.md draws them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "faststream_objstore"

# A room may import those on the floors below it, and its own.
FLOORS = [
    {"exceptions", "messages", "models", "wire", "pattern", "template"}
    | {"settling", "backoff", "lazy", "logs"},
    {"backends"},
    {"store", "filesystem"},
    {"bucket", "buckets", "binding", "channels", "params", "live", "changes", "publishers"}
    | {"middlewares", "origin", "observers", "health", "standing", "sweeping"}
    | {"_faststream", "connection", "context", "declarations", "fields", "following"}
    | {"ownership"},
    {"http"},
    {"cli", "testing", "pytest_plugin", "__init__"},
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports."""
    package = ["faststream_objstore", *path.relative_to(PACKAGE).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            # `from . import wire` names modules.
            yield from (f"{base}.{one.name}" for one in node.names)


def floor_of(room: str) -> int | None:
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), None)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_floor_and_below(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    own = floor_of(room)
    assert own is not None, f"{room} stands on no floor: add it to FLOORS and to the docs"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "faststream_objstore" or len(parts) < 2:
            continue
        level = floor_of(parts[1])
        if level is None:
            continue
        assert level <= own, f"{room} imports {name}, which stands above it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_store_and_backends_know_nothing_of_faststream(path: Path) -> None:
    floor = floor_of(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    found = [name for name in imports(path) if name.split(".")[0] == "faststream"]
    private = [name for name in found if name.startswith("faststream._internal")]
    if floor is not None and floor < 3:
        assert found == []
    if path.parent.name != "_faststream":
        assert private == []
