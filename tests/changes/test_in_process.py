"""Change subscribers under plain `TestNatsBroker`."""

from typing import Annotated, Any

import pytest
from faststream import BaseMiddleware, Path
from faststream.exceptions import AckMessage, NackMessage, RejectMessage
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.models import ObjectInfo
from faststream_objstore.params import FromBucket
from faststream_objstore.store import ObjectStore


async def test_put_runs_the_handler_inline_with_captures() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    users: list[str] = []

    @bucket.on_put("{user}/**")
    async def handle(info: ObjectInfo, user: Annotated[str, Path()]) -> None:
        users.append(user)

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        photo = await store.put("ann/cat.png", b"png")
        handle.mock.assert_called_once_with(photo)
        await store.put("top level", b"")

    assert users == ["ann"]


async def test_a_transaction_runs_the_handlers_in_its_order_when_all_of_it_is_there() -> None:
    bucket = Bucket("photos", transactions=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    seen: list[tuple[str, bool]] = []

    @bucket.on_change()
    async def handle(
        info: ObjectInfo, store: Annotated[ObjectStore, FromBucket("photos")]
    ) -> None:
        assert await store.get("index") == b"b"
        seen.append((info.name, info.deleted))

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        async with store.transaction() as tx:
            await tx.put("a", b"1")
            await tx.rename("a", "b")
            await tx.put("index", b"b")
            assert seen == []

    assert seen == [("b", False), ("index", False)]


async def test_handler_error_surfaces_from_the_put_that_caused_it() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        raise LookupError("handler")

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        with pytest.raises(LookupError, match="handler"):
            await store.put("a", b"1")
        assert await store.get("a") == b"1"


@pytest.mark.parametrize("answer", [AckMessage, NackMessage, RejectMessage])
async def test_answers_to_a_server_are_no_errors(answer: type[Exception]) -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        raise answer

    async with TestNatsBroker(broker):
        put = await (await buckets.open("photos")).put("a", b"1")
        handle.mock.assert_called_once_with(put)


async def test_handlers_run_in_the_order_of_their_declaration() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    order: list[int] = []

    def declare(number: int) -> None:
        @bucket.on_change()
        async def handle(info: ObjectInfo) -> None:
            order.append(number)

    for number in range(12):
        declare(number)
    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        await store.put("a", b"")
        assert order == list(range(12))
        order.clear()
        await store.delete("a")
        assert order == list(range(12))


async def test_delete_handler_sees_deletions_only() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @bucket.on_delete("*.png")
    async def handle(info: ObjectInfo) -> None:
        assert info.deleted

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        await store.put("a.png", b"")
        await store.put("a.txt", b"")
        await store.delete("a.txt")
        handle.mock.assert_not_called()
        await store.delete("a.png")
        [call] = handle.mock.call_args_list
        assert call.args[0].name == "a.png"


async def test_result_reaches_the_publishers_subscriber_and_replies() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @broker.publisher("thumbs.done")
    @bucket.on_put()
    async def handle(info: ObjectInfo) -> str:
        return info.name

    @broker.subscriber("thumbs.done")
    async def done(name: str) -> None: ...

    async with TestNatsBroker(broker):
        await (await buckets.open("photos")).put("a", b"")
        done.mock.assert_called_once_with("a")


async def test_change_that_no_filter_takes_is_passed_over() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    subscriber = bucket.on_put()

    async def is_big(message: Any) -> bool:
        return bool((await message.decode()).size > 3)

    @subscriber(filter=is_big)
    async def big(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        await store.put("small", b"1")
        big.mock.assert_not_called()
        put = await store.put("big", b"12345")
        big.mock.assert_called_once_with(put)


async def test_handler_may_put_into_another_bucket() -> None:
    photos, thumbs = Bucket("photos"), Bucket("thumbs")
    broker = NatsBroker()
    buckets = Buckets(broker, photos, thumbs)

    @photos.on_put()
    async def shrink(
        info: ObjectInfo,
        source: Annotated[ObjectStore, FromBucket(photos)],
        target: Annotated[ObjectStore, FromBucket(thumbs)],
    ) -> None:
        await target.put(info.name, (await source.get(info))[:1])

    @thumbs.on_put()
    async def made(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        await (await buckets.open(photos)).put("a", b"123")
        assert await (await buckets.open(thumbs)).get("a") == b"1"
        made.mock.assert_called_once()


async def test_brokers_entered_together_share_their_buckets() -> None:
    writer, reader = NatsBroker(), NatsBroker()
    written, read = Bucket("photos"), Bucket("photos", declare=False)
    writing, reading = Buckets(writer, written), Buckets(reader, read)

    @read.on_put()
    async def handle(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(writer, reader):
        put = await (await writing.object_store("photos")).put("a", b"1")
        handle.mock.assert_called_once_with(put)
        assert await (await reading.object_store("photos")).get("a") == b"1"


async def test_handler_declared_late_is_called_after_bind() -> None:
    bucket = Bucket("photos")
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    async with TestNatsBroker(broker):

        @bucket.on_put()
        async def handle(info: ObjectInfo) -> None: ...

        await buckets.bind()
        put = await (await buckets.open("photos")).put("a", b"1")
        handle.mock.assert_called_once_with(put)


async def test_middleware_and_decoder_of_the_broker_do_not_see_other_bodies() -> None:
    async def decode(message: Any) -> Any:
        raise AssertionError("a bucket's metadata is not the broker's format")

    bucket = Bucket("photos")
    broker = NatsBroker(decoder=decode)
    buckets = Buckets(broker, bucket)

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        put = await (await buckets.open("photos")).put("a", b"1")
        handle.mock.assert_called_once_with(put)


async def test_every_object_has_the_same_subject_for_metrics_and_traces() -> None:
    subjects: set[str] = set()

    class Watching(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            subjects.add(msg.raw_message.subject)
            return await call_next(msg)

    bucket = Bucket("photos")
    broker = NatsBroker(middlewares=[Watching])
    buckets = Buckets(broker, bucket)

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None: ...

    @bucket.on_put(durable="worker")
    async def work(info: ObjectInfo) -> None: ...

    async with TestNatsBroker(broker):
        store = await buckets.open("photos")
        for number in range(5):
            await store.put(str(number), b"")

    assert subjects == {"$O.photos.M", "$O.photos.M:worker"}
