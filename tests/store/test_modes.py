"""mode: delete, update_meta, rename and links change the version that is meant, or nothing."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    InvalidOptionError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectLink, ObjectMeta, ObjectMetaOptions
from faststream_objstore.store import ObjectStore
from tests.store.support import DELETED, LINK, layout, soon, spied

Change = Callable[[ObjectStore, Any], Coroutine[Any, Any, object]]

CHANGES: dict[str, Change] = {
    "delete": lambda store, mode: store.delete("name", mode=mode),
    "update_meta": lambda store, mode: store.update_meta(
        "name", ObjectMeta(description="new"), mode=mode
    ),
    "rename": lambda store, mode: store.rename("name", "moved", mode=mode),
    "rename by update_meta": lambda store, mode: store.update_meta(
        "name", ObjectMeta(name="moved"), mode=mode
    ),
}

changes = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


async def test_delete_of_an_info_deletes_exactly_that_version(
    store: ObjectStore, backend: Backend
) -> None:
    info = await soon(store.put("name", b"hello"))

    assert await soon(store.delete(info)) is True
    assert await soon(layout(backend)) == {"name": DELETED}


async def test_delete_of_an_info_spares_what_was_put_since(
    store: ObjectStore, backend: Backend
) -> None:
    old = await soon(store.put("name", b"old"))
    new = await soon(store.put("name", b"newer"))

    with pytest.raises(RevisionMismatchError) as caught:
        await soon(store.delete(old))

    # One chunk and one metadata message for each put.
    assert (old.revision, new.revision) == (2, 4)
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}': 'name' is at revision 4, not at 2; read it again and "
        "decide anew."
    )
    assert (caught.value.bucket, caught.value.name) == (backend.bucket, "name")
    assert await soon(store.get("name")) == b"newer"
    assert await soon(layout(backend)) == {"name": 1}


async def test_delete_of_an_info_spares_what_is_put_while_it_is_under_way(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    info = await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.put("name", b"newer")

    spy.before["publish_metadata"] = overtake
    with pytest.raises(RevisionMismatchError):
        await soon(store.delete(info))

    assert await soon(rival.get("name")) == b"newer"
    assert await soon(layout(backend)) == {"name": 1}


async def test_delete_of_an_infos_marker_says_that_it_was_deleted(store: ObjectStore) -> None:
    info = await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))
    marker = await soon(store.get_info("name", show_deleted=True))

    assert await soon(store.delete(marker)) is False
    with pytest.raises(RevisionMismatchError):
        await soon(store.delete(info))


async def test_delete_of_an_info_and_another_version_at_once_is_refused(
    store: ObjectStore, backend: Backend
) -> None:
    old = await soon(store.put("name", b"old"))
    info = await soon(store.put("name", b"hello"))

    for mode in (old, old.revision):
        with pytest.raises(InvalidOptionError, match="names revision 4, but"):
            await soon(store.delete(info, mode=mode))
    assert await soon(layout(backend)) == {"name": 1}
    assert await soon(store.delete(info, mode=info.revision)) is True


@changes
async def test_a_change_of_the_revision_that_is_there_is_made(
    store: ObjectStore, backend: Backend, change: Change
) -> None:
    info = await soon(store.put("name", b"hello"))
    await soon(change(store, info.revision))

    found = await soon(layout(backend))
    assert found in ({"name": DELETED}, {"name": 1}, {"name": DELETED, "moved": 1})
    newest = await soon(store.get_info("name", show_deleted=True))
    assert newest.revision > info.revision


@changes
@pytest.mark.parametrize("by_info", [False, True])
async def test_a_change_of_a_revision_that_was_replaced_changes_nothing(
    store: ObjectStore, backend: Backend, change: Change, by_info: bool
) -> None:
    old = await soon(store.put("name", b"old"))
    newest = await soon(store.put("name", b"newer"))

    with pytest.raises(RevisionMismatchError, match="is at revision 4, not at 2"):
        await soon(change(store, old if by_info else old.revision))

    assert await soon(store.get_info("name")) == newest
    assert await soon(layout(backend)) == {"name": 1}


@changes
async def test_a_change_of_a_revision_of_nothing_is_a_mismatch(
    store: ObjectStore, backend: Backend, change: Change
) -> None:
    with pytest.raises(RevisionMismatchError, match="is at revision 0, not at 7"):
        await soon(change(store, 7))
    assert await soon(layout(backend)) == {}


@changes
async def test_a_change_that_a_put_overtakes_is_refused(
    backend: Backend, change: Change
) -> None:
    store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    info = await soon(rival.put("name", b"old"))

    async def overtake() -> None:
        await rival.put("name", b"newer")

    spy.before["publish_metadata"] = overtake
    with pytest.raises(RevisionMismatchError):
        await soon(change(store, info))

    assert await soon(rival.get("name")) == b"newer"
    found = await soon(layout(backend))
    assert {name for name, held in found.items() if held != DELETED} == {"name"}


@changes
@pytest.mark.parametrize("mode", ["create", "replace", 0, -1, True, 1.5, None])
async def test_what_is_no_mode_of_a_change_is_refused(
    store: ObjectStore, backend: Backend, change: Change, mode: Any
) -> None:
    await soon(store.put("name", b"hello"))

    with pytest.raises(
        InvalidOptionError, match=r'mode must be .*, got |mode="create" is for new'
    ):
        await soon(change(store, mode))
    assert await soon(layout(backend)) == {"name": 1}


@changes
async def test_a_version_of_another_object_is_no_mode(
    store: ObjectStore, backend: Backend, change: Change
) -> None:
    await soon(store.put("name", b"hello"))
    other = await soon(store.put("other", b"hello"))

    with pytest.raises(InvalidOptionError, match="give a version of this object"):
        await soon(change(store, other))
    assert await soon(layout(backend)) == {"name": 1, "other": 1}


async def test_delete_of_an_info_of_another_bucket_is_refused(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    await soon(store.put("name", b"hello"))
    info = await soon(other_store.put("name", b"hello"))

    with pytest.raises(InvalidOptionError, match="give a version of this object"):
        await soon(store.delete(info))
    assert await soon(store.exists("name"))


async def test_the_mode_of_a_rename_is_about_the_old_name(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("moved", b"gone"))
    await soon(store.delete("moved"))
    info = await soon(store.put("name", b"hello"))

    assert (await soon(store.rename("name", "moved", mode=info))).name == "moved"
    assert await soon(store.get("moved")) == b"hello"
    assert await soon(layout(backend)) == {"name": DELETED, "moved": 1}


# --- links

Link = Callable[[ObjectStore, ObjectStore, Any], Coroutine[Any, Any, ObjectInfo]]

LINKS: dict[str, Link] = {
    "add_link": lambda store, _, mode: store.add_link("link", "name", mode=mode),
    "add_bucket_link": lambda store, other, mode: store.add_bucket_link(
        "link", other, mode=mode
    ),
}

links = pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)


@links
async def test_a_link_that_must_be_new_replaces_no_link(
    store: ObjectStore, other_store: ObjectStore, backend: Backend, link: Link
) -> None:
    await soon(store.put("name", b"hello"))
    first = await soon(link(store, other_store, "create"))

    with pytest.raises(ObjectAlreadyExists, match=r"'link' exists \(revision 3\)"):
        await soon(link(store, other_store, "create"))

    assert await soon(store.get_info("link")) == first
    await soon(store.delete("link"))
    assert (await soon(link(store, other_store, "create"))).revision == 5


@links
async def test_a_link_at_a_revision_replaces_only_that(
    store: ObjectStore, other_store: ObjectStore, backend: Backend, link: Link
) -> None:
    await soon(store.put("name", b"hello"))
    first = await soon(link(store, other_store, "overwrite"))
    second = await soon(link(store, other_store, first))

    with pytest.raises(RevisionMismatchError, match="'link' is at revision 4, not at 3"):
        await soon(link(store, other_store, first.revision))
    assert await soon(store.get_info("link")) == second
    assert await soon(layout(backend)) == {"name": 1, "link": LINK}


async def test_a_link_by_update_meta_obeys_its_mode(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("one", b"1"))
    await soon(store.put("two", b"2"))
    first = await soon(store.add_link("link", "one"))
    second = await soon(store.add_link("link", "one"))
    meta = ObjectMeta(options=ObjectMetaOptions(link=ObjectLink(backend.bucket, "two")))

    with pytest.raises(RevisionMismatchError):
        await soon(store.update_meta("link", meta, mode=first))
    assert await soon(store.get("link")) == b"1"
    await soon(store.update_meta("link", meta, mode=second))
    assert await soon(store.get("link")) == b"2"


async def test_a_link_whose_target_is_gone_is_refused_whatever_the_mode(
    store: ObjectStore, backend: Backend
) -> None:
    with pytest.raises(ObjectNotFoundError):
        await soon(store.add_link("link", "name", mode="create"))
    assert await soon(layout(backend)) == {}
