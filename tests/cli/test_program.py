"""The program `objstore`, on a real server."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.backends.proxy import Proxy, between, serving
from tests.cli.support import ROOT, Program

# A pair that is used for nothing else.
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"


@pytest.fixture
def objstore(nats_server: NatsServer, tmp_path: Path) -> Program:
    return Program(nats_server.url, tmp_path)


@pytest.fixture
def bucket(objstore: Program, bucket_name: str) -> str:
    """A bucket with an object."""
    objstore("put", "-", f"{bucket_name}/first", "--create", given=b"first")
    return bucket_name


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Interrupt it, as Ctrl-C does: the exit code, and what else it said."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def test_files_come_back_as_they_were(objstore: Program, bucket: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "a.bin").write_bytes(content)

    assert objstore("put", "a.bin", f"{bucket}/in/a.bin").startswith(
        f"{bucket}/in/a.bin: 500.0 KiB, revision "
    )
    assert objstore("get", f"{bucket}/in/a.bin", "copy.bin") == "copy.bin: 500.0 KiB\n"
    assert (tmp_path / "copy.bin").read_bytes() == content
    assert objstore.run("get", f"objstore://{bucket}/in/a.bin", "-").stdout == content
    objstore("put", "a.bin", f"{bucket}/folder/")
    assert [one["name"] for one in objstore.values("ls", bucket, "-r")] == [
        "first",
        "folder/a.bin",
        "in/a.bin",
    ]
    said = objstore.failing("put", "a.bin", f"{bucket}/first", "--if-absent")
    assert 'mode="create" does not replace it' in said


def test_listings_show_buckets_folders_and_objects(objstore: Program, bucket: str) -> None:
    objstore("put", "-", f"{bucket}/a/b/c.txt", given=b"1234")

    assert {"bucket": bucket} in objstore.values("ls")
    assert bucket in objstore("ls").splitlines()
    folder, first = objstore("ls", bucket).splitlines()
    assert folder.strip() == "a/"
    assert (first.split()[0], first.split()[-1]) == ("5", "first")
    assert [
        one.get("folder", one.get("name")) for one in objstore.values("ls", f"{bucket}/a/")
    ] == ["a/b/"]
    (found,) = objstore.values("ls", bucket, "--pattern", "**/*.txt")
    assert (found["name"], found["size"], found["deleted"]) == ("a/b/c.txt", 4, False)


def test_info_says_what_is_known(objstore: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("abc")
    objstore("put", "f.txt", f"{bucket}/x", "--description", "some text")

    (found,) = objstore.values("info", f"{bucket}/x")
    # `sha256sum` of "abc".
    assert found["sha256"] == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert found["description"] == "some text"
    assert found["metadata"] == {"filename": "f.txt"}
    assert "description: some text" in objstore("info", f"{bucket}/x")


def test_names_cannot_steer_the_terminal(objstore: Program, bucket: str) -> None:
    objstore("put", "-", f"{bucket}/\x1b[2J\nred", given=b"")
    assert "\\x1b[2J\\nred" in objstore("ls", bucket)
    assert "\x1b" not in objstore("ls", bucket)


def test_names_that_the_terminal_cannot_show_are_escaped(
    objstore: Program, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objstore("put", "-", f"{bucket}/fünf")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    assert objstore("ls", f"{bucket}/f").splitlines()[-1].endswith("  f\\xfcnf")


def test_objects_are_copied_moved_and_deleted(objstore: Program, bucket: str) -> None:
    objstore("put", "-", f"{bucket}-two/x", "--create", given=b"")

    objstore("cp", f"{bucket}/first", f"{bucket}-two/copies/")
    objstore("mv", f"{bucket}/first", f"{bucket}/second")
    objstore("mv", f"{bucket}/second", f"{bucket}-two/third")
    assert objstore.values("ls", bucket) == []
    names = [one["name"] for one in objstore.values("ls", f"{bucket}-two", "-r")]
    assert names == ["copies/first", "third", "x"]
    assert objstore("cp", f"{bucket}-two/", f"{bucket}/all/") == "3 copied, 10 B\n"

    objstore("rm", f"{bucket}-two/third")
    assert "deleted before" in objstore("rm", f"{bucket}-two/third")
    assert objstore("rm", bucket, "--prefix", "all/c") == "1 deleted\n"
    assert objstore.values("rm", bucket, "--pattern", "**") == [{"deleted": 2, "failed": {}}]
    assert "no object 'nothing'" in objstore.failing("rm", f"{bucket}/nothing")


def test_folders_are_stored_fetched_and_kept_in_step(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "site" / "css").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("<html>")
    (tmp_path / "site" / "css" / "a.css").write_text("a {}")

    assert objstore("sync", "site", f"{bucket}/www/") == "2 stored, 10 B\n"
    assert objstore("sync", "site", f"{bucket}/www/") == "0 stored, 0 B; 2 unchanged\n"
    (tmp_path / "site" / "index.html").unlink()
    assert objstore.values("sync", "site", f"{bucket}/www/", "--delete") == [
        {
            "done": [],
            "unchanged": ["www/css/a.css"],
            "deleted": ["www/index.html"],
            "failed": {},
            "size": 0,
        }
    ]
    assert objstore("put", "site", f"{bucket}/again/") == "1 stored, 4 B\n"
    assert objstore("get", f"{bucket}/again/", "back") == "1 fetched, 4 B\n"
    assert (tmp_path / "back" / "css" / "a.css").read_text() == "a {}"


def test_concurrency_is_that_of_the_library_unless_it_is_given(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_text("content")

    assert "64 if not given; of over 128 KiB, 16." in objstore("put", "--help")
    objstore("put", "many", f"{bucket}/many/", "--concurrency", "1")
    objstore("cp", f"{bucket}/many/", f"{bucket}/copy/")
    assert objstore("rm", bucket, "--prefix", "copy/") == "3 deleted\n"
    said = objstore.failing("rm", bucket, "--prefix", "copy/", "--concurrency", "0", code=2)
    assert "--concurrency" in said


def test_what_is_refused_is_named_and_the_rest_is_fetched(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    objstore("put", "-", f"{bucket}/../../up", given=b"x")
    said = objstore.failing("get", bucket, "deep/folder")
    failed, counts = said.splitlines()
    assert failed.startswith("../../up: ")
    assert counts == "1 failed; 1 done"
    assert (tmp_path / "deep" / "folder" / "first").read_bytes() == b"first"
    assert not (tmp_path / "up").exists()


ODD = [
    " two  spaces ",
    "new\nline",
    "tab\t",
    "\u202eright to left",
    "\u65e5\u672c\u8a9e",
    "e\u0301",
    "\U0001f600",
    "-r",
    "--help",
    "100%",
    "%41%2e",
    "dots...",
    "...",
    ".hidden",
    "back\\slash",
    "*",
    "?",
    "[x]",
    "{a,b}",
    "$HOME",
    "`id`",
    "a:b",
    "x" * 255,
    "\u00e9" * 127,
    "metadata",
    "end.json",
]


# It starts fifteen programs.
@pytest.mark.timeout(300)
def test_files_with_odd_names_come_back_under_the_same_names(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    tree = {f"{folder}/{name}": name for folder in ODD[:20] for name in ODD[::3]}
    tree |= {f"top/{name}": name for name in ODD}
    for name, content in tree.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    objstore("put", "tree", f"{bucket}/odd/")
    objstore("get", f"{bucket}/odd/", "out")
    assert f"0 stored, 0 B; {len(tree)} unchanged" in objstore("sync", "out", f"{bucket}/odd/")
    objstore("dump", bucket, "dump.tar")
    objstore("restore", "dump.tar", f"{bucket}-again", "--create")
    objstore("get", f"{bucket}-again/odd/", "again")

    for folder in ("out", "again"):
        found = {
            path.relative_to(tmp_path / folder).as_posix(): path.read_text()
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        }
        assert found == tree
    # One at a time, as a shell would give them.
    for name in ("--help", "new\nline", "%41%2e"):
        objstore("get", "--", f"{bucket}/odd/top/{name}", f"{tmp_path}/one")
        objstore("put", "--", f"{tmp_path}/tree/top/{name}", f"{bucket}/one/")
        assert (tmp_path / "one").read_text() == name
        assert objstore("get", f"{bucket}/one/{name}", "-") == name


def test_object_whose_name_no_file_can_have_needs_the_name_of_a_file(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    objstore("put", "-", f"{bucket}/a/..", given=b"x")

    for more in ((), (".",)):
        said = objstore.failing("get", f"{bucket}/a/..", *more, code=2)
        assert "cannot be the name of a file" in said
    objstore("get", f"{bucket}/a/..", "file")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_json_says_what_failed_and_what_was_done(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    objstore("put", "-", f"{bucket}/../../up", given=b"x")
    done = objstore.run("get", bucket, "deep/folder", "--json")
    assert done.returncode == 1
    [said] = map(json.loads, done.stdout.splitlines())
    assert "first" in said["done"]
    assert list(said["failed"]) == ["../../up"]
    assert "it leads out of the folder" in said["failed"]["../../up"]
    assert len(done.stderr.splitlines()) == 1

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "good").write_text("good")
    (tmp_path / "tree" / "bad").symlink_to("/etc/passwd")
    for command in (("put", "tree", f"{bucket}/in/"), ("sync", "tree", f"{bucket}/in/")):
        done = objstore.run(*command, "--json")
        said = json.loads(done.stdout)
        assert (done.returncode, list(said["failed"])) == (1, ["in/bad"])
        assert said["done"] + said["unchanged"] == ["in/good"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("ls", "BUCKET", "--pattern", "{"), "the pattern '{'"),
        (("put", "-", "BUCKET/x", "--ttl", "-1"), "ttl must be"),
        (("put", "-", f"BUCKET/{'x' * 5000}"), "use a shorter name"),
        (("cp", "BUCKET/", "BUCKET/"), "onto the same names"),
    ],
)
def test_value_that_the_bucket_cannot_take_is_one_line_and_exit_code_two(
    objstore: Program, bucket: str, arguments: tuple[str, ...], said: str
) -> None:
    error = objstore.failing(*(one.replace("BUCKET", bucket) for one in arguments), code=2)
    assert said in error
    assert len(error.splitlines()) == 1


def test_bucket_is_dumped_and_restored(objstore: Program, bucket: str) -> None:
    assert objstore("dump", bucket, "b.tgz") == "1 dumped, 5 B\n"
    assert objstore("restore", "b.tgz", f"{bucket}-new", "--create") == "1 restored, 5 B\n"
    assert objstore.run("get", f"{bucket}-new/first", "-").stdout == b"first"
    assert 'mode="create" does not replace it' in objstore.failing("restore", "b.tgz", bucket)
    (done,) = objstore.values("restore", "b.tgz", bucket, "--mode", "missing")
    assert (done["done"], done["unchanged"]) == ([], ["first"])
    dumped = objstore.run("dump", bucket, "-").stdout
    assert objstore("restore", "-", bucket, "--mode", "overwrite", given=dumped) == (
        "1 restored, 5 B\n"
    )
    assert "is no dump" in objstore.failing("restore", __file__, bucket)


def test_watch_ends_with_an_interrupt(objstore: Program, bucket: str) -> None:
    watching = objstore.start("watch", bucket)
    assert watching.stdout is not None
    assert watching.stdout.readline() == "put first\n"
    objstore("rm", f"{bucket}/first")
    assert watching.stdout.readline() == "del first\n"
    assert ended(watching) == (0, "", "")

    (only,) = objstore.values("watch", bucket, "--count", "1")
    assert (only["name"], only["deleted"]) == ("first", True)


async def test_watch_goes_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path / "store") as server:
        objstore = Program(server.url, tmp_path)
        objstore("put", "-", "notes/a", "--create")
        watching = objstore.start("watch", "notes")
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "put a\n"
            await server.kill()
            await server.start()
            objstore("put", "-", "notes/b")
            assert watching.stdout.readline() == "put b\n"
        finally:
            code, _, errors = ended(watching)
    assert (code, errors) == (0, "")


class _Away(Proxy):
    """Counts the attempts to connect while nobody can."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server)
        self.refused = 0
        self.often = asyncio.Event()

    async def serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        if self.down:
            self.refused += 1
            if self.refused == 60:
                self.often.set()
        await super().serve(near, answer)


