"""The errors of a NATS connection, each with its remedy."""

import nats.errors
from nats.aio.client import Client

from faststream_objstore.exceptions import (
    ConnectionLostError,
    NotConnectedError,
    ObjStoreError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
)

__all__ = ("REFUSALS", "ConnectionErrors", "in_bucket")

_CONNECTION_ERRORS = (
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
)


# nats-py writes to a socket that has just broken; the last three are how asyncio itself
# reports that (a TypeError in Python 3.12 and later).
_SOCKET_ERRORS = (OSError, RuntimeError, AttributeError, TypeError)
REFUSALS = (nats.errors.Error, *_SOCKET_ERRORS)


def in_bucket(bucket: str | None) -> str:
    """The beginning of an error message."""
    return f"Bucket '{bucket}': " if bucket else ""


class ConnectionErrors:
    """Convert the errors of a connection, nats-py's and asyncio's, to this package's."""

    client: Client

    @staticmethod
    def denied(subject: str, bucket: str | None) -> PermissionDeniedError:
        """The error for a subject that the server refuses."""
        msg = (
            f"{in_bucket(bucket)}the server does not permit this user to use {subject!r}; "
            "give it the rights that docs/buckets.md lists."
        )
        return PermissionDeniedError(msg, bucket=bucket, subject=subject)

    def held_up(self, seconds: float, bucket: str | None) -> StoreTimeoutError:
        """The error for a read whose turn did not come."""
        msg = (
            f"{in_bucket(bucket)}the other reads of this connection have all under way that a "
            f"connection may have, and nothing came for {seconds:g} s; try again."
        )
        return StoreTimeoutError(msg, bucket=bucket)

    def lost(self, what: str, bucket: str | None) -> ConnectionLostError:
        """The error for something that was lost with a connection."""
        msg = (
            f"{in_bucket(bucket)}{what} was lost with the connection, which is back; it may "
            "have arrived or not, so look, or do it again."
        )
        return ConnectionLostError(msg, bucket=bucket)

    def timed_out(
        self, what: str, seconds: float, bucket: str | None
    ) -> StoreTimeoutError | NotConnectedError:
        """The error for something that did not arrive in time."""
        where = in_bucket(bucket)
        if self.client.is_closed:
            msg = f"{where}{what}: the NATS connection is closed; connect the broker again."
            return NotConnectedError(msg, bucket=bucket)
        state = "" if self.client.is_connected else " (the client is reconnecting)"
        msg = (
            f"{where}{what} within {seconds:g} s{state}; check the connection and the "
            "server, or allow a longer timeout."
        )
        return StoreTimeoutError(msg, bucket=bucket)

    def _refused(self, error: Exception, bucket: str | None) -> ObjStoreError:
        if isinstance(error, (*_CONNECTION_ERRORS, *_SOCKET_ERRORS)):
            return self._not_connected(str(error), bucket)
        msg = f"{in_bucket(bucket)}NATS refused a message: {error}."
        return StoreAPIError(msg, bucket=bucket)

    def _not_connected(self, what: str, bucket: str | None) -> NotConnectedError:
        msg = (
            f"{in_bucket(bucket)}there is no NATS connection ({what}); "
            "start the broker, or wait until it has reconnected."
        )
        return NotConnectedError(msg, bucket=bucket)
