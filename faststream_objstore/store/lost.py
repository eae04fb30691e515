"""Writes whose answer may be lost: sent again until it is known what has become of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..backends.base import WrongRevision
from ..exceptions import (
    ConnectionLostError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjStoreError,
    PermissionDeniedError,
    StoreTimeoutError,
)

__all__ = ("until_known",)

T = TypeVar("T")

# A write without an answer is sent again: compare-and-set makes that safe, and afterwards the
# outcome is known.
_ATTEMPTS = 5
# But a full timeout is only waited for this many times.
_TIMEOUTS = 2
# A server that has just started needs a moment until its streams are back.
_PAUSE_SECONDS = 0.5


async def until_known(
    send: Callable[[], Awaitable[T]],
    found: Callable[[], Awaitable[T]],
    unknown: Callable[[ObjStoreError], StoreTimeoutError],
    *,
    again: bool = False,
) -> T:
    """Send a compare-and-set write until it is known whether it is stored.

    Args:
        send: Sends it.
        found: What is stored, when an attempt after the first is refused: perhaps an earlier
            one. Raises if that is another writer's, or cannot be told.
        unknown: The error for an attempt that was refused after one without an answer.
        again: Whether it may have been sent before.

    Returns:
        What `send` or `found` returns.

    Raises:
        WrongRevision: If another revision is stored.
        PermissionDeniedError: If it was refused, and so not stored.
        StoreTimeoutError: If it is not known whether it is stored.
    """
    for attempt in range(2 if again else 1, _ATTEMPTS + 1):
        try:
            return await send()
        except WrongRevision:
            if attempt == 1:
                raise
            # Perhaps our own earlier attempt, whose answer was lost, was stored.
            return await found()
        except PermissionDeniedError as error:
            if attempt == 1:
                # It is not stored, and never will be.
                raise
            raise unknown(error) from error
        except StoreTimeoutError as error:
            lost = isinstance(error, ConnectionLostError)
            if attempt >= (_ATTEMPTS if lost else _TIMEOUTS):
                raise
        except NotConnectedError:
            raise
        except ObjStoreError as error:
            if attempt == 1:
                raise
            if not isinstance(error, JetStreamNotEnabledError) or attempt >= _ATTEMPTS:
                raise unknown(error) from error
            await asyncio.sleep(_PAUSE_SECONDS)
    msg = "unreachable: the last attempt returns or raises"
    raise AssertionError(msg)