async def test_serving_and_watching_go_on_however_long_the_server_is_away(
    nats_server: NatsServer, objstore: Program, bucket: str, tmp_path: Path
) -> None:
    async with serving(_Away(nats_server)) as proxy:
        through = Program(proxy.url, tmp_path)
        server = through.start("--timeout", "2", "serve", bucket, "--port", "0")
        watching = through.start("--timeout", "2", "watch", bucket)
        try:
            assert server.stdout is not None
            assert watching.stdout is not None
            url = (await asyncio.to_thread(server.stdout.readline)).strip()
            assert await asyncio.to_thread(watching.stdout.readline) == "put first\n"
            proxy.down = True
            proxy.cut()
            # Both more often than a command tries that has something to do.
            await asyncio.wait_for(proxy.often.wait(), 60)
            proxy.down = False
            await asyncio.to_thread(objstore, "put", "-", f"{bucket}/second", given=b"2")
            assert await asyncio.to_thread(watching.stdout.readline) == "put second\n"
            async with httpx.AsyncClient() as client:
                with anyio.fail_after(30):
                    while (found := await client.get(f"{url}second")).status_code == 503:
                        await asyncio.sleep(0.1)
            assert found.content == b"2"
        finally:
            codes = [(await asyncio.to_thread(ended, one))[0] for one in (server, watching)]
    assert codes == [0, 0]


