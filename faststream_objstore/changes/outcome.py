"""What became of a change that was delivered."""

from enum import Enum
from typing import NamedTuple

from faststream_objstore.models import ObjectInfo

__all__ = ("ChangeOutcome", "Outcome")


class Outcome(Enum):
    """How a delivery ended."""

    HANDLED = "handled"
    """Its handler returned, or answered for it by itself."""
    RETRIED = "retried"
    """It is to be delivered again."""
    SUPERSEDED = "superseded"
    """Its handler failed, and its version had been replaced meanwhile."""
    PASSED_OVER = "passed_over"
    """It is no object's metadata."""
    DEAD_LETTERED = "dead_lettered"
    """It was given up, with a dead letter where one is declared."""
    SKIPPED = "skipped"
    """The subscriber does not want it."""


class ChangeOutcome(NamedTuple):
    """The outcome of one delivery.

    Attributes:
        outcome: How it ended.
        info: The version of the object; `None` if it is no object's metadata.
        attempts: How often it was delivered, this time included.
        lag: Seconds from the change to its handler, by this machine's clock.
    """

    outcome: Outcome
    info: ObjectInfo | None
    attempts: int
    lag: float
