"""list and iter: every live object, and what prefix and pattern select."""

import asyncio
import logging
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import ordered
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.store.support import Audit, Bench, everything, soon, spied, write_raw

NAMES = [
    "a",
    "ann/cat.png",
    "ann/dog.txt",
    "ann/x/cat.png",
    "bob/cat.png",
    "cat.png",
    "*",
    "{",
]


async def fill(store: ObjectStore, *names: str) -> None:
    for name in names:
        await soon(store.put(name, name.encode()))


def names_of(infos: list[ObjectInfo]) -> list[str]:
    return [info.name for info in infos]


async def test_the_list_of_an_empty_bucket_is_empty(store: ObjectStore) -> None:
    assert await soon(store.list()) == []
    assert await everything(store.iter()) == []


async def test_a_list_is_sorted_by_name_and_complete(store: ObjectStore) -> None:
    infos = [await soon(store.put(name, b"x")) for name in ("b", "a", "ä", "B", "c")]
    listed = await soon(store.list())

    assert names_of(listed) == ["B", "a", "b", "c", "ä"]
    assert listed == sorted(infos, key=lambda info: info.name)


async def test_iter_is_in_the_order_of_the_last_change(store: ObjectStore) -> None:
    await fill(store, "b", "a", "c", "b")

    assert names_of(await everything(store.iter())) == ["a", "c", "b"]


async def test_deleted_objects_are_left_out_unless_asked_for(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    await soon(store.delete("a"))

    assert names_of(await soon(store.list())) == ["b"]
    assert names_of(await everything(store.iter())) == ["b"]
    listed = await soon(store.list(include_deleted=True))
    assert [(info.name, info.deleted) for info in listed] == [("a", True), ("b", False)]
    walked = await everything(store.iter(include_deleted=True))
    assert [(info.name, info.deleted) for info in walked] == [("b", False), ("a", True)]


async def test_a_bucket_of_deleted_objects_has_an_empty_list(store: ObjectStore) -> None:
    await fill(store, "a", "b")
    await soon(store.delete("a"))
    await soon(store.delete("b"))

    assert await soon(store.list()) == []


async def test_links_are_listed_as_links(store: ObjectStore) -> None:
    await fill(store, "a")
    await soon(store.add_link("link", "a"))

    assert [(info.name, info.is_link()) for info in await soon(store.list())] == [
        ("a", False),
        ("link", True),
    ]


@pytest.mark.parametrize(
    "prefix, expected",
    [
        (None, sorted(NAMES)),
        ("", sorted(NAMES)),
        ("a", ["a", "ann/cat.png", "ann/dog.txt", "ann/x/cat.png"]),
        ("ann/", ["ann/cat.png", "ann/dog.txt", "ann/x/cat.png"]),
        ("*", ["*"]),
        ("nothing", []),
    ],
)
async def test_a_prefix_selects_names_that_begin_with_it(
    store: ObjectStore, prefix: str | None, expected: list[str]
) -> None:
    await fill(store, *NAMES)

    assert names_of(await soon(store.list(prefix=prefix))) == expected
    assert sorted(names_of(await everything(store.iter(prefix=prefix)))) == expected


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("*", ["*", "a", "cat.png", "{"]),
        ("**", sorted(NAMES)),
        ("*/*.png", ["ann/cat.png", "bob/cat.png"]),
        ("**/cat.png", ["ann/cat.png", "ann/x/cat.png", "bob/cat.png", "cat.png"]),
        ("ann/**", ["ann/cat.png", "ann/dog.txt", "ann/x/cat.png"]),
        ("ann/*", ["ann/cat.png", "ann/dog.txt"]),
        ("{user}/*.png", ["ann/cat.png", "bob/cat.png"]),
        ("{user}/{rest:path}", ["ann/cat.png", "ann/dog.txt", "ann/x/cat.png", "bob/cat.png"]),
        ("cat.png", ["cat.png"]),
        ("cat?png", []),
        ("c[a]t.png", []),
        ("{{", ["{"]),
    ],
)
async def test_a_pattern_selects_names_that_match(
    store: ObjectStore, pattern: str, expected: list[str]
) -> None:
    await fill(store, *NAMES)

    assert names_of(await soon(store.list(pattern=pattern))) == expected
    assert sorted(names_of(await everything(store.iter(pattern=pattern)))) == expected


