"""The subjects that the server denies a user.

It does not answer what it refuses, only the connection hears of it: nats-py hands the
error to the client's `error_cb`, with the subject in lower case.
"""

import re
import weakref
from collections.abc import Callable

from nats.aio.client import Client

__all__ = ("Heard", "hear_refusals", "refused_subject")

_VIOLATION = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]*)"')

Heard = Callable[[str], None]
"""Called with the subject that was refused, in lower case."""


def refused_subject(error: Exception) -> str | None:
    """The subject that an error of the server refuses, in lower case."""
    violation = _VIOLATION.search(str(error).lower())
    return violation[1] if violation else None


def hear_refusals(client: Client, heard: "weakref.WeakMethod[Heard]") -> Callable[[], None]:
    """Have `heard` called with each subject that the server refuses.

    The callback that the user gave the client is called too, as before.

    Returns:
        Takes it back.
    """
    usual = client._error_cb  # noqa: SLF001 - nats-py has no other way to add a callback

    async def error_cb(error: Exception) -> None:
        subject = refused_subject(error)
        if subject is not None and (tell := heard()) is not None:
            tell(subject)
        await usual(error)

    def take_back() -> None:
        # Whoever has put another callback on top calls this one, which then only hands on.
        if client._error_cb is error_cb:  # noqa: SLF001
            client._error_cb = usual  # noqa: SLF001

    client._error_cb = error_cb  # noqa: SLF001
    return take_back
