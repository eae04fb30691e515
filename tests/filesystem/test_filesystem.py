"""What a bucket is as a file system: errors, versions, atomic writes, both kinds of code."""

import asyncio
import base64
import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import fsspec
import nats
import nats.errors
import pytest
from fsspec.callbacks import Callback
from fsspec.exceptions import FSTimeoutError
from nats.aio.client import Client

from faststream_objstore.exceptions import (
    InvalidLinkError,
    InvalidObjectNameError,
    InvalidOptionError,
    NotConnectedError,
    ObjectChangedError,
    ServerUnreachableError,
)
from faststream_objstore.filesystem import ObjectStoreFileSystem
from faststream_objstore.filesystem.files import WRITE_BLOCK
from faststream_objstore.models import Mirror, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.backends.proxy import between
from tests.server.domains import domains
from tests.store.support import MIB, layout, pattern_bytes, soon, spied

FS = ObjectStoreFileSystem


def test_protocol_finds_it(bucket: str, options: dict[str, Any]) -> None:
    with fsspec.open(f"objstore://{bucket}/a/b.txt", "w", **options) as file:
        file.write("text")

    fs, path = fsspec.url_to_fs(f"objstore://{bucket}/a/b.txt", **options)
    assert isinstance(fs, FS)
    assert path == f"{bucket}/a/b.txt"
    assert fs.cat(path) == b"text"
    assert f"objstore://{bucket}" in [f"objstore://{one}" for one in fs.ls("", detail=False)]


def test_address_of_the_server_is_that_of_the_environment(
    bucket: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_server.url)
    fs = FS(skip_instance_cache=True)
    assert fs.ls(bucket) == []
    fs.close()


def test_objects_are_files_and_what_their_names_share_is_a_folder(fs: FS, bucket: str) -> None:
    for name in ("top", "a/1", "a/2", "a/b/3"):
        fs.pipe(f"{bucket}/{name}", name.encode())

    assert fs.ls(f"{bucket}", detail=False) == [f"{bucket}/a", f"{bucket}/top"]
    assert fs.ls(f"{bucket}/a/", detail=False) == [
        f"{bucket}/a/1",
        f"{bucket}/a/2",
        f"{bucket}/a/b",
    ]
    assert fs.find(bucket) == [
        f"{bucket}/a/1",
        f"{bucket}/a/2",
        f"{bucket}/a/b/3",
        f"{bucket}/top",
    ]
    assert fs.find(f"{bucket}/a", maxdepth=1) == [f"{bucket}/a/1", f"{bucket}/a/2"]
    assert fs.glob(f"{bucket}/*/1") == [f"{bucket}/a/1"]
    assert fs.glob(f"{bucket}/**/3") == [f"{bucket}/a/b/3"]
    assert fs.du(bucket) == 3 + 3 + 3 + 5
    assert fs.isdir(f"{bucket}/a")
    assert not fs.isfile(f"{bucket}/a")
    info = fs.info(f"{bucket}/a/1")
    assert (info["type"], info["size"]) == ("file", 3)
    assert info["digest"].startswith("SHA-256=")
    assert fs.modified(f"{bucket}/a/1") == info["mtime"]


async def test_what_times_out_is_named_with_the_timeout(
    nats_server: NatsServer, bucket: str
) -> None:
    async with between(nats_server) as proxy:
        fs = FS(proxy.url, timeout=0.5, skip_instance_cache=True)
        path = f"{bucket}/a/1"
        await asyncio.to_thread(fs.pipe, path, b"content")
        file = await asyncio.to_thread(fs.open, path, "rb")
        proxy.stall()
        calls = {
            "cat": (lambda: fs.cat(path), "a/1"),
            "pipe": (lambda: fs.pipe(path, b"new"), "a/1"),
            "read": (file.read, "a/1"),
            # Whether the target is a folder is asked first.
            "mv": (lambda: fs.mv(path, f"{bucket}/b"), "b"),
            "isdir": (lambda: fs.isdir(path), "a/1"),
            "isfile": (lambda: fs.isfile(path), "a/1"),
            "modified": (lambda: fs.modified(path), "a/1"),
            "walk": (lambda: list(fs.walk(f"{bucket}/a", on_error="raise")), "a"),
        }
        for how, (call, name) in calls.items():
            with pytest.raises(FSTimeoutError) as caught:
                await asyncio.to_thread(call)
            message = str(caught.value)
            assert f"'{bucket}/{name}'" in message, how
            assert "within 0.5 s" in message, how
        proxy.go_on()
        await asyncio.to_thread(fs.close)


