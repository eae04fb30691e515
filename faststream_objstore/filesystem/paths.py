"""Paths of a file system: their meaning, and their errors as Python's file errors."""

import errno
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fsspec.utils import stringify_path

from faststream_objstore.exceptions import (
    BucketFullError,
    BucketNotFoundError,
    BucketReadOnlyError,
    BucketSealedError,
    InvalidBucketNameError,
    LinkIsABucketError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    PermissionDeniedError,
    StoreTimeoutError,
)
from faststream_objstore.filesystem.bases import AsyncFileSystem
from faststream_objstore.filesystem.stores import Stores
from faststream_objstore.models import validate_bucket_name
from faststream_objstore.store import ObjectStore

__all__ = ("ObjectPaths", "file_errors")


@contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Raise what a store raises as Python's file errors."""
    try:
        yield
    except (ObjectNotFoundError, BucketNotFoundError, InvalidBucketNameError) as error:
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    except ObjectAlreadyExists as error:
        raise FileExistsError(errno.EEXIST, str(error), path) from error
    except LinkIsABucketError as error:
        raise IsADirectoryError(errno.EISDIR, str(error), path) from error
    except PermissionDeniedError as error:
        raise PermissionError(errno.EACCES, str(error), path) from error
    except (BucketReadOnlyError, BucketSealedError) as error:
        raise PermissionError(errno.EROFS, str(error), path) from error
    except BucketFullError as error:
        raise OSError(errno.ENOSPC, str(error), path) from error


class ObjectPaths(AsyncFileSystem):
    """The basis of the file system's methods: its stores, and the meaning of paths."""

    _stores: Stores

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = stringify_path(path)
        return text.removeprefix("objstore://").lstrip("/").rstrip("/")

    @staticmethod
    def split(path: str) -> tuple[str, str]:
        """The bucket and the object's name; either may be empty."""
        bucket, _, name = ObjectPaths._strip_protocol(path).partition("/")
        return bucket, name

    @asynccontextmanager
    async def _at(self, path: str) -> AsyncGenerator[tuple[ObjectStore, str], None]:
        """The store and the name of a path; errors are raised as Python's file errors."""
        bucket, name = self.split(path)
        with file_errors(path):
            try:
                # It is not a valid bucket name, so it does not exist either.
                yield await self._stores.open(validate_bucket_name(bucket)), name
            except BucketNotFoundError:
                self._stores.forget(bucket)
                raise
            except StoreTimeoutError as error:
                error.name = error.name or name
                raise

    @staticmethod
    def _require_name(path: str, name: str) -> None:
        if not name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
