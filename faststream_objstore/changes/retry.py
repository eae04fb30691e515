"""When a handler that failed is called again."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from faststream_objstore.exceptions import InvalidOptionError

__all__ = ("Retry", "seconds_of")

_JITTER = 0.1


def seconds_of(duration: object) -> float | None:
    """Convert a number or a `timedelta` to seconds; `None` if it is neither."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        return float(duration)
    return None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and when, a failed handler is called again.

    The server counts deliveries, so a call that ended with its process, or was cancelled
    at shutdown, counts as an attempt too. For other replicas, so does a change that was
    fetched in advance and given back. A handler that raises in delivery `attempts` or later
    ends the change; a change that is never acknowledged is delivered up to `attempts` + 20
    times.

    Attributes:
        attempts: The maximum number of calls, including the first.
        delays: The delays before the second call, the third and so on, in seconds or as
            `timedelta`; the last one repeats. Each is randomized by 10 %, so that changes
            that failed together are not retried together.

    Raises:
        InvalidOptionError: If there is no attempt, no delay, or a negative delay.

    Example:
        ```python
        @photos.on_put(durable="thumbnailer", retry=Retry(attempts=3, delays=(1, 10)))
        async def make_thumbnail(photo: ObjectInfo) -> None: ...
        ```
    """

    attempts: int = 5
    delays: Iterable[float | timedelta] = (1, 5, 30, 120)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            msg = f"Retry: attempts must be 1 or more, got {self.attempts!r}."
            raise InvalidOptionError(msg)
        given = self.delays
        delays = (
            [seconds_of(one) for one in given]
            if isinstance(given, Iterable) and not isinstance(given, (str, bytes))
            else []
        )
        # NaN is not >= 0, and infinity has no place in a message to the server.
        if not delays or not all(one is not None and 0 <= one < 1e9 for one in delays):
            msg = (
                "Retry: delays must be one or more seconds or timedeltas, none of them "
                f"negative, such as (1, 5, 30), got {given!r}."
            )
            raise InvalidOptionError(msg)
        object.__setattr__(self, "delays", tuple(delays))

    def delay(self, attempt: int) -> float | None:
        """Get the delay after a failed attempt.

        Args:
            attempt: The number of the attempt, from 1.

        Returns:
            The seconds until the next call; `None` if the attempt was the last.
        """
        if attempt >= self.attempts:
            return None
        delays = tuple(self.delays)
        delay = seconds_of(delays[min(attempt, len(delays)) - 1]) or 0.0
        return delay * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
