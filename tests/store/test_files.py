"""put_file and get_file: a file appears whole and verified, or not at all."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BulkError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectMeta
from faststream_objstore.store import ObjectStore
from tests.store.support import MIB, layout, pattern_bytes, soon


@pytest.mark.parametrize("size", [0, 1, 95, 3 * MIB + 1])
@pytest.mark.parametrize("as_text", [False, True])
async def test_a_file_comes_back_as_it_was(
    store: ObjectStore, tmp_path: Path, size: int, as_text: bool
) -> None:
    data = pattern_bytes(size)
    source, target = tmp_path / "source.bin", tmp_path / "target.bin"
    source.write_bytes(data)

    info = await soon(store.put_file("name", str(source) if as_text else source))
    got = await soon(store.get_file("name", str(target) if as_text else target))

    assert info.size == size
    assert info.metadata == {"filename": "source.bin"}
    assert got == info
    assert target.read_bytes() == data
    assert sorted(one.name for one in tmp_path.iterdir()) == ["source.bin", "target.bin"]


async def test_put_file_takes_the_options_of_put(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    told: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        told.append((done, total))

    info = await soon(
        store.put_file(
            "name",
            path,
            meta=ObjectMeta(description="d"),
            filename="other",
            metadata={"m": "1"},
            chunk_size=2,
            mode="create",
            progress=note,
        )
    )

    assert (info.description, info.chunks) == ("d", 3)
    assert info.metadata == {"m": "1", "filename": "other"}
    assert told == [(2, 5), (4, 5), (5, 5)]


async def test_put_file_of_a_missing_file_leaves_nothing(
    store: ObjectStore, backend: Backend, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await soon(store.put_file("name", tmp_path / "nothing"))
    with pytest.raises(OSError, match="directory"):
        await soon(store.put_file("name", tmp_path))

    assert await soon(layout(backend)) == {}


async def test_get_file_replaces_a_file(store: ObjectStore, tmp_path: Path) -> None:
    await soon(store.put("name", b"newer"))
    path = tmp_path / "file"
    path.write_bytes(b"old, and longer")
    await soon(store.get_file("name", path))

    assert path.read_bytes() == b"newer"


async def test_get_file_makes_a_file_with_the_usual_permissions(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", b"hello"))
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    await soon(store.get_file("name", tmp_path / "file"))

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE(
        ordinary.stat().st_mode
    )


@pytest.mark.parametrize("name", ["名" * 80, "n" * 255, "ñ" * 127])
async def test_get_file_writes_to_any_name_that_the_file_system_has(
    store: ObjectStore, tmp_path: Path, name: str
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.get_file("name", tmp_path / name))

    assert (tmp_path / name).read_bytes() == b"hello"


async def test_a_failed_get_file_leaves_the_file_as_it_was(
    store: ObjectStore, tmp_path: Path
) -> None:
    info = await soon(store.put("name", pattern_bytes(95), chunk_size=10))
    await soon(store.put("name", b"newer"))
    path = tmp_path / "file"
    path.write_bytes(b"kept")

    with pytest.raises(ObjectChangedError):
        await soon(store.get_file(info, path))
    with pytest.raises(ObjectNotFoundError):
        await soon(store.get_file("nothing", path))

    assert path.read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [path]


async def test_get_file_where_it_cannot_write_leaves_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", b"hello"))
    folder = tmp_path / "folder"
    folder.mkdir()

    with pytest.raises(FileNotFoundError) as raised:
        await soon(store.get_file("name", tmp_path / "missing" / "file"))
    # Not that of the temporary file.
    assert raised.value.filename == str(tmp_path / "missing" / "file")
    with pytest.raises(OSError, match="directory"):
        await soon(store.get_file("name", folder))

    assert list(tmp_path.iterdir()) == [folder]


async def test_a_cancelled_get_file_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    await soon(store.put("name", pattern_bytes(95), chunk_size=10))
    reached = asyncio.Event()

    async def stall(done: int, total: int | None) -> None:
        reached.set()
        await asyncio.Event().wait()

    path = tmp_path / "file"
    task = asyncio.ensure_future(store.get_file("name", path, progress=stall))
    await soon(reached.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_a_get_file_cancelled_at_any_moment_leaves_the_whole_file_or_none(
    store: ObjectStore, tmp_path: Path, turns: int
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    path = tmp_path / "file"
    task = asyncio.ensure_future(store.get_file("name", path))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=20)

    assert [one.read_bytes() for one in tmp_path.iterdir()] in ([], [b"hello"])


async def test_get_file_tells_its_progress(store: ObjectStore, tmp_path: Path) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    told: list[tuple[int, Any]] = []

    async def note(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.get_file("name", tmp_path / "file", progress=note))

    assert told == [(2, 5), (4, 5), (5, 5)]


async def test_get_file_of_a_link_writes_its_target(
    store: ObjectStore, other_store: ObjectStore, tmp_path: Path
) -> None:
    info = await soon(other_store.put("name", b"hello"))
    await soon(store.add_link("link", info))

    assert await soon(store.get_file("link", tmp_path / "file")) == info
    assert (tmp_path / "file").read_bytes() == b"hello"


@pytest.mark.parametrize("verb", ["get_file", "get_dir", "dump"])
async def test_what_is_no_regular_file_is_not_replaced(
    store: ObjectStore, tmp_path: Path, verb: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    await soon(store.put("link", b"content"))

    with pytest.raises((OSError, BulkError), match="not a regular file"):
        if verb == "get_file":
            await soon(store.get_file("link", tmp_path / "link"))
        elif verb == "get_dir":
            await soon(store.get_dir("", tmp_path))
        else:
            await soon(store.dump(tmp_path / "link"))
    assert pipe.is_fifo()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "pipe"]


async def test_folder_is_refused_as_a_file_before_anything_is_transferred(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", b"content"))
    seen: list[int] = []

    with pytest.raises(IsADirectoryError) as raised:
        await soon(
            store.get_file("name", tmp_path, progress=lambda done, _: seen.append(done))
        )
    assert raised.value.filename == str(tmp_path)
    assert seen == []