async def test_state_of_a_bucket_is_shown(
    objstore: Program, bucket: str, nats_client: Client
) -> None:
    (status,) = objstore.values("status", bucket)
    assert (status["objects"], status["storage"], status["sealed"]) == (1, "file", False)
    assert "objects:" in objstore("status", bucket)

    js = nats_client.jetstream()
    await js.add_consumer(
        f"OBJ_{bucket}",
        ConsumerConfig(durable_name="worker", filter_subject=f"$O.{bucket}.M.>"),
    )
    (lag,) = objstore.values("lag", bucket)
    assert (lag["consumer"], lag["pending"], lag["in_work"]) == ("worker", 1, 0)
    assert objstore("lag", bucket).startswith("worker: 1 pending, 0 in work, the oldest for ")
    done = objstore.run("lag", bucket, "--max-pending", "0")
    assert (done.returncode, done.stderr) == (1, b"more than 0 pending: worker\n")
    assert objstore.run("lag", bucket, "--max-pending", "1").returncode == 0

    # What a writer that died leaves: a chunk that no object refers to.
    await nats_client.jetstream().publish(f"$O.{bucket}.C.orphan", b"12345")
    assert objstore("sweep", bucket) == "0 B freed\n"
    assert objstore.values("sweep", bucket, "--older-than", "0s") == [{"freed": 5}]


