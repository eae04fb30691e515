"""sweep: what nobody needs any more is removed, and nothing else."""

import logging
import time
from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, StreamState
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    InvalidOptionError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    Audit,
    Bench,
    layout,
    soon,
    spied,
    write_chunks,
    write_raw,
)

NOW = timedelta(0)
DAY = timedelta(days=1)


async def write_at(backend: Backend, subject: str, body: bytes) -> None:
    """Publish to any subject, without a rollup, as a foreign client might."""
    upload = backend.upload(subject)
    await upload.write(body)
    await upload.finish()


async def test_sweep_of_a_clean_bucket_frees_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    assert await soon(store.sweep(NOW)) == 0
    await soon(store.put("name", b"hello", chunk_size=2))
    await soon(store.put("name", b"newer", chunk_size=2))
    await soon(store.put("gone", b"hello"))
    await soon(store.delete("gone"))
    await soon(store.add_link("link", "name"))
    await soon(store.rename("name", "moved"))

    assert await soon(store.sweep(NOW)) == 0
    assert await soon(store.get("moved")) == b"newer"


async def test_sweep_removes_chunks_that_no_metadata_refers_to(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    await write_chunks(backend, "DEAD", b"123", b"4567")
    await write_chunks(backend, "DEADTOO", b"89")

    assert await soon(store.sweep(NOW)) == 9
    assert await soon(layout(backend)) == {"name": 3}
    assert await soon(store.get("name")) == b"hello"
    assert await soon(store.sweep(NOW)) == 0


async def test_sweep_leaves_young_chunks_to_the_put_that_may_be_under_way(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "YOUNG", b"123")

    assert await soon(store.sweep()) == 0
    assert await soon(store.sweep(timedelta(seconds=60))) == 0
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == {
        f"$O.{backend.bucket}.C.YOUNG": 1
    }
    assert await soon(store.sweep(NOW)) == 3


async def test_sweep_judges_chunks_by_their_youngest(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "SLOW", b"123")
    first = (await backend.state()).time_ns
    await write_chunks(backend, "SLOW", b"456")
    state = await backend.state()

    class Timed:
        """The bucket at a moment that is a second after the first of the two chunks."""

        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def state(self) -> StreamState:
            return state._replace(time_ns=first + 10**9)

    timed = ObjectStore.on(Timed())
    assert await soon(timed.sweep(timedelta(seconds=1))) == 0
    assert await soon(store.sweep(NOW)) == 6


async def test_sweep_with_metadata_that_does_not_parse_removes_nothing(
    store: ObjectStore, backend: Backend
) -> None:
    await write_chunks(backend, "DEAD", b"123")
    await write_raw(backend, "bad", b"not json")

    with pytest.raises(BadObjectMetaError, match="'bad'"):
        await soon(store.sweep(NOW))
    await soon(store.delete("bad"))
    assert await soon(store.sweep(NOW)) == 3


async def test_sweep_passes_over_the_servers_own_markers(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await write_chunks(backend, "DEAD", b"123")
    await write_raw(backend, "expired", b"")

    assert await soon(store.sweep(NOW)) == 3


async def test_ages_may_be_seconds_as_other_options(
    store: ObjectStore, backend: Backend
) -> None:
    upload = backend.upload(f"$O.{backend.bucket}.C.orphan")
    await upload.write(b"x" * 7)
    await upload.finish()
    await store.put("gone", b"")
    await store.delete("gone")

    assert await soon(store.sweep(3600, markers_older_than=3600)) == 0
    assert (await store.get_info("gone", show_deleted=True)).deleted
    assert await soon(store.sweep(0, markers_older_than=0.0)) == 7
    with pytest.raises(ObjectNotFoundError, match="has no object"):
        await store.get_info("gone", show_deleted=True)


@pytest.mark.parametrize("older_than", [-1, True, float("nan"), float("inf"), None, "1h"])
async def test_an_age_that_cannot_work_is_refused(store: ObjectStore, older_than: Any) -> None:
    with pytest.raises(InvalidOptionError, match="older_than must be"):
        await soon(store.sweep(older_than))


@pytest.mark.parametrize("age", [timedelta(seconds=-1), -5, "7d"])
async def test_an_age_of_markers_that_cannot_work_is_refused(
    store: ObjectStore, age: Any
) -> None:
    with pytest.raises(InvalidOptionError, match="markers_older_than must be"):
        await soon(store.sweep(markers_older_than=age))


async def test_many_orphans_are_measured_by_one_consumer(
    store: ObjectStore, backend: Backend
) -> None:
    for number in range(20):
        await write_chunks(backend, f"DEAD{number}", b"12", b"345")
    spied_store, spy = spied(backend)

    assert await soon(spied_store.sweep(NOW)) == 100
    # One for the metadata, one for the chunks.
    assert spy.calls.count("messages") == 2
    assert await soon(layout(backend)) == {}


async def test_the_clock_of_the_client_does_not_matter(
    store: ObjectStore, backend: Backend, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    await write_chunks(backend, "YOUNG", b"123")
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))
    if not bench.is_memory:
        ahead = time.time_ns() + 2 * 3_600_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: ahead)
        monkeypatch.setattr(time, "time", lambda: ahead / 1e9)

    assert await soon(store.sweep(timedelta(minutes=1), markers_older_than=DAY)) == 0
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == {
        f"$O.{backend.bucket}.C.YOUNG": 1
    }
    monkeypatch.undo()
    assert await soon(store.sweep(NOW)) == 3


