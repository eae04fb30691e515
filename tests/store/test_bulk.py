"""Many objects at once: what is done, what is refused, and that the rest goes on."""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faststream_objstore import BulkError, BulkResult, ObjectInfo, ObjectStore
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    BucketSealedError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectNotFoundError,
    UnsupportedDataError,
)
from faststream_objstore.store import paths
from tests.store.support import (
    MIB,
    everything,
    layout,
    pattern_bytes,
    soon,
    spied,
    write_chunks,
    write_raw,
)


async def names(store: ObjectStore) -> list[str]:
    return [info.name for info in await store.list()]


async def test_delete_all_deletes_what_the_prefix_says_literally(store: ObjectStore) -> None:
    for name in ("a*/1", "a*/2", "ab/1", "b"):
        await store.put(name, name)

    assert await soon(store.delete_all(prefix="a*/")) == 2
    assert await names(store) == ["ab/1", "b"]
    assert await soon(store.delete_all(pattern="**")) == 2
    assert await soon(store.delete_all(pattern="**")) == 0


async def test_delete_all_of_everything_has_to_be_said(store: ObjectStore) -> None:
    await store.put("a", b"")

    with pytest.raises(InvalidOptionError, match='pattern="\\*\\*" means all'):
        await store.delete_all(prefix="")
    assert await names(store) == ["a"]


async def test_object_that_is_put_while_all_are_deleted_stays(
    backend: Backend,
) -> None:
    store, spy = spied(backend)
    await store.put("a/1", b"old")
    await store.put("a/2", b"old")

    async def put_again() -> None:
        await ObjectStore.on(backend).put("a/1", b"new")

    # Between the list and the first delete.
    spy.before["last_message"] = put_again
    assert await soon(store.delete_all(prefix="a/", concurrency=1)) == 1
    assert await store.get("a/1") == b"new"
    assert await names(store) == ["a/1"]


async def test_progress_counts_objects(store: ObjectStore) -> None:
    for number in range(5):
        await store.put(f"a/{number}", b"")
    told: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.delete_all(prefix="a/", concurrency=2, progress=progress))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


async def test_sealed_bucket_stops_a_bulk_call_with_its_own_error(store: ObjectStore) -> None:
    await store.put("a", b"")
    await store.seal()

    with pytest.raises(BucketSealedError):
        await soon(store.delete_all(pattern="**"))


