"""Buckets as an fsspec file system, under the protocol `objstore` (extra `fsspec`)."""

try:
    import fsspec  # noqa: F401
except ImportError as _error:
    _msg = (
        "A bucket as a file system needs fsspec; install it with "
        "pip install 'faststream-objstore[fsspec]'."
    )
    raise ImportError(_msg) from _error

from faststream_objstore.filesystem.filesystem import ObjectStoreFileSystem

__all__ = ("ObjectStoreFileSystem",)
