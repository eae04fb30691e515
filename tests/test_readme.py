"""The programs of the README, and of the pages on buckets and tests, do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faststream.nats import NatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.extension import ObjStore
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, soon

ROOT = Path(__file__).parents[1]


def test_programs_of_the_readme_run_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    # The second goes on from the first, as a reader would paste them.
    program = tmp_path / "program.py"
    program.write_text("\n".join(blocks))

    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


# What a reader of docs/buckets.md would do with its blocks.
USE = """
import asyncio

async def main():
    async with app:
        store = await objstore.object_store("uploads")
        await store.put("poem.txt", "so much depends upon")
        await count.wait_call(timeout=10)
        assert (await add_reports()).bucket == "reports"
        assert await terms() == b"be kind"
        print(sorted(await objstore.list_buckets()))

# For `wait_call`; this is no test.
count.set_test()
asyncio.run(main())
"""


def run(*command: object, folder: Path, url: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NATS_URL": url or "nats://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def blocks_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


async def test_programs_of_the_page_on_buckets_run_as_they_stand(tmp_path: Path) -> None:
    blocks = blocks_of("buckets.md")
    assert len(blocks) == 4
    (tmp_path / "app.py").write_text("\n".join([*blocks, USE]))

    async with NatsServer() as server:
        done = run("app.py", folder=tmp_path, url=server.url)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['reports', 'uploads']"


def test_tests_of_the_page_on_tests_pass_as_they_stand(tmp_path: Path) -> None:
    blocks = blocks_of("testing.md")
    assert len(blocks) == 4
    (tmp_path / "test_service.py").write_text("\n".join(blocks))

    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "anyio_mode=auto",
        "test_service.py",
        folder=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


async def test_permissions_that_the_page_on_buckets_lists_are_enough() -> None:
    rows = re.findall(
        r"^\| \w+ it[^|]*\| (.*) \|$", (ROOT / "docs/buckets.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 3
    users, publish = [], list[str]()
    for user, row in zip(("reader", "writer", "owner"), rows, strict=True):
        publish += re.findall(r"`(\$[^`]+)`", row)
        allowed = ", ".join(f'"{one}"' for one in publish)
        users.append(
            f"{{user: {user}, password: x, permissions: "
            f'{{publish: [{allowed}], subscribe: ["_INBOX.>"]}}}}'
        )
    config = f"authorization {{ users = [{', '.join(users)}] }}"
    refused: list[Exception] = []

    async def note(error: Exception) -> None:
        refused.append(error)

    async with NatsServer(config=config) as server:

        def service(user: str, *, declare: bool) -> tuple[NatsBroker, Bucket, ObjStore]:
            url = server.url.replace("nats://", f"nats://{user}:x@")
            broker = NatsBroker(url, logger=None, error_cb=note)
            bucket = Bucket("uploads", declare=declare)
            return broker, bucket, ObjStore(broker, bucket)

        owner, _, owning = service("owner", declare=True)
        writer, _, writing = service("writer", declare=False)
        reader, bucket, reading = service("reader", declare=False)
        calls = Names()
        bucket.on_put(durable="durable", replay=True)(calls.take)
        try:
            for broker in (owner, writer, reader):
                await soon(broker.start())
            store = await writing.object_store("uploads")
            put: ObjectInfo = await soon(store.put("a", bytes(300_000)))
            await soon(store.rename("a", "b"))
            await soon(store.delete("b"))
            await soon(store.put("c", b"1"))
            await soon(calls.wait_until_last("c"))
            store = await reading.object_store("uploads")
            assert await soon(store.get("c")) == b"1"
            assert [one.name for one in await soon(store.list())] == ["c"]
            assert put.size == 300_000
            assert await soon((await owning.object_store("uploads")).seal())
        finally:
            for broker in (owner, writer, reader):
                await soon(broker.stop())
    assert refused == []


@pytest.mark.parametrize("page", ["README.md", "docs/testing.md"])
def test_files_that_a_page_links_to_exist(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert links
    folder = (ROOT / page).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert commands == ["demo", "test"]
    assert all(re.search(rf"^{command}:", makefile, re.MULTILINE) for command in commands)
