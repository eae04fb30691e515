"""What the pages of `docs/` show runs as it stands, on a real server."""

import asyncio
import json
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import nats
import pytest
from faststream.nats import NatsBroker
from faststream.nats.security import NatsUserPassword

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import BucketConfigMismatchError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, soon
from tests.docs.page import DOCS, blocks_of, program_of, ran, run, service
from tests.server.domains import domains

# Long, and the same on each Python: what is shown is the package's use, tested elsewhere.
pytestmark = pytest.mark.once


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsServer]:
    """The server that the programs of the pages find."""
    async with NatsServer() as server:
        monkeypatch.setenv("NATS_URL", server.url)
        yield server


async def test_calls_of_the_page_on_the_store(folder: Path, server: NatsServer) -> None:
    async with ran("store.md", folder) as page:
        assert await page["backup"](server.url, folder) == 2
        names = await page["names"](server.url, "photos")
        assert names == ["ann/cat.png", "ann/cat2.png"]

    assert (folder / "ann_cat2.png").read_bytes() == b"\x89PNG..."


@pytest.mark.usefixtures("server")
async def test_calls_of_the_page_on_transactions(
    folder: Path,
) -> None:
    async with ran("transactions.md", folder):
        pass


@pytest.mark.usefixtures("server")
async def test_calls_of_the_page_on_expiry(
    folder: Path,
) -> None:
    async with ran("expiry.md", folder) as page:
        await page["test_forgotten_uploads_are_reported"]()


