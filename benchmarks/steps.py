"""What is measured: each step takes one sample of one peer, of one measure or several."""

import itertools
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.production.cluster import SIZE as SERVERS
from tests.production.cluster import cluster
from typing_extensions import Self

from faststream_objstore.testing import NatsServer

from .peers import LANELESS, OURS, Command, Missing, command_of
from .process import DriverError, Process

__all__ = ("COUNTS", "MEASURES", "SCALES", "STEPS", "Bench", "Sizes", "Step")

KIB, MIB, GIB = 1024, 1024**2, 1024**3
CHUNK = 128 * KIB
FAR_MS = 10
LINKS_MS = (1, 10, 50)
# A certificate for localhost, and what has signed it.
TLS = Path(__file__).parents[1] / "tests" / "docs" / "tls"

ALL = (OURS, "nats-py", "natsio", "natsrpy", "nats.js")
SERVICE = "FastStream"
HTTP = "HTTP"
FILE = "FileResponse"
RAW = "raw"

COUNTS = ("1,000", "10,000", "100,000")
"""How many objects the measures of `SCALES` are of; stands where a peer does."""

SCALES = {
    "scale_list": ("list", "ms"),
    "scale_watch": ("watch, its present state", "ms"),
    "scale_sweep": ("sweep", "ms"),
    "scale_status": ("status(count=False)", "ms"),
    "scale_get_info": ("get_info", "ms"),
    "scale_list_memory": ("list, memory above idle", "MiB"),
    "scale_watch_memory": ("watch, memory above idle", "MiB"),
    "scale_sweep_memory": ("sweep, memory above idle", "MiB"),
}
"""Title and unit of what is measured with more and more objects."""

MEASURES: dict[str, tuple[str, str]] = {
    "put_large": ("put 256 MiB", "MB/s"),
    "get_large": ("get 256 MiB", "MB/s"),
    "put_tls": ("put 256 MiB over TLS", "MB/s"),
    "get_tls": ("get 256 MiB over TLS", "MB/s"),
    "put_small": ("put 1 KiB, p50", "ms"),
    "get_small": ("get 1 KiB, p50", "ms"),
    "put_many_1k": ("put 1 KiB, 64 at a time", "ops/s"),
    "get_first": ("get 1 KiB for the first time, p50", "ms"),
    "get_first_many": ("get 1 KiB for the first time, 64 at a time", "ops/s"),
    "get_many_1k": ("get 1 KiB, 64 at a time", "ops/s"),
    "put_many_100k": ("put 100 KiB, 64 at a time", "ops/s"),
    "get_many_100k": ("get 100 KiB, 64 at a time", "ops/s"),
    "put_far": ("put 32 MiB at 10 ms round trip", "MB/s"),
    "get_far": ("get 1 KiB at 10 ms round trip, p50", "ms"),
    "get_far_trips": ("get 1 KiB at 10 ms round trip", "round trips"),
    **{
        f"{verb}_link_{ms}": (f"{verb} 32 MiB at {ms} ms round trip", "MB/s")
        for ms in LINKS_MS
        for verb in ("put", "get")
    },
    "put_cluster": ("put 32 MiB with 3 replicas", "MB/s"),
    "get_cluster": ("get 32 MiB with 3 replicas", "MB/s"),
    "put_cluster_small": ("put 1 KiB with 3 replicas, p50", "ms"),
    "get_cluster_small": ("get 1 KiB with 3 replicas, p50", "ms"),
    "bulk_put": ("put 4,000 of 1 KiB, 64 at a time", "objects/s"),
    "bulk_put_dir": ("put_dir of 4,000 files of 1 KiB", "objects/s"),
    "bulk_get": ("get 4,000 of 1 KiB for the first time, 64 at a time", "objects/s"),
    "bulk_get_dir": ("get_dir of 4,000 of 1 KiB", "objects/s"),
    "bulk_get_many_names": ("get_many of 4,000 names", "objects/s"),
    "bulk_get_many_infos": ("get_many of 4,000 listed versions", "objects/s"),
    "bulk_sync": ("sync of 4,000 unchanged files", "objects/s"),
    "bulk_delete_all": ("delete_all of 4,000", "objects/s"),
    "list": ("list 10,000", "ms"),
    "iter_10k_memory": ("iter over 10,000, memory", "MiB"),
    "iter_100k_memory": ("iter over 100,000, memory", "MiB"),
    "iter_100k": ("iter over 100,000", "s"),
    "put_stream_memory": ("put 1 GiB as a stream, memory", "MiB"),
    "get_stream_memory": ("get 1 GiB as a stream, memory", "MiB"),
    "put_stream": ("put 1 GiB as a stream", "MB/s"),
    "get_stream": ("get 1 GiB as a stream", "MB/s"),
    "get_range": ("get_range of 64 KiB in 1 GiB, transferred", "KiB"),
    "events": ("change events, 4 workers", "events/s"),
    "events_one": ("change events, 1 worker", "events/s"),
    "download": ("download 256 MiB over HTTP", "MB/s"),
    "injection": ("injection of one parameter", "us"),
    "import": ("import", "ms"),
    "sha256": ("SHA-256", "MB/s"),
}
"""Title and unit by id; the titles give the sizes of a full run."""


