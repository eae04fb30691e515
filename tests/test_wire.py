"""ADR-20's wire format, byte for byte; written strictly, read tolerantly."""

import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    InvalidObjectNameError,
    InvalidOptionError,
)
from faststream_objstore.models import (
    ObjectInfo,
    ObjectLink,
    ObjectMetaOptions,
    ObjectStoreConfig,
)
from faststream_objstore.wire import metadata

# From `printf hello | sha256sum`.
HELLO_HEX = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
HELLO = "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="


def message(data: bytes | dict[str, Any], subject: str = "$O.photos.M.YQ==") -> StoredMessage:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return StoredMessage(subject, body, 7, 1_700_000_000_123_456_789, size=len(body))


# --- subjects


def test_the_subjects_are_adr_20s() -> None:
    assert wire.stream_name("photos") == "OBJ_photos"
    assert wire.chunk_subject("photos", "N") == "$O.photos.C.N"
    assert wire.all_chunks_subject("photos") == "$O.photos.C.>"
    assert wire.all_metadata_subject("photos") == "$O.photos.M.>"
    assert wire.metadata_wildcard("photos") == "$O.photos.M.*"
    assert wire.metadata_subject("photos", "cat.png") == "$O.photos.M.Y2F0LnBuZw=="


@pytest.mark.parametrize(
    "stream, bucket",
    [("OBJ_photos", "photos"), ("KV_photos", None), ("OBJ_", ""), ("x", None)],
)
def test_the_bucket_of_a_stream_is_what_follows_its_prefix(
    stream: str, bucket: str | None
) -> None:
    assert wire.bucket_of_stream(stream) == bucket


@pytest.mark.parametrize(
    "name, encoded",
    [
        ("a", "YQ=="),
        ("ab", "YWI="),
        ("abc", "YWJj"),
        ("ÿÿÿ?", "w7_Dv8O_Pw=="),
        ("~~~>>>", "fn5-Pj4-"),
        ("\x00", "AA=="),
    ],
)
def test_a_name_is_padded_base64url_of_its_utf_8(name: str, encoded: str) -> None:
    assert wire.metadata_subject("b", name) == f"$O.b.M.{encoded}"
    assert wire.name_of(f"$O.b.M.{encoded}") == name


@pytest.mark.parametrize(
    "encoded",
    # The last are base64 of "a", "\xff?" and nothing, but not the form that has the name.
    ["!", "Y", "_w==", "a b", "Y*==", "x.YQ==", "*", ">", "YR==", "YQ", "YQ=", "w78/", ""],
)
def test_what_is_not_the_base64url_of_a_name_is_none(encoded: str) -> None:
    assert wire.name_of(f"$O.b.M.{encoded}") is None


def test_a_subject_may_be_just_as_long_as_its_limit() -> None:
    assert len(wire.metadata_subject("b", "abc", limit=11)) == 11
    with pytest.raises(InvalidObjectNameError) as caught:
        wire.metadata_subject("b", "abcd", limit=11)

    assert str(caught.value) == (
        "Bucket 'b': the name 'abcd'... has 4 bytes of UTF-8, and a NATS subject can carry 3; "
        "use a shorter name."
    )
    assert (caught.value.bucket, caught.value.name) == ("b", "abcd")


# --- digests


def test_a_digest_is_padded_base64url_of_the_sha256() -> None:
    assert hashlib.sha256(b"hello").hexdigest() == HELLO_HEX
    assert wire.encode_digest(bytes.fromhex(HELLO_HEX)) == HELLO


@pytest.mark.parametrize(
    "digest",
    [
        HELLO,
        HELLO[:-1],
        "sha-256=" + HELLO[8:],
        "SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
    ],
)
def test_a_digest_in_any_clients_form_is_read(digest: str) -> None:
    assert wire.decode_digest(digest) == bytes.fromhex(HELLO_HEX)


@pytest.mark.parametrize(
    "digest",
    [None, "", "SHA-256=", "SHA-256=YQ==", "MD5=" + HELLO[8:], HELLO[8:], HELLO + "!"],
)
def test_what_is_no_sha256_is_none(digest: str | None) -> None:
    assert wire.decode_digest(digest) is None


