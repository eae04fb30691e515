"""A leader that was deposed and does not know it yet answers first: nothing is lost by that.

Two leaders answer for a second or so after a partition has healed. A single server stands in
for the elected one here, and a proxy gives the answers of the other.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest

from faststream_objstore import wire
from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.exceptions import (
    BucketFullError,
    ObjectAlreadyExists,
    RevisionMismatchError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.backends.deposed import Deposed, deposed, refuses
from tests.store.support import soon

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Deposed]:
    async with deposed(nats_server) as proxy:
        yield proxy


@pytest.fixture
async def backend(proxy: Deposed, bucket_name: str) -> AsyncIterator[JetStreamBackend]:
    client = await nats.connect(proxy.url)
    server = JetStreamServer(client, timeout=2)
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    backend = await server.create(bucket_name, {**config, "allow_atomic": True})
    # As it is with replicas, of which one test server has none.
    backend._replicas = 3
    yield backend
    proxy.answers.clear()
    await server.delete(bucket_name)
    await client.close()


@pytest.fixture
def store(backend: JetStreamBackend) -> ObjectStore:
    return ObjectStore.on(backend)


def subject(backend: JetStreamBackend, name: str) -> str:
    return wire.metadata_subject(backend.bucket, name, limit=backend.max_subject)


async def chunks(backend: JetStreamBackend) -> set[str]:
    return set(await soon(backend.subjects(f"$O.{backend.bucket}.C.>")))


def chunks_of(backend: JetStreamBackend, *nuids: str | None) -> set[str]:
    return {f"$O.{backend.bucket}.C.{nuid}" for nuid in nuids}


@pytest.mark.parametrize("behind", [1, 0])
async def test_a_put_that_is_refused_and_stored_keeps_its_content(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore, behind: int
) -> None:
    await soon(store.put("other", b"first"))
    before = await soon(store.put("cat", b"old"))
    proxy.answers.append(refuses(subject(backend, "cat"), behind=behind))

    info = await soon(store.put("cat", b"new"))

    assert await soon(store.get("cat")) == b"new"
    # It was stored once: its chunk, then its metadata.
    assert info.revision == before.revision + 2
    other = await soon(store.get_info("other"))
    assert await chunks(backend) == chunks_of(backend, info.nuid, other.nuid)


async def test_a_conditional_put_that_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    before = await soon(store.put("cat", b"old"))
    proxy.answers.append(refuses(subject(backend, "cat")))
    info = await soon(store.put("cat", b"new", mode=before))
    assert await soon(store.get("cat")) == b"new"
    assert info.revision == before.revision + 2


async def test_a_put_that_creates_and_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    proxy.answers.append(refuses(subject(backend, "cat"), behind=0))
    await soon(store.put("cat", b"new", mode="create"))
    assert await soon(store.get("cat")) == b"new"


async def test_a_delete_that_is_refused_and_stored_tells_that_it_deleted(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    await soon(store.put("cat", b"old"))
    proxy.answers.append(refuses(subject(backend, "cat")))
    assert await soon(store.delete("cat"))
    other = await soon(store.get_info("other"))
    assert await chunks(backend) == chunks_of(backend, other.nuid)


async def test_an_update_that_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    before = await soon(store.put("cat", b"content"))
    proxy.answers.append(refuses(subject(backend, "cat")))
    info = await soon(store.update_meta("cat", ObjectMeta(description="a cat"), mode=before))
    assert info.revision == before.revision + 1
    assert await soon(store.get("cat")) == b"content"


async def test_a_transaction_that_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    before = await soon(store.put("cat", b"old"))
    await soon(store.put("dog", b"old"))
    refuse = refuses(subject(backend, "dog"))

    def last(published: str, text: bytes) -> dict[str, Any] | None:
        return refuse(published, text) if b"Nats-Batch-Commit" in text else None

    proxy.answers.append(last)

    async with store.transaction() as changes:
        await changes.put("cat", b"new", mode=before)
        await changes.put("dog", b"new")

    assert await soon(store.get("cat")) == b"new"
    assert await soon(store.get("dog")) == b"new"
    infos = await soon(store.list())
    assert await chunks(backend) == chunks_of(backend, *(one.nuid for one in infos))
    # Two chunks and two messages, once.
    assert max(one.revision for one in infos) == before.revision + 2 + 4


async def test_a_rename_in_one_step_that_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    await soon(store.put("cat", b"content"))
    # The marker of the old name is the last of the two.
    proxy.answers.append(refuses(subject(backend, "cat")))
    info = await soon(store.rename("cat", "tiger"))
    assert info.name == "tiger"
    assert await soon(store.get("tiger")) == b"content"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_rename_in_steps_each_of_which_is_refused_and_stored_is_acknowledged(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore, number: int
) -> None:
    backend._atomic = False
    await soon(store.put("other", b"first"))
    await soon(store.put("cat", b"content"))
    written = 0

    def nth(published: str, text: bytes) -> dict[str, Any] | None:
        nonlocal written
        if not published.startswith(f"$O.{backend.bucket}.M."):
            return None
        written += 1
        return refuses(published)(published, text) if written == number else None

    proxy.answers.append(nth)
    await soon(store.rename("cat", "tiger"))
    assert await soon(store.get("tiger")) == b"content"
    assert not await soon(store.exists("cat"))


async def test_a_refusal_of_a_version_that_was_replaced_is_still_one(
    backend: JetStreamBackend, store: ObjectStore
) -> None:
    old = await soon(store.put("cat", b"old"))
    new = await soon(store.put("cat", b"new"))
    with pytest.raises(RevisionMismatchError):
        await soon(store.put("cat", b"late", mode=old))
    with pytest.raises(ObjectAlreadyExists):
        await soon(store.put("cat", b"late", mode="create"))
    assert await chunks(backend) == chunks_of(backend, new.nuid)


async def test_a_write_over_a_marker_that_was_swept_meanwhile_is_decided_anew(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("cat", b"old"))
    await soon(store.delete("cat"))
    marker = await soon(store.get_info("cat", show_deleted=True))
    assert marker.revision is not None
    written = False

    class Swept:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def publish_metadata(self, *args: Any, **options: Any) -> Any:
            nonlocal written
            if not written:
                written = True
                await backend.purge(subject(backend, "cat"), up_to=marker.revision)
            return await backend.publish_metadata(*args, **options)

    await soon(ObjectStore.on(Swept()).put("cat", b"new", mode="create"))
    assert await soon(store.get("cat")) == b"new"


async def test_a_put_is_acknowledged_however_long_a_deposed_leader_shows_the_old_version(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    await soon(store.put("other", b"first"))
    before = await soon(store.put("cat", b"old"))
    cat = subject(backend, "cat")
    old = await soon(backend.last_message(cat, leader=True))
    assert old is not None
    message = {
        "subject": cat,
        "seq": old.sequence,
        "data": base64.b64encode(old.data).decode(),
        "time": "2026-01-01T00:00:00Z",
    }

    def stale(published: str, text: bytes) -> dict[str, Any] | None:
        shown = ".STREAM.MSG.GET." in published and cat.encode() in text
        return {"message": message} if shown else None

    proxy.answers += [refuses(cat, times=1_000_000), stale]
    info = await soon(store.put("cat", b"new", mode=before))
    proxy.answers.clear()

    assert info.revision == before.revision + 2
    assert await soon(store.get("cat")) == b"new"


async def test_a_put_is_not_stored_whose_chunks_were_lost_while_others_were_told_twice(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    # A leader acknowledges what it has applied, and so does the next one, which applies the
    # same; what was sent in between is lost.
    backend.timeout = 0.5
    sent = 0

    def second(published: str) -> bool:
        nonlocal sent
        sent += ".C." in published
        return ".C." in published and sent == 2

    def again(published: str, _: bytes) -> dict[str, Any] | None:
        if ".C." not in published or sent != 3:
            return None
        return {"stream": f"OBJ_{backend.bucket}", "seq": 1}

    proxy.drop = second
    proxy.answers.append(again)
    with pytest.raises(StoreTimeoutError):
        await soon(
            store.put("cat", iter([b"a" * 10, b"b" * 10, b"c" * 10, b"d"]), chunk_size=10)
        )
    proxy.answers.clear()

    assert not await soon(store.exists("cat"))
    assert await chunks(backend) == set()


async def test_a_put_that_a_full_server_refuses_and_the_leader_stores_keeps_its_content(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore
) -> None:
    before = await soon(store.put("cat", b"old"))
    full = {"code": 503, "err_code": 10047, "description": "insufficient storage resources"}
    left = 1

    def refuse(published: str, _: bytes) -> dict[str, Any] | None:
        nonlocal left
        if published != subject(backend, "cat") or not left:
            return None
        left -= 1
        return {"error": full, "stream": f"OBJ_{backend.bucket}", "seq": 0}

    proxy.answers.append(refuse)
    info = await soon(store.put("cat", b"new"))
    assert info.revision == before.revision + 2
    assert await soon(store.get("cat")) == b"new"


async def test_a_full_bucket_refuses_and_keeps_nothing_of_a_put(
    backend: JetStreamBackend, store: ObjectStore, proxy: Deposed
) -> None:
    full = {"code": 503, "err_code": 10047, "description": "insufficient storage resources"}
    cat = subject(backend, "cat")

    def refuse(published: str, _: bytes) -> dict[str, Any] | None:
        return {"error": full, "seq": 0} if published == cat else None

    proxy.answers.append(refuse)
    proxy.drop = lambda published: published == cat
    with pytest.raises(BucketFullError):
        await soon(store.put("cat", b"new"))
    assert await chunks(backend) == set()


class _Stops:
    """A backend whose process dies before its n-th write."""

    def __init__(self, inner: JetStreamBackend, number: int) -> None:
        self._inner = inner
        self._left = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish_metadata(self, *args: Any, **options: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise asyncio.CancelledError
        return await self._inner.publish_metadata(*args, **options)


@pytest.mark.parametrize("replaced", ["cat", "tiger"])
async def test_what_a_deposed_leader_shows_of_the_other_name_takes_no_chunks(
    proxy: Deposed, backend: JetStreamBackend, store: ObjectStore, replaced: str
) -> None:
    backend._atomic = False
    await soon(store.put("tiger", b"gone"))
    await soon(store.delete("tiger"))
    await soon(store.put("cat", b"content"))
    # Both names have the content, as after a rename that was interrupted.
    with contextlib.suppress(asyncio.CancelledError):
        await soon(ObjectStore.on(_Stops(backend, 3)).rename("cat", "tiger"))
    assert await soon(store.get("cat")) == await soon(store.get("tiger")) == b"content"
    other = {"cat": "tiger", "tiger": "cat"}[replaced]
    asked = f"$JS.API.STREAM.MSG.GET.OBJ_{backend.bucket}"
    none = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}

    def stale(published: str, text: bytes) -> dict[str, Any] | None:
        of_other = subject(backend, other) in text.decode(errors="replace")
        return none if published == asked and of_other else None

    proxy.answers.append(stale)
    await soon(store.put(replaced, b"another"))
    proxy.answers.clear()

    assert await soon(store.get(replaced)) == b"another"
    assert await soon(store.get(other)) == b"content"


async def test_a_read_since_a_revision_waits_for_a_server_that_has_it(
    backend: JetStreamBackend, store: ObjectStore
) -> None:
    info = await soon(store.put("cat", b"content"))
    assert info.revision is not None
    cat = subject(backend, "cat")
    found = await soon(backend.last_message(cat, leader=True, since=info.revision))
    assert found is not None
    assert found.sequence == info.revision
    assert json.loads(found.data)["nuid"] == info.nuid
    none = subject(backend, "nothing")
    assert await soon(backend.last_message(none, leader=True, since=info.revision)) is None
    backend.timeout = 0.3
    with pytest.raises(StoreTimeoutError):
        await soon(backend.last_message(cat, leader=True, since=info.revision + 1))
    with pytest.raises(StoreTimeoutError):
        await soon(backend.last_message(none, leader=True, since=info.revision + 1))
