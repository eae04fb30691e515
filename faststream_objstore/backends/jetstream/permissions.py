"""The subjects that the server denies a user.

The server does not answer a refused publish or subscribe, it only reports an error on the
connection: nats-py passes it to the client's `error_cb`, with the subject in lower case.
"""

import re
import weakref
from collections.abc import Callable

from nats.aio.client import Client

__all__ = ("Heard", "hear_refusals", "refused_subject")

_VIOLATION = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]*)"')

Heard = Callable[[str], bool]
"""Called with the refused subject, in lower case; returns whether nobody else has to know."""


def refused_subject(error: Exception) -> str | None:
    """The subject that a server error refuses, in lower case."""
    violation = _VIOLATION.search(str(error).lower())
    return violation[1] if violation else None


def hear_refusals(client: Client, heard: "weakref.WeakMethod[Heard]") -> Callable[[], None]:
    """Call `heard` with each subject that the server refuses.

    The user's own callback of the client is still called, unless `heard` returns true.

    Returns:
        A function that undoes this.
    """
    usual = client._error_cb  # noqa: SLF001 - nats-py has no other way to add a callback

    async def error_cb(error: Exception) -> None:
        subject = refused_subject(error)
        if subject is not None and (tell := heard()) is not None and tell(subject):
            return
        await usual(error)

    def take_back() -> None:
        # Another callback that wraps this one still calls it, and it then only passes errors
        # on.
        if client._error_cb is error_cb:  # noqa: SLF001
            client._error_cb = usual  # noqa: SLF001

    client._error_cb = error_cb  # noqa: SLF001
    return take_back
