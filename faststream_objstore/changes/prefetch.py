"""How many changes to hold beside those in work."""

__all__ = ("Prefetch",)

# What waits here is done within this time, or it is better left to other replicas. It is
# many round trips to a server nearby, and nothing to somebody who waits for a job.
_WORTH_SECONDS = 0.05
# Half of them are asked for at a time. 128 need no less CPU (no-op handler, local server),
# 32 and fewer need more: their requests and acknowledgements share fewer packets.
_MOST = 64
# Nothing is held before a dozen quick calls.
_FIRST_SECONDS = 0.25
_WEIGHT = 1 / 8


class Prefetch:
    """Follows how long handlers take: quick ones shall not wait for the server.

    A mean in which the last calls weigh most: after one that took a minute, nothing is held
    before some forty quick ones. What was given back because of it comes again first, so
    it is hardly ever held, and given back, once more.

    Args:
        workers: How many handlers run at a time.
    """

    def __init__(self, workers: int) -> None:
        self._worth = workers * _WORTH_SECONDS
        self._mean = _FIRST_SECONDS

    def took(self, seconds: float) -> None:
        """A handler is done."""
        self._mean += (seconds - self._mean) * _WEIGHT

    def too_slow(self) -> None:
        """Hold nothing until handlers that end prove to be quick."""
        self._mean = max(self._mean, 2 * self._worth)

    @property
    def size(self) -> int:
        """How many may wait."""
        mean = self._mean
        return _MOST if mean * _MOST <= self._worth else int(self._worth / mean)
