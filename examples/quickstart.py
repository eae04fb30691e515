"""An intake service: files go into one bucket, reports on them come out in another.

    python examples/quickstart.py [FOLDER]

puts every file of a folder (this repository, if none is given) into the bucket `intake`.
Handlers react to each change: a report on every file appears in the bucket `reports`, and
is removed when its file is deleted. With `NATS_URL` set it uses that server, otherwise one
of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.quickstart:app

starts the same file as a service; run as many as you like, they share the work.
"""

import asyncio
import os
import struct
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

from faststream import FastStream
from faststream.nats import NatsBroker, NatsRouter
from pydantic import BaseModel

from faststream_objstore import Bucket, Buckets, FromBucket, ObjectInfo, ObjectStore
from faststream_objstore.testing import NatsServer

intake = Bucket("intake", description="Files as they came")
reports = Bucket("reports", description="One JSON report on each file of intake")

Intake = Annotated[ObjectStore, FromBucket("intake")]
Reports = Annotated[ObjectStore, FromBucket("reports")]

router = NatsRouter()


class Report(BaseModel):
    name: str
    kind: str
    size: int
    revision: int
    lines: int | None = None
    width: int | None = None
    height: int | None = None


@intake.on_put(durable="reporter", max_workers=4)
async def report_on(file: ObjectInfo, source: Intake, target: Reports) -> None:
    """Report on a file that was stored."""
    content = await source.get(file)  # exactly the version that fired
    report = Report(name=file.name, size=file.size, revision=file.revision, kind="binary")
    if picture := picture_size(content):
        report.kind, report.width, report.height = picture
    elif 0 not in content:
        try:
            report.lines = len(content.decode().splitlines())
            report.kind = Path(file.name).suffix.lstrip(".") or "text"
        except UnicodeDecodeError:
            report.kind = "binary"
    await target.put(f"{file.name}.json", report.model_dump_json(exclude_none=True))


@intake.on_delete(durable="cleaner")
async def forget(file: ObjectInfo, target: Reports) -> None:
    """Delete the report on a file that was deleted."""
    if await target.exists(f"{file.name}.json"):
        await target.delete(f"{file.name}.json")


@router.subscriber("reports.get")
async def answer(name: str, target: Reports) -> Report:
    """Answer a request with the report on one file."""
    return Report.model_validate_json(await target.get(f"{name}.json"))


def picture_size(content: bytes) -> tuple[str, int, int] | None:
    """Kind, width and height of a PNG or GIF."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png", *struct.unpack(">II", content[16:24])
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return "gif", *struct.unpack("<HH", content[6:10])
    return None


def build(url: str) -> tuple[FastStream, NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None, routers=[router])
    buckets = Buckets(broker, intake, reports)
    return FastStream(broker), broker, buckets


app, broker, buckets = build(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))


# The rest is the demonstration, which acts as the clients of the service.

SKIPPED = {".git", "__pycache__", "node_modules", "site", "dist"}


def files_in(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(
            part in SKIPPED or part.startswith(".venv") or part.endswith("_cache")
            for part in path.relative_to(folder).parts
        )
    }


def progress_bar(done: int, total: int, started: float) -> None:
    if sys.stdout.isatty() or done == total:
        filled = 40 * done // max(total, 1)
        seconds = time.perf_counter() - started
        end = "\n" if done == total else ""
        bar = "#" * filled + "." * (40 - filled)
        print(f"\rput [{bar}] {done}/{total} files, {seconds:.1f} s", end=end, flush=True)


async def put_all(files: dict[str, Path], store: ObjectStore) -> dict[str, ObjectInfo]:
    started = time.perf_counter()
    stored: dict[str, ObjectInfo] = {}
    limit = asyncio.Semaphore(16)

    async def put(name: str, path: Path) -> None:
        async with limit:
            stored[name] = await store.put_file(name, path)
        progress_bar(len(stored), len(files), started)

    await asyncio.gather(*(put(name, path) for name, path in files.items()))
    return stored


async def all_reports(stored: dict[str, ObjectInfo], store: ObjectStore) -> list[Report]:
    """Wait for a report on each version that was stored."""
    missing = dict(stored)
    result: list[Report] = []
    async with store.watch(ignore_deletes=True) as changes:
        async for info in changes:
            name = info.name.removesuffix(".json")
            if name in missing:
                report = Report.model_validate_json(await store.get(info.name))
                if report.revision == missing[name].revision:
                    result.append(report)
                    del missing[name]
            if not missing:
                break
    return result


async def gone(name: str, store: ObjectStore) -> None:
    async with store.watch() as changes:
        async for info in changes:
            if info.name == name and info.deleted:
                return


def table(found: list[Report]) -> str:
    kinds: dict[str, list[Report]] = defaultdict(list)
    for report in found:
        kinds[report.kind].append(report)
    rows = [
        (kind, len(of), sum(one.size for one in of), sum(one.lines or 0 for one in of) or "")
        for kind, of in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
    lines = [f"{'kind':<12}{'files':>8}{'bytes':>12}{'lines':>10}"]
    lines += [
        f"{kind:<12}{files:>8}{size:>12}{count:>10}" for kind, files, size, count in rows
    ]
    return "\n".join(lines)


async def demonstrate(folder: Path) -> None:
    files = files_in(folder)
    if not files:
        sys.exit(f"There is no file in {folder}.")
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
            print(f"nats-server of our own at {url}")
        service, connection, buckets = build(url)
        await stack.enter_async_context(service)

        store = await buckets.open("intake")
        started = time.perf_counter()
        stored = await put_all(files, store)
        report_store = await buckets.open("reports")
        found = await asyncio.wait_for(all_reports(stored, report_store), timeout=120)
        print(f"{len(found)} reports after {time.perf_counter() - started:.1f} s\n")
        print(table(found))

        name = max(stored, key=lambda one: stored[one].size)
        reply = await connection.request(name, "reports.get", timeout=5)
        print(f"\nasked for the largest: {await reply.decode()}")
        await store.delete(name)
        await asyncio.wait_for(gone(f"{name}.json", report_store), timeout=30)
        print(f"deleted {name}, and its report went with it")
        status = await report_store.status()
        print(f"bucket reports: {status.count} objects, {status.size} bytes")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    if not folder.is_dir():
        sys.exit(f"{folder} is not a folder.")
    asyncio.run(demonstrate(folder))


if __name__ == "__main__":
    main()
