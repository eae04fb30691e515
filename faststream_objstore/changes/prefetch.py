"""How many changes to hold in addition to those being handled."""

__all__ = ("Prefetch",)

# Changes that wait here should be done within this time; otherwise they are better left to
# other replicas. It is many round trips to a nearby server, but too short for users to notice.
_WORTH_SECONDS = 0.05
# Half of them are requested at a time. With 64, requests and acknowledgements share fewer
# packets, which costs 10 us more for each change (no-op handler, local server); 1,024 need no
# less than 512. Handlers take 100 us or less where so many are held.
_MOST = 512
# Metadata may have up to a megabyte, though it hardly ever has one kilobyte.
_MOST_BYTES = 4 * 1024 * 1024
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
        self._bytes = 0.0

    def took(self, seconds: float, size: int) -> None:
        """Note how long a handler took, and the size of its message in bytes."""
        self._mean += (seconds - self._mean) * _WEIGHT
        self._bytes += (size - self._bytes) * _WEIGHT

    def too_slow(self) -> None:
        """Hold nothing until handlers prove to be quick again."""
        self._mean = max(self._mean, 2 * self._worth)

    @property
    def size(self) -> int:
        """How many changes may wait."""
        most = _MOST
        if self._bytes * most > _MOST_BYTES:
            most = int(_MOST_BYTES / self._bytes)
        mean = self._mean
        return most if mean * most <= self._worth else int(self._worth / mean)
