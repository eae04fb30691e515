"""The pytest plugin, in projects of users: each test runs pytest once more."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from faststream_objstore import pytest_plugin
from faststream_objstore.testing import NatsServer

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

CONFTEST = """
    import pytest

    pytest_plugins = ["faststream_objstore.pytest_plugin"]


    @pytest.fixture
    def anyio_backend() -> str:
        return "asyncio"


    @pytest.fixture(autouse=True, scope="session")
    def note_server(nats_server):
        with open("servers", "a") as servers:
            print(nats_server.pid, nats_server.url, file=servers)
"""

# A service whose bucket always has the same name, and objects on the other side of it.
CASES = """
    import asyncio
    from contextlib import asynccontextmanager

    import pytest
    from faststream.nats import NatsBroker
    from faststream_objstore import Bucket, Buckets


    @asynccontextmanager
    async def service(url):
        broker = NatsBroker(url, logger=None)
        buckets = Buckets(broker, Bucket("uploads"))
        async with broker:
            yield await buckets.open("uploads")


    async def store_is_used_at_once_and_empty(store):
        assert await store.list() == []
        await asyncio.gather(*(store.put(f"{n}", bytes(n)) for n in range(5)))
        assert [info.size for info in await store.list()] == [0, 1, 2, 3, 4]


    async def service_finds_its_bucket_empty(url):
        async with service(url) as store:
            assert await store.list() == []
            await store.put("a", "left behind")


    async def store_survives_a_crash(store, server):
        await store.put("a", "kept")
        await server.kill()
        await server.start()
        assert await store.get("a") == b"kept"
        await server.kill()  # and is gone for the next test


    async def name_is_free(url, name):
        broker = NatsBroker(url, logger=None)
        buckets = Buckets(broker)
        async with broker:
            assert await buckets.list() == []
            await buckets.create(name)
            assert await buckets.list() == [name]