# --- headers


@pytest.mark.parametrize(
    "headers, expected",
    [
        (None, None),
        ({}, None),
        ({"a": "1"}, {"a": ["1"]}),
        ({"a": ["1", "2"], "b": ()}, {"a": ["1", "2"], "b": []}),
        ({"a": ("1",)}, {"a": ["1"]}),
    ],
)
def test_header_values_are_lists_on_the_wire(headers: Any, expected: Any) -> None:
    assert wire.headers_of(headers) == expected


@pytest.mark.parametrize("headers", ["x", ["a"], {"a": 1}, {1: "a"}, {"a": [1]}, {"a": None}])
def test_headers_that_are_no_text_are_refused(headers: Any) -> None:
    with pytest.raises(InvalidOptionError, match="header"):
        wire.headers_of(headers)


# --- writing


def test_metadata_is_written_byte_for_byte() -> None:
    info = ObjectInfo(
        name="grün",
        bucket="photos",
        nuid="N",
        size=5,
        chunks=1,
        digest=HELLO,
        description="d",
        headers={"h": ["1", "2"]},
        metadata={"m": "3"},
        options=ObjectMetaOptions(max_chunk_size=131072),
        revision=9,
        mtime=datetime(2024, 1, 1, tzinfo=timezone.utc),
    )

    assert (
        wire.metadata_json(info)
        == (
            '{"description":"d","headers":{"h":["1","2"]},"metadata":{"m":"3"},'
            '"options":{"max_chunk_size":131072},"name":"grün","bucket":"photos","nuid":"N",'
            '"size":5,"chunks":1,"mtime":"0001-01-01T00:00:00Z",'
            f'"digest":"{HELLO}"}}'
        ).encode()
    )


def test_what_is_not_said_is_not_written() -> None:
    assert wire.metadata_json(ObjectInfo(name="a", bucket="b", nuid="N")) == (
        b'{"name":"a","bucket":"b","nuid":"N","size":0,"chunks":0,'
        b'"mtime":"0001-01-01T00:00:00Z"}'
    )


@pytest.mark.parametrize(
    "link, expected",
    [
        (ObjectLink("other", "x"), b'{"link":{"bucket":"other","name":"x"}}'),
        (ObjectLink("other"), b'{"link":{"bucket":"other"}}'),
    ],
)
def test_a_link_is_written_in_the_options(link: ObjectLink, expected: bytes) -> None:
    info = ObjectInfo(name="a", bucket="b", options=ObjectMetaOptions(link=link))

    assert wire.metadata_json(info).startswith(b'{"options":' + expected + b',"name":"a"')


def test_unknown_keys_of_the_version_it_amends_are_kept() -> None:
    raw = {
        "custom": [1],
        "description": "old",
        "headers": {"h": "old"},
        "metadata": {"m": "old"},
        "digest": "old",
        "deleted": True,
        "mtime": "",
        "options": {"codec": "zstd", "link": {"bucket": "x"}, "max_chunk_size": 3},
    }
    before = json.dumps(raw)

    assert wire.metadata_json(ObjectInfo(name="a", bucket="b", nuid="N"), raw) == (
        b'{"custom":[1],"mtime":"0001-01-01T00:00:00Z","options":{"codec":"zstd"},"name":"a",'
        b'"bucket":"b","nuid":"N","size":0,"chunks":0}'
    )
    assert json.dumps(raw) == before


@pytest.mark.parametrize("options", [None, "text", [], {"link": None}])
def test_options_of_another_shape_are_replaced(options: Any) -> None:
    info = ObjectInfo(name="a", bucket="b", options=ObjectMetaOptions(max_chunk_size=5))

    written = json.loads(wire.metadata_json(info, {"options": options}))
    assert written["options"] == {"max_chunk_size": 5}


def test_a_lone_surrogate_is_written_escaped() -> None:
    info = ObjectInfo(name="a", bucket="b", nuid="N", description="ä\ud800")

    assert b'"description":"\\u00e4\\ud800"' in wire.metadata_json(info)