@dataclass(frozen=True)
class Sizes:
    """How much is moved."""

    large: int = 256 * MIB
    far: int = 32 * MIB
    stream: int = GIB
    calls: int = 200
    far_calls: int = 20
    many_1k: int = 768
    many_100k: int = 448
    many_seconds: float = 0.5
    bulk: int = 4_000
    list: int = 10_000
    iter: int = 100_000
    scale: tuple[int, int, int] = (1_000, 10_000, 100_000)
    events: int = 3_000
    injection: int = 1_500
    imports: int = 5

    @classmethod
    def quick(cls) -> "Sizes":
        """So little that only the program is tested."""
        return cls(
            large=16 * MIB,
            far=2 * MIB,
            stream=64 * MIB,
            calls=20,
            far_calls=5,
            many_1k=128,
            many_100k=64,
            many_seconds=0.05,
            bulk=200,
            list=500,
            iter=3_000,
            scale=(250, 500, 3_000),
            events=500,
            injection=100,
            imports=1,
        )


class Bench:
    """A server, a proxy before it, and the drivers of all peers.

    Args:
        sizes: How much is moved.
        package: The folder that holds the `faststream_objstore` to measure.
        also: Folders of other versions of it, to measure beside.
    """

    def __init__(self, sizes: Sizes, package: Path, also: list[Path]) -> None:
        self.sizes = sizes
        self.missing: dict[str, str] = {}
        self.versions: dict[str, Any] = {}
        self._package = package
        self._also = [f"{OURS} @ {path.resolve()}" for path in also]
        self._server = NatsServer()
        self._stack = AsyncExitStack()
        self._commands: dict[str, Command] = {}
        self._near: dict[str, Process] = {}
        self._far: dict[int, dict[str, Process]] = {}
        self._secure: dict[str, Process] = {}
        self._numbers = itertools.count()
        self._kept: dict[str, str] = {}
        self._proxies: dict[int, tuple[Process, str]] = {}
        self._tls: tuple[NatsServer, Process] | None = None
        self._clustered: dict[str, Process] = {}
        self._cluster: tuple[str, Process] | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._server)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def prepare(self, peers: list[str]) -> None:
        """Make the environments, start the drivers, ask for versions."""
        for peer in peers:
            try:
                self._commands[peer] = command_of(peer, self._package)
                self.versions[peer] = await (await self.near(peer))("versions")
            except (Missing, DriverError) as error:
                self.missing[peer] = str(error)
        server = await (await self.near(RAW))("server")
        self.versions["nats-server"] = server["version"]

    def peers_of(self, step: "Step") -> tuple[str, ...]:
        """The peers, and other versions of this package where this package is one."""
        versions = self._also if OURS in step.peers and PLAIN not in step.peers else ()
        return (*step.peers, *versions)

    async def near(self, peer: str) -> Process:
        """A peer's driver, connected to the server."""
        return await self._driver(peer, self._near, self._server.url)

    async def far(self, peer: str, ms: int = FAR_MS) -> Process:
        """A peer's driver, connected by a link of so many milliseconds there and back."""
        _, url = await self._proxy(ms)
        return await self._driver(peer, self._far.setdefault(ms, {}), url)

    async def _proxy(self, ms: int) -> tuple[Process, str]:
        if ms not in self._proxies:
            proxy = await Process(
                [
                    sys.executable,
                    str(Path(__file__).with_name("proxy.py")),
                    "127.0.0.1",
                    str(self._server.port),
                    str(ms / 2000),
                ]
            ).start()
            self._stack.push_async_callback(proxy.stop)
            port = (await proxy.line())["port"]
            self._proxies[ms] = proxy, f"nats://127.0.0.1:{port}"
        return self._proxies[ms]

    async def secure(self, peer: str) -> Process:
        """A peer's driver, connected by TLS to a server of its own kind."""
        server, _ = await self._secured()
        return await self._driver(peer, self._secure, f"tls://localhost:{server.port}")

    async def _secured(self) -> tuple[NatsServer, Process]:
        if self._tls is None:
            # Certificate and key are given to the server, its issuer to OpenSSL in drivers.
            server = NatsServer(
                config=f'tls {{ cert_file: "{TLS / "server.pem"}", '
                f'key_file: "{TLS / "server-key.pem"}" }}'
            )
            await self._stack.enter_async_context(server)
            url = f"tls://localhost:{server.port}"
            self._tls = server, await self._driver(RAW, {}, url)
        return self._tls

    async def clustered(self, peer: str) -> Process:
        """A peer's driver, connected to one of the servers of a cluster."""
        url, _ = await self._started_cluster()
        return await self._driver(peer, self._clustered, url)

    async def _started_cluster(self) -> tuple[str, Process]:
        if self._cluster is None:
            url = (await self._stack.enter_async_context(cluster())).urls[0]
            self._cluster = url, await self._driver(RAW, {}, url)
        return self._cluster

    @asynccontextmanager
    async def fresh(self, peer: str) -> AsyncIterator[Process]:
        """A driver that has done nothing yet."""
        command = self._commands[peer]
        process = Process(command.at(self._server.url), command.environment)
        try:
            yield await process.start()
        finally:
            await process.stop()

    async def _driver(self, peer: str, kept: dict[str, Process], url: str) -> Process:
        if peer not in kept or kept[peer].ended:
            command = self._commands[peer]
            environment = command.environment
            if url.startswith("tls:"):
                environment["SSL_CERT_FILE"] = str(TLS / "ca.pem")
            kept[peer] = await Process(command.at(url), environment).start()
            self._stack.push_async_callback(kept[peer].stop)
        return kept[peer]

    async def secure_bucket(self) -> AbstractAsyncContextManager[str]:
        """An empty bucket on the server that takes TLS."""
        return self.bucket((await self._secured())[1])

    async def replicated_bucket(self) -> AbstractAsyncContextManager[str]:
        """An empty bucket on each server of the cluster."""
        return self.bucket((await self._started_cluster())[1], SERVERS)

    @asynccontextmanager
    async def bucket(
        self, raw: Process | None = None, replicas: int = 1
    ) -> AsyncIterator[str]:
        """An empty bucket, made the same way for every peer."""
        raw = raw or await self.near(RAW)
        name = f"bench-{next(self._numbers)}"
        await raw("create", bucket=name, replicas=replicas)
        try:
            yield name
        finally:
            await raw("delete", bucket=name)

    async def filled(self, count: int) -> str:
        """A bucket with `count` objects of 1 KiB, kept to the end."""
        key = f"filled-{count}"
        if key not in self._kept:
            bucket = await self._stack.enter_async_context(self.bucket())
            await (await self.near(RAW))("fill", bucket=bucket, count=count)
            self._kept[key] = bucket
        return self._kept[key]

    def next_name(self) -> str:
        """A name that was not used yet."""
        return f"name-{next(self._numbers)}"

    async def bytes_to_client(self) -> int:
        """What has passed the proxy."""
        proxy, _ = await self._proxy(FAR_MS)
        return int((await proxy("count"))["to_client"])


