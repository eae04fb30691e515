"""ADR-20's meaning, written once on a `Backend`."""

from .folders import Listing
from .modes import PutMode
from .reader import ObjectReader
from .store import ObjectStore
from .transaction import Transaction
from .watch import ObjectWatch, ObjectWatcher

__all__ = (
    "Listing",
    "ObjectReader",
    "ObjectStore",
    "ObjectWatch",
    "ObjectWatcher",
    "PutMode",
    "Transaction",
)
