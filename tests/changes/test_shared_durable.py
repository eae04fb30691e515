"""Processes that declare one durable in different ways: each gets what it wants."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import Bucket, Buckets, ObjectInfo, ObjectStore
from faststream_objstore.changes import declarations
from faststream_objstore.testing import NatsServer
from tests.settled import settled

from .support import Names, Seen, running, soon, store_of

pytestmark = pytest.mark.anyio

_PROGRAM = """
import logging, sys
from faststream import FastStream
from faststream.nats import NatsBroker
from faststream_objstore import Bucket, Buckets, ObjectInfo
from faststream_objstore.changes import declarations

url, bucket_name, pattern, silent = sys.argv[1:]
declarations.CONFIRM_SECONDS, declarations.SILENT_SECONDS = 1.0, float(silent)
logging.basicConfig(
    stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
)
bucket = Bucket(bucket_name)
broker = NatsBroker(url, logger=logging.getLogger("service"))
buckets = Buckets(broker, bucket)


@bucket.on_put(pattern, durable="worker")
async def handle(info: ObjectInfo) -> None:
    await broker.publish(info.name, f"seen.{bucket_name}.{pattern.lstrip('*.') or 'all'}")


@app.after_startup
async def started() -> None:
    await broker.publish("", f"started.{bucket_name}")
"""
_PROGRAM = _PROGRAM.replace("@app.after", "app = FastStream(broker)\n\n\n@app.after") + (
    "\n\nimport asyncio\n\nasyncio.run(app.run())\n"
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "CONFIRM_SECONDS", 0.5)
    monkeypatch.setattr(declarations, "SILENT_SECONDS", 6.0)


class Service:
    """A process with one handler."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _PROGRAM, *self._arguments, stderr=log, stdout=log
            )

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)
            await soon(self._process.wait())

    def warnings(self) -> list[str]:
        return [one for one in self._log.read_text().splitlines() if "WARNING" in one]

    async def warned(self, text: str) -> list[str]:
        while not (found := [one for one in self.warnings() if text in one]):
            await asyncio.sleep(0.05)
        return found


class Site:
    """Services on one durable, and what they have handled."""

    def __init__(self, url: str, bucket: str, client: Client, folder: Path) -> None:
        self._url, self._bucket, self._client, self._folder = url, bucket, client, folder
        self._services: list[Service] = []
        self._started: Seen[str] = Seen()
        self.seen: Seen[tuple[str, str]] = Seen()

    async def listen(self) -> None:
        async def seen(message: Msg) -> None:
            await self.seen.add((message.subject.rsplit(".")[-1], message.data.decode()))

        async def started(message: Msg) -> None:
            await self._started.add(message.subject)

        await self._client.subscribe(f"seen.{self._bucket}.*", cb=seen)
        await self._client.subscribe(f"started.{self._bucket}", cb=started)
        await settled(self._client)

    async def start(self, pattern: str, *, silent: float) -> Service:
        log = self._folder / f"{len(self._services)}.log"
        service = Service(log, self._url, self._bucket, pattern, str(silent))
        self._services.append(service)
        await service.start()
        await self._started.wait_for(len(self._services))
        return service

    async def stop(self) -> None:
        for service in self._services:
            await service.stop(signal.SIGKILL)


@pytest.fixture
async def site(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, tmp_path: Path
) -> AsyncIterator[Site]:
    site = Site(nats_server.url, bucket_name, nats_client, tmp_path)
    await site.listen()
    try:
        yield site
    finally:
        await site.stop()


@contextlib.asynccontextmanager
async def store_in(url: str, bucket: str) -> AsyncIterator[ObjectStore]:
    async with running(url, Bucket(bucket)) as buckets:
        yield await buckets.open(bucket)


async def none_is_pending(client: Client, bucket: str) -> None:
    async def look() -> None:
        while True:
            info = await client.jetstream().consumer_info(f"OBJ_{bucket}", "worker")
            if not info.num_ack_pending and not info.num_pending:
                return
            await asyncio.sleep(0.05)

    await soon(look())