# What JSON escapes, what it does not, and what has no UTF-8 form.
_TRICKY = st.text(st.sampled_from('a"\\/\n\x00\x1f\x7fä\u2028\ud800\U0001f600'), min_size=1)


@given(
    name=_TRICKY,
    nuid=_TRICKY,
    size=st.integers(0, 2**60),
    chunk_size=st.integers(1),
    # Other clients may have stored anything.
    texts=st.dictionaries(_TRICKY, _TRICKY | st.none() | st.integers(), max_size=2),
)
def test_the_json_of_what_every_put_writes_is_that_of_an_encoder(
    name: str, nuid: str, size: int, chunk_size: int, texts: dict[str, Any]
) -> None:
    body = {
        **({"metadata": texts} if texts else {}),
        "options": {"max_chunk_size": chunk_size},
        "name": name,
        "bucket": "photos",
        "nuid": nuid,
        "size": size,
        "chunks": 1,
        "mtime": "0001-01-01T00:00:00Z",
        "digest": HELLO,
    }
    text = name + nuid + "".join(map(str, (*texts, *texts.values())))
    escaped = any("\ud800" <= one <= "\udfff" for one in text)

    info = ObjectInfo(
        name=name,
        bucket="photos",
        nuid=nuid,
        size=size,
        chunks=1,
        digest=HELLO,
        metadata=texts or None,
        options=ObjectMetaOptions(max_chunk_size=chunk_size),
    )

    assert (
        wire.metadata_json(info)
        == json.dumps(body, ensure_ascii=escaped, separators=(",", ":")).encode()
    )


# --- reading


def test_metadata_is_read_with_the_servers_time_and_sequence() -> None:
    body = {
        "name": "a",
        "bucket": "photos",
        "nuid": "N",
        "size": 5,
        "chunks": 1,
        "mtime": "2020-01-01T00:00:00Z",
        "digest": HELLO,
        "description": "d",
        "headers": {"h": ["1"], "plain": "2"},
        "metadata": {"m": "3"},
        "options": {"max_chunk_size": 5},
        "custom": 1,
    }
    info, raw = wire.info_of(message(body), "photos")

    assert info == ObjectInfo(
        name="a",
        bucket="photos",
        nuid="N",
        size=5,
        chunks=1,
        digest=HELLO,
        description="d",
        headers={"h": ["1"], "plain": ["2"]},
        metadata={"m": "3"},
        options=ObjectMetaOptions(max_chunk_size=5),
        revision=7,
    )
    assert info.mtime == datetime(2023, 11, 14, 22, 13, 20, 123456, timezone.utc)
    assert raw == body


@pytest.mark.parametrize(
    "written_to, nuid, expected",
    [
        ("photos", "N", ObjectLink("origin", "y")),
        # Written to the bucket that this one follows, or that its origin follows in turn.
        ("origin", "N", ObjectLink("photos", "y")),
        ("another", "N", ObjectLink("origin", "y")),
        # nats.js, in any bucket.
        ("origin", None, ObjectLink("origin", "y")),
    ],
)
def test_a_link_into_the_bucket_that_it_was_written_to_stays_in_its_bucket(
    written_to: str, nuid: str | None, expected: ObjectLink
) -> None:
    body = {"bucket": written_to, "options": {"link": {"bucket": "origin", "name": "y"}}}
    if nuid is not None:
        body["nuid"] = nuid

    assert wire.info_of(message(body), "photos")[0].link == expected


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nuid": None, "size": None, "chunks": None, "digest": None, "mtime": None},
        {"nuid": "", "digest": "", "mtime": "", "headers": None, "metadata": None},
        {"options": None, "description": None, "deleted": None, "headers": {}},
        {"options": {"link": None, "max_chunk_size": None}},
        {"options": {}, "name": None},
        {"name": "other", "bucket": "other"},
    ],
)
def test_fields_that_are_missing_or_null_are_the_default(body: dict[str, Any]) -> None:
    info, _ = wire.info_of(message(body), "photos")

    assert info == ObjectInfo(name="a", bucket="photos", revision=7)


