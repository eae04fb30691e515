"""Messages that are requested before it is certain that they are needed."""

from typing import Protocol

from ..messages import StoredMessage

__all__ = ("EarlyMessage",)


class EarlyMessage(Protocol):
    """A message that was requested with `Backend.early_message`; close it in any case."""

    subject: str
    """Its subject."""

    async def message(self) -> StoredMessage | None:
        """Wait for it.

        Returns:
            The message; `None` if there is none, or if it could not be read this way: ask
            `last_message`.
        """

    def close(self) -> None:
        """Drop it, whether it has arrived or not."""
