"""Whose doing a change is: marked on each change, and never handed on to the next."""

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.models import ObjectMeta
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.provenance import Origin

NAMES = frozenset({"id", "trace"})


@pytest.fixture
def doing() -> dict[str, str]:
    """What is being done now."""
    return {"id": "put"}


@pytest.fixture
def marked(backend: Backend, doing: dict[str, str]) -> ObjectStore:
    """A store that says on each change what was being done."""
    return ObjectStore.on(backend, origin=Origin(NAMES, lambda _: doing))


@pytest.fixture
def silent(backend: Backend) -> ObjectStore:
    """A store that would mark its changes, if there was anything to say."""
    return ObjectStore.on(backend, origin=Origin(NAMES))


async def test_put_is_marked_beside_the_callers_headers(marked: ObjectStore) -> None:
    put = await marked.put("a", b"", headers={"kind": "x"})
    assert put.headers == {"kind": ["x"], "id": ["put"]}
    assert (await marked.get_info("a")).headers == put.headers


async def test_what_the_caller_says_of_the_origin_is_kept(marked: ObjectStore) -> None:
    put = await marked.put("a", b"", headers={"id": "mine"})
    assert put.headers == {"id": ["mine"]}
    changed = await marked.update_meta("a", ObjectMeta(headers={"id": "other"}))
    assert changed.headers == {"id": ["other"]}


async def test_callers_headers_are_not_written_to(marked: ObjectStore) -> None:
    headers = {"kind": "x"}
    await marked.put("a", b"", headers=headers)
    assert headers == {"kind": "x"}


async def test_store_that_nobody_asks_adds_nothing(store: ObjectStore) -> None:
    assert (await store.put("a", b"")).headers is None
    kept = await store.put("b", b"", headers={"id": "mine", "trace": "mine"})
    assert (await store.copy("b", "c")).headers == kept.headers
    assert (await store.rename("b", "d")).headers == kept.headers


async def test_each_later_change_carries_its_own_mark(
    marked: ObjectStore, doing: dict[str, str]
) -> None:
    await marked.put("a", b"", headers={"kind": "x"})
    doing["id"] = "rename"
    assert (await marked.rename("a", "b")).headers == {"kind": ["x"], "id": ["rename"]}
    left = await marked.get_info("a", show_deleted=True)
    assert left.headers == {"kind": ["x"], "id": ["rename"]}
    doing["id"] = "update"
    changed = await marked.update_meta("b", (await marked.get_info("b")).meta)
    assert changed.headers == {"kind": ["x"], "id": ["update"]}
    doing["id"] = "copy"
    assert (await marked.copy("b", "c")).headers == {"kind": ["x"], "id": ["copy"]}
    doing["id"] = "link"
    assert (await marked.add_link("l", "b")).headers == {"id": ["link"]}
    doing["id"] = "delete"
    await marked.delete("b")
    marker = await marked.get_info("b", show_deleted=True)
    assert marker.headers == {"kind": ["x"], "id": ["delete"]}


async def test_mark_of_the_put_does_not_stay_on_what_comes_after(
    marked: ObjectStore, silent: ObjectStore
) -> None:
    for name in ("renamed", "updated", "copied", "deleted"):
        await marked.put(name, b"", headers={"kind": "x"})
    kind = {"kind": ["x"]}

    assert (await silent.rename("renamed", "to")).headers == kind
    assert (await silent.get_info("renamed", show_deleted=True)).headers == kind
    meta = (await silent.get_info("updated")).meta
    assert (await silent.update_meta("updated", meta)).headers == kind
    assert (await silent.copy("copied", "copy")).headers == kind
    await silent.delete("deleted")
    assert (await silent.get_info("deleted", show_deleted=True)).headers == kind


async def test_copy_into_another_bucket_is_marked_too(
    marked: ObjectStore, other_store: ObjectStore, doing: dict[str, str]
) -> None:
    await marked.put("a", b"1")
    doing["id"] = "copy"
    await marked.copy("a", "b", other_store.bucket)
    assert (await other_store.get_info("b")).headers == {"id": ["copy"]}