async def test_calls_of_the_page_on_mirrors(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with domains() as joined:
        client = await nats.connect(joined.hub.url)
        for name in ("photos", "scans"):
            await ObjectStore.bind(client, name, declare=True)
        await client.close()
        monkeypatch.setenv("NATS_URL", joined.edge.url)
        async with ran("mirrors.md", folder) as page:
            await page["broker"].stop()
            await page["test_photos_are_indexed"]()


@pytest.fixture
def started(folder: Path) -> Path:
    """A folder with the files of the page on getting started."""
    for name in ("service.py", "test_service.py", "upload.py"):
        (folder / name).write_text(program_of("getting-started.md", name))
    return folder


def output_of(page: str, command: str) -> list[str]:
    """What a page says that a command prints."""
    for block in blocks_of(page):
        first, *rest = block.text.splitlines() or [""]
        if first == f"$ {command}":
            return rest
    raise AssertionError(f"{page} does not show the command {command!r}")


def test_test_of_getting_started_passes(started: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=started)

    assert done.returncode == 0, done.stdout + done.stderr
    (said,) = output_of("getting-started.md", "pytest -q")
    assert said in done.stdout


async def test_service_of_getting_started_reacts_to_an_upload(started: Path) -> None:
    async with (
        NatsServer() as server,
        service("service:app", folder=started, url=server.url) as log,
    ):
        await log.wait_for("FastStream app started successfully")
        done = await asyncio.to_thread(run, "upload.py", folder=started, url=server.url)

        assert done.returncode == 0, done.stdout + done.stderr
        shown = output_of("getting-started.md", "python upload.py")
        assert done.stdout.splitlines() == shown
        await log.wait_for("ann sent 4 words")


@pytest.mark.usefixtures("server")
async def test_handlers_of_the_page_on_objects_get_what_they_ask_for(
    folder: Path,
) -> None:
    async with ran("objects.md", folder) as page:
        broker, buckets = page["broker"], page["buckets"]
        await (await buckets.open("config")).put(
            "prices.json", '{"currency": "EUR", "stamp": 0.95}'
        )
        await (await buckets.open("templates")).put("welcome.txt", "Dear {customer}!")
        await broker.start()

        async def ask(subject: str, what: object) -> object:
            return await (await broker.request(what, subject, timeout=10)).decode()

        assert await ask("letter.welcome", "Ann") == "Dear Ann! Stamp: 0.95 EUR"
        assert await ask("size", "") == -1
        photos = await buckets.open("photos")
        async with photos.watch(updates_only=True) as changes:
            await photos.put("ann/cat.png", b"0123456789")
            names = [(await changes.updates(timeout=10)).name for _ in range(2)]
        assert names == ["ann/cat.png", "ann/cat.png.thumb"]
        assert await photos.get("ann/cat.png.thumb") == b"0123"
        assert await ask("size", "") == 10
        assert await ask("first-bytes", 3) == b"012"
        assert await ask("health", "") == {"prices.json": "revision 2"}


@pytest.mark.usefixtures("server")
async def test_handlers_of_the_page_on_change_subscribers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ran("changes.md", folder) as page:
        await page["test_thumbnails_follow_their_photos"]()
        broker, buckets = page["broker"], page["buckets"]
        alarms: asyncio.Queue[str] = asyncio.Queue()
        broker.subscriber("alarms")(alarms.put)
        # No waiting for attempts that fail alike.
        monkeypatch.setattr(ChangeOptions, "retries", Retry(attempts=2, delays=[0.01]))
        await broker.start()

        photos = await buckets.open("photos")
        thumbs = await buckets.open("thumbs")
        async with thumbs.watch(updates_only=True) as changes:
            await photos.put("ann/cat.png", b"\x89PNG...")
            thumb = await changes.updates(timeout=10)
            assert (thumb.name, thumb.size) == ("ann/cat.png", 4)
            await photos.delete("ann/cat.png")
            assert (await changes.updates(timeout=10)).deleted
        await photos.put("bob/cat.png", b"GIF")
        assert await asyncio.wait_for(alarms.get(), 10) == (
            "bob/cat.png: ValueError: bob sent something that is not a PNG (2 attempts)"
        )


@pytest.mark.usefixtures("server")
async def test_handlers_of_the_page_on_results(
    folder: Path,
) -> None:
    async with ran("results.md", folder) as page:
        await page["test_thumbnail_follows_its_photo"]()
        broker, buckets = page["broker"], page["buckets"]
        await broker.start()
        reply = await broker.request({"pages": 2}, "render.7", timeout=10)
        assert (await reply.decode())["size"] == 14
        assert await (await buckets.open("pages")).get("7.pdf") == b"page 0\npage 1\n"

        thumbs = await buckets.open("thumbs")
        async with thumbs.watch(updates_only=True) as changes:
            await (await buckets.open("photos")).put("ann/cat.raw", b"cat")
            made = await changes.updates(timeout=10)
        assert (made.name, await thumbs.get(made)) == ("ann/cat.jpg", b"CAT")


@pytest.mark.usefixtures("server")
async def test_message_of_the_page_on_the_claim_check_travels_through_the_bucket(
    folder: Path,
) -> None:
    async with ran("claim-check.md", folder) as page:
        await page["broker"].start()
        assert await page["ask"]() == 1500.5
        (body,) = await (await page["buckets"].object_store("claims")).list()
        assert body.size > 5_000_000


# What a reader of docs/buckets.md would do with its blocks.
USE = """
import asyncio

async def main():
    async with app:
        store = await buckets.open("uploads")
        await store.put("poem.txt", "so much depends upon")
        await count.wait_call(timeout=10)
        assert (await add_reports()).bucket == "reports"
        assert await terms() == b"be kind"
        print(await move_in("ann"))

# For `wait_call`; this is no test.
count.set_test()
asyncio.run(main())
"""


async def test_programs_of_the_page_on_buckets(folder: Path) -> None:
    (folder / "app.py").write_text(f"{program_of('buckets.md')}\n{USE}")

    async with NatsServer() as server:
        done = await asyncio.to_thread(run, "app.py", folder=folder, url=server.url)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['reports', 'tenant-ann', 'uploads']"


async def test_error_of_the_page_on_buckets_is_what_a_service_sees() -> None:
    (shown,) = (one.text for one in blocks_of("buckets.md") if one.language == "text")
    async with NatsServer() as server:
        before, after = (NatsBroker(server.url, logger=None) for _ in range(2))
        Buckets(before, Bucket("uploads", ttl=timedelta(days=30)))
        Buckets(after, Bucket("uploads", ttl=timedelta(days=7)))
        async with before:
            pass
        with pytest.raises(BucketConfigMismatchError) as caught:
            await after.start()
    assert f"BucketConfigMismatchError: {caught.value}" == " ".join(shown.split())


async def test_permissions_that_the_page_on_buckets_lists_are_enough() -> None:
    rows = re.findall(
        r"^\| \w+ it[^|]*\| (.*) \|$", (DOCS / "buckets.md").read_text(), re.MULTILINE
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

        def service(user: str, *, declare: bool) -> tuple[NatsBroker, Bucket, Buckets]:
            url = server.url.replace("nats://", f"nats://{user}:x@")
            broker = NatsBroker(url, logger=None, error_cb=note)
            bucket = Bucket("uploads", declare=declare)
            return broker, bucket, Buckets(broker, bucket)

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


def test_tests_of_the_page_on_tests_pass(folder: Path) -> None:
    for title in {one.title for one in blocks_of("testing.md") if one.language == "python"}:
        (folder / (title or "test_service.py")).write_text(program_of("testing.md", title))
    tests = re.findall(r"^(?:async )?def test_", program_of("testing.md"), re.MULTILINE)

    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "anyio_mode=auto",
        "test_service.py",
        folder=folder,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(tests)} passed" in done.stdout


PASSWORDS = {"NATS_PASSWORD": "s3cret", "ADMIN_PASSWORD": "t0p"}


@pytest.fixture
async def secured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsServer]:
    """A server with the configuration of the page on production, and its programs."""
    for pem in (Path(__file__).parent / "tls").iterdir():
        shutil.copy(pem, folder)
    for name in ("service.py", "health.py"):
        (folder / name).write_text(program_of("production.md", name))
    for name, value in {**PASSWORDS, "REPLICAS": "1"}.items():
        monkeypatch.setenv(name, value)
    (config,) = (one for one in blocks_of("production.md") if one.title == "nats-server.conf")
    # nats-server does not take the directory from its configuration and from a flag.
    text, removed = re.subn(r"^  store_dir: .*$", "", config.text, flags=re.MULTILINE)
    assert removed == 1
    async with NatsServer(config=text) as server:
        yield server