def test_what_is_not_there_is_said_as_of_files(fs: FS, bucket: str) -> None:
    for path in (f"{bucket}/nothing", "no-such-bucket/x", "not a bucket/x"):
        with pytest.raises(FileNotFoundError):
            fs.cat_file(path)
        with pytest.raises(FileNotFoundError):
            fs.info(path)
        with pytest.raises(FileNotFoundError):
            fs.rm(path, recursive=True)
        assert not fs.exists(path)
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{bucket}/nothing")
    with pytest.raises(IsADirectoryError):
        fs.cat_file(bucket)
    with pytest.raises(IsADirectoryError):
        fs.open(bucket, "wb")
    with pytest.raises(ValueError, match="written whole"):
        fs.open(f"{bucket}/x", "ab")


def test_many_files_are_read_as_each_alone_would_be(fs: FS, bucket: str) -> None:
    wanted = {f"{bucket}/{number:03}": f"file {number}".encode() for number in range(70)}
    wanted |= {f"{bucket}/empty": b"", f"{bucket}/large": pattern_bytes(MIB)}
    other = f"{bucket}-other"
    fs.mkdir(other)
    wanted |= {f"{other}/{number}": b"elsewhere" for number in range(3)}
    fs.pipe(wanted)

    try:
        assert fs.cat(list(wanted)) == wanted
        assert fs.cat(f"{bucket}/00*") == {
            f"{bucket}/00{number}": f"file {number}".encode() for number in range(10)
        }
        in_bucket = {
            path: data for path, data in wanted.items() if path.startswith(f"{bucket}/")
        }
        assert fs.cat(bucket, recursive=True, on_error="omit") == in_bucket
        # The folder is no file that could be missing.
        assert fs.cat(bucket, recursive=True) == in_bucket
        first, *_, last = list(wanted)
        missing = [f"{bucket}/missing", "no-such-bucket/missing", bucket]
        with pytest.raises(FileNotFoundError):
            fs.cat([first, missing[0], last])
        with pytest.raises(FileNotFoundError):
            fs.cat([first, missing[1], last])
        omitted = fs.cat([first, *missing, last], on_error="omit")
        assert omitted == {first: b"file 0", last: b"elsewhere"}
        returned = fs.cat([first, *missing, last], on_error="return")
        assert [type(returned[one]) for one in missing] == [
            FileNotFoundError,
            FileNotFoundError,
            IsADirectoryError,
        ]
        assert fs.cat([first, last], start=2, end=6) == {first: b"le 0", last: b"sewh"}
    finally:
        fs.rm(other, recursive=True)