@pytest.mark.parametrize(
    "link, expected",
    [
        ({"bucket": "x", "name": "y"}, ObjectLink("x", "y")),
        ({"bucket": "x"}, ObjectLink("x")),
        ({"bucket": "x", "name": ""}, ObjectLink("x")),
        ({"bucket": "x", "name": None}, ObjectLink("x")),
    ],
)
def test_a_link_of_any_client_is_read(link: Any, expected: ObjectLink) -> None:
    info, _ = wire.info_of(message({"options": {"link": link}}), "photos")

    assert info.link == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"[" * 100_000,
        b'{"size": -1}',
        b'{"size": 1.5}',
        b'{"size": "5"}',
        b'{"size": true}',
        b'{"size": 1e999}',
        b'{"chunks": []}',
        b'{"nuid": 5}',
        b'{"digest": 5}',
        b'{"digest": "SHA-256=x\\r\\nSet-Cookie: a=b"}',
        b'{"digest": "MD5=AAAAAAAAAAAAAAAAAAAAAA=="}',
        b'{"digest": "SHA-256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}',
        b'{"description": {}}',
        b'{"headers": 5}',
        b'{"headers": ["a"]}',
        b'{"metadata": "a"}',
        b'{"options": {"link": {}}}',
        b'{"options": {"link": {"bucket": 5}}}',
        b'{"options": {"link": {"bucket": "x", "name": 5}}}',
        b'{"options": {"max_chunk_size": "5"}}',
        b'{"size": ' + b"9" * 5000 + b"}",
    ],
)
def test_metadata_that_does_not_parse_is_one_error_that_says_how_to_repair_it(
    body: bytes,
) -> None:
    with pytest.raises(BadObjectMetaError) as caught:
        wire.info_of(message(body), "photos")

    assert str(caught.value).startswith(
        "Bucket 'photos', object 'a': the metadata message at revision 7 does not parse ("
    )
    assert str(caught.value).endswith("; put or delete the object to repair it.")
    assert (caught.value.bucket, caught.value.name) == ("photos", "a")


def test_what_other_clients_leave_in_a_marker_is_not_read() -> None:
    body = {"deleted": True, "size": 5, "chunks": 1, "digest": HELLO, "nuid": "N"}
    info, _ = wire.info_of(message(body), "photos")

    assert info == ObjectInfo(name="a", bucket="photos", nuid="N", deleted=True, revision=7)


@pytest.mark.parametrize("token", ["!", "x.YQ==", "YR==", "YQ", "*"])
@pytest.mark.parametrize("body", [{"name": "a"}, {}])
def test_metadata_under_the_subject_of_no_name_is_nobodys(
    token: str, body: dict[str, Any]
) -> None:
    with pytest.raises(BadObjectMetaError) as caught:
        wire.info_of(message(body, f"$O.photos.M.{token}"), "photos")

    assert str(caught.value) == (
        f"Bucket 'photos', subject '$O.photos.M.{token}': the metadata message at revision 7 "
        "does not parse (its subject is the base64url of no name); it is no object's; "
        "sweep(purge_nameless=True) removes it."
    )
    assert caught.value.name is None


def test_the_json_names_the_object_of_a_latin_1_subject() -> None:
    info, _ = wire.info_of(message({"name": "caf\u00e9"}, "$O.photos.M.Y2Fm6Q=="), "photos")

    assert info.name == "caf\u00e9"


@pytest.mark.parametrize(
    "body, nuid",
    [
        (b'{"nuid": "N"}', "N"),
        (b"{}", ""),
        (b"", ""),
        (b"not json", ""),
        (b"[]", ""),
        (b'{"nuid": ">"}', ""),
        (b'{"nuid": 5}', ""),
    ],
)
def test_the_nuid_in_a_foreign_body_is_read_where_there_is_one(body: bytes, nuid: str) -> None:
    assert wire.nuid_in(body) == nuid