# --- what is no object's


NAMELESS = ["x.y", "!!!", "YR==", "YQ", "*", ">", "YQ==.>", "_w=="]


@pytest.mark.parametrize("token", NAMELESS)
async def test_a_message_under_the_subject_of_no_name_blocks_nothing(
    store: ObjectStore,
    backend: Backend,
    audit: Audit,
    caplog: pytest.LogCaptureFixture,
    token: str,
) -> None:
    audit.orphans = True
    await soon(store.put("a", b"hello"))
    subject = f"$O.{backend.bucket}.M.{token}"
    await write_at(backend, subject, b"garbage")
    await write_chunks(backend, "DEAD", b"123")

    with caplog.at_level(logging.WARNING, "faststream_objstore"):
        assert await soon(store.sweep(NOW)) == 3
    (warning,) = [record.getMessage() for record in caplog.records]
    assert repr(subject) in warning
    assert "purge_nameless=True" in warning
    assert await backend.subjects(f"$O.{backend.bucket}.M.>") == {
        wire.metadata_subject(backend.bucket, "a"): 1,
        subject: 1,
    }
    assert [info.name for info in await soon(store.list())] == ["a"]


@pytest.mark.parametrize("token", NAMELESS)
async def test_what_is_no_objects_is_purged_on_demand_and_nothing_else(
    store: ObjectStore, backend: Backend, token: str
) -> None:
    await soon(store.put("a", b"hello"))
    subject = f"$O.{backend.bucket}.M.{token}"
    await write_at(backend, subject, b"garbage")
    await write_at(backend, subject, b"{}")
    await soon(store.put("b", b"hello"))

    assert await soon(store.sweep(NOW, purge_nameless=True)) == 0
    assert await soon(layout(backend)) == {"a": 1, "b": 1}
    assert await soon(store.get("a")) == b"hello"


