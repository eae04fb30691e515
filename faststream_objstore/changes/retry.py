"""What happens to a change whose handler failed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from faststream_objstore.exceptions import InvalidOptionError

__all__ = ("Retry", "seconds_of")

_JITTER = 0.1


def seconds_of(duration: object) -> float | None:
    """Seconds of a number or a `timedelta`; `None` if it is neither."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        return float(duration)
    return None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and when, a failed handler is called again.

    The server counts deliveries, so a call that ended with its process, or was cancelled
    at shutdown, counts as an attempt too. So does, to another replica, what was fetched in
    advance and given back. A handler that raises in delivery `attempts` or later ends the
    change; one that never answers is called up to `attempts` + 20 times.

    Attributes:
        attempts: Calls in all, the first included.
        delays: Waits before the second call, the third and so on, seconds or `timedelta`;
            the last one repeats. Each is spread by 10 %, so that changes which failed
            together do not come back together.

    Raises:
        InvalidOptionError: If there is no attempt, no delay, or a negative delay.
    """

    attempts: int = 5
    delays: Iterable[float | timedelta] = (1, 5, 30, 120)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            msg = f"Retry(attempts={self.attempts!r}) cannot work; it must be 1 or more."
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
                f"Retry(delays={given!r}) cannot work; give one or more seconds or "
                "timedeltas, none of them negative, as in (1, 5, 30)."
            )
            raise InvalidOptionError(msg)
        object.__setattr__(self, "delays", tuple(delays))

    def delay(self, attempt: int) -> float | None:
        """Seconds until the call after `attempt`, which failed; `None` if it was the last."""
        if attempt >= self.attempts:
            return None
        delays = tuple(self.delays)
        delay = seconds_of(delays[min(attempt, len(delays)) - 1]) or 0.0
        return delay * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
