"""Pages of a listing: what shares a prefix is one folder, and no page repeats another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faststream_objstore.models import ObjectInfo
from faststream_objstore.store.folders import Listing, fold

NAMES = ["a", "a/1", "a/2/x", "b", "c/1", "c/2", "d"]


def infos(names: list[str]) -> list[ObjectInfo]:
    return [ObjectInfo(name=name, bucket="b") for name in sorted(names)]


def shown(listing: Listing) -> tuple[list[str], list[str], str | None]:
    return [info.name for info in listing.objects], listing.folders, listing.after


def test_without_a_delimiter_every_object_is_listed() -> None:
    assert shown(fold(infos(NAMES))) == (NAMES, [], None)


def test_with_a_delimiter_names_behind_it_are_one_folder() -> None:
    page = fold(infos(NAMES), delimiter="/")

    assert shown(page) == (["a", "b", "d"], ["a/", "c/"], None)


def test_folders_are_those_behind_the_prefix() -> None:
    page = fold(infos(["a/1", "a/2/x", "a/2/y", "a/3/z"]), prefix="a/", delimiter="/")

    assert shown(page) == (["a/1"], ["a/2/", "a/3/"], None)


def test_a_page_says_where_the_next_one_begins() -> None:
    listed = infos(NAMES)

    assert shown(fold(listed, delimiter="/", limit=2)) == (["a"], ["a/"], "a/")
    assert shown(fold(listed, delimiter="/", limit=2, after="a/")) == (["b"], ["c/"], "c/")
    assert shown(fold(listed, delimiter="/", limit=2, after="c/")) == (["d"], [], None)


def test_an_object_whose_name_is_the_prefix_is_listed() -> None:
    assert shown(fold(infos(["a/", "a/1"]), prefix="a/", delimiter="/")) == (
        ["a/", "a/1"],
        [],
        None,
    )


def test_the_delimiter_may_have_several_characters() -> None:
    assert shown(fold(infos(["a--1", "a--2", "b"]), delimiter="--")) == (["b"], ["a--"], None)


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
        page = fold(infos(names), delimiter=delimiter, after=after, limit=limit)
        assert len(page.objects) + len(page.folders) <= limit
        objects += [info.name for info in page.objects]
        folders += page.folders
        after = page.after

    inside = [name for name in names if delimiter and delimiter in name]
    assert objects == sorted(set(names) - set(inside))
    assert folders == sorted({name.split("/")[0] + "/" for name in inside})