@pytest.mark.parametrize("embedded", [False, True])
def test_bucket_is_served_over_http(
    objstore: Program, bucket: str, tmp_path: Path, embedded: bool
) -> None:
    extra = ("--embedded",) if embedded else ()
    serving = objstore.start("serve", bucket, "--port", "0", "--writable", *extra)
    try:
        assert serving.stdout is not None
        if embedded:
            assert serving.stdout.readline().startswith("NATS_URL=nats://127.0.0.1:")
        url = serving.stdout.readline().strip()
        assert httpx.put(f"{url}new", content=b"content").status_code == 201
        assert httpx.get(f"{url}new").content == b"content"
        listed = [one["name"] for one in httpx.get(url).json()["objects"]]
        assert listed == (["new"] if embedded else ["first", "new"])
    finally:
        code, _, errors = ended(serving)
    assert (code, errors) == (0, "")


async def test_server_of_its_own_ends_with_a_program_that_is_terminated(
    objstore: Program, bucket_name: str
) -> None:
    serving = objstore.start("serve", bucket_name, "--port", "0", "--embedded")
    try:
        assert serving.stdout is not None
        url = serving.stdout.readline().removeprefix("NATS_URL=").strip()
        assert serving.stdout.readline().startswith("http://")
        await (await nats.connect(url)).close()
        serving.terminate()
        assert (serving.wait(20), serving.communicate()[1]) == (0, "")
    finally:
        serving.kill()
        serving.communicate()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize("embedded", [False, True])
