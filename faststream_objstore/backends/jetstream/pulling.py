"""The pull requests that a consumer on the server has not answered in full (ADR-13)."""

import itertools
from dataclasses import dataclass

__all__ = ("PullRequests",)


@dataclass(slots=True)
class _Request:
    """A pull request that is not answered in full.

    Attributes:
        missing: Messages still to come.
        until: When the server has surely forgotten it, by the loop's clock.
    """

    missing: int
    until: float


class PullRequests:
    """What the server was asked for and has not sent yet.

    A message does not say which request it answers; the server serves the oldest first.

    Attributes:
        missing: Messages that all of them together still wait for.
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
        """Note a request for `batch` messages; the last token of its reply subject."""
        token = str(next(self._tokens))
        self._requests[token] = _Request(batch, until)
        self.missing += batch
        return token

    def settle_one(self) -> None:
        """A message has come."""
        for token, request in self._requests.items():
            self.missing -= 1
            request.missing -= 1
            if not request.missing:
                del self._requests[token]
            return

    def end(self, token: str) -> int:
        """A request is over; how many messages it was short of."""
        request = self._requests.pop(token, None)
        if request is None:
            return 0
        self.missing -= request.missing
        return request.missing

    def end_overdue(self, now: float) -> None:
        """Forget what the server must have forgotten.

        A leader that dies takes its requests with it and may not say so; while others are
        answered, nothing else tells.
        """
        for token in [one for one, request in self._requests.items() if request.until < now]:
            self.end(token)

    def clear(self) -> None:
        """Forget all of them."""
        self._requests.clear()
        self.missing = 0