async def test_two_processes_with_different_patterns_both_get_theirs(
    site: Site, nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    texts = await site.start("**.txt", silent=120)
    images = await site.start("**.png", silent=120)
    async with store_in(nats_server.url, bucket_name) as store:
        for number in range(10):
            await store.put(f"{number}.txt", b"")
            await store.put(f"{number}.png", b"")
        seen = await site.seen.wait_for(20)
    assert sorted(seen) == sorted(
        (kind, f"{number}.{kind}") for kind in ("txt", "png") for number in range(10)
    )
    await none_is_pending(nats_client, bucket_name)
    for service in texts, images:
        # One that was given nothing of the other's learns of it when it confirms its own.
        [warning] = await soon(service.warned("two ways"))
        assert "on_put('**.txt')" in warning
        assert "on_put('**.png')" in warning
        assert "'worker'" in warning


async def test_rolling_deploy_that_changes_the_pattern_loses_no_change(
    site: Site, nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    async with store_in(nats_server.url, bucket_name) as store:
        old = await site.start("**.txt", silent=10)
        for number in range(10):
            await store.put(f"{number}.txt", b"")
        new = await site.start("**.png", silent=10)
        for number in range(10, 20):
            await store.put(f"{number}.txt", b"")
            await store.put(f"{number}.png", b"")
        # What it has in hand, and what was given back to it, has nobody now who wants it.
        await old.stop()
        for number in range(10, 20):
            await site.seen.wait_until_last(("png", f"{number}.png"))
        await none_is_pending(nats_client, bucket_name)
        texts = [name for kind, name in site.seen.all if kind == "txt"]
        told = [one for one in new.warnings() if "without being handled" in one]
        lost = sum(int(one.split("being handled: ")[1].split()[0]) for one in told)
        # Each text was handled by the old one, or its end is in the log of the new one.
        assert len(set(texts)) + lost == 20
        assert lost == 0 or "on_put('**.txt')" in told[0]


async def test_change_of_another_declaration_is_kept_for_it_and_given_up_with_a_warning(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    quick: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts, images = Names(), Names()
    one, two = Bucket(bucket_name), Bucket(bucket_name)
    one.on_put("**.txt", durable="worker")(texts.take)
    two.on_put("**.png", durable="worker")(images.take)
    async with running(nats_server.url, one) as buckets:
        await (await store_of(buckets, one)).put("a.txt", b"")
        await texts.wait_for(1)
    broker = NatsBroker(nats_server.url, logger=logging.getLogger("second"))
    buckets = Buckets(broker, two)
    await soon(broker.start())
    try:
        store = await store_of(buckets, two)
        # Nobody wants this, whatever process was here before.
        await store.put("a.gif", b"")
        await store.put("b.txt", b"")
        await store.put("b.png", b"")
        assert await images.wait_for(1) == ["b.png"]
        # The other declaration is alive still: its process may be restarting.
        await _until_pending(nats_client, bucket_name, 1)
        async with running(nats_server.url, one):
            assert await texts.wait_for(2) == ["a.txt", "b.txt"]
        await store.put("c.txt", b"")
        await none_is_pending(nats_client, bucket_name)
    finally:
        await soon(broker.stop())
    assert texts.all == ["a.txt", "b.txt"]
    [told] = [
        record.getMessage()
        for record in caplog.records
        if "without being handled" in record.getMessage()
    ]
    assert "1 change that only" in told
    assert "'c.txt'" in told
    assert "on_put('**.txt')" in told
    assert "on_put('**.png')" in told


async def _until_pending(client: Client, bucket: str, count: int) -> None:
    async def look() -> None:
        while True:
            info = await client.jetstream().consumer_info(f"OBJ_{bucket}", "worker")
            if info.num_ack_pending == count:
                return
            await asyncio.sleep(0.05)

    await soon(look())


async def test_declaration_that_a_late_write_has_undone_is_written_again(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    bucket.on_put("**.txt", durable="worker")(Names().take)
    async with running(nats_server.url, bucket):
        await _declare(nats_client, bucket_name, "[]")

        async def look() -> None:
            while "**.txt" not in await _declared(nats_client, bucket_name):
                await asyncio.sleep(0.05)

        # Within seconds, where a confirmation takes half a minute.
        await asyncio.wait_for(look(), 10)


async def _declared(client: Client, bucket: str) -> str:
    info = await client.jetstream().consumer_info(f"OBJ_{bucket}", "worker")
    return str((info.config.metadata or {}).get("faststream-objstore.declared"))


async def _declare(client: Client, bucket: str, text: str) -> None:
    stream = f"OBJ_{bucket}"
    answer = await client.request(f"$JS.API.CONSUMER.INFO.{stream}.worker")
    config: dict[str, Any] = json.loads(answer.data)["config"]
    config["metadata"]["faststream-objstore.declared"] = text
    body = {"stream_name": stream, "config": config, "action": "update"}
    await client.request(f"$JS.API.CONSUMER.CREATE.{stream}.worker", json.dumps(body).encode())


@pytest.mark.parametrize("noted", ["nonsense", '{"event": 1}', '[1, {"event": "put"}]', "[]"])
async def test_notes_that_are_no_declarations_are_replaced(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, noted: str
) -> None:
    bucket = Bucket(bucket_name)
    seen = Names()
    bucket.on_put("**.txt", durable="worker")(seen.take)
    async with running(nats_server.url, bucket):
        pass
    await _declare(nats_client, bucket_name, noted)
    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a.png", b"")
        await store.put("a.txt", b"")
        await seen.wait_for(1)
        await none_is_pending(nats_client, bucket_name)
    assert "**.txt" in await _declared(nats_client, bucket_name)


async def test_change_that_was_given_back_often_still_has_all_its_attempts(
    nats_server: NatsServer, nats_client: Client, bucket_name: str, quick: None
) -> None:
    bucket = Bucket(bucket_name)
    calls: Seen[str] = Seen()

    @bucket.on_put("**.txt", durable="worker", retry=None)
    async def handle(info: ObjectInfo) -> None:
        await calls.add(info.name)

    async with running(nats_server.url, bucket):
        pass
    at = declarations.server_time({})
    await _declare(
        nats_client,
        bucket_name,
        json.dumps([{"event": "put", "pattern": "**.png", "at": at}]),
    )
    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        await (await buckets.open(bucket_name)).put("a.txt", b"")
    pull = await nats_client.jetstream().pull_subscribe_bind("worker", f"OBJ_{bucket_name}")
    # More often than a poisonous change is delivered to one declaration.
    for _ in range(30):
        [message] = await pull.fetch(1, timeout=5)
        await message.nak()
    await settled(nats_client)
    async with running(nats_server.url, bucket):
        assert await calls.wait_for(1) == ["a.txt"]


def test_declarations_are_confirmed_every_half_minute_and_given_up_after_two() -> None:
    assert declarations.CONFIRM_SECONDS == 30
    assert declarations.SILENT_SECONDS == 120