def test_port_that_is_taken_is_one_line_and_the_exit_code_one(
    objstore: Program, bucket: str, embedded: bool
) -> None:
    extra = ("--embedded",) if embedded else ()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = objstore.failing("serve", bucket, "--port", str(port), *extra)
    assert said == (
        f"Cannot listen on port {port} of 127.0.0.1: Address already in use; "
        "give another --port or --host.\n"
    )


@pytest.mark.parametrize("grace, signals", [("1", 1), ("600", 2)])
async def test_serving_ends_though_an_upload_does_not_and_leaves_nothing_of_it(
    objstore: Program, bucket: str, nats_client: Client, grace: str, signals: int
) -> None:
    store = await ObjectStore.bind(nats_client, bucket)

    async def messages() -> int:
        return (await nats_client.jetstream().stream_info(f"OBJ_{bucket}")).state.messages

    before = await messages()
    options = ("--port", "0", "--writable")
    serving = objstore.start("--timeout", grace, "serve", bucket, *options)
    try:
        assert serving.stdout is not None
        url = httpx.URL((await asyncio.to_thread(serving.stdout.readline)).strip())
        assert url.port is not None
        with anyio.fail_after(60):
            async with await anyio.connect_tcp(url.host, url.port) as upload:
                await upload.send(b"PUT /half HTTP/1.1\r\nHost: x\r\n")
                await upload.send(b"Content-Length: 9000000\r\n\r\n" + bytes(3_000_000))
                while await messages() == before:
                    await asyncio.sleep(0.05)
                for _ in range(signals):
                    serving.terminate()
                    # Until it has been noticed: nobody else is let in.
                    with suppress(OSError):
                        while True:
                            await (await anyio.connect_tcp(url.host, url.port)).aclose()
                output, errors = await asyncio.to_thread(serving.communicate)
    finally:
        serving.kill()
        serving.communicate()
    assert (serving.returncode, output) == (0, "")
    assert errors == ("1 connections were cut off after 1 s\n" if signals == 1 else "")
    assert [info.name for info in await store.list()] == ["first"]
    assert await messages() == before


