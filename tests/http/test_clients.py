"""Clients that nobody here wrote: curl, wget, aria2c and httpx, with the content compared."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi
from tests.http.support import run, serve, sha256_of, started, tool

MIB = 1024 * 1024


LARGE = pytest.mark.parametrize(
    "content",
    [20 * MIB + 7, pytest.param(200 * MIB + 7, marks=pytest.mark.once)],
    ids=["20 MiB", "200 MiB"],
    indirect=True,
)


@pytest.fixture
def content(request: pytest.FixtureRequest) -> bytes:
    return random.Random(1).randbytes(getattr(request, "param", 20 * MIB + 7))


@pytest.fixture
async def url(
    server_store: ObjectStore, content: bytes, options: dict[str, Any]
) -> AsyncIterator[str]:
    """Where an object of this content is."""
    await server_store.put("dir/large.bin", content)
    async with serve(make_bucket_asgi(server_store, **options)) as base:
        yield f"{base}/dir/large.bin"


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@LARGE
async def test_curl_downloads_a_whole_and_goes_on_with_a_part(
    url: str, content: bytes, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    await run(tool("curl"), "-sSf", "-o", whole, url)
    part.write_bytes(content[:1_000_001])
    _, said = await run(tool("curl"), "-sSf", "-C", "-", "-w", "%{http_code}", "-o", part, url)

    assert sha256_of(whole) == sha256_of(part) == digest_of(content)
    assert said == "206"


@LARGE
async def test_curl_uploads_what_is_then_there(
    url: str, content: bytes, server_store: ObjectStore, tmp_path: Path
) -> None:
    file = tmp_path / "up.bin"
    file.write_bytes(content)
    target = url.replace("large", "uploaded")
    _, said = await run(tool("curl"), "-sSf", "-T", file, "-w", "%{http_code}", target)

    assert said == "201"
    info = await server_store.get_info("dir/uploaded.bin")
    assert info.size == len(content)
    async with server_store.open(info) as reader:
        digest = hashlib.sha256()
        async for piece in reader:
            digest.update(piece)
    assert digest.hexdigest() == digest_of(content)


async def test_curl_does_not_overwrite_what_it_has_not_seen(
    url: str, server_store: ObjectStore, tmp_path: Path
) -> None:
    curl = (tool("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code}")
    etags = tmp_path / "etag"
    small = url.replace("large", "small")
    await run(*curl, "-X", "PUT", "-d", "one", small)
    await run(*curl, "--etag-save", etags, small)
    _, unchanged = await run(*curl, "--etag-compare", etags, small)
    etag = etags.read_text().strip()
    statuses = [
        (await run(*curl, "-X", "PUT", "-d", data, "-H", f"If-Match: {etag}", small))[1]
        for data in ("two", "three")
    ]

    assert (unchanged, statuses) == ("304", ["204", "412"])
    assert await server_store.get("dir/small.bin") == b"two"


@LARGE
async def test_wget_resumes_after_the_connection_was_cut(
    url: str, content: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "large.bin"
    async with cut_after(httpx.URL(url), len(content) // 3) as cut:
        wget = (tool("wget"), "-q", "-c", "-O", target)
        code, _ = await run(*wget, "--tries=1", f"{cut}/dir/large.bin", check=False)
    partial = target.stat().st_size
    await run(*wget, url)

    assert code != 0
    assert 0 < partial < len(content)
    assert sha256_of(target) == digest_of(content)


def cut_after(url: httpx.URL, count: int) -> Any:
    """A proxy that closes the connection after so many bytes."""
    from contextlib import asynccontextmanager

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int
    ) -> None:
        while left > 0 and (piece := await reader.read(min(65536, left))):
            left -= len(piece)
            writer.write(piece)
            await writer.drain()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(url.host, url.port)
        asking = asyncio.create_task(pump(reader, outer, 10**9))
        try:
            await pump(inner, writer, count)
        finally:
            asking.cancel()
            writer.close()
            outer.close()

    @asynccontextmanager
    async def proxy() -> AsyncIterator[str]:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    return proxy()


@LARGE
async def test_aria2c_downloads_over_eight_connections(
    url: str, content: bytes, tmp_path: Path
) -> None:
    _, said = await run(
        tool("aria2c"), "-x8", "-s8", "-k1M", "--console-log-level=info",
        "-d", tmp_path, "-o", "large.bin", url,
    )  # fmt: skip

    assert said.count("Range: bytes=") >= 7
    assert sha256_of(tmp_path / "large.bin") == digest_of(content)


@LARGE
async def test_httpx_downloads_and_uploads_as_streams(
    url: str, content: bytes, server_store: ObjectStore
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 100_000):
            yield content[at : at + 100_000]

    digest = hashlib.sha256()
    async with httpx.AsyncClient(timeout=60) as client:
        async with client.stream("GET", url) as got:
            async for piece in got.aiter_raw():
                digest.update(piece)
        put = await client.put(url.replace("large", "streamed"), content=pieces())

    assert put.status_code == 201
    assert digest.hexdigest() == digest_of(content)
    assert (await server_store.get_info("dir/streamed.bin")).digest == (
        await server_store.get_info("dir/large.bin")
    ).digest


async def test_a_client_that_goes_away_leaves_nothing_on_the_server(
    url: str, server_store: ObjectStore, nats_server: Any
) -> None:
    import json

    import nats

    async def consumers() -> list[str]:
        reply = await client.request(f"$JS.API.CONSUMER.NAMES.OBJ_{server_store.bucket}", b"")
        return json.loads(reply.data).get("consumers") or []

    async with await nats.connect(nats_server.url) as client:
        async with started(tool("curl"), "-s", "--limit-rate", "100k", url) as process:
            assert process.stdout is not None
            await process.stdout.read(1000)
            while not await consumers():
                await asyncio.sleep(0.01)
        while await consumers():
            await asyncio.sleep(0.01)
