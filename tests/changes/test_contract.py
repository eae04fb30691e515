"""What the contract says beside who gets what: latest state, no silent loss, the docs."""

import ast
import asyncio
import inspect
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import wire
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import NotConnectedError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, Seen, running, soon, store_of
from tests.settled import settled

ROOT = Path(__file__).parents[2]


async def test_two_puts_while_the_consumer_is_behind_are_one_call_with_the_newest(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    sizes: Seen[tuple[str, int]] = Seen()
    release = asyncio.Event()

    @bucket.on_put(durable="worker")
    async def handle(info: ObjectInfo) -> None:
        await sizes.add((info.name, info.size))
        await soon(release.wait())

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("first", b"")
        await sizes.wait_for(1)
        for content in (b"1", b"22", b"333"):
            await store.put("a", content)
        await store.put("last", b"")
        release.set()
        await sizes.wait_until_last(("last", 0))

    assert sizes.all == [("first", 0), ("a", 3), ("last", 0)]


async def test_new_durable_begins_with_what_is_put_after_it(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable="worker")(calls.take)

    async with running(nats_server.url, Bucket(bucket_name)) as buckets:
        await (await buckets.open(bucket_name)).put("before", b"")
    async with running(nats_server.url, bucket) as buckets:
        await (await store_of(buckets, bucket)).put("after", b"")
        assert await calls.wait_for(1) == ["after"]


async def test_dead_letter_that_could_not_be_published_is_tried_again_and_the_handler_is_not(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    subject = f"dead.{bucket_name}"
    refused: list[str] = []
    letters: asyncio.Queue[Msg] = asyncio.Queue()
    await nats_client.subscribe(subject, cb=letters.put)
    await settled(nats_client)

    class RefuseOnce(BaseMiddleware):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            if not refused:
                refused.append(cmd.destination)
                raise OSError("no way out")
            return await call_next(cmd)

    bucket = Bucket(bucket_name)
    calls: Seen[str] = Seen()

    @bucket.on_put(
        durable="worker", retry=Retry(attempts=1, delays=(0.05,)), dead_letter=subject
    )
    async def handle(info: ObjectInfo) -> None:
        await calls.add(info.name)
        raise ValueError("no image")

    async with running(nats_server.url, bucket, middlewares=[RefuseOnce]) as buckets:
        await (await store_of(buckets, bucket)).put("a", b"")
        letter = json.loads((await soon(letters.get())).data)

    assert refused == [subject]
    assert calls.all == ["a"]
    assert letter["attempts"] == 1


async def test_metadata_that_does_not_parse_is_logged_once(
    nats_server: NatsServer,
    nats_client: Client,
    bucket_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bucket = Bucket(bucket_name)
    calls = Names()
    bucket.on_put(durable="worker")(calls.take)
    broker = NatsBroker(nats_server.url, logger=logging.getLogger("test"))
    buckets = Buckets(broker, bucket)
    await broker.start()
    try:
        subject = wire.metadata_subject(bucket_name, "bad")
        await nats_client.jetstream().publish(subject, b"no JSON")
        store = await store_of(buckets, bucket)
        for number in range(5):
            await store.put(str(number), b"")
            await calls.wait_for(number + 1)
    finally:
        await broker.stop()

    info = await nats_client.jetstream().consumer_info(f"OBJ_{bucket_name}", "worker")
    assert info.num_ack_pending == 0
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "'bad'" in warnings[0].getMessage()


async def test_changes_cannot_be_awaited_in_test_mode() -> None:
    bucket = Bucket("photos")
    subscriber = bucket.on_put()
    broker = NatsBroker()
    Buckets(broker, bucket)
    async with TestNatsBroker(broker):
        with pytest.raises(NotConnectedError, match="with_real=True"):
            await subscriber.get_one(timeout=0.1)


def test_every_line_of_what_happens_when_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "changes.md").read_text()
    section = text.split("## What happens when")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if not row.startswith("| ---")]
    existing = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"proved by nothing: {row}"
        assert set(named) <= existing, row


def test_options_table_names_every_option() -> None:
    text = (ROOT / "docs" / "changes.md").read_text()
    section = text.split("## Options")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)", section, re.MULTILINE)

    options = set(inspect.signature(Bucket.on_put).parameters) - {"self", "pattern"}
    assert set(named) == options
