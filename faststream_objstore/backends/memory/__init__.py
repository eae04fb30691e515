"""Buckets in this process's memory: for tests without a server.

Each bucket imitates a JetStream stream: one sequence, compare-and-set, rollup, `max_bytes`,
`max_age`, sealing. Every call gives other tasks a turn, as a network would.

It does less than a server: nothing outlives the process; replicas, placement and compression
are accepted and ignored; a removed message is never delivered, while a server may have sent it
already.
"""

from .backend import MemoryBackend
from .server import Announced, MemoryServer

__all__ = ("Announced", "MemoryBackend", "MemoryServer")