async def test_page_that_only_shows_takes_no_messages(
    folder: Path, secured: NatsServer
) -> None:
    (folder / "page.py").write_text(program_of("production.md", "page.py"))
    script = "from page import app; print(*(path for path, _ in app.routes))"
    done = run("-c", script, folder=folder, url=secured.url)

    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert "/docs" in paths
    assert "/docs/try" not in paths


async def test_service_of_the_page_on_production_has_the_rights_it_needs(
    folder: Path, secured: NatsServer
) -> None:
    tls = ssl.create_default_context(cafile="ca.pem")
    admin = NatsBroker(
        secured.url,
        security=NatsUserPassword("admin", PASSWORDS["ADMIN_PASSWORD"], ssl_context=tls),
        logger=None,
    )
    buckets = Buckets(admin, Bucket("uploads", declare=False))
    async with service("service:app", folder=folder, url=secured.url) as log:
        await log.wait_for("FastStream app started successfully")
        async with admin:
            await (await buckets.open("uploads")).put("a/b.pdf", b"%PDF")
            await log.wait_for("indexed a/b.pdf")
    assert "Violation" not in secured.log


ASK = """
import asyncio
import sys

module, *paths = sys.argv[1:]
app = __import__(module).app
broker = app.broker


async def main():
    await broker.start()
    for path in paths:
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [],
        }
        await app(scope, receive, send)
        print(path, sent[0]["status"])
    for message in sent[1:]:
        print(message["body"].decode())
    await broker.stop()


asyncio.run(main())
"""


async def test_health_check_of_the_page_on_production(
    folder: Path, secured: NatsServer
) -> None:
    (folder / "ask.py").write_text(ASK)
    done = await asyncio.to_thread(
        run, "ask.py", "health", "/alive", "/health", folder=folder, url=secured.url
    )
    *_, alive, health, body = done.stdout.splitlines() or [done.stderr]
    assert (alive, health) == ("/alive 204", "/health 200"), done.stderr
    assert json.loads(body) == {"status": "ok", "problems": []}


async def test_metrics_of_the_page_on_production(folder: Path) -> None:
    (folder / "metrics.py").write_text(program_of("production.md", "metrics.py"))
    script = """
import asyncio
from prometheus_client import generate_latest
from metrics import broker, buckets, registry


async def main():
    async with broker:
        await (await buckets.open("uploads")).put("a", b"123")
    print(generate_latest(registry).decode())


asyncio.run(main())
"""
    async with NatsServer() as server:
        done = await asyncio.to_thread(run, "-c", script, folder=folder, url=server.url)
    labels = 'app_name="faststream",bucket="uploads",operation="put"'
    assert f"faststream_objstore_operation_bytes_total{{{labels}}} 3.0" in done.stdout


async def test_sweep_of_the_page_on_production(folder: Path) -> None:
    (folder / "sweep.py").write_text(program_of("production.md", "sweep.py"))
    async with NatsServer() as server:
        async with NatsBroker(server.url, logger=None) as broker:
            buckets = Buckets(broker, Bucket("uploads"), Bucket("reports"))
            await (await buckets.open("uploads")).put("a", b"1")
        done = await asyncio.to_thread(run, "sweep.py", folder=folder, url=server.url)
    assert done.stdout.splitlines() == ["reports: 0 bytes freed", "uploads: 0 bytes freed"]


@pytest.mark.parametrize("title", ["before.py", "after.py", "obj_watch.py", "on_put.py"])
async def test_services_of_the_page_on_moving_do_the_same(folder: Path, title: str) -> None:
    (folder / title).write_text(program_of("moving.md", title))
    async with NatsServer() as server:
        client = await nats.connect(server.url)
        try:
            app = f"{title.removesuffix('.py')}:app"
            async with service(app, folder=folder, url=server.url) as log:
                await log.wait_for("FastStream app started successfully")
                store = await client.jetstream().object_store("uploads")
                await store.put("poem.txt", "so much depends upon")
                # On a busy machine what is wired by hand, on nats-py, may hang in its get.
                if title != "before.py":
                    await log.wait_for("poem.txt: 4 words")
        finally:
            await client.close()


@pytest.mark.usefixtures("server")
async def test_calls_of_the_page_on_moving(
    folder: Path,
) -> None:
    async with ran("moving.md", folder) as page:
        assert page["ours"].bucket == "letters"


@pytest.mark.usefixtures("server")
async def test_programs_of_the_landing_page(folder: Path) -> None:
    async with ran("index.md", folder) as page:
        await page["test_words_are_counted"]()
