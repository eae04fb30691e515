"""The command-line example: as a demonstration, and as a tool."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "examples" / "object_cli.py")]


def run(
    *arguments: str, url: str = "", folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "NATS_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def done(*arguments: str, url: str, folder: Path) -> str:
    completed = run(*arguments, url=url, folder=folder)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_demonstration_shows_each_command() -> None:
    completed = run()

    assert completed.returncode == 0, completed.stderr
    shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "<time>", completed.stdout)
    assert shown.splitlines() == [
        "$ object_cli demo put poem.txt large.bin",
        # The revision is the message: a chunk came before, then 23 of 128 KiB.
        "put poem.txt: 21 bytes, revision 2",
        "put large.bin: 3000000 bytes, revision 26",
        "$ object_cli demo ls",
        "     3000000  <time>  large.bin",
        "          21  <time>  poem.txt",
        "$ object_cli demo get poem.txt copy.txt",
        "got poem.txt: 21 bytes, in copy.txt",
        "$ object_cli demo get poem.txt -",
        "so much depends upon",
        "$ object_cli demo rm large.bin",
        "$ object_cli demo watch --count 2",
        "put poem.txt",
        "del large.bin",
        "$ object_cli demo get large.bin",
        (
            "Bucket 'demo': the object 'large.bin' has been deleted; "
            "get_info(name, show_deleted=True) shows its marker."
        ),
    ]


def test_files_come_back_as_they_were(
    nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    def tool(*arguments: str) -> str:
        return done(bucket_name, *arguments, url=nats_server.url, folder=tmp_path)

    content = bytes(range(256)) * 2000
    (tmp_path / "a.bin").write_bytes(content)
    (tmp_path / "b.txt").write_text("text")
    tool("put", "a.bin", "b.txt")
    tool("get", "a.bin", "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == content

    (listed,) = tool("ls", "*.txt").splitlines()
    assert (listed.split()[0], listed.split()[-1]) == ("4", "b.txt")
    tool("rm", "b.txt")
    assert tool("rm", "b.txt") == "b.txt had been deleted before\n"
    assert tool("ls", "*.txt") == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("new", "ls"), "Bucket 'new' does not exist"),
        (("a bucket", "put", "README.md"), "'a bucket'"),
        (("new", "put", "no/such/file"), "No such file or directory: 'no/such/file'"),
        (("--server", "nats://127.0.0.1:1", "new", "ls"), "nats://127.0.0.1:1 cannot be used"),
    ],
)
async def test_failure_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    async with NatsServer() as server:
        completed = run(*arguments, url=server.url)

    assert completed.returncode == 1
    assert said in completed.stderr
    assert len(completed.stderr.splitlines()) == 1
    assert completed.stdout == ""


def test_command_that_is_none_is_explained() -> None:
    completed = run("photos", "upload")
    assert completed.returncode == 2
    assert "choose from" in completed.stderr
    assert "Traceback" not in completed.stderr


async def test_watch_goes_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    async with NatsServer(store_dir=tmp_path / "store") as server:
        done("notes", "put", "a.txt", url=server.url, folder=tmp_path)
        watching = subprocess.Popen(
            [*COMMAND, "notes", "watch"],
            env={**os.environ, "NATS_URL": server.url, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "put a.txt\n"
            await server.kill()
            await server.start()
            done("notes", "put", "b.txt", url=server.url, folder=tmp_path)
            assert watching.stdout.readline() == "put b.txt\n"
        finally:
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=30)
    assert (watching.returncode, errors) == (0, "")