@pytest.mark.parametrize(
    "subject, has",
    [("$O.b.C.N", False), ("$O.b.C.a*", False), ("$O.b.C.*", True), ("$O.b.C.>", True)],
)
def test_a_subject_with_a_wildcard_is_known(subject: str, has: bool) -> None:
    assert wire.has_wildcards(subject) is has


def test_what_is_written_is_read_again() -> None:
    info = ObjectInfo(
        name="a",
        bucket="photos",
        nuid="N",
        size=5,
        chunks=1,
        digest=HELLO,
        description="\u2028\x00ä\ud800",
        headers={"h": ["1", ""]},
        metadata={"": "x"},
        options=ObjectMetaOptions(ObjectLink("x", "y"), 5),
        revision=7,
    )

    assert wire.info_of(message(wire.metadata_json(info)), "photos")[0] == info


# --- configuration


def test_the_stream_of_a_bucket_is_adr_20s() -> None:
    assert wire.stream_config(ObjectStoreConfig(bucket="photos")) == {
        "name": "OBJ_photos",
        "subjects": ["$O.photos.C.>", "$O.photos.M.>"],
        "retention": "limits",
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_bytes": -1,
        "max_age": 0,
        "storage": "file",
        "num_replicas": 1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "compression": "none",
    }


FULL = ObjectStoreConfig(
    bucket="photos",
    description="d",
    ttl=timedelta(days=30, microseconds=1),
    max_bytes=5,
    storage="memory",
    replicas=3,
    placement={"cluster": "c"},
    compression=True,
    metadata={"m": "1"},
    keep_replaced=timedelta(minutes=5, microseconds=1),
    transactions=True,
    object_ttl=90,
    sources=(),
)


def test_every_setting_has_its_place_in_the_stream() -> None:
    stream = wire.stream_config(FULL)

    assert stream["description"] == "d"
    assert stream["max_age"] == 2_592_000_000_001_000
    assert (stream["max_bytes"], stream["storage"], stream["num_replicas"]) == (5, "memory", 3)
    assert (stream["placement"], stream["compression"]) == ({"cluster": "c"}, "s2")
    assert stream["metadata"] == {
        "m": "1",
        "faststream_objstore.keep_replaced": "300.000001",
    }
    assert stream["allow_atomic"] is True
    assert stream["allow_msg_ttl"] is True
    assert stream["subject_delete_marker_ttl"] == 90_000_000_000


@pytest.mark.parametrize("key", ["allow_atomic", "allow_msg_ttl", "subject_delete_marker_ttl"])
def test_a_stream_does_not_name_what_it_is_not_to_have(key: str) -> None:
    # An older server refuses, or ignores, what it does not know.
    assert key not in wire.stream_config(ObjectStoreConfig(bucket="photos"))
    off = ObjectStoreConfig(bucket="photos", transactions=False, object_ttl=False)
    assert key not in wire.stream_config(off)


def test_a_stream_with_ttls_and_without_markers_has_the_servers_least_ttl() -> None:
    stream = {"name": "OBJ_photos", "allow_msg_ttl": True}

    assert wire.config_of(stream).object_ttl == timedelta(seconds=1)
    assert wire.least_ttl(stream) == 1_000_000_000


def test_what_the_server_leaves_of_an_expired_object_is_read_as_its_marker() -> None:
    left = StoredMessage("$O.photos.M.Y2F0", b"", 7, 1_500_000_000, reason="MaxAge")

    info, raw = wire.info_of(left, "photos")

    assert (info.name, info.revision, info.deleted, info.expired) == ("cat", 7, True, True)
    assert info.mtime == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=timezone.utc)
    assert raw == {}
    assert wire.is_marker(left)


def test_what_the_server_leaves_of_a_removed_object_has_not_expired() -> None:
    left = StoredMessage("$O.photos.M.Y2F0", b"", 7, 0, reason="Remove")

    info, _ = wire.info_of(left, "photos")

    assert (info.deleted, info.expired) == (True, False)


def test_an_empty_message_of_somebody_else_is_no_marker() -> None:
    with pytest.raises(BadObjectMetaError):
        wire.info_of(StoredMessage("$O.photos.M.Y2F0", b"", 7, 0), "photos")


