"""The lane: a second connection for large transfers, with a protocol of our own on it."""

from .handshake import LaneUnavailable
from .lane import Lane
from .protocol import LaneMessage, LaneProtocol

__all__ = ("Lane", "LaneMessage", "LaneProtocol", "LaneUnavailable")
