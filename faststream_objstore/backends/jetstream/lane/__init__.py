"""The lane: a second connection for large transfers, with a protocol of our own on it."""

from .connection import LaneConnection
from .handshake import LaneUnavailable
from .keeper import Lanes
from .lane import Lane
from .protocol import LaneMessage, LaneProtocol

__all__ = (
    "Lane",
    "LaneConnection",
    "LaneMessage",
    "LaneProtocol",
    "LaneUnavailable",
    "Lanes",
)