@dataclass(frozen=True)
class Step:
    """One sample of one peer; it may be of several measures."""

    name: str
    peers: tuple[str, ...]
    sample: Callable[[Bench, str], Awaitable[dict[str, float]]]


def _rate(size: int, answer: dict[str, Any]) -> float:
    return size / float(answer["seconds"]) / 1e6


def _p50(answer: dict[str, Any]) -> float:
    return float(statistics.median(answer["latencies"])) * 1e3


async def _large(bench: Bench, peer: str) -> dict[str, float]:
    driver, size = await bench.near(peer), bench.sizes.large
    async with bench.bucket() as bucket:
        put = await driver("put_large", bucket=bucket, name="large", size=size)
        got = await driver("get_large", bucket=bucket, name="large", size=size)
    return {"put_large": _rate(size, put), "get_large": _rate(size, got)}


async def _tls(bench: Bench, peer: str) -> dict[str, float]:
    driver, size = await bench.secure(peer), bench.sizes.large
    async with await bench.secure_bucket() as bucket:
        put = await driver("put_large", bucket=bucket, name="large", size=size)
        got = await driver("get_large", bucket=bucket, name="large", size=size)
    return {"put_tls": _rate(size, put), "get_tls": _rate(size, got)}


async def _publish(bench: Bench, peer: str) -> dict[str, float]:
    driver, size = await bench.near(peer), bench.sizes.large
    async with bench.bucket() as bucket:
        put = await driver("publish", bucket=bucket, size=size, chunk=CHUNK)
    hashed = await driver("sha256", size=size)
    return {"put_large": _rate(size, put), "sha256": _rate(size, hashed)}


