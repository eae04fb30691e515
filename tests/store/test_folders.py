"""Pages of a listing: what shares a prefix is one folder, and no page repeats another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faststream_objstore.models import ObjectInfo
from faststream_objstore.store.folders import Listing, fold

NAMES = ["a", "a/1", "a/2/x", "b", "c/1", "c/2", "d"]


class Looking:
    """The objects of a bucket, and how many were asked for."""

    def __init__(self, *deleted: str) -> None:
        self.asked = 0
        self._deleted = deleted

    async def __call__(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        self.asked += len(names)
        return [
            None if name in self._deleted else ObjectInfo(name=name, bucket="b")
            for name in names
        ]


def page_of(names: list[str], look: Looking | None = None, **options: Any) -> Listing:
    return asyncio.run(fold(sorted(names), look or Looking(), **options))


def shown(listing: Listing) -> tuple[list[str], list[str], str | None]:
    return [info.name for info in listing.objects], listing.folders, listing.after


def test_without_a_delimiter_every_object_is_listed() -> None:
    assert shown(page_of(NAMES)) == (NAMES, [], None)


def test_with_a_delimiter_names_behind_it_are_one_folder() -> None:
    page = page_of(NAMES, delimiter="/")

    assert shown(page) == (["a", "b", "d"], ["a/", "c/"], None)


def test_folders_are_those_behind_the_prefix() -> None:
    page = page_of(["a/1", "a/2/x", "a/2/y", "a/3/z"], prefix="a/", delimiter="/")

    assert shown(page) == (["a/1"], ["a/2/", "a/3/"], None)


def test_a_page_says_where_the_next_one_begins() -> None:
    assert shown(page_of(NAMES, delimiter="/", limit=2)) == (["a"], ["a/"], "a/")
    assert shown(page_of(NAMES, delimiter="/", limit=2, after="a/")) == (["b"], ["c/"], "c/")
    assert shown(page_of(NAMES, delimiter="/", limit=2, after="c/")) == (["d"], [], None)


def test_an_object_whose_name_is_the_prefix_is_listed() -> None:
    assert shown(page_of(["a/", "a/1"], prefix="a/", delimiter="/")) == (
        ["a/", "a/1"],
        [],
        None,
    )


def test_the_delimiter_may_have_several_characters() -> None:
    assert shown(page_of(["a--1", "a--2", "b"], delimiter="--")) == (["b"], ["a--"], None)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@given(
    names=st.lists(st.text("ab/", min_size=1, max_size=5), unique=True, max_size=20),
    delimiter=st.sampled_from(["", "/"]),
)
def test_the_pages_together_are_the_whole_each_entry_once(
    limit: int, names: list[str], delimiter: str
) -> None:
    objects: list[str] = []
    folders: list[str] = []
    after: str | None = ""
    while after is not None:
        page = page_of(names, delimiter=delimiter, after=after, limit=limit)
        assert len(page.objects) + len(page.folders) <= limit
        objects += [info.name for info in page.objects]
        folders += page.folders
        after = page.after

    inside = [name for name in names if delimiter and delimiter in name]
    assert objects == sorted(set(names) - set(inside))
    assert folders == sorted({name.split("/")[0] + "/" for name in inside})


def test_page_is_full_however_many_objects_are_deleted() -> None:
    names = [f"{number:03}" for number in range(1000)]
    look = Looking(*names[1:-3])

    page = page_of(names, look, limit=3)
    assert shown(page) == (["000", "997", "998"], [], "998")
    assert shown(page_of(names, look, limit=3, after="998")) == (["999"], [], None)


def test_folder_is_shown_if_one_of_its_objects_is_there() -> None:
    names = [f"a/{number:03}" for number in range(1000)] + ["b/1", "b/2", "c"]
    look = Looking(*names[:999], "b/1", "b/2")

    assert shown(page_of(names, look, delimiter="/")) == (["c"], ["a/"], None)
    assert shown(page_of(names, Looking(*names), delimiter="/")) == ([], [], None)


def test_page_asks_for_no_more_objects_than_it_shows_and_one() -> None:
    look = Looking()
    names = [f"{number:03}/{one}" for number in range(1000) for one in "abc"]

    assert len(page_of(names, look, delimiter="/", limit=10).folders) == 10
    assert look.asked == 11
