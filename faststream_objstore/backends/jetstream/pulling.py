"""The pull requests to a consumer that are not fully answered yet (ADR-13)."""

import itertools
from dataclasses import dataclass

__all__ = ("PullRequests",)


@dataclass(slots=True)
class _Request:
    """A pull request that is not fully answered.

    Attributes:
        missing: The number of messages still to come.
        until: When the server has certainly dropped it, by the loop's clock.
    """

    missing: int
    until: float


class PullRequests:
    """What was requested from the server and has not arrived yet.

    A message does not name the request that it answers; the server serves the oldest first.

    Attributes:
        missing: The number of messages that all requests together still wait for.
    """

    __slots__ = ("_requests", "_tokens", "missing")

    def __init__(self) -> None:
        self.missing: int = 0
        self._tokens = itertools.count()
        self._requests: dict[str, _Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, token: object) -> bool:
        return token in self._requests

    @property
    def oldest(self) -> str | None:
        """The token of the request that is served next."""
        return next(iter(self._requests), None)

    def add(self, batch: int, until: float) -> str:
        """Record a request for `batch` messages; returns the reply subject's last token."""
        token = str(next(self._tokens))
        self._requests[token] = _Request(batch, until)
        self.missing += batch
        return token

    def settle(self, count: int = 1) -> None:
        """Record that messages have arrived."""
        while count and self._requests:
            token, request = next(iter(self._requests.items()))
            some = min(count, request.missing)
            count -= some
            self.missing -= some
            request.missing -= some
            if not request.missing:
                del self._requests[token]

    def end(self, token: str) -> int:
        """Record that a request has ended; returns how many messages it was short of."""
        request = self._requests.pop(token, None)
        if request is None:
            return 0
        self.missing -= request.missing
        return request.missing

    def end_overdue(self, now: float) -> None:
        """Drop the requests that the server must have dropped.

        A leader that dies loses its requests, and may not report that; while others are being
        answered, there is no other sign of it.
        """
        for token in [one for one, request in self._requests.items() if request.until < now]:
            self.end(token)

    def clear(self) -> None:
        """Drop all requests."""
        self._requests.clear()
        self.missing = 0
