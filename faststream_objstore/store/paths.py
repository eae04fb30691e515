"""Object names as paths of a folder, and what no name may reach."""

import os
import stat
import unicodedata
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ..exceptions import InvalidObjectNameError
from .files import require_replaceable, save_now

__all__ = ("Folder", "Found", "collisions", "read_all", "relative", "walk")

_WINDOWS = os.name == "nt"

# Bytes that are read at a time from a file that has more than it had.
_MORE = 1024 * 1024


def relative(name: str) -> tuple[str, ...]:
    """The segments of the path that a name is, below some folder.

    Raises:
        InvalidObjectNameError: If it is not one: an absolute path, one with `..`, `.` or an
            empty segment, or a character that no path has.
    """
    segments = tuple(name.split("/"))
    problem: str | None = None
    if not name:
        problem = "it is empty"
    elif "\0" in name:
        problem = "it has a NUL"
    elif name.startswith("/"):
        problem = "it is an absolute path"
    elif ".." in segments:
        problem = "it leads out of the folder"
    elif "" in segments or "." in segments:
        problem = "it has an empty segment, or '.'"
    elif _WINDOWS and (
        set(name) & set('\\:*?"<>|') or any(s.rstrip(" .") != s for s in segments)
    ):
        problem = "Windows has no such path"
    if problem is not None:
        msg = (
            f"{name!r} cannot be the path of a file: {problem}; get it under a name of yours."
        )
        raise InvalidObjectNameError(msg, name=name)
    return segments


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def collisions(names: Iterable[str]) -> dict[str, str]:
    """The names that would not be files of their own, each with one that is in its way.

    Names that differ in nothing but case or in the form of their accents are one file on
    many file systems; and no path is a file and a folder.
    """
    found: dict[str, str] = {}
    files: dict[str, str] = {}
    for name in names:
        other = files.setdefault(_folded(name), name)
        if other != name:
            found |= {name: other, other: name}
    # Folders that differ in nothing but case are one folder, and that is no harm.
    for folded, name in files.items():
        at = folded.find("/")
        while at >= 0:
            other = files.get(folded[:at], name)
            if other != name:
                found |= {name: other, other: name}
            at = folded.find("/", at + 1)
    return found


class Folder:
    """A folder that files are written into, and nowhere else.

    Args:
        path: The folder; made, with its parents, if it is missing.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.root: Path = path.resolve()
        # By the names of folders below the root: the path, and what is in them, folded.
        self._made: dict[str, tuple[str, frozenset[str]]] = {}
        self._token = os.urandom(6).hex()
        self._count = count()

    def place(self, name: str) -> Path:
        """Where the file of a name goes; the folders above it are made.

        Raises:
            InvalidObjectNameError: If the name is no path, or a symbolic link in the folder
                leads out of it.
            OSError: If a folder cannot be made.
        """
        relative(name)
        return Path(self._above(name)[0], name.rpartition("/")[2])

    def write(self, name: str, data: bytes) -> None:
        """Write the file of a name, which appears complete or not at all.

        Args:
            name: The name, which is a path.
            data: The content.

        Raises:
            InvalidObjectNameError: If a symbolic link in the folder leads out of it.
            OSError: If it cannot be written.
        """
        above, there = self._above(name)
        last = name.rpartition("/")[2]
        path = f"{above}{os.sep}{last}"
        # Of what has just been made, nothing need be asked.
        if there and _folded(last) in there:
            require_replaceable(path)
        # File names may have 255 bytes, and a character may take four of them.
        part = f"{above}{os.sep}.{last[:50]}.{self._token}{next(self._count)}.part"
        save_now(path, part, data)

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> list[Exception | None]:
        """Write files; the failure of each, if it could not be written."""
        failures: list[Exception | None] = []
        for name, data in files:
            try:
                self.write(name, data)
            except (InvalidObjectNameError, OSError) as error:
                failures.append(error)
            else:
                failures.append(None)
        return failures

    def _above(self, name: str) -> tuple[str, frozenset[str]]:
        """The folder of a file, which is made, and what was in it before."""
        parent = name.rpartition("/")[0]
        known = self._made.get(parent)
        if known is None:
            path = self.root.joinpath(*parent.split("/"))
            real = path.resolve()
            if not real.is_relative_to(self.root):
                msg = (
                    f"{name!r} is not written: a symbolic link in {str(self.root)!r} leads to "
                    f"{str(real)!r}, out of the folder; remove the link."
                )
                raise InvalidObjectNameError(msg, name=name)
            path.mkdir(parents=True, exist_ok=True)
            there = frozenset(map(_folded, os.listdir(path)))  # noqa: PTH208
            known = self._made[parent] = (str(path), there)
        return known


class Found(NamedTuple):
    """A file of a folder, or what there is instead of one.

    Attributes:
        name: Its path below the folder, with `/`.
        path: The file.
        size: Its bytes.
        problem: Why it cannot be stored; empty if it can.
    """

    name: str
    path: str
    size: int = 0
    problem: str = ""

    @property
    def filename(self) -> str:
        """The last segment of its path."""
        return self.name.rpartition("/")[2]

    def read(self) -> bytes:
        """Its content.

        Raises:
            OSError: If it cannot be read.
        """
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            data = os.read(descriptor, self.size + 1)
            if len(data) != self.size:
                # It has been written to since, or its file system gives less than it has.
                while more := os.read(descriptor, _MORE):
                    data += more
            return data
        finally:
            os.close(descriptor)


def read_all(files: Iterable[Found]) -> list[bytes | OSError]:
    """The contents of files, or why one cannot be read."""
    contents: list[bytes | OSError] = []
    for file in files:
        try:
            contents.append(b"" if file.problem else file.read())
        except OSError as error:
            contents.append(error)
    return contents


def walk(root: Path) -> list[Found]:
    """All files below a folder, sorted by name.

    A symbolic link to a file of the folder is that file; one that leads out of it, and one
    to a folder, is not followed.

    Raises:
        OSError: If a folder cannot be read.
    """
    real = root.resolve()
    found: list[Found] = []
    folders = [("", os.fspath(root))]
    while folders:
        above, path = folders.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                name = above + entry.name
                try:
                    if entry.is_symlink():
                        found.append(_linked(name, entry.path, real))
                    elif entry.is_file():
                        size = entry.stat(follow_symlinks=False).st_size
                        found.append(Found(name, entry.path, size))
                    elif entry.is_dir():
                        folders.append((f"{name}/", entry.path))
                    else:
                        found.append(Found(name, entry.path, problem="not a regular file"))
                except (OSError, RuntimeError) as error:
                    # The second is what a link to itself is, before Python 3.13.
                    found.append(Found(name, entry.path, problem=str(error)))
    return sorted(found)


def _linked(name: str, path: str, real: Path) -> Found:
    problem: str | None = None
    if not Path(path).resolve().is_relative_to(real):
        problem = "a symbolic link that leads out of the folder"
    else:
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            return Found(name, path, status.st_size)
        problem = "a symbolic link to something that is not a regular file"
        if stat.S_ISDIR(status.st_mode):
            problem = "a symbolic link to a folder"
    return Found(name, path, problem=problem)
