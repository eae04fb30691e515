"""What the reply subject of a delivered message says of it."""

from typing import NamedTuple

from typing_extensions import Self

from faststream_objstore.wire import stream_name

__all__ = ("Receipt",)


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
        # $JS.ACK.<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>,
        # or with <domain>.<account> before the stream, and perhaps a token at the end.
        count = len(tokens)
        if tokens[:2] != ["$JS", "ACK"] or (count != 9 and count < 11):
            msg = f"{reply!r} is not the reply subject of a JetStream message"
            raise ValueError(msg)
        start = 4 if count == 9 else 6
        return cls(*map(int, tokens[start : start + 5]))

    def reply(self, bucket: str) -> str:
        """The reply subject that says this."""
        return (
            f"$JS.ACK.{stream_name(bucket)}.in-process.{self.deliveries}.{self.sequence}."
            f"{self.consumer_sequence}.{self.time_ns}.{self.pending}"
        )
