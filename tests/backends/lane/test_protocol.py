"""The lane's protocol: whatever the pieces that bytes come in, the messages are the same."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faststream_objstore.backends.jetstream.lane import LaneMessage, LaneProtocol

LARGE = bytes(range(256)) * 400  # 102,400 bytes


class Inbox:
    """A listener that keeps what it gets, in memory of its own if there is some."""

    def __init__(self, room: int = 0) -> None:
        self.memory = memoryview(bytearray(room))
        self.filled = 0
        self.together: list[list[LaneMessage]] = []

    @property
    def messages(self) -> list[LaneMessage]:
        return [message for some in self.together for message in some]

    def destination(self, size: int) -> memoryview | None:
        end = self.filled + size
        return self.memory[self.filled : end] if end <= len(self.memory) else None

    def receive(self, messages: Sequence[LaneMessage]) -> None:
        for message in messages:
            if isinstance(message.data, memoryview):
                self.filled += len(message.data)
        self.together.append(list(messages))


class Wire(asyncio.Transport):
    """What the protocol has written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


class Side:
    """A protocol, its transport and what it has said."""

    def __init__(self, **listeners: Inbox) -> None:
        self.errors: list[str] = []
        self.infos: list[dict[str, Any]] = []
        self.lost: list[Exception | None] = []
        self.protocol = LaneProtocol(
            on_error=self.errors.append, on_info=self.infos.append, on_lost=self.lost.append
        )
        self.protocol.listeners.update(
            {sid[1:]: (one.receive, one.destination) for sid, one in listeners.items()}
        )
        self.wire = Wire()
        self.protocol.attach(self.wire)

    def feed(self, data: bytes, pieces: list[int] | None = None) -> None:
        """Have the bytes arrive, in pieces of these sizes, in turn."""
        sizes = pieces or [len(data)]
        turn = 0
        while data and not self.wire.closed:
            room = memoryview(self.protocol.get_buffer(-1))
            count = min(len(room), len(data), sizes[turn % len(sizes)])
            room[:count] = data[:count]
            data = data[count:]
            turn += 1
            self.protocol.buffer_updated(count)


CONVERSATION = (
    b'INFO {"max_payload": 1048576}\r\n'
    b"MSG a.b 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG a.b 1 $JS.ACK.x.y.1.2.3.4.5 102400\r\n" + LARGE + b"\r\n"
    b"HMSG a.c 2 reply.to 30 35\r\nNATS/1.0\r\nKey: a value: b \r\n\r\nworld\r\n"
    b"+OK\r\n"
    b"MSG nobody 9 102400\r\n" + LARGE + b"\r\n"
    b"MSG a.b 1 0\r\n\r\n"
    b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"
    b"MSG a.b 1 9000\r\n" + b"x" * 9000 + b"\r\n"
)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 250_000), min_size=1, max_size=8))
def test_messages_are_the_same_whatever_pieces_they_come_in(pieces: list[int]) -> None:
    first, second = Inbox(room=len(LARGE)), Inbox()
    side = Side(s1=first, s2=second)
    side.feed(CONVERSATION, pieces)

    assert [(one.subject, one.reply, bytes(one.data)) for one in first.messages] == [
        ("a.b", "", b"hello"),
        ("a.b", "$JS.ACK.x.y.1.2.3.4.5", LARGE),
        ("a.b", "", b""),
        ("a.b", "", b"x" * 9000),
    ]
    assert bytes(first.memory) == LARGE
    assert second.messages == [
        LaneMessage("a.c", "reply.to", b"world", b"NATS/1.0\r\nKey: a value: b \r\n\r\n"),
    ]
    assert side.infos == [{"max_payload": 1048576}]
    assert side.wire.written == b"PONG\r\n"
    assert side.errors == ['Permissions Violation for Publish to "x"']
    assert not side.wire.closed


@pytest.mark.parametrize("piece", [150_000, 307_201, 2_000_000])
def test_many_large_bodies_of_one_read_are_received_in_order(piece: int) -> None:
    bodies = [bytes([number]) * (100_000 + number) for number in range(15)]
    inbox = Inbox(room=sum(map(len, bodies)))
    side = Side(s1=inbox)
    side.feed(
        b"".join(b"MSG a 1 %d\r\n%b\r\n" % (len(body), body) for body in bodies), [piece]
    )

    assert [bytes(message.data) for message in inbox.messages] == bodies
    assert bytes(inbox.memory) == b"".join(bodies)
    assert inbox.filled == len(inbox.memory)


def test_a_body_larger_than_any_read_is_received_in_its_destination() -> None:
    inbox = Inbox(room=len(LARGE))
    side = Side(s1=inbox)
    side.feed(b"MSG a 1 102400\r\n" + LARGE + b"\r\n", [10_000])

    (message,) = inbox.messages
    assert isinstance(message.data, memoryview)
    assert message.data.obj is inbox.memory.obj


