"""A change goes through middlewares, context and publishers as any message does."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.nats import NatsBroker, NatsMessage, TestNatsBroker
from pydantic import ValidationError

from faststream_objstore import Bucket, Buckets, ObjectInfo, ObjectStore
from faststream_objstore._faststream import processing

Trace = list[str]


@pytest.fixture(params=["ours", "FastStream's"], autouse=True)
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds for our way of processing holds for FastStream's own."""
    if request.param != "ours":
        monkeypatch.setattr(processing, "_KNOWN_VERSIONS", frozenset())
        monkeypatch.setattr(processing, "_KNOWN_DEPENDS", frozenset())


@pytest.fixture
def trace() -> Trace:
    """What has happened, in order."""
    return []


def tracing(
    name: str, trace: Trace, *, suppress: bool = False, fail: bool = False
) -> type[BaseMiddleware[Any, Any]]:
    """A middleware that writes down what it is asked for."""

    class Tracing(BaseMiddleware[Any, Any]):
        async def on_receive(self) -> None:
            trace.append(f"{name} receives")

        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            trace.append(f"{name} consumes {msg.message_id}")
            return await call_next(msg)

        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            trace.append(f"{name} publishes {cmd.body}")
            return await call_next(cmd)

        async def after_processed(
            self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None
        ) -> bool:
            trace.append(f"{name} leaves {exc_val!r}")
            if fail:
                raise KeyError(name)
            return suppress

    return Tracing


@asynccontextmanager
async def entered(bucket: Bucket, *middlewares: Any) -> AsyncIterator[ObjectStore]:
    """The bucket in memory, with the broker's middlewares from the outermost on."""
    broker = NatsBroker(middlewares=middlewares, logger=None)
    buckets = Buckets(broker, bucket)
    async with TestNatsBroker(broker):
        yield await buckets.open(bucket.name)


async def test_middlewares_enclose_the_handler_and_its_publishers(trace: Trace) -> None:
    bucket = Bucket("b")
    broker = NatsBroker(
        middlewares=[tracing("outer", trace), tracing("inner", trace)], logger=None
    )
    buckets = Buckets(broker, bucket)

    @broker.publisher("sizes")
    @bucket.on_put()
    async def handle(info: ObjectInfo) -> int:
        trace.append(f"handles {info.name}")
        return info.size

    async with TestNatsBroker(broker):
        await (await buckets.open("b")).put("a", b"123")

    # In between, the test broker receives what was published.
    assert [*trace[:7], *trace[-2:]] == [
        "outer receives",
        "inner receives",
        "outer consumes a@2",
        "inner consumes a@2",
        "handles a",
        "outer publishes 3",
        "inner publishes 3",
        "inner leaves None",
        "outer leaves None",
    ]


async def test_error_that_a_middleware_suppresses_is_none_for_those_around_it(
    trace: Trace,
) -> None:
    bucket = Bucket("b")

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        raise ValueError(info.name)

    inner = tracing("inner", trace, suppress=True)
    async with entered(bucket, tracing("outer", trace), inner) as store:
        assert (await store.put("a", b"")).name == "a"

    assert trace[-2:] == ["inner leaves ValueError('a')", "outer leaves None"]


async def test_error_of_a_middleware_takes_the_place_of_the_handlers(trace: Trace) -> None:
    bucket = Bucket("b")

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        raise ValueError(info.name)

    inner = tracing("inner", trace, fail=True)
    async with entered(bucket, tracing("outer", trace), inner) as store:
        with pytest.raises(KeyError, match="inner") as caught:
            await store.put("a", b"")

    assert trace[-2:] == ["inner leaves ValueError('a')", "outer leaves KeyError('inner')"]
    assert isinstance(caught.value.__context__, ValueError)


async def test_error_of_a_middleware_after_a_success_is_raised(trace: Trace) -> None:
    bucket = Bucket("b")

    @bucket.on_put()
    async def handle(info: ObjectInfo) -> None:
        trace.append(info.name)

    async with entered(
        bucket, tracing("outer", trace), tracing("inner", trace, fail=True)
    ) as store:
        with pytest.raises(KeyError, match="inner"):
            await store.put("a", b"")

    assert trace[-3:] == ["a", "inner leaves None", "outer leaves KeyError('inner')"]


async def test_context_is_that_of_the_message_and_ends_with_it() -> None:
    bucket = Bucket("b")
    found: list[dict[str, Any]] = []

    @bucket.on_put("{stem}.txt")
    async def handle(info: ObjectInfo, message: NatsMessage) -> None:
        context = bucket.subscribers[0].context
        keys = ("message", "handler_", "log_context")
        found.append({key: context.get_local(key, "none") for key in keys})
        assert context.get_local("message") is message

    async with entered(bucket) as store:
        await store.put("a.txt", b"")
        context = bucket.subscribers[0].context
        assert context.get_local("message", "none") == "none"
        assert context.get_local("log_context", "none") == "none"

    [one] = found
    assert one["handler_"] is bucket.subscribers[0]
    assert one["message"].path == {"stem": "a"}
    assert one["log_context"] == {
        "subject": "$O.b.M a.txt",
        "queue": "",
        "stream": "OBJ_b",
        "message_id": "@1",
        "bucket": "b",
        "durable": "",
        "handler": "Handle",
        "object": "a.txt",
        "revision": "1",
    }


async def test_correlation_id_stays_the_same_and_goes_on_to_what_is_published() -> None:
    bucket, broker = Bucket("b"), NatsBroker(logger=None)
    buckets = Buckets(broker, bucket)
    ids: list[str] = []

    @broker.publisher("sizes")
    @bucket.on_put()
    async def handle(info: ObjectInfo, message: NatsMessage) -> int:
        ids.extend((message.correlation_id, message.correlation_id))
        return info.size

    @broker.subscriber("sizes")
    async def receive(size: int, message: NatsMessage) -> None:
        ids.append(message.correlation_id)

    async with TestNatsBroker(broker):
        store = await buckets.open("b")
        await store.put("a", b"")
        await store.put("a", b"")

    assert len(ids) == 6
    assert len(set(ids[:3])) == len(set(ids[3:])) == 1
    assert ids[0] != ids[3]


async def test_result_is_validated_before_it_is_published() -> None:
    bucket, broker = Bucket("b"), NatsBroker(logger=None)
    buckets = Buckets(broker, bucket)
    sizes: list[object] = []

    @broker.publisher("sizes")
    @bucket.on_put()
    async def handle(info: ObjectInfo) -> int:
        return info.name  # type: ignore[return-value]

    @broker.subscriber("sizes")
    async def receive(size: Any) -> None:
        sizes.append(size)

    async with TestNatsBroker(broker):
        store = await buckets.open("b")
        await store.put("3", b"")
        with pytest.raises(ValidationError, match="valid integer"):
            await store.put("a", b"")

    assert sizes == [3]


async def test_plain_function_runs_in_a_thread() -> None:
    bucket = Bucket("b")
    threads: list[int] = []

    @bucket.on_put()
    def handle(info: ObjectInfo) -> None:
        assert info.name == "a"
        threads.append(threading.get_ident())

    async with entered(bucket) as store:
        await store.put("a", b"")

    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
