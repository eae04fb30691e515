"""The FastAPI example: as a program, in memory, and as a service that meets faults."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from fastapi.testclient import TestClient
from faststream.nats import TestNatsBroker

from examples import fastapi_app
from faststream_objstore import ObjectStore
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]


def test_example_uploads_reports_downloads_and_deletes() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/fastapi_app.py"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    *shown, last = done.stdout.splitlines()
    assert shown == [
        # 100,000 lines of 21 bytes and 4 words: the anchor, 17 chunks of 128 KiB, metadata.
        'upload   201 {"size":2100000,"revision":19}',
        'reported 200 {"name":"ann/poem.txt","size":2100000,"words":400000}',
        "download 200 so much depends upon",
        'names    200 ["ann/poem.txt"]',
        "delete   204",
    ]
    assert last.startswith('download 410 {"type": "about:blank", "title": "Gone"')


async def test_routes_and_handlers_share_buckets_in_memory() -> None:
    async with TestNatsBroker(fastapi_app.broker) as broker:
        with TestClient(fastapi_app.app) as client:
            put = client.put(
                "/files/ann/poem.txt",
                content=b"so much depends upon",
                headers={"Content-Type": "text/x-poem"},
            )
            # In memory a put calls the handler at once.
            fastapi_app.report_on.mock.assert_called_once()
            got = client.get("/files/ann/poem.txt")
            report = client.get("/reports/ann/poem.txt")
            size = await (await broker.request("ann/poem.txt", "files.size")).decode()
            names = [
                client.get("/files", params={"prefix": one}).json() for one in ("ann/", "bob/")
            ]
            deleted = client.delete("/files/ann/poem.txt")
            gone = client.get("/files/ann/poem.txt")
            never = client.delete("/files/nobody")
            nameless = client.put("/files/", content=b"x")

    assert (put.status_code, put.json()) == (201, {"size": 20, "revision": 2})
    assert got.content == b"so much depends upon"
    assert got.headers["Content-Type"].partition(";")[0] == "text/x-poem"
    assert got.headers["Content-Length"] == "20"
    assert report.json() == {"name": "ann/poem.txt", "size": 20, "words": 4}
    assert size == 20
    assert names == [["ann/poem.txt"], []]
    assert deleted.status_code == 204
    assert gone.status_code == 410
    assert never.status_code == 404
    assert nameless.status_code == 400
    assert nameless.json()["detail"] == "No object can have this name."


@asynccontextmanager
async def service(url: str) -> AsyncIterator[str]:
    """The service in a process of its own; its host and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "examples.fastapi_app:app", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    written = ""
    try:
        while not (found := re.search(r"http://([\d.]+:\d+)", written)):
            line = process.stderr.readline()
            assert line, f"it ended: {written}"
            written += line
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def ask(host: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_upload_that_breaks_off_leaves_the_old_version(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path) as server, service(server.url) as host:
        assert ask(host, "PUT", "/files/a", b"old")[0] == 201
        async with await nats.connect(server.url) as client:
            store = ObjectStore.on(await JetStreamServer(client).open("files"))
            before = (await store.status()).size

            connection = http.client.HTTPConnection(host, timeout=20)
            connection.putrequest("PUT", "/files/a")
            connection.putheader("Content-Length", str(10**7))
            connection.endheaders(bytes(10**6))
            # Some of the body is in the bucket before its sender goes away.
            while (await store.status()).size < before + 2**17:
                pass
            connection.close()
            while (await store.status()).size != before:
                pass

        assert ask(host, "GET", "/files/a") == (200, b"old")
        assert json.loads(ask(host, "GET", "/files")[1]) == ["a"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_service_outlives_a_restart_of_the_server(tmp_path: Path, end: str) -> None:
    async with NatsServer(store_dir=tmp_path) as server, service(server.url) as host:
        assert ask(host, "PUT", "/files/a", b"one")[0] == 201
        await (server.stop() if end == "stop" else server.kill())
        await server.start()
        assert ask(host, "PUT", "/files/b", b"two words")[0] == 201
        assert ask(host, "GET", "/files/a") == (200, b"one")

        async with await nats.connect(server.url) as client:
            reports = ObjectStore.on(await JetStreamServer(client).open("reports"))
            async with reports.watch() as changes:
                while (info := await changes.updates(timeout=30)) is None or info.name != "b":
                    pass
        assert json.loads(ask(host, "GET", "/reports/b")[1])["words"] == 2
