"""How many changes to hold in addition to those being handled."""

__all__ = ("Prefetch",)

# Changes that wait here should be done within this time; otherwise they are better left to
# other replicas. It is many round trips to a nearby server, but too short for users to notice.
_WORTH_SECONDS = 0.05
# Half of them are requested at a time. 128 need no less CPU (no-op handler, local server);
# 32 or fewer need more, because their requests and acknowledgements share fewer packets.
_MOST = 64
# Nothing is held until about a dozen calls were quick.
_FIRST_SECONDS = 0.25
_WEIGHT = 1 / 8


class Prefetch:
    """Tracks how long handlers take, so that quick ones do not wait for the server.

    It is a mean in which the last calls weigh most: after a call that took a minute, nothing
    is held until about forty calls were quick. Changes that were given back are redelivered
    first, so they are hardly ever held and given back a second time.

    Args:
        workers: How many handlers run at a time.
    """

    def __init__(self, workers: int) -> None:
        self._worth = workers * _WORTH_SECONDS
        self._mean = _FIRST_SECONDS

    def took(self, seconds: float) -> None:
        """Note how long a handler took."""
        self._mean += (seconds - self._mean) * _WEIGHT

    def too_slow(self) -> None:
        """Hold nothing until handlers prove to be quick again."""
        self._mean = max(self._mean, 2 * self._worth)

    @property
    def size(self) -> int:
        """How many changes may wait."""
        mean = self._mean
        return _MOST if mean * _MOST <= self._worth else int(self._worth / mean)