async def test_copy_all_gives_the_copies_another_prefix(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    await store.put("in/a", b"1", description="one")
    await store.put("in/b/c", b"22")
    await store.put("out", b"333")

    done = await soon(store.copy_all(prefix="in/", to="was/", bucket=other_store.bucket))

    assert done == BulkResult(done=["was/a", "was/b/c"], size=3)
    assert await other_store.get("was/b/c") == b"22"
    assert (await other_store.get_info("was/a")).description == "one"
    assert await names(other_store) == ["was/a", "was/b/c"]
    with pytest.raises(InvalidOptionError, match="onto the same names"):
        await store.copy_all(prefix="in/", to="in/")


async def test_what_cannot_be_copied_is_named_and_the_rest_is_copied(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    await store.put("a", b"1")
    await store.add_bucket_link("link", other_store.bucket)

    with pytest.raises(BulkError, match="1 of them could not be copied: 'link'") as raised:
        await soon(store.copy_all(to="copy/"))
    assert raised.value.result.done == ["copy/a"]
    assert list(raised.value.result.failed) == ["link"]


async def test_objects_are_not_copied_onto_others_that_are_copied(store: ObjectStore) -> None:
    await store.put("b", b"b")
    await store.put("z/b", b"z")

    with pytest.raises(InvalidOptionError, match="would replace 'z/b', which is to be copied"):
        await store.copy_all(to="z/")
    assert await names(store) == ["b", "z/b"]
    # Those that are not copied are replaced, as ever.
    assert (await store.copy_all(pattern="*", to="z/")).done == ["z/b"]
    assert await store.get("z/b") == b"b"


async def test_bucket_that_cannot_take_copies_stops_the_call_with_its_own_error(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    await store.put("a", b"1")
    await store.put("b", b"1")
    with pytest.raises(BucketNotFoundError, match="'no-such-bucket'"):
        await soon(store.copy_all(to="copy/", bucket="no-such-bucket"))
    await other_store.seal()
    with pytest.raises(BucketSealedError, match=other_store.bucket):
        await soon(store.copy_all(to="copy/", bucket=other_store.bucket))


async def test_get_many_gives_contents_in_the_order_given(store: ObjectStore) -> None:
    for number in range(20):
        await store.put(str(number), f"content {number}")
    wanted = [str(number) for number in reversed(range(20))]

    got = await everything(store.get_many(wanted, concurrency=3))
    assert [data.info.name for data in got] == wanted
    assert got[0] == b"content 19"

    by_info = await everything(store.get_many(store.iter()))
    assert [data.info.name for data in by_info] == [str(number) for number in range(20)]


async def test_get_many_of_a_single_name_is_refused(store: ObjectStore) -> None:
    # Its letters would be names.
    for name in ("abc", ObjectInfo(name="abc", bucket=store.bucket)):
        with pytest.raises(InvalidOptionError, match="takes several names"):
            _ = [data async for data in store.get_many(name)]  # type: ignore[arg-type]


async def test_get_many_raises_at_the_object_that_is_missing(store: ObjectStore) -> None:
    await store.put("a", b"1")
    got: list[bytes] = []

    with pytest.raises(ObjectNotFoundError, match="'b'"):
        async for data in store.get_many(["a", "b", "a"]):
            got.append(data)  # noqa: PERF401
    assert got == [b"1"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "css").mkdir(parents=True)
    (root / "index.html").write_text("<html>")
    (root / "css" / "a.css").write_text("a {}")
    (root / "large.bin").write_bytes(pattern_bytes(MIB))
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_folder_has_the_newest_version_of_what_was_put_since_it_was_listed(
    backend: Backend, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    for name in ("a", "b", "c"):
        await store.put(name, b"old")

    async def replace() -> None:
        other = ObjectStore.on(backend)
        await other.put("a", pattern_bytes(MIB))
        await other.put("b", b"new")
        await other.delete("c")

    # Between the list and the first chunk.
    spy.before["last_message"] = replace
    with pytest.raises(BulkError) as raised:
        await soon(store.get_dir("", tmp_path / "folder", concurrency=1))

    assert contents(tmp_path / "folder") == {"a": pattern_bytes(MIB), "b": b"new"}
    assert raised.value.result.done == ["a", "b"]
    assert isinstance(raised.value.result.failed["c"], ObjectNotFoundError)


async def test_folder_comes_back_as_it_was(
    backend: Backend, store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    put = await soon(store.put_dir(tree, "www/"))
    got = await soon(store.get_dir("www/", tmp_path / "new" / "copy"))

    expected = ["www/css/a.css", "www/index.html", "www/large.bin"]
    assert put == got == BulkResult(done=expected, size=MIB + 10)
    assert contents(tmp_path / "new" / "copy") == contents(tree)
    assert (await store.get_info("www/css/a.css")).metadata == {"filename": "a.css"}
    assert await layout(backend) == dict(zip(expected, [1, 1, 8], strict=True))


@pytest.mark.parametrize("concurrency", [1, 7, 64])
async def test_each_of_many_files_is_put_once_with_its_own_content(
    store: ObjectStore, tmp_path: Path, concurrency: int
) -> None:
    # More than are read at a time, by their number and by their bytes.
    files = {f"small/{number:03}": str(number).encode() for number in range(150)}
    files |= {f"a/{number:02}": pattern_bytes(100_000 + number) for number in range(30)}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    done = await soon(store.put_dir(tmp_path, concurrency=concurrency))

    assert done == BulkResult(done=sorted(files), size=sum(map(len, files.values())))
    stored = {data.info.name: data async for data in store.get_many(sorted(files))}
    assert stored == files
    # Revisions count messages: two of each object.
    assert max(data.info.revision for data in stored.values()) == 2 * len(files)


async def test_put_of_a_folder_that_is_cancelled_leaves_whole_objects_and_nothing_else(
    backend: Backend, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    files = {f"{number:03}": f"content {number}" for number in range(500)}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    putting = asyncio.ensure_future(store.put_dir(tmp_path))

    async def cancel() -> None:
        putting.cancel()

    # While files are still being read.
    spy.before["publish_metadata"] = cancel
    with pytest.raises(asyncio.CancelledError):
        await soon(putting)

    # That no task is left, the fixture sees.
    there = await layout(backend)
    assert len(there) < len(files)
    assert {name: (await store.get(name)).decode() for name in there} == {
        name: files[name] for name in there
    }


async def test_file_that_vanishes_before_it_is_read_is_named_and_the_rest_is_put(
    backend: Backend, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    for number in range(500):
        (tmp_path / f"{number:03}").write_text("content")

    async def remove() -> None:
        (tmp_path / "499").unlink()

    # When the first metadata is written, the last files are still to be read.
    spy.before["publish_metadata"] = remove
    with pytest.raises(BulkError) as raised:
        await soon(store.put_dir(tmp_path, concurrency=1))

    assert isinstance(raised.value.result.failed.pop("499"), FileNotFoundError)
    assert raised.value.result.failed == {}
    assert await names(store) == [f"{number:03}" for number in range(499)]


async def test_progress_of_a_folder_counts_small_and_large_files_together(
    store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.put_dir(tree, progress=progress))
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    await soon(store.get_dir("", tmp_path / "copy", progress=progress))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_file_that_grows_after_it_was_found_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one")
    [found] = paths.walk(tmp_path)
    path.write_bytes(b"one, two")

    assert found.size == 3
    assert found.read() == b"one, two"


async def test_file_that_cannot_be_written_leaves_the_rest_and_no_part(
    store: ObjectStore, tmp_path: Path
) -> None:
    for name in ("a/1", "b/1", "b/2"):
        await store.put(name, b"content")
    # A folder is where a file should be.
    (tmp_path / "b" / "1").mkdir(parents=True)

    with pytest.raises(BulkError) as raised:
        await soon(store.get_dir("", tmp_path))
    assert list(raised.value.result.failed) == ["b/1"]
    assert isinstance(raised.value.result.failed["b/1"], IsADirectoryError)
    assert raised.value.result.done == ["a/1", "b/2"]
    assert contents(tmp_path) == {"a/1": b"content", "b/2": b"content"}


async def test_prefix_of_a_folder_ends_with_a_slash(store: ObjectStore, tree: Path) -> None:
    for call in (
        store.put_dir(tree, "www"),
        store.get_dir("www", tree),
        store.sync(tree, "www"),
    ):
        with pytest.raises(InvalidOptionError, match="end it with '/'"):
            await call
    assert await names(store) == []


async def test_symbolic_links_are_not_followed_out_of_the_folder(
    store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (tree / "inside").symlink_to("index.html")
    (tree / "outside").symlink_to(secret / "key")
    (tree / "folder").symlink_to(secret)
    (tree / "around").symlink_to(tree)
    (tree / "dangling").symlink_to("nothing")
    os.mkfifo(tree / "pipe")

    with pytest.raises(BulkError) as raised:
        await soon(store.put_dir(tree))

    assert list(raised.value.result.failed) == [
        "around",
        "dangling",
        "folder",
        "outside",
        "pipe",
    ]
    assert "leads out of the folder" in str(raised.value.result.failed["outside"])
    assert isinstance(raised.value.result.failed["pipe"], UnsupportedDataError)
    assert await names(store) == ["css/a.css", "index.html", "inside", "large.bin"]
    assert await store.get("inside") == b"<html>"


HOSTILE = [
    "../up",
    "a/../../up",
    "/etc/absolute",
    "nul\0",
    "a//b",
    "./here",
    "folder/",
    "..",
]


async def test_names_that_are_no_paths_are_refused_and_the_rest_is_fetched(
    store: ObjectStore, tmp_path: Path
) -> None:
    for name in (*HOSTILE, "good", "Case", "case", "file", "file/below"):
        await store.put("in/" + name, name)
    folder = tmp_path / "deep" / "folder"

    with pytest.raises(BulkError) as raised:
        await soon(store.get_dir("in/", folder))

    failed = raised.value.result.failed
    refused = [*HOSTILE, "Case", "case", "file", "file/below"]
    assert sorted(failed) == sorted("in/" + name for name in refused)
    assert {type(why) for why in failed.values()} == {InvalidObjectNameError}
    assert "'in/case'" in str(failed["in/Case"])
    assert contents(tmp_path) == {"deep/folder/good": b"good"}


async def test_absolute_name_is_refused_without_a_prefix(
    store: ObjectStore, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    await store.put(str(outside), b"x")
    await store.put("a" * 300, b"too long for a file")

    with pytest.raises(BulkError) as raised:
        await soon(store.get_dir("", tmp_path / "folder"))
    assert len(raised.value.result.failed) == 2
    assert contents(tmp_path) == {}


async def test_nothing_is_written_through_a_link_out_of_the_folder(
    store: ObjectStore, tmp_path: Path
) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "file").write_text("as it was")
    (folder / "sub").symlink_to(outside)
    (folder / "file").symlink_to(outside / "file")
    await store.put("sub/deeper/x", b"x")
    await store.put("file", b"new")

    with pytest.raises(BulkError) as raised:
        await soon(store.get_dir("", folder))

    assert list(raised.value.result.failed) == ["sub/deeper/x"]
    assert contents(outside) == {"file": b"as it was"}
    # The link itself was replaced by the file.
    assert not (folder / "file").is_symlink()
    assert (folder / "file").read_bytes() == b"new"


async def test_sync_sends_what_differs_and_nothing_else(backend: Backend, tree: Path) -> None:
    store, spy = spied(backend)
    first = await soon(store.sync(tree, "www/"))
    assert first.done == ["www/css/a.css", "www/index.html", "www/large.bin"]

    before = (await backend.state()).last_sequence
    again = await soon(store.sync(tree, "www/"))
    assert again == BulkResult(unchanged=first.done)
    assert (await backend.state()).last_sequence == before

    # The same size, another content.
    (tree / "index.html").write_text("<HTML>")
    (tree / "new").write_text("new")
    (tree / "css" / "a.css").unlink()
    third = await soon(store.sync(tree, "www/"))
    assert third.done == ["www/index.html", "www/new"]
    assert third.unchanged == ["www/large.bin"]
    assert await store.get("www/index.html") == b"<HTML>"
    assert await store.exists("www/css/a.css")
    assert spy.calls


async def test_sync_of_a_folder_that_was_fetched_leaves_its_links(
    backend: Backend, other_store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    await store.put_dir(tree, "www/")
    await store.add_link("www/latest", "www/css/a.css")
    await store.add_link("www/larger", "www/large.bin")
    await store.add_link("www/far", await other_store.put("far", b"far"))
    folder = tmp_path / "fetched"
    await soon(store.get_dir("www/", folder))
    before = await layout(backend)
    spy.calls.clear()

    done = await soon(store.sync(folder, "www/", delete=True))

    assert done == BulkResult(unchanged=sorted(before))
    assert "publish_metadata" not in spy.calls
    assert await layout(backend) == before
    assert (await store.get_info("www/latest")).is_link()

    # What differs takes the place of the link, and the target stays as its own file says.
    (folder / "latest").write_text("b {}")
    (folder / "far").write_text("near")
    done = await soon(store.sync(folder, "www/"))
    assert done.done == ["www/far", "www/latest"]
    assert await store.get("www/latest") == b"b {}"
    assert await store.get("www/css/a.css") == b"a {}"
    assert await other_store.get("far") == b"far"
    assert not (await store.get_info("www/latest")).is_link()


async def test_link_shows_after_a_sync_what_its_file_has_whatever_became_of_its_target(
    store: ObjectStore, other_store: ObjectStore, tmp_path: Path
) -> None:
    files = {"a": "1", "link a": "1", "b": "2", "link b": "2", "link c": "3"}
    for name in ("a", "b", "c"):
        await store.put(name, {"a": "1", "b": "2", "c": "3"}[name])
        await store.add_link(f"link {name}", name)
    await store.add_link("nowhere", "c")
    await store.add_bucket_link("bucket", other_store.bucket)
    # Of `a` both change; of `b` the target does; and `c` has no file any more.
    files |= {"a": "new", "link a": "new", "b": "new", "bucket": "no bucket"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    done = await soon(store.sync(tmp_path, delete=True))

    assert done.done == ["a", "b", "bucket", "link b", "link c"]
    assert done.unchanged == ["link a"]
    assert done.deleted == ["c", "nowhere"]
    assert {name: (await store.get(name)).decode() for name in files} == files
    assert (await store.get_info("link a")).is_link()


async def test_sync_sends_a_file_whose_object_has_no_digest(
    backend: Backend, store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("same")
    await write_chunks(backend, "abc", b"same")
    foreign = {"name": "a", "bucket": backend.bucket, "nuid": "abc", "size": 4, "chunks": 1}
    await write_raw(backend, "a", foreign)

    assert (await soon(store.sync(tmp_path))).done == ["a"]
    assert (await soon(store.sync(tmp_path))).unchanged == ["a"]
    assert (await store.get_info("a")).sha256 is not None


async def test_sync_with_delete_removes_what_has_no_file(
    store: ObjectStore, tree: Path
) -> None:
    await store.put("www/gone", b"1")
    await store.put("elsewhere", b"1")

    done = await soon(store.sync(tree, "www/", delete=True))

    assert done.deleted == ["www/gone"]
    assert await names(store) == [
        "elsewhere",
        "www/css/a.css",
        "www/index.html",
        "www/large.bin",
    ]


async def test_sync_deletes_nothing_where_a_file_could_not_be_stored(
    store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    await store.put("www/gone", b"1")
    await store.put("www/link", b"1")
    (tree / "link").symlink_to(tmp_path)

    with pytest.raises(BulkError) as raised:
        await soon(store.sync(tree, "www/", delete=True))
    assert raised.value.result.deleted == []
    assert await store.exists("www/gone")
    assert await store.exists("www/link")


async def test_missing_folder_is_an_error_before_anything_is_deleted(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put("a", b"1")

    with pytest.raises(FileNotFoundError):
        await store.sync(tmp_path / "nothing", delete=True)
    with pytest.raises(NotADirectoryError):
        (tmp_path / "file").write_text("")
        await store.put_dir(tmp_path / "file")
    assert await names(store) == ["a"]


async def test_concurrency_that_cannot_work_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidOptionError, match="concurrency must be a number from 1, got 0"):
        await store.delete_all(prefix="a", concurrency=0)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda s, _: s.copy_all(prefix="a/", to=5), "to must be a str, got 5"),
        (lambda s, _: s.copy_all(prefix="a/", to=Path("b")), "to must be a str, got Po"),
        (lambda s, _: s.copy_all(prefix=b"a/", to="b/"), "prefix must be a str, got b'a/'"),
        (lambda s, _: s.copy_all(to="b/", bucket=["x"]), "bucket must be a str, got ['x']"),
        (lambda s, _: s.put_dir(5), "path must be a path, got 5"),
        (lambda s, _: s.put_dir("a\0b"), "path must be a path, got 'a\\x00b'"),
        (lambda s, _: s.sync(b"folder"), "path must be a path, got b'folder'"),
        (lambda s, _: s.get_dir("", None), "path must be a path, got None"),
        (lambda s, _: s.dump("a\0b"), "target must be a path, got 'a\\x00b'"),
        (lambda s, _: s.restore(io.BytesIO(), mode=["create"]), "got ['create']"),
        (lambda s, _: s.restore(io.BytesIO(), progress=5), "must be a function, got 5"),
        (lambda s, d: s.dump(d / "x.tar", progress=5), "progress must be a function, got 5"),
        (lambda s, d: s.get_dir("", d / "new", progress=True), "must be a function, got True"),
        (lambda s, _: s.delete_all(prefix="a", progress="x"), "must be a function, got 'x'"),
        (lambda s, _: anext(s.get_many(5)), "get_many() takes several names, got 5"),
        (lambda s, _: anext(s.get_many(b"a")), "get_many() takes several names, got b'a'"),
        (lambda s, _: anext(s.get_many(["a"], max_size="1")), "max_size must be a number of"),
    ],
)
async def test_argument_of_the_wrong_type_is_named_before_anything_is_done(
    store: ObjectStore, tmp_path: Path, call: Callable[..., Any], said: str
) -> None:
    await store.put("a/x", b"1")

    with pytest.raises(InvalidOptionError) as raised:
        await call(store, tmp_path)

    assert said in str(raised.value)
    assert f"Bucket '{store.bucket}'" in str(raised.value)
    assert [info.name for info in await store.list()] == ["a/x"]
    assert list(tmp_path.iterdir()) == []