"""

STYLES = {
    "plain": """
        import asyncio
        from cases import *

        @pytest.mark.parametrize("time", [1, 2])
        def test_plain(time, object_store):
            asyncio.run(store_is_used_at_once_and_empty(object_store))
            assert len(asyncio.run(object_store.list())) == 5

        @pytest.mark.parametrize("time", [1, 2])
        def test_service(time, nats_url):
            asyncio.run(service_finds_its_bucket_empty(nats_url))

        def test_crash(object_store, nats_server):
            asyncio.run(store_survives_a_crash(object_store, nats_server))

        def test_name(nats_url, bucket_name):
            asyncio.run(name_is_free(nats_url, bucket_name))

        def test_the_main_thread_keeps_its_event_loop(object_store):
            policy = asyncio.get_event_loop_policy()
            assert "asyncio" in type(policy).__module__
    """,
    "anyio": """
        from cases import *

        pytestmark = pytest.mark.anyio

        @pytest.mark.parametrize("time", [1, 2])
        async def test_anyio(time, object_store):
            await store_is_used_at_once_and_empty(object_store)

        @pytest.mark.parametrize("time", [1, 2])
        async def test_service(time, nats_url):
            await service_finds_its_bucket_empty(nats_url)

        @pytest.fixture
        async def poem(object_store):
            return await object_store.put("poem.txt", "so much depends upon")

        async def test_fixture_of_the_project(poem, object_store):
            assert await object_store.get(poem) == b"so much depends upon"

        async def test_crash(object_store, nats_server):
            await store_survives_a_crash(object_store, nats_server)

        async def test_name(nats_url, bucket_name):
            await name_is_free(nats_url, bucket_name)
    """,
    "asyncio": """
        import pytest_asyncio
        from cases import *

        @pytest.fixture(scope="session")
        def anyio_backend():
            raise RuntimeError("these tests are pytest-asyncio's")

        @pytest.mark.asyncio
        @pytest.mark.parametrize("time", [1, 2])
        async def test_asyncio(time, object_store):
            await store_is_used_at_once_and_empty(object_store)

        @pytest.mark.asyncio(loop_scope="session")
        @pytest.mark.parametrize("time", [1, 2])
        async def test_one_loop_for_all(time, object_store):
            await store_is_used_at_once_and_empty(object_store)

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("time", [1, 2])
        async def test_service(time, nats_url):
            await service_finds_its_bucket_empty(nats_url)

        @pytest_asyncio.fixture
        async def poem(object_store):
            return await object_store.put("poem.txt", "so much depends upon")

        @pytest.mark.asyncio
        async def test_fixture_of_the_project(poem, object_store):
            assert await object_store.get(poem) == b"so much depends upon"

        @pytest.mark.asyncio(loop_scope="module")
        async def test_crash(object_store, nats_server):
            await store_survives_a_crash(object_store, nats_server)

        @pytest.mark.asyncio
        async def test_name(nats_url, bucket_name):
            await name_is_free(nats_url, bucket_name)
    """,
}
STRICT = ("-W", "error", "--strict-markers")
WITHOUT_ASYNCIO = (*STRICT, "-p", "no:asyncio")
# pytest-asyncio warns where this is not set.
WITH_ASYNCIO = (*STRICT, "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(textwrap.dedent(CONFTEST))
    pytester.makepyfile(cases=textwrap.dedent(CASES))
    return pytester


def add(project: pytest.Pytester, **modules: str) -> None:
    project.makepyfile(
        **{f"test_{name}": textwrap.dedent(code) for name, code in modules.items()}
    )


def servers_of(project: pytest.Pytester) -> list[tuple[int, str]]:
    lines = (project.path / "servers").read_text().splitlines()
    return [(int(pid), url) for pid, url in map(str.split, lines)]


def still_running(servers: list[tuple[int, str]]) -> list[int]:
    alive = []
    for pid, _ in servers:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        alive.append(pid)
    return alive


@pytest.mark.parametrize(
    "style, arguments, passed",
    [
        ("plain", (*WITHOUT_ASYNCIO, "-p", "no:anyio"), 7),
        ("anyio", WITH_ASYNCIO, 7),
        ("asyncio", WITH_ASYNCIO, 9),
        ("asyncio", (*WITH_ASYNCIO, "-o", "asyncio_mode=auto"), 9),
    ],
    ids=["asyncio.run", "anyio", "pytest-asyncio", "pytest-asyncio-auto"],
)
def test_fixtures_work_under(
    project: pytest.Pytester, style: str, arguments: tuple[str, ...], passed: int
) -> None:
    add(project, **{style: STYLES[style]})

    result = project.runpytest_subprocess(*arguments)

    result.assert_outcomes(passed=passed)
    servers = servers_of(project)
    assert len(servers) == 1
    assert still_running(servers) == []


def test_each_process_of_xdist_has_a_server_of_its_own(project: pytest.Pytester) -> None:
    add(project, plain=STYLES["plain"])

    result = project.runpytest_subprocess(*WITHOUT_ASYNCIO, "-n", "2")

    result.assert_outcomes(passed=7)
    servers = servers_of(project)
    assert len({url for _, url in servers}) == 2
    assert still_running(servers) == []


def test_interrupted_run_leaves_no_server(project: pytest.Pytester) -> None:
    add(
        project,
        interrupted="""
            def test_interrupted(object_store):
                raise KeyboardInterrupt
        """,
    )

    result = project.runpytest_subprocess(*WITHOUT_ASYNCIO)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(servers_of(project)) == 1
    assert still_running(servers_of(project)) == []


def test_streams_that_were_there_before_stay(project: pytest.Pytester) -> None:
    add(
        project,
        wide="""
            import asyncio
            from contextlib import asynccontextmanager

            import nats
            import pytest

            async def streams(url, new=None):
                async with await nats.connect(url) as client:
                    if new:
                        await client.jetstream().add_stream(name=new, subjects=[new])
                    infos = await client.jetstream().streams_info()
                    return sorted(info.config.name for info in infos)

            @pytest.fixture(scope="module", autouse=True)
            def orders(nats_server):
                asyncio.run(streams(nats_server.url, new="ORDERS"))

            @pytest.mark.parametrize("time", [1, 2])
            def test_wide(time, nats_url):
                assert asyncio.run(streams(nats_url)) == ["ORDERS"]
                assert asyncio.run(streams(nats_url, new="JOBS")) == ["JOBS", "ORDERS"]
        """,
    )
    project.runpytest_subprocess(*WITHOUT_ASYNCIO).assert_outcomes(passed=2)


def test_bucket_name_says_whose_it_is(project: pytest.Pytester) -> None:
    add(
        project,
        name="""
            import re

            import pytest

            @pytest.mark.parametrize("part", ["é/*.png", "x" * 300])
            def test_thumbnails(part, bucket_name, object_store):
                assert re.fullmatch("test_thumbnails-[A-Za-z0-9_-]{1,40}", bucket_name)
                assert object_store.bucket == bucket_name
        """,
    )
    project.runpytest_subprocess(*WITHOUT_ASYNCIO).assert_outcomes(passed=2)


async def test_settings_choose_the_server_and_its_configuration(
    project: pytest.Pytester,
) -> None:
    async with NatsServer() as server:
        real = Path(f"/proc/{server.pid}/exe")
        if not real.exists():
            pytest.skip("needs /proc to find the executable")
        wrapper = project.mkdir("tools") / "my-server"
        wrapper.write_text(f'#!/bin/sh\ntouch "$0.used"\nexec {real.resolve()} "$@"\n')
        wrapper.chmod(0o755)
    project.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = ["--strict-config"]
        nats_server_binary = "tools/my-server"
        nats_server_config = '''
        max_payload: 2MB
        '''
        """
    )
    add(
        project,
        settings="""
            import asyncio
            import nats

            async def max_payload(url):
                async with await nats.connect(url) as client:
                    return client.max_payload

            def test_settings(nats_url):
                assert asyncio.run(max_payload(nats_url)) == 2 * 1024**2
        """,
    )
    # The path is relative to the file, not to where pytest was started.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.mkdir("elsewhere"))
        result = project.runpytest_subprocess("-c", "../pyproject.toml", "..")

    result.assert_outcomes(passed=1)
    assert (project.path / "tools" / "my-server.used").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("--nats-server-binary", "bin/nope"),
            "There is no executable *bin/nope'. *, or name one with --nats-server-binary PATH",
        ),
        (("-o", "nats_server_config=no_such: 1"), '*unknown field "no_such"*'),
        (
            ("-o", "nats_server_config=authorization {user: a, password: b}"),
            "*'Authorization Violation'*nats_server_config must allow clients*",
        ),
    ],
)
def test_server_that_cannot_be_had_is_one_clear_error(
    project: pytest.Pytester, arguments: tuple[str, ...], said: str
) -> None:
    project.makeconftest('pytest_plugins = ["faststream_objstore.pytest_plugin"]')
    add(project, fails="def test_fails(object_store): ...")

    result = project.runpytest_subprocess(*WITHOUT_ASYNCIO, "--show-capture=no", *arguments)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*During handling of*")


