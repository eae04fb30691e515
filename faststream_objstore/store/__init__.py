"""ADR-20's meaning, written once on a `Backend`."""

from .reader import ObjectReader
from .store import ObjectStore, PutMode
from .watch import ObjectWatch, ObjectWatcher

__all__ = ("ObjectReader", "ObjectStore", "ObjectWatch", "ObjectWatcher", "PutMode")
