"""Delete: a marker first, the chunks after it."""

import asyncio
import json
import re

import nats.js.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketFullError,
    BucketNotFoundError,
    BucketSealedError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectMeta
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import (
    DELETED,
    Audit,
    Bench,
    body_of,
    layout,
    soon,
    spied,
    write_chunks,
    write_raw,
)


async def test_delete_says_whether_the_object_was_live(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))

    assert await soon(store.delete("name")) is True
    assert await soon(layout(backend)) == {"name": DELETED}
    assert await soon(store.delete("name")) is False
    assert await soon(store.delete("name")) is False


async def test_delete_of_nothing_is_an_error(store: ObjectStore, backend: Backend) -> None:
    with pytest.raises(ObjectNotFoundError, match="has no object 'name'") as caught:
        await soon(store.delete("name"))

    assert not isinstance(caught.value, ObjectDeletedError)
    assert isinstance(caught.value, nats.js.errors.ObjectNotFoundError)
    assert await soon(layout(backend)) == {}


async def test_delete_of_an_impossible_name_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidObjectNameError):
        await soon(store.delete(""))


async def test_the_marker_is_adr_20s_byte_for_byte(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(store.put("name", b"hello", headers={"h": "1"}, chunk_size=3))
    await soon(store.delete("name"))

    body = (await body_of(backend, "name")).decode()
    nuid = json.loads(body)["nuid"]
    assert re.fullmatch("[A-Za-z0-9]{22}", nuid)
    assert body == (
        '{"headers":{"h":["1"]},"options":{"max_chunk_size":3},"name":"name",'
        f'"bucket":"{backend.bucket}","nuid":"{nuid}","size":0,"chunks":0,'
        '"mtime":"0001-01-01T00:00:00Z","deleted":true}'
    )
    assert info.revision == 3


async def test_a_marker_keeps_keys_that_are_not_known_here(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "name", {"name": "name", "nuid": "N", "custom": {"a": [1]}})
    await soon(store.delete("name"))

    raw = json.loads(await body_of(backend, "name"))
    assert raw["custom"] == {"a": [1]}
    assert raw["deleted"] is True


async def test_delete_repairs_metadata_that_does_not_parse(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "name", b"not json")
    await soon(store.delete("name"))

    assert await soon(layout(backend)) == {"name": DELETED}
    assert not await soon(store.exists("name"))


async def test_metadata_with_text_that_has_no_utf_8_form_can_be_deleted(
    store: ObjectStore, backend: Backend
) -> None:
    body = b'{"name": "name", "nuid": "N", "description": "\\ud800"}'
    await write_raw(backend, "name", body)

    assert (await soon(store.get_info("name"))).description == "\ud800"
    assert await soon(store.delete("name")) is True


async def test_delete_of_a_link_leaves_its_target(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.add_link("link", "name"))

    assert await soon(store.delete("link")) is True
    assert await soon(layout(backend)) == {"name": 1, "link": DELETED}
    assert await soon(store.get("name")) == b"hello"


async def test_a_delete_that_cannot_write_its_marker_deletes_nothing(
    create_bucket: CreateBucket, bucket_name: str, audit: Audit
) -> None:
    audit.orphans = True
    backend = await create_bucket(bucket_name, max_bytes=3000)
    store = ObjectStore.on(backend)
    await soon(store.put("name", b"hello", chunk_size=1))
    used = (await backend.state()).bytes
    await write_chunks(backend, "FILLER", bytes(3000 - used - 120))

    with pytest.raises(BucketFullError, match=bucket_name):
        await soon(store.delete("name"))

    assert await soon(store.get("name")) == b"hello"


async def test_a_sealed_bucket_refuses_a_delete(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.seal())

    with pytest.raises(BucketSealedError, match=backend.bucket):
        await soon(store.delete("name"))
    assert await soon(store.get("name")) == b"hello"


async def test_a_bucket_that_is_gone_refuses_a_delete(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await soon(store.put("name", b"hello"))
    await bench.server.delete(backend.bucket)

    with pytest.raises(BucketNotFoundError, match=backend.bucket):
        await soon(store.delete("name"))


async def test_a_delete_that_loses_a_race_deletes_the_newer_version(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old", chunk_size=1))

    async def overtake() -> None:
        await rival.put("name", b"newer", chunk_size=1)

    spy.before["publish_metadata"] = overtake
    assert await soon(store.delete("name")) is True

    assert await soon(layout(backend)) == {"name": DELETED}


async def test_a_delete_that_loses_against_a_delete_was_too_late(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.delete("name")

    spy.before["publish_metadata"] = overtake
    assert await soon(store.delete("name")) is False


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_a_delete_cancelled_at_any_moment_is_done_or_not_begun(
    store: ObjectStore, backend: Backend, turns: int
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    task = asyncio.ensure_future(store.delete("name"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)

    live = await soon(store.exists("name"))
    assert await soon(layout(backend)) == {"name": 3 if live else DELETED}


async def test_one_of_many_deletes_was_the_one(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    results = await soon(asyncio.gather(*(store.delete("name") for _ in range(8))))

    assert sorted(results) == [False] * 7 + [True]
    assert await soon(layout(backend)) == {"name": DELETED}


async def test_a_deleted_object_cannot_be_updated(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))

    with pytest.raises(ObjectDeletedError):
        await soon(store.update_meta("name", ObjectMeta(description="d")))
    with pytest.raises(ObjectDeletedError):
        await soon(store.rename("name", "other"))


@pytest.mark.parametrize("part", ["description", "name"])
async def test_a_rename_that_fits_no_message_is_refused_and_nothing_is_written(
    store: ObjectStore, backend: Backend, part: str
) -> None:
    # The note under the old name would fit, and what the new name is to say would not.
    most = backend.max_payload - 128
    said = len(json.dumps({"description": ""}))
    await soon(store.put("old", b"content"))
    await soon(store.update_meta("old", ObjectMeta(description="d" * (most - said - 400))))
    before = await body_of(backend, "old")
    room = most - len(before)
    assert 100 < room < 300

    text = "d" * (most - said - 400)
    new = ObjectMeta(name="new", description="d" * most)
    if part == "name":
        new = ObjectMeta(name="n" * room, description=text)
    with pytest.raises(InvalidOptionError, match="store less of them"):
        await soon(store.update_meta("old", new))
    assert await body_of(backend, "old") == before
    assert [one.name for one in await store.list()] == ["old"]
    assert await soon(store.get("old")) == b"content"


async def test_metadata_that_fills_a_message_can_be_deleted_and_after_less_renamed(
    store: ObjectStore, backend: Backend
) -> None:
    said = {"name": "name", "nuid": "N", "description": "", "custom": 1}
    # What Go publishes has fewer headers than ours: they take 75 bytes and a number.
    room = backend.max_payload - 96 - len(json.dumps(said))
    for name in ("name", "kept"):
        await write_raw(backend, name, said | {"name": name, "description": "d" * room})

    before = await body_of(backend, "name")
    with pytest.raises(InvalidOptionError, match=r"to 'moved'.*less of it.*update_meta"):
        await soon(store.rename("name", "moved"))
    assert await body_of(backend, "name") == before
    assert await soon(store.delete("name")) is True
    marker = await soon(store.get_info("name", show_deleted=True))
    assert (marker.deleted, marker.description) == (True, None)

    await soon(store.update_meta("kept", ObjectMeta(description="short")))
    assert (await soon(store.rename("kept", "moved"))).description == "short"


@pytest.mark.parametrize("transactions", [False, True])
async def test_a_rename_for_whose_note_there_is_no_room_changes_nothing(
    create_bucket: CreateBucket, bucket_name: str, transactions: bool
) -> None:
    backend = await create_bucket(bucket_name, transactions=transactions)
    store = ObjectStore.on(backend)
    await soon(store.put("name", b"content"))
    info = await soon(store.get_info("name"))
    # With all that fits into an update.
    fits, too_much = 0, backend.max_payload
    while too_much - fits > 1:
        size = (fits + too_much) // 2
        try:
            info = await soon(store.update_meta("name", ObjectMeta(description="d" * size)))
            fits = size
        except InvalidOptionError:
            too_much = size

    with pytest.raises(InvalidOptionError, match=r"to 'moved'.*less of it.*update_meta"):
        await soon(store.rename("name", "moved"))

    assert await soon(store.get_info("name")) == info
    assert not await soon(store.exists("moved"))
    await soon(store.update_meta("name", ObjectMeta(description="d" * (fits - 300))))
    await soon(store.rename("name", "moved"))
    assert await soon(store.get("moved")) == b"content"