async def _small(bench: Bench, peer: str) -> dict[str, float]:
    driver, count = await bench.near(peer), bench.sizes.calls
    async with bench.bucket() as bucket:
        put = await driver("put_small", bucket=bucket, size=KIB, count=count)
    async with bench.bucket() as bucket:
        got = await driver("get_small", bucket=bucket, size=KIB, count=count)
    return {"put_small": _p50(put), "get_small": _p50(got)}


async def _first(bench: Bench, peer: str) -> dict[str, float]:
    driver, count = await bench.near(peer), bench.sizes.calls
    async with bench.bucket() as bucket:
        got = await driver("get_first", bucket=bucket, size=KIB, count=count, workers=64)
    return {"get_first": _p50(got), "get_first_many": float(got["rate"])}


async def _many(bench: Bench, peer: str, *, size: int, count: int) -> tuple[float, float]:
    driver = await bench.near(peer)
    load = {"size": size, "count": count, "workers": 64, "seconds": bench.sizes.many_seconds}
    async with bench.bucket() as bucket:
        put = await driver("put_many", bucket=bucket, **load)
    async with bench.bucket() as bucket:
        got = await driver("get_many", bucket=bucket, **load)
    return float(put["rate"]), float(got["rate"])


async def _many_1k(bench: Bench, peer: str) -> dict[str, float]:
    put, got = await _many(bench, peer, size=KIB, count=bench.sizes.many_1k)
    return {"put_many_1k": put, "get_many_1k": got}


async def _many_100k(bench: Bench, peer: str) -> dict[str, float]:
    put, got = await _many(bench, peer, size=100 * KIB, count=bench.sizes.many_100k)
    return {"put_many_100k": put, "get_many_100k": got}


async def _bulk(bench: Bench, peer: str) -> dict[str, float]:
    async with bench.bucket() as bucket:
        answer = await (await bench.near(peer))("bulk", bucket=bucket, count=bench.sizes.bulk)
    return {f"bulk_{verb}": float(rate) for verb, rate in answer.items()}


async def _far(bench: Bench, peer: str) -> dict[str, float]:
    driver, sizes = await bench.far(peer), bench.sizes
    async with bench.bucket() as bucket:
        put = await driver("put_large", bucket=bucket, name="large", size=sizes.far)
        got = await driver(
            "get_small", bucket=bucket, size=KIB, count=sizes.far_calls, warm_up=2
        )
    result = {"put_far": _rate(sizes.far, put), "get_far": _p50(got)}
    if peer.startswith(OURS):
        ping = await driver("ping", count=sizes.far_calls)
        result["get_far_trips"] = _p50(got) / _p50(ping)
    return result


async def _links(bench: Bench, peer: str) -> dict[str, float]:
    size, result = bench.sizes.far, {}
    for ms in LINKS_MS:
        driver = await bench.far(peer, ms)
        async with bench.bucket() as bucket:
            put = await driver("put_large", bucket=bucket, name="large", size=size)
            got = await driver("get_large", bucket=bucket, name="large", size=size)
        result[f"put_link_{ms}"] = _rate(size, put)
        result[f"get_link_{ms}"] = _rate(size, got)
    return result


async def _replicas(bench: Bench, peer: str) -> dict[str, float]:
    driver, size = await bench.clustered(peer), bench.sizes.far
    load = {"size": KIB, "count": bench.sizes.calls}
    async with await bench.replicated_bucket() as bucket:
        put = await driver("put_large", bucket=bucket, name="large", size=size)
        got = await driver("get_large", bucket=bucket, name="large", size=size)
        put_small = await driver("put_small", bucket=bucket, **load)
        got_small = await driver("get_small", bucket=bucket, **load)
    return {
        "put_cluster": _rate(size, put),
        "get_cluster": _rate(size, got),
        "put_cluster_small": _p50(put_small),
        "get_cluster_small": _p50(got_small),
    }


async def _scale(bench: Bench, peer: str) -> dict[str, float]:
    result = {}
    for count, label in zip(bench.sizes.scale, COUNTS, strict=True):
        bucket = await bench.filled(count)
        async with bench.fresh(peer) as driver:
            answer = await driver("scale", bucket=bucket, count=count, calls=bench.sizes.calls)
        for name, of in answer.items():
            result[f"scale_{name}:{label}"] = of["seconds"] * 1e3
            result[f"scale_{name}_memory:{label}"] = of["bytes"] / MIB
    return {name: value for name, value in result.items() if name.partition(":")[0] in SCALES}