def test_messages_of_a_subscription_that_arrive_together_are_handed_over_together() -> None:
    first, second = Inbox(), Inbox()
    side = Side(s1=first, s2=second)
    side.feed(
        b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nMSG b 2 1\r\n3\r\nMSG a 1 1\r\n4\r\n"
        b"PING\r\nMSG a 1 1\r\n5\r\nMSG a 1"
    )

    assert [[one.data for one in some] for some in first.together] == [
        [b"1", b"2"],
        [b"4"],
        [b"5"],
    ]
    assert [one.data for one in second.messages] == [b"3"]


def test_what_arrived_before_a_line_that_cannot_be_parsed_is_handed_over() -> None:
    inbox = Inbox()
    side = Side(s1=inbox)
    side.feed(b"MSG a 1 1\r\n1\r\nMSG a 1 much\r\n")

    assert [one.data for one in inbox.messages] == [b"1"]
    assert side.wire.closed


def test_a_status_is_read_from_the_header_line() -> None:
    inbox = Inbox()
    side = Side(s1=inbox)
    head = b"NATS/1.0 404 No Messages\r\n\r\n"
    side.feed(b"HMSG a 1 %d %d\r\n" % (len(head), len(head)) + head + b"\r\n")

    (message,) = inbox.messages
    assert message.data == b""
    assert dict(message.headers or {}) == {"Status": "404", "Description": "No Messages"}


def test_a_large_message_with_headers_is_whole() -> None:
    inbox = Inbox(room=len(LARGE))
    side = Side(s1=inbox)
    head = b"NATS/1.0\r\nNats-Sequence: 7\r\n\r\n"
    total = len(head) + len(LARGE)
    side.feed(b"HMSG a 1 %d %d\r\n" % (len(head), total) + head + LARGE + b"\r\n", [4_000])

    assert inbox.messages == [LaneMessage("a", "", LARGE, head)]
    assert dict(inbox.messages[0].headers or {}) == {"Nats-Sequence": "7"}


@pytest.mark.parametrize(
    "garbage", [b"HELLO\r\n", b"MSG a\r\n", b"MSG a 1 five\r\n", b"x" * 70_000]
)
def test_what_is_not_the_protocol_ends_the_connection(garbage: bytes) -> None:
    side = Side()
    side.feed(garbage)

    assert side.wire.closed
    assert len(side.errors) == 1
    assert "cannot parse what the server sends" in side.errors[0]


def test_what_came_before_it_took_over_is_parsed() -> None:
    inbox = Inbox()
    side = Side(s1=inbox)
    side.protocol.attach(side.wire, b"MSG a 1 2\r\nok\r\nPING\r\n" * 10_000)

    assert len(inbox.messages) == 10_000
    assert side.wire.written == b"PONG\r\n" * 10_000


async def test_many_commands_of_one_turn_are_sent_together() -> None:
    side = Side(s1=Inbox())
    side.feed(b"MSG a 1 2\r\nok\r\nMSG a 1 2\r\nok\r\n")
    for command in (b"one ", b"two ", b"three "):
        side.protocol.write(command)
    side.protocol.write_body(b"four ", LARGE)
    assert side.wire.writes == []

    await asyncio.sleep(0)
    assert side.wire.writes == [b"one two three four " + LARGE + b"\r\n"]


async def test_the_command_after_a_message_that_arrives_alone_is_sent_at_once() -> None:
    side = Side(s1=Inbox())
    side.feed(b"MSG a 1 2\r\nok\r\n")
    for command in (b"one ", b"two ", b"three "):
        side.protocol.write(command)
    assert side.wire.writes == [b"one "]

    await asyncio.sleep(0)
    assert side.wire.writes == [b"one ", b"two three "]


async def test_what_is_written_before_the_end_is_sent_and_nothing_after_it() -> None:
    side = Side()
    side.protocol.write(b"one ")
    side.protocol.write(b"two ")
    side.protocol.close()
    side.protocol.write(b"three ")
    side.protocol.write_body(b"four ", LARGE)

    await asyncio.sleep(0)
    assert side.wire.written == b"one two "


async def test_nothing_is_sent_over_a_transport_that_has_broken() -> None:
    side = Side(s1=Inbox())
    side.feed(b"MSG a 1 2\r\nok\r\nMSG a 1 2\r\nok\r\n")
    side.protocol.write_body(b"one ", LARGE)
    # asyncio tells the protocol in the next turn.
    side.wire.closed = True

    await asyncio.sleep(0)
    assert side.wire.writes == []