def test_other_event_loops_are_told_what_to_do(project: pytest.Pytester) -> None:
    add(
        project,
        coroutine="""
            def test_coroutine(object_store):
                try:
                    object_store.list().send(None)
                except RuntimeError as error:
                    assert 'anyio_backend that returns "asyncio"' in str(error)
                else:
                    raise AssertionError
        """,
    )
    project.runpytest_subprocess(*WITHOUT_ASYNCIO).assert_outcomes(passed=1)


def test_plugin_is_not_loaded_where_nobody_asks_for_it(pytester: pytest.Pytester) -> None:
    add(
        pytester,
        plain="""
            import sys

            def test_plain():
                assert not [one for one in sys.modules if one.startswith("faststream")]
        """,
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.once
def test_project_is_fully_typed(project: pytest.Pytester) -> None:
    typed = project.makepyfile(
        test_typed="""
        from faststream_objstore import ObjectInfo, ObjectStore
        from faststream_objstore.testing import NatsServer
        from typing_extensions import assert_type


        async def test_typed(
            nats_server: NatsServer, nats_url: str, bucket_name: str, object_store: ObjectStore
        ) -> None:
            assert_type(await object_store.put(bucket_name, nats_url), ObjectInfo)
            assert_type(nats_server.url, str)
        """
    )
    plugin = pytest_plugin.__file__

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", typed, plugin],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.stdout.strip() == "Success: no issues found in 2 source files"


def test_all_names_the_fixtures() -> None:
    assert list(pytest_plugin.__all__) == sorted(pytest_plugin.__all__)
    documented = [
        name
        for name in pytest_plugin.__all__
        if f"| `{name}` |" in (pytest_plugin.__doc__ or "")
    ]
    assert documented == list(pytest_plugin.__all__)
