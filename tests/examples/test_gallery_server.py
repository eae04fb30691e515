"""The photo service on a real NATS server, over real connections, and as processes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import httpx
import nats
import pytest
import uvicorn
from nats.js import JetStreamContext
from PIL import Image

from examples.gallery import images, thumbnails
from examples.gallery.app import build
from examples.gallery.live import MOST_WAITING, event
from examples.gallery.thumbnails import live
from faststream_objstore import Buckets
from faststream_objstore.testing import NatsServer
from tests.examples.gallery_support import photo_of, picture, put, thumb_of, tiles

ROOT = Path(__file__).parents[2]

# On a real server, over real connections.


@dataclass
class Service:
    client: httpx.AsyncClient
    port: int
    buckets: Buckets
    jetstream: JetStreamContext

    async def stored(self) -> int:
        """Messages in the bucket: chunks and metadata."""
        return (await self.jetstream.stream_info("OBJ_photos")).state.messages

    async def consumers(self, bucket: str = "photos") -> int:
        return (await self.jetstream.stream_info(f"OBJ_{bucket}")).state.consumer_count

    async def connect(
        self, request: str, *, body: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request on a connection of its own, which can be dropped."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
        writer.write(f"{request} HTTP/1.1\r\nHost: gallery\r\n".encode() + body)
        await writer.drain()
        return reader, writer


@pytest.fixture
async def nats_url() -> AsyncIterator[str]:
    # Not the session's: the names of this service's buckets are fixed.
    async with NatsServer() as server:
        yield server.url


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[Service]:
    app, buckets = build(url)
    started = asyncio.Event()
    app.after_startup(started.set)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listening]))
    connection = await nats.connect(url)
    try:
        with anyio.fail_after(30):
            await started.wait()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30
        ) as client:
            yield Service(client, port, buckets, connection.jetstream())
    finally:
        await connection.close()
        live.close()
        server.should_exit = True
        await task


@pytest.fixture
async def service(nats_url: str) -> AsyncIterator[Service]:
    async with serving(nats_url) as service:
        yield service


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what another process, or the other end of a connection, has to notice."""
    with anyio.fail_after(20):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await anyio.sleep(0.02)


async def told(
    lines: AsyncIterator[str], name: str | None = None, **expected: Any
) -> dict[str, Any]:
    """The next event about a photo that says what is expected."""
    with anyio.fail_after(20):
        async for line in lines:
            if line.startswith("data: {"):
                tile: dict[str, Any] = json.loads(line.removeprefix("data: "))
                if name in {None, tile["name"]} and expected.items() <= tile.items():
                    return tile
    raise AssertionError(f"the stream ended before {name}")


async def test_browsers_are_told_of_a_thumbnail_and_of_its_deletion(service: Service) -> None:
    async with service.client.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()
        photo = await put(service.client, "é.png", picture(40, 30))
        tile = await told(lines, "é.png", deleted=False)
        assert (tile["photo"], tile["width"], tile["height"]) == (photo, 40, 30)
        await service.client.delete(photo_of("é.png"))
        assert (await told(lines, "é.png", deleted=True))["revision"] > tile["revision"]


async def test_browsers_that_go_away_leave_nothing_behind(service: Service) -> None:
    consumers = await service.consumers("thumbs")
    connections = [await service.connect("GET /events", body=b"\r\n") for _ in range(5)]
    for reader, _ in connections:
        await reader.readuntil(b"retry: 1000\n\n")
    assert live.listening == 5
    assert await service.consumers("thumbs") == consumers

    for _, writer in connections:
        writer.transport.abort()
    await until(lambda: live.listening == 0)


