"""What a message's reply subject says of its delivery."""

import pytest

from faststream_objstore.backends.jetstream.receipt import Receipt, Receipts

PLAIN = "$JS.ACK.OBJ_b.one.1.20.7.1764080000123456789.5"
NEXT = "$JS.ACK.OBJ_b.one.2.31.8.1764080000123456999.4"
OTHER = "$JS.ACK.OBJ_b.ones.1.6.1.1764080000000000000.0"
DOMAIN = "$JS.ACK.hub.ACC.OBJ_b.one.1.20.7.1764080000123456789.5"
TOKEN = DOMAIN + ".x7"


@pytest.mark.parametrize("reply", [PLAIN, DOMAIN, TOKEN])
def test_a_receipt_is_read_with_and_without_a_domain(reply: str) -> None:
    assert Receipt.of(reply) == Receipt(1, 20, 7, 1764080000123456789, 5)


def test_the_receipts_of_a_consumer_are_read_like_single_ones() -> None:
    receipts = Receipts()
    for reply in (PLAIN, NEXT, OTHER, DOMAIN, TOKEN, PLAIN, NEXT):
        assert receipts.read(reply) == tuple(Receipt.of(reply))[1:]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "_INBOX.x",
        "$JS.ACK.OBJ_b.one.1.20.7.1764080000123456789",
        "$JS.ACK.OBJ_b.one.1.20.7.1764080000123456789.5.6",
        "$JS.ACK.OBJ_b.one.1.x.7.1764080000123456789.5",
    ],
)
def test_any_other_reply_subject_is_refused_before_and_after_a_receipt(reply: str) -> None:
    receipts = Receipts()
    with pytest.raises(ValueError, match=r"reply subject|invalid literal"):
        receipts.read(reply)
    receipts.read(PLAIN)
    with pytest.raises(ValueError, match=r"reply subject|invalid literal|unpack"):
        receipts.read(reply)