@pytest.mark.parametrize(
    "said, expires",
    [
        ({"ttl": 1_500_000}, 3_000_000),
        ({"at": 5_000_001}, 5_000_001),
        ({"ttl": 0}, None),
        ({"ttl": -1}, None),
        ({"ttl": "1"}, None),
        ({"at": True}, None),
        ("1h", None),
        (None, None),
    ],
)
def test_metadata_says_when_the_object_expires(said: object, expires: int | None) -> None:
    raw = {"name": "cat", "objstore-expires": said}

    assert wire.expires_us(raw, 1_500_000) == expires


def test_an_end_beyond_all_calendars_is_none() -> None:
    raw = {"name": "cat", "objstore-expires": {"at": 10**20}}

    assert wire.expires_at(raw, 0) is None


def test_the_settings_of_a_stream_are_read_again() -> None:
    assert wire.config_of(wire.stream_config(FULL)) == FULL


def test_a_stream_that_says_little_has_the_servers_defaults() -> None:
    stream = {"name": "OBJ_photos", "metadata": {"_nats.level": "1", "m": "1"}}

    assert wire.config_of(stream) == ObjectStoreConfig(
        bucket="photos",
        description="",
        ttl=0,
        max_bytes=-1,
        storage="file",
        replicas=1,
        placement={},
        compression=False,
        metadata={"m": "1"},
        keep_replaced=0,
        transactions=False,
        object_ttl=False,
        sources=(),
    )


@pytest.mark.parametrize(
    "said, seconds",
    [("300", 300), ("0.5", 0.5), ("-1", 0), ("x", 0), ("nan", 0), ("inf", 0), ("", 0)],
)
def test_how_long_replaced_versions_stay_is_read_tolerantly(said: str, seconds: float) -> None:
    metadata = {"faststream_objstore.keep_replaced": said}

    assert wire.keep_replaced(metadata) == timedelta(seconds=seconds)
    assert wire.keep_replaced({}) == timedelta(0)


def test_a_note_without_a_time_is_of_the_message_that_has_it() -> None:
    raw = {"replaced": [{"nuid": "A", "at": 5}, {"nuid": "B", "at": 99}, {"nuid": "C"}, "x"]}

    assert wire.replaced_in(raw, 10_000) == [("A", 5, None), ("B", 10, None), ("C", 10, None)]
    assert wire.replaced_in({"replaced": {}}, 10_000) == []
    assert wire.replaced_in({}, 10_000) == wire.replaced_in(None, 10_000) == []


def test_notes_are_written_beside_what_is_there() -> None:
    raw = {"x": 1, "replaced": [{"nuid": "Z"}]}

    noted = wire.with_replaced(
        raw, [wire.Replaced("A", 5, {"m": 1})], wire.Replaced("B", 0, 2)
    )
    assert noted == {
        "x": 1,
        "replaced": [{"nuid": "A", "at": 5, "move": {"m": 1}}, {"nuid": "B", "move": 2}],
    }
    assert wire.replaced_in(noted, 9_000) == [("A", 5, {"m": 1}), ("B", 9, 2)]
    assert wire.with_replaced(raw, []) == {"x": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_json_is_read_alike_with_and_without_pydantic(value: object, escaped: bool) -> None:
    data = json.dumps(value, ensure_ascii=escaped).encode()
    assert wire.load_json(data) == value
    assert metadata._plain_loads(data) == value


@pytest.mark.parametrize(
    "text, value",
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'"\\ud800"', "\ud800"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b" [1] \n", [1]),
        (b"-Infinity", float("-inf")),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b"[" * 400 + b"]" * 400, None),
    ],
)
def test_json_is_read_as_python_reads_it(text: bytes, value: object) -> None:
    assert wire.load_json(text) == json.loads(text)
    if value is not None:
        assert wire.load_json(text) == value


@pytest.mark.parametrize("text", [b"", b"{", b"1 2", b'{"a": 1}x', b'"\xff"', b"{'a': 1}"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser has its own words
        wire.load_json(text)