def test_watch_ends_when_it_is_terminated(objstore: Program, bucket: str) -> None:
    watching = objstore.start("watch", bucket)
    assert watching.stdout is not None
    assert watching.stdout.readline() == "put first\n"
    watching.terminate()
    assert (watching.wait(20), *watching.communicate()) == (0, "", "")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("ls", "no-such-bucket"), "Bucket 'no-such-bucket' does not exist on nats://"),
        (("get", "no-such-bucket/x", "y"), "Bucket 'no-such-bucket' does not exist"),
        (("put", "no/such/file", "new/x", "--create"), "No such file or directory"),
        (("sync", "no/such/folder", "new/"), "Not a directory"),
        (
            ("--server", "nats://127.0.0.1:1", "ls"),
            "No NATS server can be used at nats://127.0.0.1:1",
        ),
    ],
)
def test_failure_is_one_line_and_the_exit_code_one(
    objstore: Program, arguments: tuple[str, ...], said: str
) -> None:
    error = objstore.failing(*arguments)
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("upload",), "No such command"),
        (("info", "bucket"), "is not an object"),
        (("rm", "bucket"), "is not an object"),
        (("rm", "bucket", "--prefix", ""), "--pattern '**' says so"),
        (("get", "bucket/folder/"), "say which folder"),
        (("put", ".", "bucket/x"), "end 'bucket/x' with /"),
        (("cp", "bucket/folder/", "bucket/x"), "end 'bucket/x' with /"),
        (("sweep", "bucket", "--older-than", "soon"), "is not a time"),
        (("serve", "bucket", "--writable", "--host", "0.0.0.0"), "--host 127.0.0.1"),
        (("status", "bucket/x"), "is not a bucket"),
        (("put", "-", "a bucket/x", "--create"), "'a bucket' is not a bucket name"),
        (("status", "a.b"), "'a.b' is not a bucket name"),
        (("ls", "/x"), "'' is not a bucket name"),
        (("cp", "bucket/x", "b.c/x"), "'b.c' is not a bucket name"),
    ],
)
def test_command_line_that_cannot_work_is_exit_code_two(
    objstore: Program, arguments: tuple[str, ...], said: str
) -> None:
    assert said in " ".join(objstore.failing(*arguments, code=2).split())


@pytest.mark.parametrize("command", ["put", "restore"])
async def test_interrupt_ends_a_command_that_waits_for_its_input(
    objstore: Program, bucket: str, nats_client: Client, command: str
) -> None:
    content = bytes(1_000_000)
    if command == "restore":
        objstore("put", "-", f"{bucket}/second", given=content)
        content = objstore.run("dump", bucket, "-").stdout[:600_000]
        objstore("rm", f"{bucket}/first", f"{bucket}/second")
    names = [one["name"] for one in objstore.values("ls", bucket, "-r")]
    before = await messages_of(nats_client, bucket)
    arguments = ("put", "-", f"{bucket}/x") if command == "put" else ("restore", "-", bucket)
    process = objstore.start(*arguments, stdin=subprocess.PIPE)
    try:
        os.write(process.stdin.fileno(), content)  # type: ignore[union-attr]
        with anyio.fail_after(20):
            while await messages_of(nats_client, bucket) == before:
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)

        # It ends as other programs do; a shell says 130.
        assert process.wait(10) == -signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted\n"
    finally:
        process.kill()
        process.communicate()
    assert objstore.values("sweep", bucket, "--older-than", "0s") == [{"freed": 0}]
    if command == "put":
        assert [one["name"] for one in objstore.values("ls", bucket, "-r")] == names


async def messages_of(client: Client, bucket: str) -> int:
    return (await client.jetstream().stream_info(f"OBJ_{bucket}")).state.messages


