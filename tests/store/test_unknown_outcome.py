"""A write whose answer is lost may have been stored: nothing of it is removed."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore.backends.base import Backend, WrongRevision
from faststream_objstore.exceptions import StoreTimeoutError
from faststream_objstore.store import ObjectStore
from tests.store.conftest import CreateBucket
from tests.store.support import DELETED, Audit, layout, soon, spied


class LosesAnswers:
    """Stores metadata and loses the answer; other changes come before the next attempt."""

    def __init__(self, inner: Backend, meanwhile: Any) -> None:
        self._inner = inner
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish_metadata(self, *args: Any, **options: Any) -> Any:
        if self._meanwhile is None:
            return await self._inner.publish_metadata(*args, **options)
        await self._inner.publish_metadata(*args, **options)
        meanwhile, self._meanwhile = self._meanwhile, None
        await meanwhile()
        msg = "no answer"
        raise StoreTimeoutError(msg, bucket=self._inner.bucket)


class RefusedAndStored:
    """Stores the first change, and hears from a server that is behind that it is refused."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._heard = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish_metadata(self, *args: Any, **options: Any) -> Any:
        return self._first(await self._inner.publish_metadata(*args, **options))

    async def publish_batch(self, *args: Any) -> Any:
        return self._first(await self._inner.publish_batch(*args))

    def _first(self, stored: Any) -> Any:
        if not self._heard:
            self._heard = True
            raise WrongRevision
        return stored


@pytest.mark.parametrize("conditional", [False, True])
async def test_a_put_that_is_refused_and_stored_does_not_take_itself_for_what_it_replaced(
    backend: Backend, conditional: bool
) -> None:
    rival = ObjectStore.on(backend)
    before = await soon(rival.put("a", b"old", chunk_size=2))
    mode: Any = before if conditional else "overwrite"

    info = await soon(
        ObjectStore.on(RefusedAndStored(backend)).put("a", b"hello", chunk_size=2, mode=mode)
    )

    assert info == await soon(rival.get_info("a"))
    assert await soon(rival.get("a")) == b"hello"
    assert await soon(layout(backend)) == {"a": 3}


