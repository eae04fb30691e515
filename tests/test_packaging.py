"""What the wheel and the sdist hold; `.ci/run` installs both in empty environments."""

import email
import email.message
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "faststream_objstore"
NAME = "faststream_objstore"
VERSION = "0.1.0"

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]


@dataclass
class Distributions:
    wheel: Path
    sdist: Path
    wheel_files: set[str]
    sdist_files: set[str]

    def metadata(self) -> email.message.Message:
        with zipfile.ZipFile(self.wheel) as archive:
            text = archive.read(f"{NAME}-{VERSION}.dist-info/METADATA").decode()
        return email.message_from_string(text)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """As `make package` makes them, the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        wheel_files = set(archive.namelist())
    with tarfile.open(sdist) as tar:
        names = [PurePosixPath(one.name) for one in tar.getmembers() if one.isfile()]
    assert {name.parts[0] for name in names} == {f"{NAME}-{VERSION}"}
    return Distributions(
        wheel, sdist, wheel_files, {str(PurePosixPath(*name.parts[1:])) for name in names}
    )


def files_of(folder: Path) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_is_the_package_its_license_and_nothing_else(built: Distributions) -> None:
    assert built.wheel.name == f"{NAME}-{VERSION}-py3-none-any.whl"
    modules = {name for name in built.wheel_files if name.startswith(f"{NAME}/")}
    assert modules == files_of(PACKAGE)
    assert f"{NAME}/py.typed" in modules
    rest = built.wheel_files - modules
    assert {name.partition("/")[0] for name in rest} == {f"{NAME}-{VERSION}.dist-info"}
    assert f"{NAME}-{VERSION}.dist-info/licenses/LICENSE" in rest


def test_sdist_has_what_it_takes_to_test_and_to_read(built: Distributions) -> None:
    for folder in ("docs", "examples", "tests", NAME):
        listed = {name for name in built.sdist_files if name.startswith(f"{folder}/")}
        assert listed >= {name for name in files_of(ROOT / folder) if name.endswith(".py")}
        assert listed
    assert {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "pyproject.toml",
        "PKG-INFO",
    } <= (built.sdist_files)
    assert "docs/guarantees.md" in built.sdist_files


def test_sdist_has_nothing_that_was_made_here(built: Distributions) -> None:
    folders = {str(PurePosixPath(name).parent) for name in built.sdist_files}
    hidden = {name.partition("/")[0] for name in folders if name.startswith(".")}
    assert hidden == {".", ".ci"}
    assert {name for name in folders if "__pycache__" in name} == set()
    assert {name.partition("/")[0] for name in folders}.isdisjoint({"build", "dist", "site"})


def test_metadata_asks_for_three_packages_and_a_python(built: Distributions) -> None:
    metadata = built.metadata()
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    required = metadata.get_all("Requires-Dist") or []
    assert [one for one in required if "extra ==" not in one] == [
        "faststream[nats]<0.8,>=0.7.8",
        "nats-py>=2.16",
        "typing-extensions>=4.12",
    ]
    assert sorted(metadata.get_all("Provides-Extra") or []) == [
        "cli",
        "fsspec",
        "http",
        "testing",
    ]
    text = metadata.get_payload()
    assert isinstance(text, str)
    assert text.startswith("# faststream-objstore\n")


def test_oldest_versions_that_are_tested_are_the_oldest_that_are_allowed() -> None:
    constraints = dict(
        line.split("==")
        for line in (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
        if "==" in line
    )
    allowed = (ROOT / "pyproject.toml").read_text()
    assert f'"faststream[nats]>={constraints["faststream"]},<' in allowed
    assert f'"nats-py>={constraints["nats-py"].removesuffix(".0")}"' in allowed
