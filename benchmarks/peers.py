"""Who is measured, each in an environment of its own, made from the registries."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ("LANELESS", "OURS", "Missing", "command_of", "plotter")

_ROOT = Path(__file__).parents[1]
# Ignored by git, and kept, so that only a first run downloads.
_ENVIRONMENTS = _ROOT / ".venv" / "bench"
_INSTALL_SECONDS = 300

_NATS_PY = "nats-py==2.16.0"
_NATSIO = "natsio==1.0.1"
_NATSRPY = "natsrpy==0.1.4"
_MATPLOTLIB = "matplotlib==3.10.8"
_NATS_JS = "3.4.0"

OURS = "faststream-objstore"
LANELESS = f"{OURS}, lane=False"


class Missing(Exception):  # noqa: N818 - a state, not a failure
    """Why a peer cannot be had."""


@dataclass(frozen=True)
class Command:
    """How to start a driver; the server's address follows `before`."""

    before: list[str]
    after: list[str]
    path: list[Path]
    """What Python may import, beside its environment."""

    def at(self, url: str) -> list[str]:
        """The command line."""
        return [*self.before, url, *self.after]

    @property
    def environment(self) -> dict[str, str]:
        """The environment's variables."""
        return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, self.path))}


def command_of(peer: str, package: Path) -> Command:
    """How to start a peer's driver.

    Args:
        peer: Its name; this package's may be followed by ` @ PATH`, another checkout.
        package: The folder that holds the `faststream_objstore` to measure.

    Raises:
        Missing: If it cannot be installed.
    """
    if peer == OURS:
        return _driver(sys.executable, "objstore", package)
    if peer == LANELESS:
        return _driver(sys.executable, "laneless", package)
    if peer.startswith(f"{OURS} @ "):
        return _driver(sys.executable, "objstore", Path(peer.partition(" @ ")[2]))
    if peer == "FastStream":
        return _driver(sys.executable, "service", package)
    if peer == "HTTP":
        return _driver(sys.executable, "http", package)
    if peer in {"nats-py", "raw"}:
        python = _environment(_NATS_PY, sys.executable)
        return _driver(python, {"nats-py": "nats_py", "raw": "raw"}[peer])
    if peer == "natsio":
        return _driver(_environment(_NATSIO, _interpreter("3.13")), "natsio")
    if peer == "natsrpy":
        return _driver(_environment(_NATSRPY, sys.executable), "natsrpy")
    if peer == "nats.js":
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            msg = "there is no Node with npm"
            raise Missing(msg)
        folder = _installed(f"nats-js-{_NATS_JS}", lambda made: _install_js(npm, made))
        driver = str(_ROOT / "benchmarks" / "drivers" / "nats_js.mjs")
        return Command([node, driver], [str(folder)], [])
    msg = f"nobody is called {peer!r}"
    raise Missing(msg)


def plotter() -> list[str]:
    """How to start `plot.py`.

    Raises:
        Missing: If matplotlib cannot be installed.
    """
    return [_environment(_MATPLOTLIB, sys.executable), str(_ROOT / "benchmarks" / "plot.py")]


def _driver(python: str, name: str, *path: Path) -> Command:
    return Command([python, "-m", f"benchmarks.drivers.{name}"], [], [*path, _ROOT])


def _environment(package: str, interpreter: str) -> str:
    def install(folder: Path) -> None:
        _run(interpreter, "-m", "venv", str(folder))
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install"]
        _run(*pip, "--quiet", "--disable-pip-version-check", package)

    shown = _run(interpreter, "-c", "import platform; print(platform.python_version())")
    folder = _installed(f"{package.replace('==', '-')}-python-{shown.strip()}", install)
    return str(folder / "bin" / "python")


def _interpreter(version: str) -> str:
    """An interpreter that really runs: pyenv's shims may not."""
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python")))
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-V"], check=False, capture_output=True)
        if done.returncode == 0:
            return candidate
    msg = f"there is no Python {version}"
    raise Missing(msg)


def _install_js(npm: str, folder: Path) -> None:
    (folder / "package.json").write_text('{"private": true}', "utf-8")
    packages = [
        f"@nats-io/{name}@{_NATS_JS}" for name in ("obj", "jetstream", "transport-node")
    ]
    _run(npm, "install", "--no-audit", "--no-fund", *packages, cwd=folder)


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of an environment, which is made whole or not at all."""
    target = _ENVIRONMENTS / name
    if not target.exists():
        print(f"installing {name} ...", file=sys.stderr)
        _ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=_ENVIRONMENTS, prefix="making-", ignore_cleanup_errors=True
        ) as making:
            install(Path(making))
            # A virtual environment may be moved; only its scripts know where it was.
            Path(making).rename(target)
            Path(making).mkdir()
    return target


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, timeout=_INSTALL_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        msg = f"{Path(command[0]).name} failed: {error} {said.decode(errors='replace')[-300:]}"
        raise Missing(msg) from error
    return done.stdout.decode()
