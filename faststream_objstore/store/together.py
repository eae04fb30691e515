"""The same request for many things, some of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

__all__ = ("each",)

T = TypeVar("T")
R = TypeVar("R")

# Requests that are out at a time.
_AT_ONCE = 32


async def each(items: Iterable[T], act: Callable[[T], Awaitable[R]]) -> list[R]:
    """Do something with each, some at a time; the results, in order.

    The first error ends it, once those that were begun beside it have ended.
    """
    results: list[R] = []
    rest = iter(items)
    while some := list(islice(rest, _AT_ONCE)):
        done = await asyncio.gather(*(act(one) for one in some), return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
            results.append(one)
    return results
