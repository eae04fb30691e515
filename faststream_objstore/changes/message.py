"""One change as it travels: the NATS message, read once."""

from dataclasses import dataclass, field

from nats.aio.msg import Msg
from typing_extensions import Self

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.models import ObjectInfo

__all__ = ("ChangeMessage", "InProcessChange", "label")


def label(bucket: str) -> str:
    """The subject that handlers, metrics and spans see: one for each bucket.

    The real one has the object's name in it, so every object would be a label.
    """
    return f"$O.{bucket}.M"


@dataclass(eq=False)
class ChangeMessage(Msg):
    """A metadata message, with what was read out of it.

    Attributes:
        info: The version of the object that it is about.
        path: What the subscriber's pattern took out of the name.
        receipt: The counts and the sequence of its delivery.
        superseded: Whether a newer version has replaced it; `None` if not looked up.
        given_back: Whether it was negatively acknowledged, so that it comes again.
    """

    info: ObjectInfo = field(kw_only=True)
    receipt: Receipt = field(kw_only=True)
    path: dict[str, str] = field(kw_only=True, default_factory=dict)
    superseded: bool | None = field(kw_only=True, default=None)
    given_back: bool = field(kw_only=True, default=False)

    @classmethod
    def read(cls, raw: Msg, bucket: str, receipt: Receipt | None = None) -> Self:
        """Read a delivered message.

        Args:
            raw: As delivered.
            bucket: The bucket it is of.
            receipt: What its reply subject says, if that is read already.

        Raises:
            BadObjectMetaError: If its body is not an object's metadata.
            ValueError: If it does not come from JetStream.
        """
        receipt = receipt or Receipt.of(raw.reply)
        stored = StoredMessage(raw.subject, raw.data, receipt.sequence, receipt.time_ns)
        info, _ = wire.info_of(stored, bucket)
        return cls(
            raw._client,  # noqa: SLF001 - a Msg acknowledges over it
            subject=label(bucket),
            reply=raw.reply,
            data=raw.data,
            headers=raw.headers,
            info=info,
            receipt=receipt,
        )

    async def nak(self, delay: float | None = None) -> None:
        """Give it back: it is delivered again, after `delay` seconds."""
        await super().nak(delay)
        self.given_back = True


class InProcessChange(ChangeMessage):
    """A change in the memory of this process: there is nobody to acknowledge it to."""

    @classmethod
    def of(cls, stored: StoredMessage, bucket: str) -> Self:
        """The message that a server would deliver for what is stored.

        Raises:
            BadObjectMetaError: If its body is not an object's metadata.
        """
        receipt = Receipt(1, stored.sequence, stored.sequence, stored.time_ns)
        raw = Msg(
            None,  # type: ignore[arg-type]  # never used, see below
            subject=stored.subject,
            reply=receipt.reply(bucket),
            data=stored.data,
        )
        return cls.read(raw, bucket)

    async def ack(self) -> None:
        """Nothing is sent."""
        self._ackd = True

    async def ack_sync(self, timeout: float = 1.0) -> Msg:  # noqa: ARG002
        """Nothing is sent."""
        self._ackd = True
        return self

    async def nak(self, delay: float | None = None) -> None:  # noqa: ARG002
        """Nothing is sent, and nothing delivered again."""
        self._ackd = True

    async def term(self) -> None:
        """Nothing is sent."""
        self._ackd = True

    async def in_progress(self) -> None:
        """Nothing is sent."""
