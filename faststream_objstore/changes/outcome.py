"""The outcome of delivering a change."""

from enum import Enum
from typing import NamedTuple

from faststream_objstore.models import ObjectInfo

__all__ = ("ChangeOutcome", "Outcome")


class Outcome(Enum):
    """How a delivery ended."""

    HANDLED = "handled"
    """Its handler returned, or acknowledged it itself."""
    RETRIED = "retried"
    """It will be delivered again."""
    SUPERSEDED = "superseded"
    """Its handler failed, but its version had been replaced in the meantime."""
    PASSED_OVER = "passed_over"
    """It was not an object's metadata, and was skipped."""
    DEAD_LETTERED = "dead_lettered"
    """It was given up, with a dead letter if one is declared."""
    SKIPPED = "skipped"
    """The subscriber does not want it."""


class ChangeOutcome(NamedTuple):
    """The outcome of one delivery.

    Attributes:
        outcome: How it ended.
        info: The version of the object; `None` if it was not an object's metadata.
        attempts: How often it was delivered, including this time.
        lag: Seconds from the change to its delivery, by this machine's clock.
    """

    outcome: Outcome
    info: ObjectInfo | None
    attempts: int
    lag: float
