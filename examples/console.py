"""The console over a service that works, fails and retries, on a NATS server of its own.

    make console            # or: python examples/console.py --port 8080

Photos are uploaded all the time. `thumbnailer` shrinks them and fails now and then; `indexer`
is slow, so it falls behind; `tidy` deletes old ones.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import random
import signal
import socket
from datetime import timedelta
from typing import Annotated

import uvicorn
from faststream import Path
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from prometheus_client import CollectorRegistry

from faststream_objstore import (
    Bucket,
    Buckets,
    FromBucket,
    FromObject,
    ObjectStore,
    Retry,
    Sweep,
)
from faststream_objstore.health import make_health_asgi
from faststream_objstore.http import make_console_asgi, mount
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers.prometheus import PrometheusObserver, make_metrics_asgi
from faststream_objstore.testing import NatsServer

USERS = ("ann", "bob", "cy", "dee")
COLOURS = ("teal", "salmon", "gold", "slateblue", "seagreen", "orchid")
KEPT = 60


def picture(number: int, side: int = 240) -> bytes:
    """A picture as SVG, so that the example needs no image library."""
    chance = random.Random(number)  # noqa: S311 - a picture
    circles = "".join(
        f'<circle cx="{chance.randrange(side)}" cy="{chance.randrange(side)}" '
        f'r="{chance.randrange(20, 90)}" fill="{chance.choice(COLOURS)}" opacity=".7"/>'
        for _ in range(9)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
        f'<rect width="{side}" height="{side}" fill="#f4f1ea"/>{circles}</svg>'
    ).encode()


def build(url: str, *, writable: bool, slow: float = 0.9) -> tuple[AsgiFastStream, Buckets]:
    photos = Bucket("photos", description="Uploads", max_bytes=2_000_000)
    thumbs = Bucket("thumbs", description="What the thumbnailer makes", max_bytes=2_000_000)
    reports = Bucket("reports", description="What the indexer says")

    @photos.on_put(
        "{user}/{name:path}",
        durable="thumbnailer",
        max_workers=4,
        retry=Retry(4, delays=(2, 5)),
    )
    async def make_thumbnail(
        image: Annotated[bytes, FromObject()],
        user: Annotated[str, Path()],
        name: Annotated[str, Path()],
        store: Annotated[ObjectStore, FromBucket("thumbs")],
    ) -> None:
        await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311
        if random.random() < 0.1:  # noqa: S311
            msg = f"the codec gave up on {name}"
            raise RuntimeError(msg)
        await store.put(f"{user}/{name}", image, headers={"Content-Type": "image/svg+xml"})

    @photos.on_put(
        durable="indexer", dead_letter="indexer.failed", retry=Retry(2, delays=(1,))
    )
    async def write_report(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket("reports")]
    ) -> None:
        await asyncio.sleep(slow)
        if info.revision % 17 == 0:
            msg = f"no index for {info.name}"
            raise ValueError(msg)
        said = {"object": info.name, "size": info.size, "digest": info.digest}
        await store.put(
            f"{info.name}.json",
            json.dumps(said),
            headers={"Content-Type": "application/json"},
        )

    @photos.on_delete("{user}/{name:path}", durable="tidy")
    async def remove_thumbnail(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket("thumbs")]
    ) -> None:
        if await store.exists(info.name):
            await store.delete(info.name)

    registry = CollectorRegistry()
    broker = NatsBroker(url, logger=logging.getLogger("console"))
    observer = PrometheusObserver(registry)
    # Otherwise the markers of deleted objects would fill the bucket within a day.
    often = Sweep(every=timedelta(minutes=1), markers_older_than=timedelta(minutes=1))
    buckets = Buckets(broker, photos, thumbs, reports, observers=[observer], sweep=often)
    app = AsgiFastStream(
        broker,
        asgi_routes=[
            ("/health", make_health_asgi(buckets, max_lag=300, max_fill=0.9)),
            ("/metrics", make_metrics_asgi(observer)),
        ],
    )
    # Anyone who can reach this port may see everything, so it listens on this machine only.
    console = make_console_asgi(
        buckets,
        authorize=lambda _: True,
        writable=writable,
        max_lag=timedelta(minutes=5),
        max_fill=0.9,
    )
    mount(app, "/console", console)
    return app, buckets


async def upload(buckets: Buckets, seconds: float) -> None:
    """Put photos, replace some, and delete the oldest."""
    store = await buckets.open("photos")
    names: list[str] = []
    for number in itertools.count():
        name = f"{random.choice(USERS)}/{2024 + number % 3}/photo-{number:05}.svg"  # noqa: S311
        if names and number % 7 == 0:
            name = random.choice(names)  # noqa: S311
        await store.put(name, picture(number), headers={"Content-Type": "image/svg+xml"})
        if name not in names:
            names.append(name)
        if len(names) > KEPT:
            await store.delete(names.pop(0))
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--nats", metavar="URL", help="use this server, not one of its own")
    parser.add_argument("--read-only", action="store_true", help="no uploads, no deletions")
    parser.add_argument("--every", type=float, default=0.7, help="seconds between uploads")
    parser.add_argument("--slow", type=float, default=0.9, help="seconds of the indexer")
    parser.add_argument("--no-uploads", action="store_true", help="only handle changes")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    async with contextlib.AsyncExitStack() as stack:
        url = given.nats or (await stack.enter_async_context(NatsServer())).url
        app, buckets = build(url, writable=not given.read_only, slow=given.slow)
        uploads: set[asyncio.Task[None]] = set()
        if not given.no_uploads:

            @app.after_startup
            async def begin() -> None:
                uploads.add(asyncio.create_task(upload(buckets, given.every)))

        stack.callback(lambda: [task.cancel() for task in uploads])
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        # uvicorn shuts down gracefully on a signal, and then raises it again.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: None)
        listening = socket.create_server(("127.0.0.1", given.port))
        port = listening.getsockname()[1]
        print(f"Console at http://127.0.0.1:{port}/console/ (Ctrl+C ends it)", flush=True)
        await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    asyncio.run(main())
