"""Where messages about a bucket are logged.

The store and its backends know no broker. Whoever binds them to one has their messages go to
its logger; without that, they go to the logger `faststream_objstore`.
"""

import logging
import weakref
from typing import Protocol

__all__ = ("Log", "log", "log_with")

_logger = logging.getLogger("faststream_objstore")


class Log(Protocol):
    """Writes a message to a log."""

    def __call__(self, level: int, text: str, /) -> None:
        """Write it.

        Args:
            level: One of `logging`'s.
            text: The message.
        """


_logs: "weakref.WeakKeyDictionary[object, Log]" = weakref.WeakKeyDictionary()


def log_with(subject: object, write: Log) -> None:
    """Have messages about a backend or a connection to JetStream written by `write`."""
    _logs[subject] = write


def log(subject: object, level: int, text: str) -> None:
    """Log a message about a backend or a connection to JetStream."""
    write = _logs.get(subject)
    if write is None:
        _logger.log(level, "%s", text)
    else:
        write(level, text)
