"""A command for the objects of a bucket: `ObjectStore` on a plain nats-py connection.

    python examples/object_cli.py

shows each of its commands on a server of its own. There is no FastStream service and no
broker; with a server, it is a small tool:

    export NATS_URL=nats://127.0.0.1:4222
    python examples/object_cli.py photos put cat.png dog.png
    python examples/object_cli.py photos ls
    python examples/object_cli.py photos get cat.png copy.png
    python examples/object_cli.py photos watch
    python examples/object_cli.py photos rm dog.png

What fails is one line on stderr, and the exit status 1.
"""

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nats
import nats.errors

from faststream_objstore import ObjectStore, ObjStoreError
from faststream_objstore.testing import NatsServer


@asynccontextmanager
async def connected(url: str, bucket: str, *, create: bool) -> AsyncIterator[ObjectStore]:
    """The store of a bucket, which is made if it is missing and `create` says so."""

    async def silent(_: Exception) -> None:
        """What the command has to say comes as an exception."""

    client = await nats.connect(
        url, error_cb=silent, max_reconnect_attempts=20, reconnect_time_wait=0.25
    )
    try:
        yield await ObjectStore.bind(client, bucket, declare=create)
    finally:
        await client.close()


async def put(store: ObjectStore, given: argparse.Namespace) -> None:
    for path in given.files:
        info = await store.put_file(path.name, path)
        print(f"put {info.name}: {info.size} bytes, revision {info.revision}")


async def get(store: ObjectStore, given: argparse.Namespace) -> None:
    if str(given.file) == "-":
        async with store.open(given.name) as reader:
            async for chunk in reader:
                sys.stdout.buffer.write(chunk)
        return
    path = given.file or Path(Path(given.name).name)
    # Appears whole and verified, or not at all.
    info = await store.get_file(given.name, path)
    print(f"got {info.name}: {info.size} bytes, in {path}")


async def ls(store: ObjectStore, given: argparse.Namespace) -> None:
    for info in await store.list(pattern=given.pattern):
        print(f"{info.size:>12}  {info.mtime:%Y-%m-%d %H:%M}  {info.name}")


async def rm(store: ObjectStore, given: argparse.Namespace) -> None:
    for name in given.names:
        if not await store.delete(name):
            print(f"{name} had been deleted before")


async def watch(store: ObjectStore, given: argparse.Namespace) -> None:
    seen = 0
    async for info in store.watch():
        print("del" if info.deleted else "put", info.name, flush=True)
        seen += 1
        if seen == given.count:
            return


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="object_cli", description="The objects of a NATS Object Store bucket."
    )
    url = os.environ.get("NATS_URL") or "nats://127.0.0.1:4222"
    parser.add_argument("--server", default=url, help="address, %(default)s if not given")
    parser.add_argument("bucket")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("put", help="store files; makes the bucket if need be")
    command.add_argument("files", type=Path, nargs="+", metavar="file")
    command.set_defaults(run=put)

    command = commands.add_parser("get", help="write an object to a file")
    command.add_argument("name")
    command.add_argument("file", type=Path, nargs="?", help="- is standard output")
    command.set_defaults(run=get)

    command = commands.add_parser("ls", help="list the objects")
    command.add_argument("pattern", nargs="?", help="say '*.png', or 'ann/**'")
    command.set_defaults(run=ls)

    command = commands.add_parser("rm", help="delete objects")
    command.add_argument("names", nargs="+", metavar="name")
    command.set_defaults(run=rm)

    command = commands.add_parser("watch", help="what is there, then each change")
    command.add_argument("--count", type=int, help="end after so many")
    command.set_defaults(run=watch)
    return parser


async def run(line: Sequence[str]) -> str | None:
    """Run one command line; what went wrong, if anything did."""
    given = arguments().parse_args(line)
    try:
        async with connected(given.server, given.bucket, create=given.run is put) as store:
            await given.run(store, given)
    except (ObjStoreError, OSError) as error:
        return str(error)
    except nats.errors.Error as error:
        return f"{given.server} cannot be used: {error}"
    return None


async def session(lines: Sequence[str]) -> None:
    async with NatsServer() as server:
        for line in lines:
            print(f"$ object_cli {line}", flush=True)
            if error := await run(["--server", server.url, *shlex.split(line)]):
                print(error)
            sys.stdout.flush()


def demonstrate() -> None:
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("poem.txt").write_text("so much depends upon\n", "utf-8")
        Path("large.bin").write_bytes(bytes(3_000_000))
        lines = [
            "demo put poem.txt large.bin",
            "demo ls",
            "demo get poem.txt copy.txt",
            "demo get poem.txt -",
            "demo rm large.bin",
            "demo watch --count 2",
            "demo get large.bin",
        ]
        asyncio.run(session(lines))
        os.chdir(before)


def main() -> str | None:
    try:
        if sys.argv[1:]:
            return asyncio.run(run(sys.argv[1:]))
        demonstrate()
    except KeyboardInterrupt:
        # How a watch ends.
        pass
    return None


if __name__ == "__main__":
    sys.exit(main())
