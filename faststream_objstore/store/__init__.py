"""ADR-20's meaning, written once on a `Backend`.

Every start of a service imports `ObjectStore`. What only a few verbs use, they import.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names
from .modes import PutMode
from .reader import ObjectReader
from .store import ObjectStore
from .watch import ObjectWatch, ObjectWatcher

if TYPE_CHECKING:
    from .folders import Listing
    from .transaction import Transaction
else:
    __getattr__, __dir__ = lazy_names(
        __name__, {"Listing": "folders", "Transaction": "transaction"}
    )

__all__ = (
    "Listing",
    "ObjectReader",
    "ObjectStore",
    "ObjectWatch",
    "ObjectWatcher",
    "PutMode",
    "Transaction",
)