def test_ranges_are_as_of_slices(fs: FS, bucket: str) -> None:
    path = f"{bucket}/x"
    content = pattern_bytes(300_000)
    fs.pipe(path, content)

    for start, end in [
        (0, 10),
        (5, None),
        (None, 7),
        (-10, None),
        (100, -100),
        (-5, -2),
        (9, 3),
    ]:
        assert fs.cat_file(path, start, end) == content[start:end]
    assert fs.cat_file(path, 299_999, 400_000) == content[-1:]
    assert fs.cat_ranges([path, path], [0, 200_000], [3, 200_001]) == [
        content[:3],
        content[200_000:200_001],
    ]
    fs.pipe({f"{bucket}/small/{number}": b"0123456789" for number in range(70)})
    small = [f"{bucket}/small/{number}" for number in range(70)]
    assert fs.cat_ranges([*small, path], 2, 5) == [b"234"] * 70 + [content[2:5]]
    assert fs.cat_ranges(small[:5], [0, None, -3, 4, 8], [2, 3, None, 2, 20]) == [
        b"01",
        b"012",
        b"789",
        b"",
        b"89",
    ]
    assert fs.cat_ranges([small[0], path, small[0]], [0, 1, 3], [1, 3, 4]) == [
        b"0",
        content[1:3],
        b"3",
    ]
    one, missing = fs.cat_ranges([small[0], f"{bucket}/none"], 0, 1)
    assert one == b"0"
    assert isinstance(missing, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([small[0], f"{bucket}/none"], 0, 1, on_error="raise")
    with pytest.raises(ValueError, match="70 paths, 1 starts and 1 ends"):
        fs.cat_ranges(small, [0], [1])
    with fs.open(path) as file:
        file.seek(-3, 2)
        assert file.read() == content[-3:]
        file.seek(150_000)
        assert file.read(5) == content[150_000:150_005]


def test_file_is_there_when_it_is_closed_and_not_before(fs: FS, bucket: str) -> None:
    path = f"{bucket}/x"
    fs.pipe(path, b"old")
    content = pattern_bytes(2 * WRITE_BLOCK + 5)

    with fs.open(path, "wb") as file:
        file.write(content)
        assert fs.cat(path) == b"old"
    assert fs.cat(path) == content


async def test_write_that_fails_changes_nothing(
    fs: FS, bucket: str, nats_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    store = await ObjectStore.bind(nats_client, bucket)
    path = f"{bucket}/x"
    await store.put("x", b"old")

    def fail(size: int) -> None:
        with pytest.raises(RuntimeError, match="half-way"), fs.open(path, "wb") as file:
            file.write(pattern_bytes(size))
            raise RuntimeError("half-way")

    for size in (10, 2 * WRITE_BLOCK):
        await asyncio.to_thread(fail, size)
        assert await store.get("x") == b"old"
    assert caplog.messages == []

    def drop() -> None:
        file = fs.open(path, "wb")
        file.write(b"never closed")
        del file

    await asyncio.to_thread(drop)
    assert await store.get("x") == b"old"
    (warning,) = caplog.messages
    assert f"The file '{path}' was dropped without being closed" in warning
    # And no chunk is left.
    assert await layout(await store._source()) == {"x": 1}


def test_transaction_is_all_or_nothing(fs: FS, bucket: str) -> None:
    large = pattern_bytes(WRITE_BLOCK + 1)
    with fs.transaction:
        with fs.open(f"{bucket}/a", "wb") as file:
            file.write(b"a")
        with fs.open(f"{bucket}/b", "wb") as file:
            file.write(large)
        assert fs.find(bucket) == []
    assert fs.cat(f"{bucket}/b") == large
    assert fs.cat(f"{bucket}/a") == b"a"

    with pytest.raises(RuntimeError, match="no"), fs.transaction:
        with fs.open(f"{bucket}/a", "wb") as file:
            file.write(b"new")
        raise RuntimeError("no")
    assert fs.cat(f"{bucket}/a") == b"a"


def test_open_file_keeps_to_its_version(fs: FS, bucket: str) -> None:
    path = f"{bucket}/x"
    fs.pipe(path, pattern_bytes(MIB))
    with fs.open(path) as file:
        assert file.read(4) == pattern_bytes(4)
        fs.pipe(path, bytes(MIB))
        file.seek(MIB - 4)
        with pytest.raises(ObjectChangedError):
            file.read(4)


def test_move_within_a_bucket_keeps_the_content_where_it_is(fs: FS, bucket: str) -> None:
    fs.pipe(f"{bucket}/a", b"1")
    nuid = fs.info(f"{bucket}/a")["info"].nuid

    fs.mv(f"{bucket}/a", f"{bucket}/b")
    assert fs.info(f"{bucket}/b")["info"].nuid == nuid

    fs.pipe(f"{bucket}/c", b"2")
    fs.mv(f"{bucket}/c", f"{bucket}/b")
    assert fs.find(bucket) == [f"{bucket}/b"]
    assert fs.cat(f"{bucket}/b") == b"2"


def test_links_are_their_targets(fs: FS, bucket: str) -> None:
    fs.pipe(f"{bucket}/target", b"four")
    asyncio.run(_link(fs, bucket))

    assert fs.info(f"{bucket}/link")["size"] == 4
    with fs.open(f"{bucket}/link") as file:
        assert file.read() == b"four"


async def _link(fs: FS, bucket: str) -> None:
    client = await nats.connect(fs.storage_options["servers"])
    try:
        await (await ObjectStore.bind(client, bucket)).add_link("link", "target")
    finally:
        await client.close()


def test_bucket_is_made_by_mkdir_and_kept_by_rm(fs: FS, bucket: str) -> None:
    fs.mkdir(f"{bucket}-new")
    with pytest.raises(FileExistsError):
        fs.mkdir(f"{bucket}-new")
    fs.pipe(f"{bucket}-new/a/b", b"x")
    fs.cp(f"{bucket}-new/a", f"{bucket}/copied", recursive=True)
    assert fs.cat(f"{bucket}/copied/b") == b"x"
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{bucket}-new/a")
    fs.rm(f"{bucket}-new", recursive=True)
    assert fs.ls(f"{bucket}-new") == []


def test_folders_are_put_and_got(fs: FS, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a").write_bytes(b"a")
    (tmp_path / "in" / "b").write_bytes(b"b")
    fs.put(f"{tmp_path}/in", f"{bucket}/out", recursive=True)
    assert fs.find(bucket) == [f"{bucket}/out/b", f"{bucket}/out/sub/a"]
    fs.get(f"{bucket}/out", f"{tmp_path}/back", recursive=True)
    assert (tmp_path / "back" / "sub" / "a").read_bytes() == b"a"


def test_folder_is_fetched_with_files_of_every_kind(
    fs: FS, bucket: str, tmp_path: Path
) -> None:
    # More than are read in one request, and what is not read so.
    wanted = {f"many/{number:03}": f"file {number}".encode() for number in range(150)}
    wanted |= {"empty": b"", "deep/er/large": pattern_bytes(MIB), "both/below": b"below"}
    fs.pipe({f"{bucket}/in/{name}": content for name, content in wanted.items()})
    in_store(fs, bucket, lambda store: store.add_link("in/link", "in/many/000"))
    wanted["link"] = b"file 0"

    callback = Callback()
    fs.get(f"{bucket}/in", str(tmp_path / "out"), recursive=True, callback=callback)

    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == wanted
    # Of five folders too.
    assert (callback.size, callback.value) == (len(wanted) + 5, len(wanted) + 5)

    fs.get([f"{bucket}/in/empty", f"{bucket}/in/link"], [f"{tmp_path}/1", f"{tmp_path}/2"])
    assert [(tmp_path / one).read_bytes() for one in ("1", "2")] == [b"", b"file 0"]


def test_fetching_a_folder_where_a_file_cannot_be_written_says_so_and_leaves_no_part(
    fs: FS, bucket: str, tmp_path: Path
) -> None:
    fs.pipe({f"{bucket}/in/{number}": b"content" for number in range(10)})
    (tmp_path / "out" / "3").mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        fs.get(f"{bucket}/in/", f"{tmp_path}/out/", recursive=True)
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".part")] == []
    with pytest.raises(FileNotFoundError):
        fs.get([f"{bucket}/in/1", f"{bucket}/in/none"], [f"{tmp_path}/1", f"{tmp_path}/none"])


async def test_small_files_of_a_folder_take_few_requests(
    store: ObjectStore, tmp_path: Path
) -> None:
    for number in range(200):
        await store.put(f"in/{number}", f"content {number}")
    spied_store, spy = spied(await store._source())
    fs = spied_store.filesystem()

    await soon(fs._get(f"{store.bucket}/in/", f"{tmp_path}/out/", recursive=True))
    paths = [f"{store.bucket}/in/{number}" for number in range(200)]
    parts = await soon(fs._cat_ranges(paths, 0, 7))

    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        str(number): f"content {number}" for number in range(200)
    }
    assert parts == [b"content"] * 200
    # Of the folder itself, which has no content.
    assert spy.calls.count("last_message") < 10
    assert spy.calls.count("last_messages") < 30


