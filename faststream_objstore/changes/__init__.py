"""The change subscribers: what runs when an object is put or deleted."""

from faststream_objstore.changes.retry import Retry

__all__ = ("Retry",)
