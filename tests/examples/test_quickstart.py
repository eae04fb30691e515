"""The demonstration, as `make demo` runs it, and the same file as a service."""

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import anyio
import nats
import pytest
from nats.aio.client import Client

from faststream_objstore import ObjectStore
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]


def run(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/quickstart.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "poem.txt").write_text("so much\ndepends\nupon\n")
    (tmp_path / "picture.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
    )
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large.bin").write_bytes(bytes(300_000))
    return tmp_path


def test_demonstration_reports_on_every_file_of_a_folder(folder: Path) -> None:
    done = run(str(folder), env={"NATS_URL": ""})

    assert done.returncode == 0, done.stderr
    assert "4/4 files" in done.stdout
    assert "4 reports" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["txt", "1", "21", "3"] in rows
    assert ["png", "1", "24"] in rows
    assert ["binary", "1", "300000"] in rows
    assert ["text", "1", "0"] in rows
    assert "'large.bin'" in done.stdout
    assert "deleted large.bin, and its report went with it" in done.stdout
    assert "bucket reports: 3 objects" in done.stdout


def test_demonstration_refuses_what_is_no_folder() -> None:
    done = run("no/such/folder")

    assert done.returncode != 0
    assert "no/such/folder is not a folder." in done.stderr
    assert "Traceback" not in done.stderr


async def test_service_run_by_the_faststream_command_handles_what_others_put(
    tmp_path: Path,
) -> None:
    async with NatsServer(store_dir=tmp_path) as server:
        service = subprocess.Popen(
            [sys.executable, "-m", "faststream", "run", "examples.quickstart:app"],
            cwd=ROOT,
            env={**os.environ, "NATS_URL": server.url, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            client = await nats.connect(server.url)
            await until_started(client)
            stores = JetStreamServer(client)
            reports = ObjectStore.on(await stores.open("reports"))
            intake = ObjectStore.on(await stores.open("intake"))
            async with reports.watch() as changes:
                await intake.put("hello.txt", "one\ntwo\n")
                report = await changes.updates(timeout=20)
                while report is None:
                    report = await changes.updates(timeout=20)
                assert report.name == "hello.txt.json"
                expected = {
                    "name": "hello.txt",
                    "kind": "txt",
                    "size": 8,
                    # The anchor and one chunk came before the metadata.
                    "revision": 3,
                    "lines": 2,
                }
                assert json.loads(await reports.get(report)) == expected

                answer = await client.request("reports.get", b"hello.txt", timeout=5)
                assert json.loads(answer.data) == {**expected, "width": None, "height": None}

                await intake.delete("hello.txt")
                marker = await changes.updates(timeout=20)
                assert marker is not None
                assert (marker.name, marker.deleted) == ("hello.txt.json", True)
            await client.close()
        finally:
            service.send_signal(signal.SIGTERM)
            _, errors = service.communicate(timeout=30)
        assert service.returncode == 0, errors


async def until_started(client: Client) -> None:
    """Wait for the service's consumers: a durable one begins when it is first made."""
    with anyio.fail_after(30):
        for bucket, durable in (("intake", "reporter"), ("intake", "cleaner")):
            subject = f"$JS.API.CONSUMER.INFO.OBJ_{bucket}.{durable}"
            while b'"error"' in (await client.request(subject, timeout=5)).data:
                await anyio.sleep(0.05)
