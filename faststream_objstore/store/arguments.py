"""What callers give to operations on many objects, checked before anything is done."""

import os
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import NoReturn

from ..exceptions import InvalidOptionError
from ..models import ObjectInfo

__all__ = (
    "path_of",
    "require_concurrency",
    "require_names",
    "require_progress",
    "require_text",
)


def path_of(bucket: str, option: str, value: object) -> Path:
    """A path that a caller gave.

    Raises:
        InvalidOptionError: If it is none.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or "\0" in text:
        _refuse(bucket, f"{option} must be a path, got {value!r}")
    return Path(text)


def require_text(bucket: str, option: str, value: object) -> None:
    """Refuse what is not a `str`.

    Raises:
        InvalidOptionError: If it is none.
    """
    if not isinstance(value, str):
        _refuse(bucket, f"{option} must be a str, got {value!r}")


def require_concurrency(bucket: str, concurrency: object) -> None:
    """Refuse a value that is not a valid concurrency.

    Raises:
        InvalidOptionError: If it is not an integer of at least 1.
    """
    if type(concurrency) is not int or concurrency < 1:
        _refuse(bucket, f"concurrency must be a number from 1, got {concurrency!r}")


def require_progress(bucket: str, progress: object) -> None:
    """Refuse a progress callback that cannot be called.

    Raises:
        InvalidOptionError: If it is neither callable nor `None`.
    """
    if progress is not None and not callable(progress):
        _refuse(bucket, f"progress must be a function, got {progress!r}")


def require_names(bucket: str, names: object, max_size: object) -> None:
    """Refuse what `get_many` cannot read.

    Raises:
        InvalidOptionError: If it is not several names, or `max_size` is not a size.
    """
    if isinstance(names, (str, bytes, ObjectInfo)) or not isinstance(
        names, (Iterable, AsyncIterable)
    ):
        _refuse(bucket, f"get_many() takes several names, got {names!r}; give it a list")
    if max_size is not None and (type(max_size) is not int or max_size < 0):
        _refuse(bucket, f"max_size must be a number of bytes, got {max_size!r}")


def _refuse(bucket: str, problem: str) -> NoReturn:
    msg = f"Bucket '{bucket}': {problem}."
    raise InvalidOptionError(msg, bucket=bucket)