async def test_a_second_form_of_a_name_forges_no_second_object(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    info = await soon(store.put("a", b"hello"))
    body = {"name": "a", "bucket": backend.bucket, "nuid": "FORGED", "size": 3, "chunks": 1}
    message = await backend.last_message(wire.metadata_subject(backend.bucket, "a"))
    assert message is not None
    await write_chunks(backend, "FORGED", b"123")
    for token in ("YR==", "YQ"):
        await write_at(
            backend, f"$O.{backend.bucket}.M.{token}", str(body).replace("'", '"').encode()
        )

    assert await soon(store.list()) == [info]
    watcher = await store.watch()
    assert await soon(watcher.updates()) == info
    assert await soon(watcher.updates()) is None
    await soon(watcher.stop())
    # The chunks that it names may be another client's object: they go with it.
    assert await soon(store.sweep(NOW)) == 0
    assert await soon(store.sweep(NOW, purge_nameless=True)) == 3
    assert await soon(store.get("a")) == b"hello"
    assert await soon(layout(backend)) == {"a": 1}


@pytest.mark.parametrize("token", ["*", ">", "a.*"])
async def test_orphans_under_a_wildcard_take_no_objects_chunks_along(
    store: ObjectStore, backend: Backend, token: str
) -> None:
    await soon(store.put("a", b"hello", chunk_size=2))
    await write_at(backend, f"$O.{backend.bucket}.C.{token}", b"1234")
    await soon(store.put("b", b"hello"))

    assert await soon(store.sweep(NOW)) == 4
    assert await soon(layout(backend)) == {"a": 3, "b": 1}
    assert await soon(store.get("a")) == b"hello"


async def test_metadata_that_does_not_parse_names_its_object_and_is_repaired_by_a_put(
    store: ObjectStore, backend: Backend
) -> None:
    await write_raw(backend, "bad", b"not json")
    await write_at(backend, f"$O.{backend.bucket}.M.!!!", b"not json")

    with pytest.raises(BadObjectMetaError, match="'bad'"):
        await soon(store.sweep(NOW, purge_nameless=True))
    # Nothing was removed.
    assert len(await backend.subjects(f"$O.{backend.bucket}.M.>")) == 2
    await soon(store.put("bad", b"1"))
    assert await soon(store.sweep(NOW, purge_nameless=True)) == 0
    assert await soon(layout(backend)) == {"bad": 1}


# --- markers


async def test_markers_stay_unless_they_are_to_go(store: ObjectStore) -> None:
    await soon(store.put("gone", b"hello"))
    await soon(store.delete("gone"))

    assert await soon(store.sweep(NOW)) == 0
    assert await soon(store.sweep(NOW, markers_older_than=DAY)) == 0
    assert (await soon(store.get_info("gone", show_deleted=True))).deleted


async def test_markers_that_are_old_enough_go_and_objects_stay(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("a", b"hello"))
    for name in ("gone", "too"):
        await soon(store.put(name, b"hello"))
        await soon(store.delete(name))
    await soon(store.add_link("link", "a"))

    assert await soon(store.sweep(markers_older_than=NOW)) == 0
    assert await soon(layout(backend)) == {"a": 1, "link": "link"}
    with pytest.raises(ObjectNotFoundError, match="no object 'gone'"):
        await soon(store.get_info("gone", show_deleted=True))
    await soon(store.put("gone", b"again"))
    assert await soon(store.get("gone")) == b"again"


async def test_markers_are_judged_by_the_servers_clock(bucket_name: str) -> None:
    now = 1_800_000_000_000_000_000
    server = MemoryServer(clock=lambda: now)
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    store = ObjectStore.on(await server.create(bucket_name, config))
    await store.put("old", b"")
    await store.delete("old")
    now += 3_600_000_000_000
    await store.put("young", b"")
    await store.delete("young")
    now += 1

    await store.sweep(markers_older_than=timedelta(hours=1))

    assert [info.name for info in await store.list(include_deleted=True)] == ["young"]


async def test_what_is_put_while_markers_are_removed_stays(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))
    spied_store, spy = spied(backend)

    async def put() -> None:
        await store.put("name", b"newer")

    spy.before["purge"] = put
    await soon(spied_store.sweep(markers_older_than=NOW))

    assert await soon(store.get("name")) == b"newer"
    assert await soon(layout(backend)) == {"name": 1}


async def test_a_watcher_that_is_behind_keeps_markers_and_is_named(
    store: ObjectStore, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async with backend.messages(wire.metadata_wildcard(backend.bucket), follow=True) as reader:
        await soon(store.put("gone", b"hello"))
        await soon(store.delete("gone"))

        with caplog.at_level(logging.WARNING, "faststream_objstore"):
            await soon(store.sweep(markers_older_than=NOW))
        (name,) = [one.name for one in await backend.consumers()]
        (warning,) = [record.getMessage() for record in caplog.records]
        assert warning == (
            f"Bucket '{backend.bucket}': 1 delete markers stay, because the consumer {name!r} "
            "has not passed them. Delete the consumer if nothing uses it any more."
        )
        assert wire.info_of(await soon(reader.__anext__()), backend.bucket)[0].deleted
        await soon(store.sweep(markers_older_than=NOW))
    assert await soon(layout(backend)) == {}


async def test_a_reader_of_chunks_keeps_no_marker(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("name", b"hello", chunk_size=1))
    await soon(store.put("gone", b"hello"))
    await soon(store.delete("gone"))

    async with store.open("name") as reader:
        await soon(reader.read(1))
        await soon(store.sweep(markers_older_than=NOW))

    assert await soon(layout(backend)) == {"name": 5}
