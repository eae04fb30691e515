"""update_meta and rename: the metadata changes, the content stays."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import nats.js.api
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    BucketSealedError,
    InvalidLinkError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectLink, ObjectMeta, ObjectMetaOptions
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    DELETED,
    LINK,
    MIB,
    body_of,
    layout,
    soon,
    spied,
    write_chunks,
    write_raw,
)


async def test_update_meta_replaces_what_is_said_and_keeps_the_content(
    store: ObjectStore, backend: Backend
) -> None:
    first = await soon(
        store.put(
            "name",
            b"hello",
            description="old",
            headers={"old": "1"},
            metadata={"old": "1"},
            chunk_size=2,
        )
    )
    meta = ObjectMeta(description="new", headers={"new": ["2", "3"]}, metadata={"m": "4"})
    info = await soon(store.update_meta("name", meta))

    assert info == replace(
        first,
        description="new",
        headers={"new": ["2", "3"]},
        metadata={"m": "4"},
        revision=first.revision + 1,
    )
    assert await soon(store.get_info("name")) == info
    assert await soon(store.get("name")) == b"hello"
    assert await soon(layout(backend)) == {"name": 3}


async def test_what_update_meta_leaves_out_is_removed(store: ObjectStore) -> None:
    await soon(
        store.put("name", b"", description="d", headers={"h": "1"}, metadata={"m": "1"})
    )
    info = await soon(store.update_meta("name", ObjectMeta()))

    assert (info.description, info.headers, info.metadata) == (None, None, None)


async def test_nats_pys_meta_knows_no_metadata_and_so_leaves_it(store: ObjectStore) -> None:
    await soon(store.put("name", b"x", description="d", metadata={"m": "1"}))
    meta = nats.js.api.ObjectMeta(description="D", headers={"h": "1"})
    info = await soon(store.update_meta("name", meta))

    assert (info.description, info.headers, info.metadata) == ("D", {"h": ["1"]}, {"m": "1"})


async def test_the_meta_of_an_info_changes_nothing_but_the_revision(
    store: ObjectStore,
) -> None:
    first = await soon(
        store.put("name", b"x", description="d", headers={"h": "1"}, metadata={"m": "1"})
    )
    info = await soon(store.update_meta("name", first.meta))

    assert info == replace(first, revision=3)


async def test_keys_that_are_not_known_here_survive_an_update(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "N", b"hello")
    raw = {
        "name": "name",
        "bucket": backend.bucket,
        "nuid": "N",
        "size": 5,
        "chunks": 1,
        "mtime": "2020-01-01T00:00:00Z",
        "custom": {"a": [1]},
        "options": {"max_chunk_size": 5, "codec": "zstd"},
    }
    await write_raw(backend, "name", raw)
    await soon(store.update_meta("name", ObjectMeta(description="ä")))

    assert (
        await body_of(backend, "name")
        == (
            f'{{"name":"name","bucket":"{backend.bucket}","nuid":"N","size":5,"chunks":1,'
            '"mtime":"0001-01-01T00:00:00Z","custom":{"a":[1]},'
            '"options":{"max_chunk_size":5,"codec":"zstd"},"description":"ä"}'
        ).encode()
    )
    await soon(store.rename("name", "other"))
    moved = json.loads(await body_of(backend, "other"))
    assert moved["custom"] == {"a": [1]}
    assert moved["options"] == {"max_chunk_size": 5, "codec": "zstd"}


async def test_update_meta_of_what_is_not_live_is_an_error(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(ObjectNotFoundError, match="has no object 'name'"):
        await soon(store.update_meta("name", ObjectMeta(description="d")))
    await soon(store.put("name", b"x"))
    await soon(store.delete("name"))
    with pytest.raises(ObjectDeletedError):
        await soon(store.update_meta("name", ObjectMeta(description="d")))
    await write_raw(backend, "name", b"not json")
    with pytest.raises(BadObjectMetaError, match="put or delete"):
        await soon(store.update_meta("name", ObjectMeta(description="d")))
    await soon(store.delete("name"))


@pytest.mark.parametrize(
    "meta, named",
    [
        ("text", "got 'text'"),
        ({"description": "d"}, "meta must be an ObjectMeta, got"),
        (ObjectMeta(description=5), "description must be a str, got 5"),  # type: ignore[arg-type]
        (ObjectMeta(headers={"h": 1}), "header 'h' must be a str or a list of str, got 1"),  # type: ignore[dict-item]
        (ObjectMeta(metadata={"m": 1}), "str to str, got {'m': 1}"),  # type: ignore[dict-item]
    ],
)
async def test_meta_that_cannot_work_is_refused(
    store: ObjectStore, backend: Backend, meta: Any, named: str
) -> None:
    before = await soon(store.put("name", b"x"))

    with pytest.raises(InvalidOptionError, match=re.escape(named)):
        await soon(store.update_meta("name", meta))
    assert await soon(store.get_info("name")) == before


async def test_meta_larger_than_a_message_is_refused(store: ObjectStore) -> None:
    before = await soon(store.put("name", b"x"))

    with pytest.raises(InvalidOptionError, match=r"'name'.*a message holds"):
        await soon(store.update_meta("name", ObjectMeta(description="d" * MIB)))
    assert await soon(store.get_info("name")) == before


async def test_a_slow_update_never_overwrites_a_newer_put(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.put("name", b"newer", chunk_size=1)

    spy.before["publish_metadata"] = overtake
    info = await soon(store.update_meta("name", ObjectMeta(description="d")))

    assert (info.size, info.description) == (5, "d")
    assert await soon(rival.get("name")) == b"newer"
    assert await soon(layout(backend)) == {"name": 5}


async def test_a_sealed_bucket_refuses_an_update(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"x"))
    await soon(store.seal())

    with pytest.raises(BucketSealedError, match=backend.bucket):
        await soon(store.update_meta("name", ObjectMeta(description="d")))
    with pytest.raises(BucketSealedError, match=backend.bucket):
        await soon(store.rename("name", "other"))
    assert await soon(layout(backend)) == {"name": 1}


async def test_the_metadata_of_a_link_can_be_changed(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    link = await soon(store.add_link("link", "name"))

    for meta in (ObjectMeta(description="d"), replace(link.meta, description="d")):
        info = await soon(store.update_meta("link", meta))
        assert (info.description, info.link) == ("d", ObjectLink(backend.bucket, "name"))
        assert await soon(store.get("link")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "link": LINK}


# --- a meta that carries a link


def linking(bucket: str, target: str | None = None, /, **options: Any) -> ObjectMeta:
    return ObjectMeta(options=ObjectMetaOptions(link=ObjectLink(bucket, target)), **options)


async def test_a_meta_that_carries_a_link_makes_the_link(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    info = await soon(
        store.update_meta("link", linking(backend.bucket, "name", description="d"))
    )

    assert (info.link, info.description) == (ObjectLink(backend.bucket, "name"), "d")
    assert await soon(store.get("link")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "link": LINK}


async def test_a_meta_with_another_link_points_the_link_elsewhere(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("one", b"1"))
    await soon(store.put("two", b"2"))
    await soon(store.add_link("link", "one"))
    await soon(store.update_meta("link", linking(backend.bucket, "two")))

    assert await soon(store.get("link")) == b"2"


async def test_a_meta_with_a_link_obeys_the_rules_of_links(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.add_link("link", "name"))

    with pytest.raises(InvalidLinkError, match="is a link itself"):
        await soon(store.update_meta("second", linking(backend.bucket, "link")))
    with pytest.raises(InvalidLinkError, match="to itself"):
        await soon(store.update_meta("second", linking(backend.bucket, "second")))
    with pytest.raises(InvalidLinkError, match="to itself"):
        await soon(store.update_meta("second", linking(backend.bucket)))
    with pytest.raises(ObjectNotFoundError):
        await soon(store.update_meta("second", linking(backend.bucket, "nothing")))
    with pytest.raises(ObjectAlreadyExists, match="'name' is an object"):
        await soon(store.put("other", b"x"))
        await soon(store.update_meta("name", linking(backend.bucket, "other")))
    assert await soon(layout(backend)) == {"name": 1, "link": LINK, "other": 1}


async def test_a_link_is_renamed_by_its_meta(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    link = await soon(store.add_link("link", "name"))
    info = await soon(store.update_meta("link", replace(link.meta, name="moved")))

    assert info.name == "moved"
    assert await soon(store.get("moved")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "link": DELETED, "moved": LINK}


async def test_a_new_link_and_a_new_name_in_one_are_refused(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))

    with pytest.raises(InvalidOptionError, match=r"'link'.*'moved'"):
        await soon(store.update_meta("link", linking(backend.bucket, "name", name="moved")))
    assert await soon(layout(backend)) == {"name": 1}


# --- rename


@pytest.mark.parametrize("by_meta", [False, True])
async def test_a_rename_moves_the_metadata_and_not_the_content(
    store: ObjectStore, backend: Backend, by_meta: bool
) -> None:
    first = await soon(
        store.put("name", b"hello", description="d", headers={"h": "1"}, chunk_size=2)
    )
    if by_meta:
        info = await soon(store.update_meta("name", replace(first.meta, name="moved")))
    else:
        info = await soon(store.rename("name", "moved"))

    assert info == replace(first, name="moved", revision=6)
    assert await soon(store.get_info("moved")) == info
    assert await soon(store.get("moved")) == b"hello"
    with pytest.raises(ObjectDeletedError):
        await soon(store.get("name"))
    # Three chunks, no more and no fewer, and both names' metadata under their own subjects.
    assert await soon(layout(backend)) == {"name": DELETED, "moved": 3}
    assert [one.name for one in await soon(store.list())] == ["moved"]


async def test_the_marker_of_a_rename_does_not_name_the_moved_chunks(
    store: ObjectStore, backend: Backend
) -> None:
    first = await soon(store.put("name", b"hello"))
    await soon(store.rename("name", "moved"))

    raw = json.loads(await body_of(backend, "name"))
    assert raw["nuid"] not in {first.nuid, ""}
    await soon(store.put("name", b"new"))
    await soon(store.delete("name"))
    assert await soon(store.get("moved")) == b"hello"


async def test_a_rename_with_new_metadata_says_both(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello", description="d"))
    info = await soon(store.update_meta("name", ObjectMeta(name="moved", description="new")))

    assert (info.name, info.description) == ("moved", "new")


async def test_a_rename_does_not_replace_a_live_object(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.put("taken", b"there"))

    for call in (
        store.rename("name", "taken"),
        store.update_meta("name", ObjectMeta(name="taken")),
    ):
        with pytest.raises(ObjectAlreadyExists) as caught:
            await soon(call)
        assert str(caught.value) == (
            f"Bucket '{backend.bucket}': 'name' cannot become 'taken', which exists; delete "
            "that first, or choose another name."
        )
    assert await soon(store.get("name")) == b"hello"
    assert await soon(store.get("taken")) == b"there"


async def test_a_rename_does_not_replace_a_link(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.add_link("link", "name"))

    with pytest.raises(ObjectAlreadyExists):
        await soon(store.rename("name", "link"))


async def test_a_rename_takes_the_name_of_a_deleted_object(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.put("gone", b"x"))
    await soon(store.delete("gone"))
    await soon(store.rename("name", "gone"))

    assert await soon(store.get("gone")) == b"hello"
    assert await soon(layout(backend)) == {"name": DELETED, "gone": 1}


async def test_a_rename_there_and_back_is_the_object_again(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    await soon(store.rename("name", "moved"))
    await soon(store.rename("moved", "name"))

    assert await soon(store.get("name")) == b"hello"
    assert await soon(layout(backend)) == {"name": 3, "moved": DELETED}


async def test_a_rename_to_the_same_name_changes_nothing_but_the_revision(
    store: ObjectStore,
) -> None:
    first = await soon(store.put("name", b"hello"))
    info = await soon(store.rename("name", "name"))

    assert info == replace(first, revision=3)
    assert await soon(store.get("name")) == b"hello"


async def test_a_rename_of_what_is_not_live_is_an_error(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(ObjectNotFoundError):
        await soon(store.rename("name", "moved"))
    await soon(store.put("name", b"x"))
    await soon(store.delete("name"))
    with pytest.raises(ObjectDeletedError):
        await soon(store.rename("name", "moved"))
    assert await soon(layout(backend)) == {"name": DELETED}


@pytest.mark.parametrize("to", ["", "\ud800", "n" * 4000, 5])
async def test_a_rename_to_an_impossible_name_is_refused(
    store: ObjectStore, backend: Backend, to: Any
) -> None:
    await soon(store.put("name", b"x"))

    with pytest.raises(InvalidObjectNameError):
        await soon(store.rename("name", to))
    if to != "":
        with pytest.raises(InvalidObjectNameError):
            await soon(store.update_meta("name", ObjectMeta(name=to)))
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_rename_of_a_link_moves_the_link(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.add_link("link", "name"))
    await soon(store.rename("link", "moved"))

    assert await soon(store.get("moved")) == b"hello"
    assert await soon(layout(backend)) == {"name": 1, "link": DELETED, "moved": LINK}


async def test_a_rename_that_a_put_overtakes_moves_the_newer_version(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.put("name", b"newer", chunk_size=1)

    spy.before["publish_metadata"] = overtake
    await soon(store.rename("name", "moved"))

    assert await soon(rival.get("moved")) == b"newer"
    assert await soon(layout(backend)) == {"name": DELETED, "moved": 5}


async def test_a_rename_that_a_delete_overtakes_is_an_error(backend: Backend) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.delete("name")

    spy.before["publish_metadata"] = overtake
    with pytest.raises(ObjectDeletedError):
        await soon(store.rename("name", "moved"))

    assert await soon(layout(backend)) == {"name": DELETED}


@pytest.mark.parametrize("turns", range(0, 50, 2))
async def test_a_rename_cancelled_at_any_moment_is_done_or_not_begun(
    store: ObjectStore, backend: Backend, turns: int
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    task = asyncio.ensure_future(store.rename("name", "moved"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)

    assert await soon(layout(backend)) in ({"name": 3}, {"name": DELETED, "moved": 3})
