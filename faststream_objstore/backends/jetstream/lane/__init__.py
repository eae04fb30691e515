"""The lane: a second connection for much traffic, with our own protocol code."""

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
