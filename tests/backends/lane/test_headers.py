"""Header blocks: what is looked up is what the whole block says."""

from hypothesis import given
from hypothesis import strategies as st

from faststream_objstore.backends.jetstream.lane.headers import Headers

KEYS = st.text("abK- \xe9\udcff", min_size=1, max_size=4)
VALUES = st.text("xy :\xe9\udcff", max_size=5)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=6))
def test_each_key_has_its_last_value(lines: list[tuple[str, str]]) -> None:
    block = "NATS/1.0\r\n" + "".join(f"{key}:{value}\r\n" for key, value in lines) + "\r\n"
    headers = Headers(block.encode(errors="surrogateescape"))

    assert dict(headers) == {key: value.strip() for key, value in lines}
    assert headers.get("none") is None
    assert headers.get("none", "") == ""
    assert "none" not in headers
    assert len(headers) == len(dict(lines))


def test_a_status_line_has_a_code_and_a_description() -> None:
    headers = Headers(b"NATS/1.0 409  Message Size Exceeds MaxBytes \r\nA: 1\r\n\r\n")
    assert headers["Status"] == "409"
    assert headers["Description"] == "Message Size Exceeds MaxBytes"
    assert headers["A"] == "1"
    assert dict(headers) == {
        "Status": "409",
        "Description": "Message Size Exceeds MaxBytes",
        "A": "1",
    }
    assert dict(Headers(b"NATS/1.0 503\r\n\r\n")) == {"Status": "503"}


def test_a_block_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    headers = Headers(b"NATS/1.0\r\nno colon\r\nA: 1\r\nB: 2")
    assert dict(headers) == {"A": "1", "B": "2"}
