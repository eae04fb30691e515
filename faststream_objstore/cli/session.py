"""The basis of a command: the server, the store of an address, and error reporting."""

import asyncio
import logging
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, NoReturn

import nats.errors
import typer
from nats.aio.client import Client

from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.servers import connect, without_secrets
from faststream_objstore.cli.output import emit, flushed, printable
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    BulkError,
    InvalidBucketNameError,
    InvalidLinkError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjStoreError,
)
from faststream_objstore.models import BulkResult, ObjectStoreConfig, validate_bucket_name
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket

__all__ = ("Address", "Session", "age", "fail", "run", "usage")


class Address(NamedTuple):
    """`bucket/name`; the name may be empty, and a folder's name ends with `/`."""

    bucket: str
    name: str

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read an address, with `objstore://` or without it; a usage error if it is none."""
        bucket, _, name = text.removeprefix("objstore://").partition("/")
        try:
            validate_bucket_name(bucket)
        except InvalidBucketNameError as error:
            usage(str(error))
        return cls(bucket, name)

    @classmethod
    def of_object(cls, text: str) -> "Address":
        """Read an address that names an object; a usage error otherwise."""
        found = cls.of(text)
        if not found.name or found.name.endswith("/"):
            usage(f"{text!r} is not an object; give bucket/name")
        return found

    @classmethod
    def of_bucket(cls, text: str) -> str:
        """Read the name of a bucket; a usage error if it is more."""
        found = cls.of(text)
        if found.name:
            usage(f"{text!r} is not a bucket; give its name alone")
        return found.bucket

    @property
    def is_folder(self) -> bool:
        """Whether it is a bucket, or a folder in one."""
        return not self.name or self.name.endswith("/")


@dataclass
class Session:
    """A connection, from the options that precede the command.

    Attributes:
        server: The server's address.
        timeout: Seconds allowed for one step.
        options: Further options for `nats.connect`.
        domain: The JetStream domain; the server's own if empty.
    """

    server: str
    timeout: float = 10.0
    options: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    client: Client | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[JetStreamServer]:
        """The server, while the block runs."""
        self.client = await connect(self.server, self.options)
        try:
            prefix = f"$JS.{self.domain}.API" if self.domain else "$JS.API"
            yield JetStreamServer(self.client, prefix=prefix, timeout=self.timeout)
        finally:
            await self.client.close()

    def reconnect_for_ever(self) -> None:
        """Let a connection that is there come back, however long the server is away."""
        if self.client is not None:
            # Not an option of `connect`, which would wait for ever for a wrong address.
            self.client.options["max_reconnect_attempts"] = -1

    @asynccontextmanager
    async def backend(self, bucket: str, *, create: bool = False) -> AsyncIterator[Backend]:
        """The backend of a bucket, which is created if it is missing and `create` is set."""
        async with self.connected() as server:
            config = ObjectStoreConfig(bucket=bucket)
            try:
                found = await bind_bucket(server, config, declare=create)
            except BucketNotFoundError:
                fail(f"Bucket '{bucket}' does not exist on {without_secrets(self.server)}.")
            yield found

    @asynccontextmanager
    async def store(self, bucket: str, *, create: bool = False) -> AsyncIterator[ObjectStore]:
        """The store of a bucket."""
        async with self.backend(bucket, create=create) as found:
            yield ObjectStore.on(found)


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Exit with one line on stderr, and the exit code."""
    print(printable(message), file=sys.stderr)
    raise typer.Exit(code)


def usage(message: str) -> NoReturn:
    """Exit with what is wrong with the command line, and the exit code 2."""
    raise typer.BadParameter(message)


# What the user got wrong; other errors come from the state of the server or of the disk.
_MISTAKES = (
    InvalidBucketNameError,
    InvalidLinkError,
    InvalidObjectNameError,
    InvalidOptionError,
)


def run(
    work: Callable[[], Awaitable[None]],
    *,
    failed: Callable[[BulkResult], Any] | None = None,
    until_interrupted: bool = False,
) -> None:
    """Run a command to its end; a failure is one line on stderr, and the exit code 1.

    The exit code is 2 if an argument is invalid. Ctrl-C and SIGTERM end the process, when what
    it has begun is cleared away.

    Args:
        work: The command.
        failed: The JSON to print if some of many objects failed.
        until_interrupted: Whether Ctrl-C is the normal way to end it.
    """
    ends: list[signal.Signals] = []

    async def awaited() -> None:
        working = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def end(how: signal.Signals) -> None:
            ends.append(how)
            if working is not None:
                working.cancel()

        if not until_interrupted:
            # So that what was sent, and the part of a file that is there, are removed: before
            # Python 3.11 an interrupt may end any task, and SIGTERM ends the process at once.
            with suppress(NotImplementedError):
                loop.add_signal_handler(signal.SIGINT, end, signal.SIGINT)
                loop.add_signal_handler(signal.SIGTERM, end, signal.SIGTERM)
        await work()

    # It warns of each connection that ends with TLS.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if until_interrupted:
        # As Ctrl-C does; uvicorn, which takes both, passes them on when it has ended.
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    try:
        asyncio.run(awaited())
        if sys.stdout is not None:
            sys.stdout.flush()
    except BulkError as error:
        if failed is not None:
            emit(failed(error.result))
        for name, why in error.result.failed.items():
            print(printable(f"{name}: {why}"), file=sys.stderr)
        if failed is None:
            print(_counts(error.result), file=sys.stderr)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        # The reader of the output has closed it.
        flushed()
        raise typer.Exit(1) from None
    except _MISTAKES as error:
        flushed()
        fail(str(error), code=2)
    except (ObjStoreError, nats.errors.Error, OSError) as error:
        flushed()
        fail(str(error))
    except asyncio.CancelledError:
        _ended_by(ends[0] if ends else signal.SIGINT)
    except KeyboardInterrupt:
        if not until_interrupted:
            _ended_by(signal.SIGINT)


def _ended_by(how: signal.Signals) -> NoReturn:
    """Say so, and end as the signal ends other programs.

    Only then does a shell end a loop that it runs the command in. It says 130 or 143.
    """
    flushed()
    print(
        "terminated" if how == signal.SIGTERM else "interrupted", file=sys.stderr, flush=True
    )
    if sys.platform != "win32":
        signal.signal(how, signal.SIG_DFL)
        signal.raise_signal(how)
    # The first process of a container is spared.
    raise typer.Exit(128 + how)


def _counts(result: BulkResult) -> str:
    """How much of it failed, and how much did not."""
    said = f"{len(result.failed)} failed; {len(result.done)} done"
    if result.unchanged:
        said += f", {len(result.unchanged)} unchanged"
    if result.deleted:
        said += f", {len(result.deleted)} deleted"
    return said


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def age(text: str) -> timedelta:
    """A time such as `90s`, `15m`, `2h` or `7d`; a usage error if it is none."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        usage(f"{text!r} is not a time; give one such as 90s, 15m, 2h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
