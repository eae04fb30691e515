"""One change as it travels: the NATS message, read once."""

from dataclasses import dataclass, field
from typing import NamedTuple

from nats.aio.msg import Msg
from typing_extensions import Self

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.models import ObjectInfo

__all__ = ("ChangeMessage", "InProcessChange", "Receipt", "label")


def label(bucket: str) -> str:
    """The subject that handlers, metrics and spans see: one for each bucket.

    The real one has the object's name in it, so every object would be a label.
    """
    return f"$O.{bucket}.M"


class Receipt(NamedTuple):
    """What the reply subject of a delivered message says of it (nats-server, ADR-15).

    Attributes:
        deliveries: How often it has been delivered, this time included.
        sequence: Its sequence in the stream.
        consumer_sequence: Number of this delivery among the consumer's.
        time_ns: When the server stored it.
        pending: How many further messages the consumer had to deliver then.
    """

    deliveries: int
    sequence: int
    consumer_sequence: int
    time_ns: int
    pending: int = 0

    @classmethod
    def of(cls, reply: str) -> Self:
        """Read `$JS.ACK.…`, in the form with an account and a domain or the one without.

        Raises:
            ValueError: If it is anything else.
        """
        tokens = reply.split(".")
        if tokens[:2] != ["$JS", "ACK"] or (len(tokens) != 9 and len(tokens) < 11):
            msg = f"{reply!r} is not the reply subject of a JetStream message"
            raise ValueError(msg)
        start = 4 if len(tokens) == 9 else 6
        return cls(*map(int, tokens[start : start + 5]))

    def reply(self, bucket: str) -> str:
        """The reply subject that says this."""
        return (
            f"$JS.ACK.{wire.stream_name(bucket)}.in-process.{self.deliveries}.{self.sequence}."
            f"{self.consumer_sequence}.{self.time_ns}.{self.pending}"
        )


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