def test_names_that_lead_out_of_a_folder_are_not_fetched(
    fs: FS, bucket: str, tmp_path: Path
) -> None:
    fs.pipe(f"{bucket}/in/../../../up", b"x")
    with pytest.raises(InvalidObjectNameError, match="leads out of the folder"):
        fs.get(f"{bucket}/in", f"{tmp_path}/a/b", recursive=True)
    assert list(tmp_path.rglob("up")) == []


def test_it_is_pickled_as_its_options(fs: FS, bucket: str) -> None:
    fs.pipe(f"{bucket}/x", b"1")
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat(f"{bucket}/x") == b"1"


def test_server_that_is_not_there_is_named() -> None:
    fs = FS("nats://127.0.0.1:1", connect_options={"allow_reconnect": False})
    with pytest.raises(ServerUnreachableError, match=r"nats://127\.0\.0\.1:1"):
        fs.ls("bucket")


@pytest.fixture
async def store(nats_client: Client, bucket: str) -> ObjectStore:
    return await ObjectStore.bind(nats_client, bucket)


async def test_store_gives_a_file_system_on_its_own_connection(store: ObjectStore) -> None:
    fs = store.filesystem()
    path = f"{store.bucket}/a.txt"

    def work() -> str:
        with fs.open(path, "w") as file:
            file.write("from a thread")
        with fs.open(path, "r") as file:
            return str(file.read())

    assert await soon(asyncio.to_thread(work)) == "from a thread"
    assert await soon(fs._cat_file(path)) == b"from a thread"
    assert await fs._ls("", detail=False) == [store.bucket]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(fs)
    # In the loop's own thread it would wait for itself.
    with pytest.raises(NotImplementedError):
        fs.cat(path)


