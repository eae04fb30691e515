"""Calls from other threads, as fsspec has them; a timeout says what has timed out.

fsspec raises its own error for any timeout, and drops the message.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fsspec import asyn
from fsspec.exceptions import FSTimeoutError

from faststream_objstore.exceptions import ObjStoreError

__all__ = ("explain_timeouts", "sync", "sync_wrapper")


def sync(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> Any:
    """Call a coroutine function in the loop of another thread, as fsspec's `sync` does.

    Raises:
        FSTimeoutError: If a step has timed out; it names the path and the timeout.
    """
    try:
        return asyn.sync(loop, call, *args)
    except FSTimeoutError as error:
        if error.args or error.__cause__ is None:
            raise
        raise FSTimeoutError(_explanation(error.__cause__)) from error.__cause__


def _explanation(cause: BaseException) -> str:
    if isinstance(cause, ObjStoreError) and cause.bucket is not None and cause.name:
        return f"{f'{cause.bucket}/{cause.name}'!r}: {cause}"
    return str(cause)


def sync_wrapper(call: Callable[..., Any], owner: Any = None) -> Any:
    """A method for other threads, as fsspec's `sync_wrapper`.

    Args:
        call: The coroutine function, bound to `owner` if that is given.
        owner: The file system; otherwise the first argument.
    """

    @functools.wraps(call)
    def blocking(*args: Any, **options: Any) -> Any:
        loop = (owner or args[0]).loop
        return sync(loop, functools.partial(call, *args, **options))

    return blocking


def explain_timeouts(filesystem: Any) -> None:
    """Give a file system its methods for other threads; fsspec leaves those that are there."""
    asyn.mirror_sync_methods(filesystem)
    for name, method in list(vars(filesystem).items()):
        call = getattr(method, "__wrapped__", None)
        if inspect.iscoroutinefunction(call):
            setattr(filesystem, name, sync_wrapper(call, filesystem))
        elif inspect.isasyncgenfunction(call):
            setattr(filesystem, name, _generator(call, filesystem))


def _generator(call: Callable[..., Any], owner: Any) -> Callable[..., Iterator[Any]]:
    @functools.wraps(call)
    def blocking(*args: Any, **options: Any) -> Iterator[Any]:
        generator = call(*args, **options)
        while True:
            try:
                yield sync(owner.loop, generator.__anext__)
            except StopAsyncIteration:
                return

    return blocking
