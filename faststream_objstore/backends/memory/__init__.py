"""Buckets in this process's memory: what tests run on, without a server.

It imitates a JetStream stream for each bucket: one sequence, compare-and-set, rollup,
`max_bytes`, `max_age`, sealing. Every call gives other tasks a turn, as a network would.

Where it is less than a server: nothing outlives the process; replicas, placement and
compression are accepted and ignored; a removed message is never delivered, where a server
may have it under way already.
"""

from .backend import MemoryBackend
from .server import Announced, MemoryServer

__all__ = ("Announced", "MemoryBackend", "MemoryServer")