async def test_async_files_read_and_write(store: ObjectStore) -> None:
    fs = store.filesystem()
    path = f"{store.bucket}/large"
    content = pattern_bytes(2 * WRITE_BLOCK + 1)

    async with await fs.open_async(path, "wb") as file:
        await file.write(content)
        assert not await store.exists("large")
    async with await fs.open_async(path, "rb") as file:
        assert await file.read(10) == content[:10]
        file.seek(WRITE_BLOCK)
        assert await file.read() == content[WRITE_BLOCK:]

    with pytest.raises(RuntimeError):
        async with await fs.open_async(path, "wb") as file:
            await file.write(content)
            raise RuntimeError
    assert await store.get("large") == content
    with pytest.raises(FileExistsError):
        await fs.open_async(path, "xb")


async def test_async_file_system_has_a_connection_of_its_own(
    store: ObjectStore, options: dict[str, Any]
) -> None:
    fs = FS(**options, asynchronous=True, skip_instance_cache=True)
    await fs._pipe_file(f"{store.bucket}/x", b"1")
    assert await fs._cat_file(f"{store.bucket}/x") == b"1"
    await fs._close_all()


def test_program_that_used_it_ends_without_a_word(
    bucket: str, options: dict[str, Any]
) -> None:
    script = (
        "import fsspec\n"
        "from faststream_objstore.filesystem import ObjectStoreFileSystem as FS\n"
        f"print(FS({options['servers']!r}).ls('{bucket}'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_folder_that_is_moved_into_itself_is_refused(fs: FS, bucket: str) -> None:
    fs.pipe({f"{bucket}/a/1": b"1", f"{bucket}/a/b/2": b"2"})
    with pytest.raises(OSError, match="moved into itself"):
        fs.mv(f"{bucket}/a", f"{bucket}/a/b", recursive=True)
    assert fs.cat(fs.find(bucket)) == {f"{bucket}/a/1": b"1", f"{bucket}/a/b/2": b"2"}


def test_what_is_not_moved_is_not_deleted(fs: FS, bucket: str) -> None:
    fs.pipe({f"{bucket}/a/1": b"1", f"{bucket}/a/b/2": b"2"})
    fs.mv(f"{bucket}/a", f"{bucket}/c", recursive=True, maxdepth=1)
    assert fs.find(bucket) == [f"{bucket}/a/b/2", f"{bucket}/c/1"]


async def test_object_that_is_put_while_its_folder_is_moved_stays(store: ObjectStore) -> None:
    await store.put("a/1", b"1")

    class Busy(ObjectStoreFileSystem):
        async def _mv_file(self, path1: str, path2: str, **options: Any) -> None:
            await super()._mv_file(path1, path2, **options)
            await store.put("a/new", b"2")

    fs = Busy(store=store, loop=asyncio.get_running_loop(), skip_instance_cache=True)
    await asyncio.to_thread(fs.mv, f"{store.bucket}/a", f"{store.bucket}/b", recursive=True)
    assert [info.name for info in await store.list()] == ["a/new", "b/1"]


def test_folders_move_as_they_are_copied(fs: FS, bucket: str) -> None:
    fs.pipe({f"{bucket}/a/1": b"1", f"{bucket}/a/b/2": b"2"})
    # Into a folder that is there, as one that is named, its content, and by a pattern.
    fs.pipe(f"{bucket}/there/x", b"x")
    fs.mv(f"{bucket}/a", f"{bucket}/there", recursive=True)
    assert fs.find(f"{bucket}/there/a") == [f"{bucket}/there/a/1", f"{bucket}/there/a/b/2"]
    fs.mv(f"{bucket}/there/a/", f"{bucket}/c", recursive=True)
    assert fs.find(f"{bucket}/c") == [f"{bucket}/c/1", f"{bucket}/c/b/2"]
    fs.mv(f"{bucket}/c/*", f"{bucket}/d/", recursive=True)
    assert fs.find(bucket) == [f"{bucket}/d/1", f"{bucket}/d/b/2", f"{bucket}/there/x"]
    with pytest.raises(IsADirectoryError):
        fs.mv(f"{bucket}/d", f"{bucket}/e")


@pytest.mark.parametrize("as_path", [str, Path])
def test_no_kind_of_target_lets_names_lead_out_of_it(
    fs: FS, bucket: str, tmp_path: Path, as_path: type
) -> None:
    fs.pipe(f"{bucket}/in/../up", b"x")
    with pytest.raises(InvalidObjectNameError, match="leads out of the folder"):
        fs.get(f"{bucket}/in", as_path(tmp_path / "a"), recursive=True)
    assert list(tmp_path.rglob("up")) == []


AUTH = 'authorization { user: ann, password: "p@ss/w%rd" }'


async def test_server_that_refuses_the_user_says_so_without_the_password() -> None:
    async with NatsServer(config=AUTH) as server:
        host = server.url.removeprefix("nats://")
        fs = ObjectStoreFileSystem(f"nats://ann:wrong@{host}", skip_instance_cache=True)
        with pytest.raises(ServerUnreachableError, match="Authorization Violation") as raised:
            await asyncio.to_thread(fs.ls, "")
    assert f"nats://***@{host}" in str(raised.value)
    assert "wrong" not in str(raised.value)


async def test_password_in_an_address_may_be_percent_encoded() -> None:
    async with NatsServer(config=AUTH) as server:
        host = server.url.removeprefix("nats://")
        # As the nats command takes it; the first server is not there.
        servers = f"nats://ann:p%40ss%2Fw%25rd@127.0.0.1:1, nats://ann:p%40ss%2Fw%25rd@{host}"
        fs = ObjectStoreFileSystem(servers, skip_instance_cache=True)
        assert await asyncio.to_thread(fs.ls, "") == []
        await asyncio.to_thread(fs.close)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"user": "ann", "password": "secret"}, "connect_options={'user': ...}"),
        ({"token": "secret"}, "connect_options={'token': ...}"),
        ({"creds": "a.creds"}, "connect_options={'user_credentials': ...}"),
        ({"url": "nats://127.0.0.1:1"}, "give the address as servers="),
        ({"server": "nats://127.0.0.1:1"}, "give the address as servers="),
    ],
)
def test_option_that_would_be_without_effect_is_refused(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        fsspec.filesystem("objstore", **options)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_description_without_the_password_has_none() -> None:
    servers = "nats://ann:secret@127.0.0.1:1,nats://127.0.0.1:2"
    options: dict[str, Any] = {"connect_options": {"password": "secret"}}
    for fs in (
        ObjectStoreFileSystem(servers, **options),
        ObjectStoreFileSystem(servers=servers, **options),
    ):
        assert "secret" in fs.to_json()
        without = fs.to_dict(include_password=False)
        assert "secret" not in str(without)
        assert "['nats://127.0.0.1:1', 'nats://127.0.0.1:2']" in str(without)


async def test_user_without_rights_gets_the_error_that_files_have() -> None:
    config = """
    accounts { A: { jetstream: enabled, users: [
        {user: ann, password: a},
        {user: bob, password: b, permissions: {publish: [
            "$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>"
        ]}},
        {user: eve, password: e, permissions: {publish: {deny: ">"}}},
    ] } }
    """

    async with NatsServer(config=config) as server:

        def use(name: str) -> FS:
            options = {"user": name, "password": name[0]}
            return ObjectStoreFileSystem(
                server.url, connect_options=options, skip_instance_cache=True
            )

        def work() -> None:
            ann, bob, eve = use("ann"), use("bob"), use("eve")
            ann.mkdir("box")
            with pytest.raises(PermissionError):
                bob.mkdir("other")
            # What is sent in one go, and what is not.
            for size in (1, WRITE_BLOCK * 3):
                with pytest.raises(PermissionError), bob.open("box/x", "wb") as file:
                    file.write(bytes(size))
            for verb, path in ((eve.ls, ""), (eve.find, ""), (eve.mkdir, "x")):
                with pytest.raises(PermissionError):
                    verb(path)
            file = ann.open("box/y", "xb")
            file.write(bytes(WRITE_BLOCK * 3))
            ann.pipe("box/y", b"first")
            with pytest.raises(FileExistsError):
                file.close()
            assert ann.cat("box/y") == b"first"
            for one in (ann, bob, eve):
                one.close()

        await asyncio.to_thread(work)


def in_store(fs: FS, bucket: str, work: Callable[[ObjectStore], Awaitable[Any]]) -> None:
    """Do something with the bucket that a file system cannot."""

    async def done() -> None:
        client = await nats.connect(fs.storage_options["servers"])
        try:
            await work(await ObjectStore.bind(client, bucket))
        finally:
            await client.close()

    asyncio.run(done())


def test_link_without_content_cannot_be_opened_for_reading(fs: FS, bucket: str) -> None:
    fs.pipe(f"{bucket}/gone", b"1")
    fs.mkdir(f"{bucket}-other")

    async def link(store: ObjectStore) -> None:
        await store.add_link("dangling", "gone")
        await store.add_bucket_link("a-bucket", f"{bucket}-other")

    in_store(fs, bucket, link)
    fs.rm(f"{bucket}/gone")
    with pytest.raises(FileNotFoundError, match="'gone' has been deleted"):
        fs.open(f"{bucket}/dangling")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{bucket}/a-bucket")
    with pytest.raises(FileNotFoundError, match="'gone' has been deleted"):
        asyncio.run(_open_async(fs, f"{bucket}/dangling"))


async def _open_async(fs: FS, path: str) -> None:
    own = FS(**fs.storage_options, asynchronous=True, skip_instance_cache=True)
    try:
        await own.open_async(path)
    finally:
        await own._close_all()


def test_folder_is_not_copied_in_part_without_a_word(fs: FS, bucket: str) -> None:
    fs.pipe({f"{bucket}/d/gone": b"1", f"{bucket}/d/x": b"2"})
    in_store(fs, bucket, lambda store: store.add_link("d/link", "d/gone"))
    fs.rm(f"{bucket}/d/gone")

    with pytest.raises(FileNotFoundError, match="'no-such-bucket' does not exist"):
        fs.cp(f"{bucket}/d/", "no-such-bucket/d/", recursive=True)
    with pytest.raises(OSError, match="'d/gone' has been deleted") as raised:
        fs.cp(f"{bucket}/d/", f"{bucket}/e/", recursive=True)
    # fsspec ignores that of what is not found.
    assert not isinstance(raised.value, FileNotFoundError)
    assert raised.value.filename == f"{bucket}/d/link"
    assert fs.find(f"{bucket}/e") == [f"{bucket}/e/x"]


@pytest.mark.parametrize("kind", ["sealed", "mirror", "missing"])
def test_file_is_not_opened_for_writing_where_nothing_can_be_written(
    fs: FS, bucket: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = bucket
    if kind == "sealed":
        in_store(fs, bucket, lambda store: store.seal())
    else:
        target = f"{bucket}-{kind}"

    async def mirror(store: ObjectStore) -> None:
        client = await nats.connect(fs.storage_options["servers"])
        config = ObjectStoreConfig(bucket=target, mirror=Mirror(bucket))
        await ObjectStore.bind(client, config, declare=True)
        await client.close()

    if kind == "mirror":
        in_store(fs, bucket, mirror)
    error = FileNotFoundError if kind == "missing" else PermissionError
    for mode in ("wb", "xb", "w"):
        with pytest.raises(error, match=target):
            fs.open(f"{target}/new", mode)
    with pytest.raises(error, match=target):
        fs.pipe(f"{target}/new", b"1")
    # Nothing was stored, so nothing is said to be left behind.
    assert caplog.messages == []


def test_bucket_that_is_full_is_a_disk_that_is_full(fs: FS, bucket: str) -> None:
    bucket += "-small"

    async def small(_: ObjectStore) -> None:
        client = await nats.connect(fs.storage_options["servers"])
        config = ObjectStoreConfig(bucket=bucket, max_bytes=MIB)
        await ObjectStore.bind(client, config, declare=True)
        await client.close()

    in_store(fs, bucket.removesuffix("-small"), small)
    for size in (2 * MIB, WRITE_BLOCK * 2):
        with (
            pytest.raises(OSError, match=f"'{bucket}' is full") as raised,
            fs.open(f"{bucket}/x", "wb") as file,
        ):
            file.write(bytes(size))
        assert raised.value.errno == errno.ENOSPC
    assert fs.find(bucket) == []


def test_file_system_for_async_code_serves_one_loop_after_the_other(
    options: dict[str, Any], bucket: str
) -> None:
    # A program: what the loop that has ended leaves open is collected as that pleases.
    script = f"""
import asyncio
from faststream_objstore.filesystem import ObjectStoreFileSystem as FS

async def use(content):
    # fsspec keeps it, so it is the same one each time.
    fs = FS({options["servers"]!r}, asynchronous=True)
    await fs._pipe_file("{bucket}/x", content)
    return await fs._cat_file("{bucket}/x")

print(asyncio.run(use(b"1")), asyncio.run(use(b"2")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("b'1' b'2'\n", "")


async def test_file_system_of_another_running_loop_is_refused_instead_of_waiting(
    options: dict[str, Any], store: ObjectStore
) -> None:
    fs = FS(**options, asynchronous=True, skip_instance_cache=True)
    path = f"{store.bucket}/x"
    await fs._pipe_file(path, b"3")
    with pytest.raises(NotConnectedError, match="in use in another event loop"):
        await soon(asyncio.to_thread(asyncio.run, fs._cat_file(path)))
    assert await fs._cat_file(path) == b"3"
    await fs._close_all()


def test_file_system_of_another_address_in_the_environment_is_another_one(
    options: dict[str, Any], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", options["servers"])
    here = FS()
    assert here.find(bucket) == []
    assert FS() is here
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    with pytest.raises(ServerUnreachableError, match=r"nats://127\.0\.0\.1:1"):
        FS().find(bucket)
    monkeypatch.setenv("NATS_URL", options["servers"])
    assert FS() is here
    here.close()


@pytest.mark.parametrize("size", [-5, "1k", True])
def test_block_size_that_would_read_nothing_is_refused(
    fs: FS, bucket: str, size: object
) -> None:
    fs.pipe(f"{bucket}/x", b"1")
    for mode in ("rb", "wb"):
        with pytest.raises(InvalidOptionError, match="block_size must be a number of bytes"):
            fs.open(f"{bucket}/x", mode, block_size=size)
    assert fs.cat(f"{bucket}/x") == b"1"


async def test_buckets_may_be_in_another_domain() -> None:
    async with domains() as servers:
        client = await nats.connect(servers.edge.url)
        with anyio.fail_after(20):
            while True:
                with suppress(nats.errors.Error):
                    # Until the leaf node has connected.
                    await client.request("$JS.hub.API.INFO", timeout=0.5)
                    break
        await client.close()

        def work() -> None:
            hub = FS(servers.hub.url, skip_instance_cache=True)
            hub.mkdir("box")
            hub.pipe("box/x", b"1")
            edge = FS(servers.edge.url, skip_instance_cache=True)
            assert edge.ls("", detail=False) == []
            through_edge = FS(servers.edge.url, domain="hub", skip_instance_cache=True)
            assert through_edge.ls("", detail=False) == ["box"]
            assert through_edge.cat("box/x") == b"1"
            through_edge.pipe("box/y", bytes(MIB))
            assert hub.cat("box/y") == bytes(MIB)
            for fs in (hub, edge, through_edge):
                fs.close()

        await soon(asyncio.to_thread(work))


async def test_links_that_other_clients_write_spoil_no_listing(
    store: ObjectStore, nats_client: Client, options: dict[str, Any]
) -> None:
    bucket = store.bucket
    await store.put("d/real", b"1")
    for name, link in {
        "d/itself": {"bucket": bucket, "name": "d/itself"},
        "d/to-a-link": {"bucket": bucket, "name": "d/itself"},
        "d/no-bucket": {"bucket": "no bucket", "name": "x"},
        "d/no-name": {"bucket": bucket, "name": "x" * 5000},
        "d/good": {"bucket": bucket, "name": "d/real"},
    }.items():
        said = {"name": name, "bucket": bucket, "nuid": "x", "options": {"link": link}}
        subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        await nats_client.jetstream().publish(subject, json.dumps(said).encode())

    def work() -> None:
        fs = FS(**options, skip_instance_cache=True)
        assert {one["name"].split("/")[-1]: one["type"] for one in fs.ls(f"{bucket}/d")} == {
            "good": "file",
            "itself": "other",
            "no-bucket": "other",
            "no-name": "other",
            "real": "file",
            "to-a-link": "other",
        }
        assert len(fs.find(bucket)) == 6
        assert fs.exists(f"{bucket}/d/itself")
        for name in ("itself", "to-a-link"):
            with pytest.raises(InvalidLinkError):
                fs.open(f"{bucket}/d/{name}")
        with fs.open(f"{bucket}/d/good") as file:
            assert file.read() == b"1"
        fs.close()

    await soon(asyncio.to_thread(work))
