"""What is promised of many objects, with that many: 10,000, or more than memory may hold."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from faststream_objstore import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.cli.support import COMMAND, ROOT
from tests.store.support import DELETED, layout, pattern_bytes, spied

pytestmark = [pytest.mark.anyio, pytest.mark.once, pytest.mark.timeout(600)]

MIB = 1024 * 1024
# A bucket of 1 GiB takes a minute: DUMP_MIB=1024.
DUMP_MIB = int(os.environ.get("DUMP_MIB", "128"))
MANY = 10_000


@pytest.fixture
async def store(nats_client: Client, bucket_name: str) -> ObjectStore:
    return await ObjectStore.bind(nats_client, bucket_name, declare=True)


@pytest.fixture
def tree() -> Iterator[Path]:
    """A folder of 10,000 files, in memory where that is possible: disks take their time."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    for folder in range(MANY // 100):
        (root / f"{folder:02}").mkdir()
        for number in range(100):
            (root / f"{folder:02}" / f"{number:02}").write_text(f"{folder} {number}")
    yield root
    shutil.rmtree(root)


async def test_sync_of_10_000_unchanged_files_sends_no_content(
    store: ObjectStore, tree: Path
) -> None:
    assert len((await store.put_dir(tree, "www/")).done) == MANY
    before = (await store.status(count=False)).size
    spied_store, spy = spied(await store._source())

    done = await spied_store.sync(tree, "www/", delete=True)

    assert (len(done.unchanged), done.done, done.deleted, done.size) == (MANY, [], [], 0)
    assert (await store.status(count=False)).size == before
    # Nor are contents read: one list is all that is asked for.
    assert set(spy.calls) <= {"messages", "subjects", "state"}

    (tree / "42" / "42").write_text("changed")
    done = await store.sync(tree, "www/", delete=True)
    assert (done.done, len(done.unchanged)) == (["www/42/42"], MANY - 1)
    assert await store.get("www/42/42") == b"changed"


async def test_all_of_10_000_objects_are_removed_while_writers_put_and_what_they_put_stays(
    store: ObjectStore, nats_server: NatsServer
) -> None:
    names = iter([f"old/{number}" for number in range(MANY)])

    async def fill() -> None:
        for name in names:
            await store.put(name, name)

    await asyncio.gather(*(fill() for _ in range(64)))
    await store.put("elsewhere", b"stays")
    program = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("rm", store.bucket, "--prefix", "old/", "--json"),
        env={**os.environ, "NATS_URL": nats_server.url, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ended = asyncio.ensure_future(program.communicate())
    while (await store.get_info("old/0", show_deleted=True)).deleted is False:
        await asyncio.sleep(0)
    written: dict[str, bytes] = {}

    async def write(first: int) -> None:
        # Also names that are being deleted, and new ones below the prefix.
        for number in range(first, MANY, 4):
            if ended.done():
                return
            for name in (f"old/{number}", f"old/new-{number}"):
                await store.put(name, f"new {name}")
                written[name] = f"new {name}".encode()

    await asyncio.gather(*(write(first) for first in range(4)))
    output, errors = await ended

    assert (program.returncode, errors) == (0, b"")
    said = json.loads(output)
    assert said["failed"] == {}
    assert written
    # What was replaced before its turn was not that version any more.
    assert MANY - len(written) <= said["deleted"] <= MANY
    left = {info.name for info in await store.list()}
    assert left == {*written, "elsewhere"}
    contents = {data.info.name: data async for data in store.get_many(sorted(written))}
    assert contents == written
    # And no chunk is nobody's.
    kinds = (await layout(await store._source())).values()
    assert [kind for kind in kinds if kind not in {1, DELETED}] == []


DUMPING = """
import asyncio, os, sys
import nats
from pathlib import Path
from faststream_objstore import ObjectStore

def kib(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])

class Thrown:
    def __init__(self):
        self.size = 0
    def write(self, data):
        self.size += len(data)
        return len(data)

async def main(url, bucket):
    client = await nats.connect(url)
    store = await ObjectStore.bind(client, bucket)
    await store.get("small/0")
    idle = kib("VmRSS")
    file = Thrown()
    done = await store.dump(file)
    print(len(done.done), done.size, file.size, kib("VmHWM") - idle)
    await client.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_dump_of_much_takes_little_memory(
    store: ObjectStore, nats_server: NatsServer, tmp_path: Path
) -> None:
    half = DUMP_MIB * MIB // 2
    block = pattern_bytes(MIB)

    async def content(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield block

    # One large object, middle-sized ones, and small ones, which are read together.
    await store.put("large", content(half))
    for number in range(half // (16 * MIB)):
        await store.put(f"middle/{number}", content(8 * MIB))
    for number in range(half // 2 // (100 * 1024)):
        await store.put(f"small/{number}", block[: 100 * 1024])

    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DUMPING, nats_server.url, store.bucket),
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await program.communicate()

    count, size, file_size, kib = map(int, output.split())
    assert count == len(await store.list())
    assert size >= 0.95 * DUMP_MIB * MIB
    assert file_size > size
    print(f"{kib / 1024:.0f} MiB for {size / MIB:.0f} MiB")
    assert kib < 64 * 1024
    # The temporary files are gone.
    assert list(tmp_path.iterdir()) == []