async def test_prefix_and_pattern_must_both_hold(store: ObjectStore) -> None:
    await fill(store, *NAMES)
    await soon(store.delete("ann/cat.png"))

    listed = await soon(store.list(prefix="ann", pattern="**/cat.png"))
    assert names_of(listed) == ["ann/x/cat.png"]
    listed = await soon(store.list(prefix="ann", pattern="**/cat.png", include_deleted=True))
    assert names_of(listed) == ["ann/cat.png", "ann/x/cat.png"]


@pytest.mark.parametrize(
    "pattern", ["", "{", "{}", "{a", "***", "{a}{a}", "{1}", "{a:int}", 5]
)
async def test_a_malformed_pattern_is_refused(store: ObjectStore, pattern: str) -> None:
    with pytest.raises(InvalidPatternError, match="the pattern") as caught:
        await soon(store.list(pattern=pattern))
    with pytest.raises(InvalidPatternError):
        await everything(store.iter(pattern=pattern))

    assert isinstance(caught.value, ValueError)


async def test_a_prefix_that_is_no_text_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidOptionError, match="prefix must be a str, got 5"):
        await soon(store.list(prefix=5))  # type: ignore[call-overload]


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"size": -1}', b"\xff", b"null"])
async def test_metadata_that_does_not_parse_is_passed_over_and_logged_once(
    store: ObjectStore, backend: Backend, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    await fill(store, "a")
    await write_raw(backend, "bad", body)
    await fill(store, "b")
    # Last in the stream too, where a list might wait for it.
    await write_raw(backend, "worse", body)

    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        assert names_of(await soon(store.list())) == ["a", "b"]
        assert names_of(await soon(store.list(include_deleted=True))) == ["a", "b"]
        assert names_of(await everything(store.iter())) == ["a", "b"]

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert f"Bucket '{backend.bucket}', object 'bad'" in messages[0]
    assert "It is skipped." in messages[0]
    assert "'worse'" in messages[1]
    await soon(store.delete("bad"))
    await soon(store.put("worse", b"x"))
    assert names_of(await soon(store.list())) == ["a", "b", "worse"]


async def test_many_messages_that_do_not_parse_do_not_fill_the_log(
    store: ObjectStore, backend: Backend, audit: Audit, caplog: pytest.LogCaptureFixture
) -> None:
    audit.orphans = True
    await asyncio.gather(*(write_raw(backend, f"{n:04}", b"not json") for n in range(1500)))

    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        assert await soon(store.list()) == []
        assert len(caplog.records) == 101
        assert "more than 100 metadata messages cannot be parsed" in caplog.text
        assert await soon(store.list()) == []
    assert len(caplog.records) == 101


async def test_only_metadata_that_does_not_parse_is_an_empty_list(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "bad", b"")

    assert await soon(store.list()) == []
    await soon(store.delete("bad"))


async def test_a_list_under_constant_overwrites_misses_no_live_object(
    store: ObjectStore,
) -> None:
    names = [f"name-{number:02}" for number in range(10)]
    await fill(store, *names)
    stop = False

    async def overwrite() -> None:
        while not stop:
            for name in names:
                await store.put(name, b"again")

    task = asyncio.ensure_future(overwrite())
    try:
        for _ in range(5):
            assert names_of(await soon(store.list())) == names
    finally:
        stop = True
        await soon(task)


async def test_iter_does_not_wait_for_what_was_overwritten_before_its_turn(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few messages are on their way while the loop's body is busy.
    monkeypatch.setattr(ordered, "_WINDOW_MESSAGES", 4)
    names = [f"{number:02}" for number in range(50)]
    await fill(store, *names)
    seen: list[str] = []
    async for info in store.iter():
        seen.append(info.name)
        if len(seen) == 1:
            await fill(store, *names[12:-1])

    # Those that had been on their way come again with their newest versions.
    assert set(seen) == set(names)


async def test_a_list_has_the_newest_of_what_another_client_has_kept_older_revisions_of(
    store: ObjectStore, backend: Backend
) -> None:
    await fill(store, "b")
    upload = backend.upload(f"$O.{backend.bucket}.M.YQ==")
    for number in range(3):
        await upload.write(b'{"name":"a","nuid":"N","description":"%d"}' % number)
    await upload.finish()

    infos = await soon(store.list())
    assert [(one.name, one.description) for one in infos] == [("a", "2"), ("b", None)]
    await soon(store.delete("a"))


async def test_iter_can_be_broken_off(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await fill(store, "a", "b", "c")
    walk = store.iter()
    assert (await soon(walk.__anext__())).name == "a"
    await soon(walk.aclose())

    assert await soon(bench.consumers(backend.bucket)) == []


async def test_a_list_of_many_is_whole(store: ObjectStore) -> None:
    await soon(asyncio.gather(*(store.put(f"{n:04}", b"") for n in range(1100))))

    assert names_of(await soon(store.list())) == [f"{n:04}" for n in range(1100)]


async def test_page_of_a_large_bucket_reads_the_metadata_of_that_page(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    for number in range(8):
        await soon(asyncio.gather(*(store.put(f"d{number}/{n:02}", b"") for n in range(50))))
    spy.calls.clear()

    page = await soon(store.list(prefix="d3/", delimiter="/", limit=10))
    assert names_of(page.objects) == [f"d3/{n:02}" for n in range(10)]
    assert names_of(await soon(store.list(prefix="d3/4"))) == [
        f"d3/{n}" for n in range(40, 50)
    ]
    assert (await soon(store.list(delimiter="/"))).folders == [f"d{n}/" for n in range(8)]
    assert "messages" not in spy.calls
    # Of half of the bucket, it comes with all of it.
    assert len(await soon(store.list(pattern="*/*"))) == 400
    assert spy.calls.count("messages") == 1


async def test_pages_leave_out_what_was_deleted_and_what_does_not_parse(
    store: ObjectStore, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store, "a/1", "a/2", "b/1", "c", "d")
    for name in ("a/1", "b/1", "c"):
        await soon(store.delete(name))
    await write_raw(backend, "bad", b"not json")

    page = await soon(store.list(delimiter="/", limit=2))
    assert (names_of(page.objects), page.folders, page.after) == (["d"], ["a/"], None)
    page = await soon(store.list(delimiter="/", include_deleted=True))
    assert (names_of(page.objects), page.folders) == (["c", "d"], ["a/", "b/"])
    assert "object 'bad'" in caplog.text
    await soon(store.delete("bad"))


async def test_list_with_a_prefix_of_any_text_finds_the_names_that_begin_with_it(
    store: ObjectStore,
) -> None:
    await fill(store, "ä", "äb", "äbc", "ab", "abcd", "abcde")

    for prefix in ("a", "ab", "abc", "abcd", "abcdef", "ä", "äb", "\ud800"):
        listed = names_of(await soon(store.list(prefix=prefix)))
        expected = ("ab", "abcd", "abcde", "ä", "äb", "äbc")
        assert listed == [one for one in expected if one.startswith(prefix)]


async def test_delimiter_gives_pages_of_objects_and_folders(store: ObjectStore) -> None:
    for name in ("a", "b/1", "b/2/x", "b/2/y", "b/3", "c*/1"):
        await store.put(name, name)

    top = await store.list(delimiter="/")
    assert ([info.name for info in top.objects], top.folders) == (["a"], ["b/", "c*/"])
    assert top.after is None

    page = await store.list(prefix="b/", delimiter="/", limit=2)
    assert ([info.name for info in page.objects], page.folders) == (["b/1"], ["b/2/"])
    assert page.after == "b/2/"
    rest = await store.list(prefix="b/", delimiter="/", limit=2, after=page.after)
    assert ([info.name for info in rest.objects], rest.folders) == (["b/3"], [])

    flat = await store.list(prefix="c*", delimiter="")
    assert [info.name for info in flat.objects] == ["c*/1"]


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"after": "a"}, "after and limit are for pages"),
        ({"limit": 3}, "after and limit are for pages"),
        ({"delimiter": "/", "limit": 0}, "limit must be a number from 1, got 0"),
        ({"delimiter": 5}, "delimiter must be a str, got 5"),
        ({"delimiter": "/", "after": 5}, "after must be a str, got 5"),
    ],
)
async def test_page_that_cannot_be_is_refused(
    store: ObjectStore, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidOptionError, match=problem):
        await store.list(**options)