async def test_browser_that_does_not_read_holds_up_nobody_and_nothing(
    service: Service,
) -> None:
    reader, writer = await service.connect("GET /events", body=b"\r\n")
    filler = event("filler", "x" * 20_000)
    async with service.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        await until(lambda: live.listening == 2)
        for number in range(20):
            # More in all than the sockets between here and there can hold.
            for _ in range(MOST_WAITING // 2):
                live.publish(filler)
            live.publish(event("tile", {"name": f"{number}.png"}))
            await told(lines, f"{number}.png")

    received = b""
    with anyio.fail_after(20):
        while b"event: reload" not in received:
            received = received[-20:] + await reader.read(2**16)
    writer.close()


async def test_range_is_right_at_every_border_of_chunks_and_windows(service: Service) -> None:
    content = os.urandom(3 * 2**20 + 12_345)
    await put(service.client, "large", content)
    chunk, window = 128 * 1024, 2**20

    for start, stop in [
        (0, 1),
        (chunk - 1, chunk + 1),
        (window - 1, window + 1),
        (window + 5, 3 * window + 7),
        (0, len(content)),
        (len(content) - 1, len(content)),
    ]:
        response = await service.client.get(
            photo_of("large"), headers={"Range": f"bytes={start}-{stop - 1}"}
        )
        assert response.status_code == 206
        assert response.content == content[start:stop]
    assert (await service.client.get(photo_of("large"))).content == content


@pytest.mark.parametrize("header", ["", "Range: bytes=1-\r\n"])
async def test_download_that_is_broken_off_leaves_nothing_on_the_server(
    service: Service, header: str
) -> None:
    await put(service.client, "large", os.urandom(20 * 2**20))
    before = await service.consumers()

    for _ in range(3):
        reader, writer = await service.connect(
            "GET /photos/large", body=f"{header}\r\n".encode()
        )
        await reader.readexactly(100_000)
        writer.transport.abort()

    async def as_before() -> bool:
        return await service.consumers() == before

    await until(as_before)


async def test_upload_that_is_broken_off_leaves_no_object_and_no_chunks(
    service: Service,
) -> None:
    await put(service.client, "part", b"the version before")
    before = await service.stored()
    _, writer = await service.connect(
        "PUT /photos/part", body=b"Content-Length: 9000000\r\n\r\n" + bytes(4_000_000)
    )

    async def chunks_are_stored() -> bool:
        return await service.stored() >= before + 10

    async def none_are_left() -> bool:
        return await service.stored() == before

    await until(chunks_are_stored)
    writer.transport.abort()
    await until(none_are_left)
    response = await service.client.get(photo_of("part"))
    assert response.content == b"the version before"


async def test_uploads_of_one_name_at_once_end_as_one_of_them(service: Service) -> None:
    sizes = range(10, 22)

    async with service.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        photos = await asyncio.gather(
            *(put(service.client, "same.png", picture(size, size)) for size in sizes)
        )
        tile = await told(lines, "same.png", photo=max(photos))

    width = tile["width"]
    content = (await service.client.get(photo_of("same.png"))).content
    assert Image.open(BytesIO(content)).size == (width, width)
    assert width in sizes
    thumb = await service.client.get(thumb_of("same.png"))
    assert Image.open(BytesIO(thumb.content)).size == (width, width)

    # One object: its chunk and its metadata, beside the anchor.
    async def one_is_left() -> bool:
        return await service.stored() == 3

    await until(one_is_left)


def slow_thumbnails(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[threading.Event, threading.Event]:
    """Thumbnails that set the first event when begun, and wait for the second."""
    begun, go = threading.Event(), threading.Event()

    def slow(content: bytes) -> images.Thumbnail:
        begun.set()
        assert go.wait(30)
        return images.thumbnail(content)

    monkeypatch.setattr(thumbnails, "thumbnail", slow)
    return begun, go


async def test_photo_deleted_while_its_thumbnail_is_made_leaves_no_tile(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = slow_thumbnails(monkeypatch)
    async with service.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        await put(service.client, "brief.png", picture())
        assert await asyncio.to_thread(begun.wait, 20)
        await service.client.delete(photo_of("brief.png"))
        go.set()
        await told(lines, "brief.png", deleted=True)
    assert await tiles(service.client) == {}


async def test_slow_replica_does_not_replace_a_newer_thumbnail(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = slow_thumbnails(monkeypatch)
    async with service.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        old = await put(service.client, "twice.png", picture(10, 10))
        assert await asyncio.to_thread(begun.wait, 20)
        new = await put(service.client, "twice.png", picture(20, 20))
        # What another replica would do meanwhile.
        photo = await (await service.buckets.open("photos")).get_info("twice.png")
        await thumbnails.thumbnail_of.publish(b"thumb", name="twice.png", source=photo)
        await told(lines, "twice.png", photo=new, width=0)
        go.set()
        # This process comes to the newer one itself, once it is through with the older.
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["width"] != 20:
            seen.append(await told(lines, "twice.png"))
    assert old not in [tile["photo"] for tile in seen]


async def test_failure_that_nobody_foresaw_ends_as_a_tile(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(content: bytes) -> images.Thumbnail:
        calls.append(len(content))
        raise RuntimeError("out of order")

    monkeypatch.setattr(thumbnails, "thumbnail", broken)
    async with service.client.stream("GET", "/events") as response:
        await put(service.client, "cursed.png", picture())
        tile = await told(response.aiter_lines(), "cursed.png")

    assert tile["error"] == "no thumbnail could be made"
    assert calls == [len(picture())] * 3


async def test_service_goes_on_after_a_restart_of_nats(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path) as server, serving(server.url) as service:
        async with service.client.stream("GET", "/events") as response:
            lines = response.aiter_lines()
            await put(service.client, "before.png", picture())
            await told(lines, "before.png")
            await server.stop()
            down = await service.client.get("/tiles")
            assert (down.status_code, down.headers["retry-after"]) == (503, "1")
            await server.start()

            async def answers() -> bool:
                return (await service.client.get("/tiles")).status_code == 200

            await until(answers)
            await put(service.client, "after.png", picture(50, 40))
            assert (await told(lines, "after.png"))["width"] == 50
        assert set(await tiles(service.client)) == {"before.png", "after.png"}


# In processes of their own.


@asynccontextmanager
async def process(*command: str, **env: str) -> AsyncIterator["subprocess.Popen[str]"]:
    started = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


async def url_of(started: "subprocess.Popen[str]") -> str:
    assert started.stdout is not None
    line = await asyncio.to_thread(started.stdout.readline)
    assert line.startswith("Gallery at http://127.0.0.1:"), line
    return line.split()[2]


async def test_replicas_all_tell_their_browsers_and_share_the_work(nats_url: str) -> None:
    options = ("examples.gallery", "--port", "0", "--nats", nats_url)
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()

    async def both_follow() -> bool:
        try:
            info = await jetstream.stream_info("OBJ_thumbs")
        except nats.js.errors.NotFoundError:
            return False
        return info.state.consumer_count == 2

    async with (
        process(*options) as one,
        process(*options) as other,
        httpx.AsyncClient(base_url=await url_of(one), timeout=20) as left,
        httpx.AsyncClient(base_url=await url_of(other), timeout=20) as right,
        left.stream("GET", "/events") as at_left,
        right.stream("GET", "/events") as at_right,
    ):
        await until(both_follow)
        streams = at_left.aiter_lines(), at_right.aiter_lines()
        names = [f"{number}.png" for number in range(6)]
        for number, name in enumerate(names):
            await put((left, right)[number % 2], name, picture(10 + number, 10))
        for lines in streams:
            # They share the work, so in any order.
            widths: dict[str, int] = {}
            while widths.keys() < set(names):
                tile = await told(lines)
                widths[tile["name"]] = tile["width"]
            assert widths == {name: 10 + number for number, name in enumerate(names)}
        # A thumbnail is a chunk and its metadata, each was made once; and there is the anchor.
        assert (await jetstream.stream_info("OBJ_thumbs")).state.last_seq == 13

        await left.delete(photo_of("3.png"))
        for lines in streams:
            await told(lines, "3.png", deleted=True)
    await connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_gallery_ends_cleanly_with_a_browser_that_listens(
    number: signal.Signals,
) -> None:
    async with process("examples.gallery", "--port", "0") as started:
        async with (
            httpx.AsyncClient(base_url=await url_of(started), timeout=20) as client,
            client.stream("GET", "/events") as response,
        ):
            chunks = response.aiter_text()
            assert (await anext(chunks)).startswith("retry: 1000\n\n")
            started.send_signal(number)
            with anyio.fail_after(20):
                async for _ in chunks:
                    pass
        output, _ = await asyncio.to_thread(started.communicate, timeout=20)
    assert started.returncode == 0, output
    assert "Traceback" not in output
    assert "timeout graceful shutdown exceeded" not in output


@pytest.mark.parametrize(
    "command",
    [
        ("uvicorn", "examples.gallery.app:app"),
        ("faststream", "run", "examples.gallery.app:app"),
    ],
    ids=["uvicorn", "faststream"],
)
async def test_service_runs_under_the_usual_commands(
    nats_url: str, command: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with process(*command, "--port", str(port), NATS_URL=nats_url) as started:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def is_up() -> bool:
                try:
                    return (await client.get("/health")).is_success
                except httpx.TransportError:
                    return False

            await until(is_up)
            async with client.stream("GET", "/events") as response:
                chunks = response.aiter_text()
                await anext(chunks)
                await put(client, "sea.png", picture(16, 9))
                started.send_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    async for _ in chunks:
                        pass
        output, _ = await asyncio.to_thread(started.communicate, timeout=20)
    # uvicorn ends by the signal that it was sent, once it is through.
    assert started.returncode in {0, -signal.SIGTERM}, output
    assert "app shut down gracefully" in output
    assert "Traceback" not in output


def test_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "examples.gallery", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr


async def test_photos_are_kept_in_the_folder_that_is_given(tmp_path: Path) -> None:
    expected: list[set[str]] = [set(), {"kept.png"}]
    for known in expected:
        options = ("examples.gallery", "--port", "0", "--data", str(tmp_path))
        async with process(*options) as started:
            async with httpx.AsyncClient(base_url=await url_of(started), timeout=20) as client:
                assert set(await tiles(client)) == known
                async with client.stream("GET", "/events") as response:
                    await put(client, "kept.png", picture())

                    async def is_shown() -> bool:
                        return "kept.png" in await tiles(client)

                    await until(is_shown)
                    await response.aclose()
            started.send_signal(signal.SIGINT)
            await asyncio.to_thread(started.wait, 20)
            assert started.returncode == 0
