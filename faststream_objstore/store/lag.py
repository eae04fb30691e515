"""How far a bucket that follows others is behind them."""

from typing import NamedTuple

from .. import wire
from ..backends.base import Backend, StreamState
from ..exceptions import (
    BucketNotFoundError,
    JetStreamNotEnabledError,
    OriginRecreatedError,
    PermissionDeniedError,
    StoreAPIError,
    StoreTimeoutError,
)
from ..models import Mirror

__all__ = ("Behind", "behind", "lag_of", "newest_in", "position_in")

_OUT_OF_REACH = (
    BucketNotFoundError,
    JetStreamNotEnabledError,
    StoreAPIError,
    StoreTimeoutError,
)


class Behind(NamedTuple):
    """An origin, and how far the follower is behind it.

    Attributes:
        backend: The origin.
        messages: The messages of the origin that may not have arrived; `None` if the
            follower's server does not tell how far it has come.
    """

    backend: Backend
    messages: int | None


async def lag_of(backend: Backend, state: StreamState) -> int | None:
    """How many messages a bucket is behind its origins, at most.

    Args:
        backend: The bucket.
        state: Its state, read before.

    Returns:
        The number; `None` if it cannot be learned, or if the bucket follows no other.

    Raises:
        OriginRecreatedError: If an origin was deleted and made anew.
    """
    found: list[int | None] = []
    for index, origin in enumerate(backend.origins):
        try:
            found.append((await behind(backend, origin, index, state)).messages)
        except PermissionDeniedError:
            raise
        except _OUT_OF_REACH:
            found.append(None)
    known = [one for one in found if one is not None]
    return sum(known) if known and len(known) == len(found) else None


async def behind(backend: Backend, origin: Mirror, index: int, state: StreamState) -> Behind:
    """Compare a bucket with one of its origins.

    Args:
        backend: The bucket.
        origin: The origin.
        index: Which of `Backend.origins` it is.
        state: The bucket's state. Read before the origin's, so that it is not ahead of it.

    Raises:
        OriginRecreatedError: If the origin was deleted and made anew.
        BucketNotFoundError: If it does not exist.
        JetStreamNotEnabledError, StoreTimeoutError: If its domain is out of reach.
    """
    source = await backend.origin(origin)
    there = await source.state()
    position = position_in(state, index)
    # Both times are by the same clock: a mirror keeps its origin's.
    one_clock = state.config.get("mirror") or (
        len(backend.origins) == 1 and origin.domain is None
    )
    older = one_clock and 0 < state.first_time_ns < wire.parse_time(there.created)
    if older or (position is not None and position > there.last_sequence):
        msg = (
            f"Bucket '{backend.bucket}': the {origin} was deleted and made anew, at "
            f"{there.created}, and what is stored in it does not arrive here in full. Delete "
            f"'{backend.bucket}', and declare it again: it then copies all of it."
        )
        raise OriginRecreatedError(msg, bucket=backend.bucket)
    # What was removed at the end does not arrive.
    may_lack = position is None or position < there.last_sequence
    if may_lack and await newest_in(source) <= (position or 0):
        return Behind(source, 0)
    return Behind(source, None if position is None else there.last_sequence - position)


def position_in(state: StreamState, index: int) -> int | None:
    """The last sequence of an origin that has arrived; `None` if that is not known."""
    return state.positions[index] if index < len(state.positions) else None


async def newest_in(origin: Backend) -> int:
    """The sequence of the newest message that an origin has; 0 if it is empty."""
    newest = await origin.last_message(f"$O.{origin.bucket}.>", leader=True)
    return 0 if newest is None else newest.sequence
