"""Object names as paths of a folder, and what no name may reach."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..exceptions import InvalidObjectNameError

__all__ = ("Folder", "Found", "collisions", "relative", "walk")

_WINDOWS = os.name == "nt"


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
        self._made: set[Path] = {self.root}

    def place(self, name: str) -> Path:
        """Where the file of a name goes; the folders above it are made.

        Raises:
            InvalidObjectNameError: If the name is no path, or a symbolic link in the folder
                leads out of it.
            OSError: If a folder cannot be made.
        """
        path = self.root.joinpath(*relative(name))
        if path.parent not in self._made:
            real = path.parent.resolve()
            if not real.is_relative_to(self.root):
                msg = (
                    f"{name!r} is not written: a symbolic link in {str(self.root)!r} leads to "
                    f"{str(real)!r}, out of the folder; remove the link."
                )
                raise InvalidObjectNameError(msg, name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return path


class Found(NamedTuple):
    """A file of a folder, or what there is instead of one.

    Attributes:
        name: Its path below the folder, with `/`.
        path: The file.
        size: Its bytes.
        problem: Why it cannot be stored; empty if it can.
    """

    name: str
    path: Path
    size: int = 0
    problem: str = ""


def walk(root: Path) -> list[Found]:
    """All files below a folder, sorted by name.

    A symbolic link to a file of the folder is that file; one that leads out of it, and one
    to a folder, is not followed.

    Raises:
        OSError: If a folder cannot be read.
    """
    return sorted(_walk(root, root.resolve()))


def _refuse(error: OSError) -> None:
    raise error


def _walk(root: Path, real: Path) -> Iterator[Found]:
    # In texts: of many small files, paths would be a third of what it takes to put them.
    base = os.fspath(root)
    for parent, folders, files in os.walk(base, onerror=_refuse):
        above = os.path.relpath(parent, base).replace(os.sep, "/")
        above = "" if above == "." else above + "/"
        for name in folders + files:
            full = os.path.join(parent, name)  # noqa: PTH118
            found = Found(above + name, Path(full))
            try:
                status = os.lstat(full)
                linked = stat.S_ISLNK(status.st_mode)
                if linked:
                    if not found.path.resolve().is_relative_to(real):
                        yield found._replace(
                            problem="a symbolic link that leads out of the folder"
                        )
                        continue
                    status = found.path.stat()
            except (OSError, RuntimeError) as error:
                # The second is what a link to itself is, before Python 3.13.
                yield found._replace(problem=str(error))
                continue
            if stat.S_ISREG(status.st_mode):
                yield found._replace(size=status.st_size)
            elif linked:
                yield found._replace(problem="a symbolic link to a folder")
            elif not stat.S_ISDIR(status.st_mode):
                yield found._replace(problem="not a regular file")
