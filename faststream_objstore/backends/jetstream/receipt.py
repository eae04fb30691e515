"""The delivery details in a message's reply subject."""

from typing import NamedTuple

from typing_extensions import Self

from faststream_objstore.wire import stream_name

__all__ = ("Receipt", "Receipts")

# `$JS.ACK.<stream>.<consumer>` and five fields.
_DOTS, _FIELDS = 8, 5


class Receipt(NamedTuple):
    """The delivery details in a message's reply subject (nats-server, ADR-15).

    Attributes:
        deliveries: How often it has been delivered, this time included.
        sequence: Its sequence in the stream.
        consumer_sequence: The number of this delivery by the consumer.
        time_ns: When the server stored the message.
        pending: How many more messages the consumer had to deliver at that time.
    """

    deliveries: int
    sequence: int
    consumer_sequence: int
    time_ns: int
    pending: int = 0

    @classmethod
    def of(cls, reply: str) -> Self:
        """Parse `$JS.ACK.…`, with or without an account and a domain.

        Raises:
            ValueError: If it is anything else.
        """
        return cls(*cls.read(reply))

    @staticmethod
    def read(reply: str) -> tuple[int, int, int, int, int]:
        """The fields, in half of the time; see `of`."""
        tokens = reply.split(".")
        # $JS.ACK.<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>,
        # or with <domain>.<account> before the stream, and perhaps a token at the end.
        count = len(tokens)
        if not reply.startswith("$JS.ACK.") or (count != 9 and count < 11):
            msg = f"{reply!r} is not the reply subject of a JetStream message"
            raise ValueError(msg)
        tries, sequence, delivered, time, pending = tokens[4:9] if count == 9 else tokens[6:11]
        return int(tries), int(sequence), int(delivered), int(time), int(pending)

    def reply(self, bucket: str) -> str:
        """The reply subject with these details."""
        return (
            f"$JS.ACK.{stream_name(bucket)}.in-process.{self.deliveries}.{self.sequence}."
            f"{self.consumer_sequence}.{self.time_ns}.{self.pending}"
        )


class Receipts:
    """Reads the receipts of one consumer, which all begin alike, in two thirds of the time."""

    __slots__ = ("_start",)

    def __init__(self) -> None:
        self._start = ""

    def read(self, reply: str) -> tuple[int, int, int, int]:
        """The fields after `deliveries`; see `Receipt`.

        Raises:
            ValueError: If it is anything else.
        """
        start = self._start
        if start and reply.startswith(start):
            _, sequence, delivered, time, pending = reply[len(start) :].split(".")
            return int(sequence), int(delivered), int(time), int(pending)
        fields = Receipt.read(reply)
        if reply.count(".") == _DOTS:
            self._start = reply.rsplit(".", _FIELDS)[0] + "."
        return fields[1:]