async def test_command_that_is_terminated_leaves_no_part_of_a_file(
    nats_server: NatsServer, objstore: Program, bucket_name: str, tmp_path: Path
) -> None:
    objstore("put", "-", f"{bucket_name}/large", "--create", given=bytes(32 * 1024**2))
    async with between(nats_server) as proxy:
        process = Program(proxy.url, tmp_path).start("dump", bucket_name, "bucket.tar")
        try:
            with anyio.fail_after(20):
                while not list(tmp_path.iterdir()):
                    await asyncio.sleep(0)
            proxy.stall()
            process.terminate()
            code = await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()
            _, errors = process.communicate()
    assert (code, errors) == (-signal.SIGTERM, "terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_dump_to_a_folder_is_refused_before_anything_is_read(
    objstore: Program, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for target in ("folder", "/", "."):
        assert f"Is a directory: '{target}'" in objstore.failing("dump", bucket, target)


async def test_bucket_is_not_made_unless_told_to(
    objstore: Program, bucket_name: str, nats_server: NatsServer
) -> None:
    objstore.failing("put", "no/such/file", f"{bucket_name}/x", "--create")
    client = await nats.connect(nats_server.url)
    try:
        with pytest.raises(Exception, match="does not exist"):
            await ObjectStore.bind(client, bucket_name)
    finally:
        await client.close()


def test_reader_that_has_enough_is_no_trouble(objstore: Program, bucket: str) -> None:
    objstore("put", "-", f"{bucket}/large", given=bytes(3_000_000))
    process = objstore.start("get", f"{bucket}/large", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    os.read(process.stdout.fileno(), 10)
    process.stdout.close()
    assert (process.wait(30), process.stderr.read()) == (1, "")
    process.stderr.close()


async def test_objects_expire_before_the_eyes_of_the_program(
    objstore: Program, bucket: str, nats_client: Client
) -> None:
    assert "no ttl of their own" in objstore.failing("put", "-", f"{bucket}/x", "--ttl", "60")
    name = f"{bucket}-expiring"
    config = ObjectStoreConfig(bucket=name, object_ttl=1)
    await ObjectStore.bind(nats_client, config, declare=True)

    objstore("put", "-", f"{name}/stays", given=b"stays")
    watching = objstore.start("watch", name, "--count", "3")
    assert watching.stdout is not None
    # Otherwise it may begin when the next one has expired.
    assert await asyncio.to_thread(watching.stdout.readline) == "put stays\n"
    (put,) = objstore.values("put", "-", f"{name}/x", "--ttl", "1")
    assert put["expires"] > put["modified"]
    output, _ = await asyncio.to_thread(watching.communicate, timeout=30)

    assert output == "put x\nexp x\n"
    assert [one["name"] for one in objstore.values("ls", name)] == ["stays"]
    (status,) = objstore.values("status", name)
    assert status["object_ttl"] == 1
    assert objstore.run("get", f"{name}/x", "-").returncode == 1


async def test_message_shows_no_password(tmp_path: Path) -> None:
    def run() -> str:
        return Program("nats://ann:secret@127.0.0.1:1,secret@127.0.0.1:1", tmp_path).failing(
            "ls"
        )

    said = await asyncio.to_thread(run)
    assert "No NATS server can be used at nats://***@127.0.0.1:1, ***@127.0.0.1:1: " in said
    assert "secret" not in said


async def test_address_names_several_servers_and_an_encoded_password(
    tmp_path: Path,
) -> None:
    config = 'authorization { user: ann, password: "p@ss/w%rd" }'
    async with NatsServer(config=config) as server:
        host = server.url.removeprefix("nats://")
        url = f"nats://ann:p%40ss%2Fw%25rd@127.0.0.1:1,nats://ann:p%40ss%2Fw%25rd@{host}"
        program = Program(url, tmp_path)
        await asyncio.to_thread(program, "put", "-", "box/x", "--create")
        assert (await asyncio.to_thread(program, "ls")) == "box\n"
        said = await asyncio.to_thread(program.failing, "ls", "other")
        assert "p%40ss" not in said


@pytest.mark.parametrize(
    "command, code, stderr",
    [
        ("ls {bucket}", 0, ""),
        ("status {bucket} --json", 0, ""),
        ("get {bucket}/x copy", 0, ""),
        # Content that nobody gets is a failure.
        ("get {bucket}/x -", 1, "[Errno 9] Bad file descriptor: 'stdout'\n"),
        ("dump {bucket} -", 1, "[Errno 9] Bad file descriptor: 'stdout'\n"),
    ],
)
def test_output_that_is_closed_is_no_crash(
    objstore: Program, bucket: str, command: str, code: int, stderr: str
) -> None:
    objstore("put", "-", f"{bucket}/x", given=b"1")
    done = objstore.shell(command.format(bucket=bucket) + " >&-")
    assert (done.returncode, done.stderr.decode()) == (code, stderr)


def test_message_does_not_go_where_the_output_goes(objstore: Program, bucket: str) -> None:
    done = objstore.shell(f"get {bucket}/missing - 2>&-")
    assert (done.returncode, done.stdout) == (1, b"")


def test_output_that_cannot_be_written_is_told_once(objstore: Program, bucket: str) -> None:
    # A file may not grow beyond a block of 1 KiB: as a disk that is full.
    (objstore.folder / "many").mkdir()
    for number in range(60):
        (objstore.folder / "many" / f"{number:060}").touch()
    objstore("put", "many", f"{bucket}/many/")
    # What measures coverage could not write its data either, and would say so.
    before = "unset COVERAGE_PROCESS_START COVERAGE_PROCESS_CONFIG; trap '' XFSZ; ulimit -f 1;"
    done = objstore.shell(f"ls {bucket} -r > out", before=before)
    assert (done.returncode, done.stderr.decode()) == (1, "[Errno 27] File too large\n")


async def test_server_that_is_not_trusted_is_told_and_not_waited_for(tmp_path: Path) -> None:
    certificates = ROOT / "tests/docs/tls"
    files = (certificates / "server.pem", certificates / "server-key.pem")
    config = f'tls {{ cert_file: "{files[0]}", key_file: "{files[1]}" }}'
    async with NatsServer(config=config) as server:

        def run() -> None:
            objstore = Program(server.url, tmp_path)
            # By itself nats-py waits for ever.
            assert "certificate verify failed" in objstore.failing("ls")
            trusting = ("--tlsca", str(certificates / "ca.pem"))
            assert objstore(*trusting, "ls") == ""
            assert objstore(*trusting, "put", "-", "new/x", "--create", given=b"1") != ""
            assert objstore(*trusting, "get", "new/x", "-") == "1"
            for wrong in (
                ("--tlsca", str(files[1])),
                ("--tlsca", str(tmp_path / "none")),
                ("--tlscert", str(files[0])),
            ):
                assert "--tls" in objstore.failing(*wrong, "ls", code=2)

        await asyncio.to_thread(run)


async def test_nkey_signs_in_and_a_file_that_has_none_is_told(tmp_path: Path) -> None:
    pytest.importorskip("nkeys")
    config = f"authorization {{ users: [ {{ nkey: {NKEY} }} ] }}"
    (tmp_path / "user.nk").write_text(SEED)
    (tmp_path / "none.nk").write_text("no seed")
    async with NatsServer(config=config) as server:

        def run() -> None:
            objstore = Program(server.url, tmp_path)
            assert objstore("--nkey", "user.nk", "ls") == ""
            said = objstore.failing("--nkey", "none.nk", "ls", code=2)
            assert said.startswith("The credentials that nkeys_seed gives cannot be used: ")
            said = objstore.failing("--creds", "none.nk", "ls", code=2)
            assert said.startswith(
                "The credentials that user_credentials gives cannot be used"
            )
            assert "does not exist" in objstore.failing("--creds", "no.nk", "ls", code=2)

        await asyncio.to_thread(run)


async def test_bucket_may_be_in_another_domain(tmp_path: Path) -> None:
    async with NatsServer(config="jetstream: { domain: hub }") as server:

        def run() -> None:
            objstore = Program(server.url, tmp_path)
            objstore("--js-domain", "hub", "put", "-", "new/x", "--create", given=b"1")
            assert objstore("--js-domain", "hub", "ls") == "new\n"
            said = objstore.failing("--timeout", "1", "--js-domain", "other", "ls")
            assert said.count("\n") == 1

        await asyncio.to_thread(run)