async def _list(bench: Bench, peer: str) -> dict[str, float]:
    bucket, count = await bench.filled(bench.sizes.list), bench.sizes.list
    answer = await (await bench.near(peer))("list", bucket=bucket, count=count)
    return {"list": answer["seconds"] * 1e3}


async def _iter(bench: Bench, peer: str) -> dict[str, float]:
    result = {}
    for measure, count in (
        ("iter_10k", bench.sizes.list),
        ("iter_100k", bench.sizes.iter),
    ):
        bucket = await bench.filled(count)
        async with bench.fresh(peer) as driver:
            answer = await driver("iter", bucket=bucket, count=count)
        result[f"{measure}_memory"] = answer["bytes"] / MIB
        result[measure] = answer["seconds"]
    del result["iter_10k"]
    return result


async def _stream(bench: Bench, peer: str) -> dict[str, float]:
    size = bench.sizes.stream
    async with bench.bucket() as bucket:
        what = {"bucket": bucket, "name": "large", "size": size}
        async with bench.fresh(peer) as driver:
            put = await driver("put_stream", **what)
        async with bench.fresh(peer) as driver:
            got = await driver("get_stream", **what)
        distant = await bench.far(peer)
        # So much is needed to know the bucket, or to make the first subscription.
        await distant("get_range", bucket=bucket, name="large", start=0, stop=1)
        before = await bench.bytes_to_client()
        # Half of it in one chunk, half in the next.
        start = size // 2 - 32 * KIB
        await distant(
            "get_range", bucket=bucket, name="large", start=start, stop=start + 64 * KIB
        )
        transferred = await bench.bytes_to_client() - before
    return {
        "put_stream_memory": put["bytes"] / MIB,
        "get_stream_memory": got["bytes"] / MIB,
        "put_stream": _rate(size, put),
        "get_stream": _rate(size, got),
        "get_range": transferred / KIB,
    }


async def _events(bench: Bench, peer: str) -> dict[str, float]:
    count = bench.sizes.events
    bucket = await bench.filled(count)
    result: dict[str, float] = {}
    driver = await bench.near(SERVICE)
    for measure, workers in (("events", 4), ("events_one", 1)):
        what: dict[str, Any] = {"bucket": bucket, "count": count, "workers": workers}
        what["durable"] = bench.next_name()
        if peer == OURS:
            answer = await driver("on_put", **what)
        else:
            answer = await driver("plain", pull=peer == PLAIN_PULL, **what)
        result[measure] = answer["rate"]
    return result


async def _injection(bench: Bench, _: str) -> dict[str, float]:
    answer = await (await bench.near(SERVICE))("injection", count=bench.sizes.injection)
    return {
        f"injection:{OURS}": answer["from_bucket"] * 1e6,
        "injection:FastStream Context()": answer["context"] * 1e6,
    }


async def _download(bench: Bench, _: str) -> dict[str, float]:
    driver, size = await bench.near(HTTP), bench.sizes.large
    async with bench.bucket() as bucket:
        answer = await driver("download", bucket=bucket, size=size)
    return {
        f"download:{OURS}": _rate(size, {"seconds": answer["object"]}),
        f"download:{FILE}": _rate(size, {"seconds": answer["file"]}),
    }


async def _import(bench: Bench, _: str) -> dict[str, float]:
    answer = await (await bench.near(SERVICE))("import", count=bench.sizes.imports)
    return {f"import:{OURS}": _p50(answer)}


PLAIN, PLAIN_PULL = "FastStream subscriber, push", "FastStream subscriber, pull"

BOTH = (OURS, LANELESS, *ALL[1:])

STEPS = (
    Step("large", BOTH, _large),
    Step("publish", (RAW,), _publish),
    Step("tls", (OURS, LANELESS, "nats-py"), _tls),
    Step("small", BOTH, _small),
    Step("first", (OURS, LANELESS, "nats-py"), _first),
    Step("many-1k", BOTH, _many_1k),
    Step("many-100k", BOTH, _many_100k),
    Step("bulk", (OURS, LANELESS), _bulk),
    Step("far", ALL, _far),
    Step("links", (OURS, "nats-py"), _links),
    Step("replicas", (OURS, "nats-py"), _replicas),
    Step("list", BOTH, _list),
    Step("iter", (OURS,), _iter),
    Step("scale", (OURS,), _scale),
    Step("stream", (OURS,), _stream),
    Step("events", (OURS, PLAIN, PLAIN_PULL), _events),
    Step("injection", (SERVICE,), _injection),
    Step("download", (HTTP,), _download),
    Step("import", (SERVICE,), _import),
)
"""In the order of a round."""
