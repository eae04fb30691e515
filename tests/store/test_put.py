"""Put: every option, every mode, every refusal; all of it or nothing."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import nats.js.api
import nats.js.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    InvalidLinkError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    RevisionMismatchError,
    UnsupportedDataError,
)
from faststream_objstore.models import ObjectInfo, ObjectLink, ObjectMeta, ObjectMetaOptions
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import (
    DELETED,
    KIB,
    MIB,
    Audit,
    Bench,
    body_of,
    layout,
    pattern_bytes,
    raw_metadata,
    read_raw,
    soon,
    spied,
    write_raw,
)

HELLO_DIGEST = "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
EMPTY_DIGEST = "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="


class BoomError(Exception):
    """What a source of the tests fails with."""


async def test_put_returns_the_version_as_it_is_stored(
    store: ObjectStore, backend: Backend
) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=5)
    info = await soon(store.put("hello.txt", b"hello"))

    assert re.fullmatch("[A-Za-z0-9]{22}", info.nuid)
    assert info == ObjectInfo(
        name="hello.txt",
        bucket=backend.bucket,
        nuid=info.nuid,
        size=5,
        chunks=1,
        digest=HELLO_DIGEST,
        options=ObjectMetaOptions(max_chunk_size=131072),
        revision=2,
    )
    assert info.mtime is not None
    assert before < info.mtime < datetime.now(timezone.utc) + timedelta(seconds=5)
    assert await soon(store.get_info("hello.txt")) == info
    assert await soon(layout(backend)) == {"hello.txt": 1}


async def test_put_writes_the_metadata_of_adr_20_byte_for_byte(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(
        store.put(
            "hello.txt",
            b"hello",
            description="a greeting",
            headers={"one": "1", "two": ["2", "zwei"]},
            metadata={"lang": "en"},
            filename="hi.txt",
            chunk_size=3,
        )
    )

    subject = f"$O.{backend.bucket}.M.aGVsbG8udHh0"
    message = await backend.last_message(subject)
    assert message is not None
    assert (
        message.data
        == (
            '{"description":"a greeting","headers":{"one":["1"],"two":["2","zwei"]},'
            '"metadata":{"lang":"en","filename":"hi.txt"},"options":{"max_chunk_size":3},'
            f'"name":"hello.txt","bucket":"{backend.bucket}","nuid":"{info.nuid}","size":5,'
            '"chunks":2,"mtime":"0001-01-01T00:00:00Z",'
            f'"digest":"{HELLO_DIGEST}"}}'
        ).encode()
    )
    assert await soon(read_raw(backend, info)) == [b"hel", b"lo"]


async def test_an_empty_object_has_no_chunk_and_the_digest_of_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(store.put("empty", b""))

    assert (info.size, info.chunks, info.digest, info.revision) == (0, 0, EMPTY_DIGEST, 1)
    assert await soon(store.get("empty")) == b""
    assert await soon(layout(backend)) == {"empty": 0}
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == {}


@pytest.mark.parametrize(
    "size, chunk_size, expected",
    [
        (1, 1, [1]),
        (3, 1, [1, 1, 1]),
        (4, 4, [4]),
        (5, 4, [4, 1]),
        (8, 4, [4, 4]),
        (9, 4, [4, 4, 1]),
        (3, 4, [3]),
    ],
)
async def test_every_chunk_but_the_last_is_full(
    store: ObjectStore, backend: Backend, size: int, chunk_size: int, expected: list[int]
) -> None:
    data = pattern_bytes(size)
    info = await soon(store.put("cut", data, chunk_size=chunk_size))

    chunks = await soon(read_raw(backend, info))
    assert [len(one) for one in chunks] == expected
    assert b"".join(chunks) == data
    assert info.chunks == len(expected)
    assert info.options == ObjectMetaOptions(max_chunk_size=chunk_size)


async def test_the_default_chunk_is_128_kib(store: ObjectStore, backend: Backend) -> None:
    data = pattern_bytes(128 * KIB + 1)
    info = await soon(store.put("big", data))

    assert [len(one) for one in await soon(read_raw(backend, info))] == [131072, 1]


async def test_a_chunk_may_be_as_large_as_the_server_allows(
    store: ObjectStore, backend: Backend
) -> None:
    data = pattern_bytes(backend.max_payload + 1)
    info = await soon(store.put("big", data, chunk_size=backend.max_payload))

    assert [len(one) for one in await soon(read_raw(backend, info))] == [MIB, 1]
    assert await soon(store.get("big")) == data


async def test_many_chunks_come_back_in_order(store: ObjectStore, backend: Backend) -> None:
    data = pattern_bytes(4000)
    info = await soon(store.put("many", data, chunk_size=7))

    assert info.chunks == 572
    assert await soon(store.get("many")) == data
    assert await soon(layout(backend)) == {"many": 572}


async def test_a_put_larger_than_any_window_is_whole(
    store: ObjectStore, backend: Backend
) -> None:
    data = pattern_bytes(12 * MIB + 17)
    info = await soon(store.put("huge", data))

    assert (info.size, info.chunks) == (12582929, 97)
    assert await soon(store.get("huge")) == data


@pytest.mark.parametrize("chunk_size", [0, -1, True, 1.5, "8", MIB + 1])
async def test_a_chunk_size_that_cannot_work_is_refused_before_anything_is_sent(
    backend: Backend, chunk_size: Any
) -> None:
    store, spy = spied(backend)

    with pytest.raises(InvalidOptionError, match="chunk_size must") as caught:
        await soon(store.put("name", b"x", chunk_size=chunk_size))
    with pytest.raises(InvalidOptionError, match="chunk_size must"):
        options = ObjectMetaOptions(max_chunk_size=chunk_size)
        await soon(store.put("name", b"x", ObjectMeta(options=options)))

    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}', object 'name': chunk_size must be from 1 to "
        f"1048576 bytes, the server's max_payload, got {chunk_size!r}."
    )
    assert spy.calls == []
    assert await soon(layout(backend)) == {}


# --- metadata


async def test_meta_says_all_in_one(store: ObjectStore) -> None:
    meta = ObjectMeta(
        description="d",
        headers={"h": "1"},
        metadata={"m": "2"},
        options=ObjectMetaOptions(max_chunk_size=2),
    )
    info = await soon(store.put("name", b"abc", meta))

    assert (info.description, info.headers, info.metadata) == ("d", {"h": ["1"]}, {"m": "2"})
    assert (info.options, info.chunks) == (ObjectMetaOptions(max_chunk_size=2), 2)


async def test_keywords_win_over_meta(store: ObjectStore) -> None:
    meta = ObjectMeta(
        description="d",
        headers={"h": "1"},
        metadata={"m": "2"},
        options=ObjectMetaOptions(max_chunk_size=2),
    )
    info = await soon(
        store.put(
            "name",
            b"abc",
            meta,
            description="D",
            headers={"H": ["x", "y"]},
            metadata={"M": "z"},
            chunk_size=3,
        )
    )

    assert (info.description, info.headers) == ("D", {"H": ["x", "y"]})
    assert (info.metadata, info.chunks) == ({"M": "z"}, 1)


async def test_nats_pys_meta_works(store: ObjectStore) -> None:
    meta = nats.js.api.ObjectMeta(
        description="d",
        headers={"h": "1"},
        options=nats.js.api.ObjectMetaOptions(max_chunk_size=2),
    )
    info = await soon(store.put("name", b"abc", meta))

    assert (info.description, info.headers, info.chunks) == ("d", {"h": ["1"]}, 2)


async def test_the_name_may_stand_in_meta_alone(store: ObjectStore) -> None:
    info = await soon(store.put("", b"abc", ObjectMeta(name="inner")))

    assert info.name == "inner"
    assert await soon(store.get("inner")) == b"abc"


async def test_put_uses_its_own_name_and_not_metas(store: ObjectStore) -> None:
    info = await soon(store.put("outer", b"abc", ObjectMeta(name="inner")))

    assert info.name == "outer"
    assert not await soon(store.exists("inner"))


async def test_put_does_not_change_the_callers_arguments(store: ObjectStore) -> None:
    data, headers, metadata = bytearray(b"abc"), {"h": "1"}, {"m": "2"}
    meta = nats.js.api.ObjectMeta(description="d")
    info = await soon(
        store.put("name", data, meta, headers=headers, metadata=metadata, filename="f")
    )
    assert info.metadata == {"m": "2", "filename": "f"}

    assert (bytes(data), headers, metadata) == (b"abc", {"h": "1"}, {"m": "2"})
    assert meta == nats.js.api.ObjectMeta(description="d")


async def test_what_a_caller_does_later_does_not_change_what_put_returned(
    store: ObjectStore,
) -> None:
    values = ["1"]
    info = await soon(store.put("name", b"abc", headers={"h": values}))
    values.append("2")

    assert info.headers == {"h": ["1"]}


@pytest.mark.parametrize(
    "options, named",
    [
        ({"description": 5}, "description must be a str, got 5"),
        ({"metadata": [5]}, "metadata must be a mapping of str to str, got [5]"),
        (
            {"metadata": 5, "filename": "f"},
            "metadata must be a mapping of str to str, got 5",
        ),
        ({"headers": {"h": 1}}, "header 'h' must be a str or a list of str, got 1"),
        ({"headers": {1: "h"}}, "header 1 must be a str or a list of str, got 'h'"),
        ({"headers": {"h": ["x", 1]}}, "header 'h'"),
        ({"headers": "h"}, "got 'h'"),
        ({"metadata": {"m": 1}}, "got {'m': 1}"),
        ({"metadata": {1: "m"}}, "got {1: 'm'}"),
        ({"filename": 1}, "got {'filename': 1}"),
        ({"meta": "text"}, "meta must be an ObjectMeta, got 'text'"),
        ({"meta": {"description": "d"}}, "got {'description': 'd'}"),
        ({"mode": "append"}, "revision from 1, or an ObjectInfo, got 'append'"),
        ({"mode": 0}, "revision from 1, or an ObjectInfo, got 0"),
        ({"mode": -1}, "revision from 1, or an ObjectInfo, got -1"),
        ({"mode": True}, "revision from 1, or an ObjectInfo, got True"),
        ({"mode": 1.0}, "revision from 1, or an ObjectInfo, got 1.0"),
        ({"mode": None}, "revision from 1, or an ObjectInfo, got None"),
    ],
)
async def test_an_option_that_cannot_work_is_refused_before_anything_is_sent(
    backend: Backend, options: dict[str, Any], named: str
) -> None:
    store, spy = spied(backend)

    with pytest.raises(InvalidOptionError, match=re.escape(named)) as caught:
        await soon(store.put("name", b"x", **options))

    if "meta" not in options:
        assert f"Bucket '{backend.bucket}', object 'name'" in str(caught.value)
    assert spy.calls == []


async def test_a_link_in_metas_options_is_refused(
    store: ObjectStore, backend: Backend
) -> None:
    meta = ObjectMeta(options=ObjectMetaOptions(link=ObjectLink(backend.bucket, "x")))

    with pytest.raises(InvalidLinkError, match=r"'name'.*add_link\(\)"):
        await soon(store.put("name", b"x", meta))

    assert await soon(layout(backend)) == {}


async def test_metadata_larger_than_a_message_is_refused_before_anything_is_sent(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    # Within a message's body, but not with the headers of a compare-and-set.
    for length in (MIB + 1, MIB - 300):
        with pytest.raises(InvalidOptionError, match="a message holds 1048448") as caught:
            await soon(store.put("name", b"x" * 10, description="d" * length))
        assert f"Bucket '{backend.bucket}', object 'name'" in str(caught.value)

    assert spy.calls == []
    assert await soon(layout(backend)) == {}
    # The connection is still there.
    await soon(store.put("name", b"x", description="d" * (MIB - 1024)))


async def test_metadata_that_only_its_escapes_make_too_large_is_refused_before_it_is_sent(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    # The lone surrogate has no UTF-8 form. So all is escaped, with twelve bytes for each of
    # the others, which take 400,000 bytes otherwise: 1.2 MB, where a message holds 1 MiB.
    escaped = {"text": "\ud800" + "\U0001f600" * 100_000}

    with pytest.raises(InvalidOptionError, match="a message holds 1048448"):
        await soon(store.put("name", b"x" * 10, metadata=escaped))

    assert spy.calls == []
    await soon(store.put("name", b"x", metadata={"text": "\U0001f600" * 100_000}))


async def test_text_that_has_no_utf_8_form_comes_back_as_it_was(store: ObjectStore) -> None:
    info = await soon(store.put("name", b"x", description="\ud800"))

    assert info.description == "\ud800"
    assert (await soon(store.get_info("name"))).description == "\ud800"
    assert await soon(store.delete("name"))


# --- modes


async def test_overwrite_replaces_a_version_and_removes_its_chunks(
    store: ObjectStore, backend: Backend
) -> None:
    first = await soon(store.put("name", b"one", description="d", chunk_size=1))
    second = await soon(store.put("name", b"second"))

    assert (first.revision, second.revision) == (4, 6)
    assert second.description is None
    assert await soon(store.get("name")) == b"second"
    assert await soon(layout(backend)) == {"name": 1}


async def test_overwrite_revives_a_deleted_object(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"one"))
    await soon(store.delete("name"))
    info = await soon(store.put("name", b"two"))

    assert not info.deleted
    assert await soon(store.get("name")) == b"two"
    assert await soon(layout(backend)) == {"name": 1}


async def test_overwrite_repairs_metadata_that_does_not_parse(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "name", b"not json")
    await soon(store.put("name", b"two"))

    assert await soon(store.get("name")) == b"two"
    assert await soon(layout(backend)) == {"name": 1}


async def test_create_makes_what_is_not_there(store: ObjectStore) -> None:
    await soon(store.put("name", b"one", mode="create"))

    assert await soon(store.get("name")) == b"one"


async def test_create_does_not_replace_a_live_object(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"one"))

    with pytest.raises(ObjectAlreadyExists) as caught:
        await soon(store.put("name", b"two", mode="create"))

    assert isinstance(caught.value, nats.js.errors.ObjectAlreadyExists)
    assert (caught.value.bucket, caught.value.name) == (backend.bucket, "name")
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}': 'name' exists (revision 2), and mode=\"create\" does not "
        'replace it; use mode="overwrite" to replace it.'
    )
    assert await soon(store.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


async def test_create_does_not_replace_a_link(store: ObjectStore) -> None:
    await soon(store.put("name", b"one"))
    await soon(store.add_link("link", "name"))

    with pytest.raises(ObjectAlreadyExists):
        await soon(store.put("link", b"two", mode="create"))


async def test_create_takes_the_name_of_a_deleted_object(store: ObjectStore) -> None:
    await soon(store.put("name", b"one"))
    await soon(store.delete("name"))
    await soon(store.put("name", b"two", mode="create"))

    assert await soon(store.get("name")) == b"two"


async def test_create_repairs_metadata_that_does_not_parse(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "name", b"[]")
    await soon(store.put("name", b"two", mode="create"))

    assert await soon(store.get("name")) == b"two"


async def test_create_that_loses_a_race_removes_its_chunks(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)

    async def overtake() -> None:
        await rival.put("name", b"rival", chunk_size=2)

    spy.before["publish_metadata"] = overtake
    with pytest.raises(ObjectAlreadyExists):
        await soon(store.put("name", b"mine", mode="create", chunk_size=1))

    assert await soon(rival.get("name")) == b"rival"
    assert await soon(layout(backend)) == {"name": 3}


async def test_overwrite_that_loses_a_race_goes_again(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)

    async def overtake() -> None:
        await rival.put("name", b"rival", chunk_size=2)

    spy.before["publish_metadata"] = overtake
    info = await soon(store.put("name", b"mine", chunk_size=1))

    # 4 chunks, 3 chunks, the rival's metadata, ours.
    assert info.revision == 9
    assert await soon(rival.get("name")) == b"mine"
    assert await soon(layout(backend)) == {"name": 4}


@pytest.mark.parametrize("as_info", [False, True])
async def test_a_put_conditional_on_a_revision_replaces_it(
    store: ObjectStore, backend: Backend, as_info: bool
) -> None:
    first = await soon(store.put("name", b"one"))
    info = await soon(store.put("name", b"two", mode=first if as_info else first.revision))

    assert info.revision == 4
    assert await soon(store.get("name")) == b"two"
    assert await soon(layout(backend)) == {"name": 1}


@pytest.mark.parametrize("as_info", [False, True])
async def test_a_put_conditional_on_a_stale_revision_is_refused(
    store: ObjectStore, backend: Backend, as_info: bool
) -> None:
    first = await soon(store.put("name", b"one"))
    await soon(store.put("name", b"two"))

    with pytest.raises(RevisionMismatchError) as caught:
        await soon(store.put("name", b"three", mode=first if as_info else first.revision))

    assert str(caught.value) == (
        f"Bucket '{backend.bucket}': 'name' is at revision 4, not at 2; read it again and "
        "decide anew."
    )
    assert (caught.value.bucket, caught.value.name) == (backend.bucket, "name")
    assert await soon(store.get("name")) == b"two"
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_put_conditional_on_a_revision_of_nothing_is_refused(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(RevisionMismatchError, match="at revision 0, not at 7"):
        await soon(store.put("name", b"one", mode=7))

    assert await soon(layout(backend)) == {}


async def test_a_put_conditional_on_a_revision_that_moves_meanwhile_is_refused(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    first = await soon(rival.put("name", b"one"))

    async def overtake() -> None:
        await rival.update_meta("name", ObjectMeta(description="d"))

    spy.before["publish_metadata"] = overtake
    with pytest.raises(RevisionMismatchError):
        await soon(store.put("name", b"mine", mode=first))

    assert await soon(rival.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_condition_on_another_objects_version_is_refused(store: ObjectStore) -> None:
    first = await soon(store.put("name", b"one"))

    with pytest.raises(InvalidOptionError, match="mode is a version of 'name'"):
        await soon(store.put("other", b"one", mode=first))


async def test_a_conditional_put_over_a_delete_marker_revives_the_object(
    store: ObjectStore,
) -> None:
    await soon(store.put("name", b"one"))
    await soon(store.delete("name"))
    marker = await soon(store.get_info("name", show_deleted=True))
    await soon(store.put("name", b"two", mode=marker))

    assert await soon(store.get("name")) == b"two"


# --- all or nothing


def failing_after(pieces: int) -> Iterator[bytes]:
    for _ in range(pieces):
        yield b"x" * 10
    raise BoomError


async def async_failing_after(pieces: int) -> AsyncIterator[bytes]:
    for one in failing_after(pieces):
        yield one


@pytest.mark.parametrize("pieces", [0, 1, 50])
@pytest.mark.parametrize("source", [failing_after, async_failing_after])
async def test_failed_put_keeps_the_previous_version(
    store: ObjectStore, backend: Backend, source: Any, pieces: int
) -> None:
    before = await soon(store.put("name", b"one"))

    with pytest.raises(BoomError):
        await soon(store.put("name", source(pieces), chunk_size=4))

    assert await soon(store.get_info("name")) == before
    assert await soon(store.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


async def test_failed_first_put_leaves_nothing(store: ObjectStore, backend: Backend) -> None:
    with pytest.raises(BoomError):
        await soon(store.put("name", failing_after(20), chunk_size=4))

    assert await backend.subjects(f"$O.{backend.bucket}.>") == {}


async def test_cancelled_put_keeps_the_previous_version(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"one"))
    sent = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 100
        sent.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(store.put("name", stuck(), chunk_size=4))
    await soon(sent.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert await soon(store.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


@pytest.mark.parametrize("turns", range(40))
async def test_a_put_cancelled_at_any_moment_leaves_the_old_version_or_the_new(
    store: ObjectStore, backend: Backend, turns: int
) -> None:
    await soon(store.put("name", b"old"))
    task = asyncio.ensure_future(store.put("name", b"newer", chunk_size=2))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)

    content = await soon(store.get("name"))
    assert content in {b"old", b"newer"}
    assert await soon(layout(backend)) == {"name": 1 if content == b"old" else 3}


async def test_a_failing_progress_callback_leaves_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    def fail(done: int, total: int | None) -> None:
        raise BoomError

    with pytest.raises(BoomError):
        await soon(store.put("name", b"abc", chunk_size=1, progress=fail))

    assert await backend.subjects(f"$O.{backend.bucket}.>") == {}


async def test_a_missing_file_leaves_nothing(
    store: ObjectStore, backend: Backend, tmp_path: Any
) -> None:
    with pytest.raises(FileNotFoundError):
        await soon(store.put("name", tmp_path / "nothing"))

    assert await backend.subjects(f"$O.{backend.bucket}.>") == {}


@pytest.mark.parametrize("pieces", [[b"ab", "text"], [b"ab", 5], [b"ab", None], [[b"ab"]]])
async def test_a_piece_that_is_not_bytes_leaves_nothing(
    store: ObjectStore, backend: Backend, pieces: list[Any]
) -> None:
    with pytest.raises(UnsupportedDataError, match="instead of bytes") as caught:
        await soon(store.put("name", pieces, chunk_size=1))

    assert str(caught.value).startswith(f"Bucket '{backend.bucket}', object 'name': the data")
    assert isinstance(caught.value, TypeError)
    assert (caught.value.bucket, caught.value.name) == (backend.bucket, "name")
    assert await backend.subjects(f"$O.{backend.bucket}.>") == {}


async def test_a_full_bucket_refuses_a_put_and_keeps_what_it_has(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    backend = await create_bucket(bucket_name, max_bytes=20_000)
    store = ObjectStore.on(backend)
    await soon(store.put("name", b"one"))

    with pytest.raises(BucketFullError) as caught:
        await soon(store.put("name", bytes(100_000), chunk_size=1000))

    assert bucket_name in str(caught.value)
    assert "max_bytes" in str(caught.value)
    assert await soon(store.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_sealed_bucket_refuses_a_put(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"one"))
    await soon(store.seal())

    with pytest.raises(BucketSealedError, match=backend.bucket):
        await soon(store.put("name", b"two"))
    with pytest.raises(BucketSealedError, match=backend.bucket):
        await soon(store.put("empty", b""))

    assert await soon(store.get("name")) == b"one"
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_bucket_that_is_gone_refuses_a_put(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await bench.server.delete(backend.bucket)

    with pytest.raises(BucketNotFoundError, match=backend.bucket) as caught:
        await soon(store.put("name", b"two"))

    assert isinstance(caught.value, nats.js.errors.BucketNotFoundError)


# --- progress


async def test_progress_is_told_after_each_chunk(store: ObjectStore) -> None:
    told: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.put("name", b"hello", chunk_size=2, progress=note))

    assert told == [(2, 5), (4, 5), (5, 5)]


async def test_progress_may_be_async_and_the_total_unknown(store: ObjectStore) -> None:
    told: list[tuple[int, int | None]] = []

    async def note(done: int, total: int | None) -> None:
        await asyncio.sleep(0)
        told.append((done, total))

    await soon(store.put("name", iter([b"hel", b"lo"]), chunk_size=2, progress=note))

    assert told == [(2, None), (4, None), (5, None)]


# --- races


async def test_writers_of_one_name_leave_one_whole_version(
    store: ObjectStore, backend: Backend
) -> None:
    bodies = [bytes([number]) * 40 for number in range(8)]
    infos = await soon(
        asyncio.gather(*(store.put("name", body, chunk_size=10) for body in bodies))
    )

    newest = max(infos, key=lambda info: info.revision)
    assert await soon(store.get_info("name")) == newest
    assert await soon(store.get("name")) == bodies[infos.index(newest)]
    assert await soon(layout(backend)) == {"name": 4}


async def test_one_of_many_creators_wins(store: ObjectStore, backend: Backend) -> None:
    results = await soon(
        asyncio.gather(
            *(
                store.put("name", bytes([n]) * 5, mode="create", chunk_size=2)
                for n in range(8)
            ),
            return_exceptions=True,
        )
    )

    won = [one for one in results if isinstance(one, ObjectInfo)]
    lost = [one for one in results if isinstance(one, ObjectAlreadyExists)]
    assert (len(won), len(lost)) == (1, 7)
    assert await soon(layout(backend)) == {"name": 3}


async def test_a_put_that_races_a_delete_ends_live_or_deleted_and_whole(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"one"))
    await soon(asyncio.gather(store.put("name", b"two", chunk_size=1), store.delete("name")))

    try:
        assert await soon(store.get("name")) == b"two"
        expected: int | str = 3
    except ObjectDeletedError:
        expected = DELETED
    assert await soon(layout(backend)) == {"name": expected}


async def test_a_version_that_is_put_again_keeps_no_unknown_keys(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    await soon(store.put("name", b"one"))
    raw = next(iter((await raw_metadata(backend)).values()))
    await write_raw(backend, "name", raw | {"custom": 1})
    await soon(store.put("name", b"two"))

    assert b"custom" not in await body_of(backend, "name")


async def test_after_many_new_names_nothing_is_looked_up_and_an_old_one_is_still_replaced(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    for number in range(8):
        await soon(store.put(f"new {number}", b"x"))
    spy.calls.clear()
    ninth = await soon(store.put("new 8", b"x"))
    assert "last_message" not in spy.calls
    assert (await soon(store.get_info("new 8"))) == ninth

    # The guess is wrong, which the stream tells; the old chunks go as ever.
    await soon(store.put("new 0", b"newer"))
    assert await soon(store.get("new 0")) == b"newer"
    assert (await soon(store.status())).count == 9
    await soon(store.delete("new 1"))
    for number in range(8):
        await soon(store.put(f"again {number}", b"x"))
    # A delete marker is no new name either.
    assert (await soon(store.put("new 1", b"back"))).size == 4
    assert await soon(store.get("new 1")) == b"back"
