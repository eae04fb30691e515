"""Buckets on a NATS server with JetStream, through nats-py's public `Client`."""

from faststream_objstore.backends.jetstream.backend import JetStreamBackend
from faststream_objstore.backends.jetstream.server import JetStreamServer

__all__ = ("JetStreamBackend", "JetStreamServer")
