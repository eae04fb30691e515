"""`python -m examples.gallery`: the service, and a NATS server of its own."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from faststream_objstore import Buckets
from faststream_objstore.testing import NatsServer

from .app import build
from .samples import SCENES, sample
from .thumbnails import photos


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.gallery", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 is a free one (%(default)s)")
    parser.add_argument("--nats", metavar="URL", help="use this server, not one of its own")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, help="where its own server keeps the photos"
    )
    parser.add_argument("--samples", action="store_true", help="put some photos in")
    given = parser.parse_args()
    if given.nats and given.data:
        parser.error("--data is for the server of its own, and --nats is another one")
    return given


def listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        sys.exit(f"Cannot listen on {host}, port {port}: {error}. Try another --port.")


async def add_samples(buckets: Buckets) -> None:
    store = await buckets.open(photos)
    for name in SCENES:
        if not await store.exists(name):
            content = await asyncio.to_thread(sample, name)
            await store.put(name, content, headers={"Content-Type": "image/jpeg"})


async def serve(given: argparse.Namespace, listening: socket.socket) -> None:
    async with AsyncExitStack() as stack:
        url = given.nats
        if not url:
            server = NatsServer(store_dir=given.data)
            url = (await stack.enter_async_context(server)).url
        # Each message is logged at a level that is not shown.
        app, buckets = build(url, logging.DEBUG)
        if given.samples:
            adding: set[asyncio.Task[None]] = set()
            stack.callback(lambda: [task.cancel() for task in adding])

            # Put into the running service, so each appears as soon as it is drawn.
            @app.after_startup
            async def add() -> None:
                adding.add(asyncio.create_task(add_samples(buckets)))

        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=5, log_config=None
        )
        # uvicorn shuts down gracefully on a signal, and then raises it again.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: None)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Gallery at http://{shown}:{port} (Ctrl+C ends it)", flush=True)
        await uvicorn.Server(config).serve([listening])


def main() -> None:
    given = arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with listen(given.host, given.port) as listening:
        asyncio.run(serve(given, listening))


if __name__ == "__main__":
    main()