async def test_a_transaction_that_is_refused_and_stored_keeps_what_it_put(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    atomic = await create_bucket(bucket_name, transactions=True)
    rival = ObjectStore.on(atomic)
    old = await soon(rival.put("a", b"old", chunk_size=2))
    await soon(rival.put("b", b"content", chunk_size=2))

    async with ObjectStore.on(RefusedAndStored(atomic)).transaction() as changes:
        await changes.put("a", b"hello", chunk_size=2, mode=old)
        await changes.rename("b", "c")

    assert await soon(rival.get("a")) == b"hello"
    assert await soon(rival.get("c")) == b"content"
    assert await soon(layout(atomic)) == {"a": 3, "b": DELETED, "c": 4}
    assert changes.committed["a"].revision == (await soon(rival.get_info("a"))).revision


async def test_a_put_whose_answer_is_lost_keeps_the_chunks_that_were_renamed_meanwhile(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)

    async def rename() -> None:
        await rival.rename("a", "b")

    store = ObjectStore.on(LosesAnswers(backend, rename))
    with pytest.raises(StoreTimeoutError):
        await soon(store.put("a", b"hello", chunk_size=2))

    assert await soon(rival.get("b")) == b"hello"
    assert await soon(layout(backend)) == {"a": DELETED, "b": 3}


async def test_a_put_cancelled_while_its_answer_is_out_keeps_what_was_renamed_meanwhile(
    backend: Backend,
) -> None:
    rival = ObjectStore.on(backend)
    renamed = asyncio.Event()

    async def rename() -> None:
        await rival.rename("a", "b")
        renamed.set()
        await asyncio.sleep(3600)

    store = ObjectStore.on(LosesAnswers(backend, rename))
    putting = asyncio.ensure_future(store.put("a", b"hello", chunk_size=2))
    await soon(renamed.wait())
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(putting)

    assert await soon(rival.get("b")) == b"hello"
    assert await soon(layout(backend)) == {"a": DELETED, "b": 3}


class AnswersLate:
    """Sends the next metadata once `armed`, and does not hear the answer."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.armed = False
        self.sent = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish_metadata(self, *args: Any, **options: Any) -> Any:
        if self.armed:
            self.armed = False
            with suppress(WrongRevision):
                await self._inner.publish_metadata(*args, **options)
            self.sent.set()
            await asyncio.sleep(3600)
        return await self._inner.publish_metadata(*args, **options)


async def cancel_once(reached: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Begin the work, and cancel it at the given point."""
    task = asyncio.ensure_future(work)
    await soon(reached.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def expect_new_names(store: ObjectStore) -> None:
    """Put new names until the store takes the next one for new, and sends without looking."""
    for number in range(8):
        await soon(store.put(f"new{number}", b"x"))


def names_and(**names: int) -> dict[str, int]:
    return {f"new{number}": 1 for number in range(8)} | names


async def test_a_put_cancelled_before_it_hears_that_its_name_is_not_new_leaves_nothing(
    backend: Backend,
) -> None:
    await soon(ObjectStore.on(backend).put("a", b"old", chunk_size=2))
    late = AnswersLate(backend)
    store = ObjectStore.on(late)
    await expect_new_names(store)

    late.armed = True
    await cancel_once(late.sent, store.put("a", b"hello", chunk_size=2))

    assert await soon(store.get("a")) == b"old"
    assert await soon(layout(backend)) == names_and(a=2)


@pytest.mark.parametrize("rival_is_first", [False, True])
async def test_a_put_cancelled_after_it_heard_that_its_name_is_not_new_leaves_nothing(
    backend: Backend, rival_is_first: bool
) -> None:
    rival = ObjectStore.on(backend)
    await soon(rival.put("a", b"old", chunk_size=2))
    store, spy = spied(backend)
    await expect_new_names(store)
    looking = asyncio.Event()

    async def rival_puts() -> None:
        await rival.put("a", b"rival", chunk_size=2)

    async def hold() -> None:
        looking.set()
        await asyncio.sleep(3600)

    spy.before["last_message"] = hold
    if rival_is_first:
        # Between the chunks and the metadata.
        spy.before["publish_metadata"] = rival_puts
    await cancel_once(looking, store.put("a", b"hello", chunk_size=2))

    assert await soon(rival.get("a")) == (b"rival" if rival_is_first else b"old")
    assert await soon(layout(backend)) == names_and(a=3 if rival_is_first else 2)


async def test_a_put_that_never_arrived_and_whose_name_is_not_new_is_sent_again(
    backend: Backend,
) -> None:
    await soon(ObjectStore.on(backend).put("a", b"old", chunk_size=2))
    store, spy = spied(backend)
    await expect_new_names(store)

    async def lose() -> None:
        msg = "no answer"
        raise StoreTimeoutError(msg, bucket=backend.bucket)

    spy.before["publish_metadata"] = lose
    await soon(store.put("a", b"hello", chunk_size=2))

    assert await soon(store.get("a")) == b"hello"
    assert await soon(layout(backend)) == names_and(a=3)


async def test_chunks_of_an_unknown_outcome_are_removed_by_sweep(
    backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    rival = ObjectStore.on(backend)

    async def nothing() -> None:
        pass

    class NeverStores(LosesAnswers):
        async def publish_metadata(self, *args: Any, **options: Any) -> Any:
            if self._meanwhile is not None:
                self._meanwhile = None
                await rival.put("a", b"newer")
                msg = "no answer"
                raise StoreTimeoutError(msg, bucket=self._inner.bucket)
            return await self._inner.publish_metadata(*args, **options)

    store = ObjectStore.on(NeverStores(backend, nothing))
    with pytest.raises(StoreTimeoutError):
        await soon(store.put("a", b"hello", chunk_size=2))

    assert await soon(rival.get("a")) == b"newer"
    assert await soon(rival.sweep(older_than=timedelta(0))) == 5
    assert await soon(layout(backend)) == {"a": 1}


async def test_a_writer_of_release_0_1_may_take_the_chunks_of_a_rename_under_way(
    backend: Backend, audit: Audit
) -> None:
    """What docs/guarantees.md says of mixed versions: it does not know the note."""
    audit.orphans = True
    rival = ObjectStore.on(backend)

    class Old(LosesAnswers):
        writes = 0

        async def publish_metadata(self, *args: Any, **options: Any) -> Any:
            self.writes += 1
            if self.writes == 3:
                # As 0.1 does, and Go: a put replaces the old name, then purges what it saw.
                old = await rival.get_info("a")
                fresh = await rival.put("a", b"of 0.1")
                await backend.purge(f"$O.{backend.bucket}.C.{old.nuid}")
                assert fresh.nuid != old.nuid
            return await self._inner.publish_metadata(*args, **options)

    await soon(rival.put("a", b"hello"))
    await soon(ObjectStore.on(Old(backend, None)).rename("a", "b"))

    assert await soon(rival.get("a")) == b"of 0.1"
    assert await soon(rival.exists("b"))
    assert await soon(backend.subjects(f"$O.{backend.bucket}.C.>")) == {
        f"$O.{backend.bucket}.C.{(await rival.get_info('a')).nuid}": 1
    }


async def test_a_rename_that_is_done_is_safe_from_writers_of_release_0_1(
    store: ObjectStore, backend: Backend
) -> None:
    await soon(store.put("a", b"hello"))
    await soon(store.rename("a", "b"))

    marker = await soon(store.get_info("a", show_deleted=True))
    await soon(backend.purge(f"$O.{backend.bucket}.C.{marker.nuid}"))
    assert await soon(store.get("b")) == b"hello"
