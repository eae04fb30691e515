"""`Bucket.publisher` as FastStream's publishers are: decorated, mocked, described, called."""

import asyncio
import inspect
import re
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import unquote

import pytest
from faststream import BaseMiddleware, Depends, Path
from faststream.exceptions import FeatureNotSupportedException, SetupError
from faststream.nats import NatsBroker, NatsRouter, TestNatsBroker
from faststream.specification import AsyncAPI
from pydantic import BaseModel

from faststream_objstore import (
    Bucket,
    Buckets,
    FromObject,
    Mirror,
    ObjectInfo,
    ObjectReader,
    ObjectResponse,
    OpenObject,
)
from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    InvalidObjectNameError,
    InvalidOptionError,
    InvalidPatternError,
    NotConnectedError,
    UnsupportedDataError,
)
from tests.publishers.support import in_memory, names


class Report(BaseModel):
    words: int


# What is stored, and where


async def test_result_of_a_change_is_stored_under_the_values_of_its_name() -> None:
    photos, thumbs = Bucket("photos"), Bucket("thumbs")

    @photos.on_put("{user}/{stem}.png")
    @thumbs.publisher("{user}/{stem}.webp")
    async def thumbnail(image: Annotated[bytes, FromObject()]) -> bytes:
        return image[:3]

    async with in_memory(photos, thumbs) as service:
        await (await service.store(photos)).put("ann/cat.png", b"abcdef")
        assert await (await service.store(thumbs)).get("ann/cat.webp") == b"abc"


async def test_result_of_a_message_is_stored_under_the_values_of_its_subject() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)

    @broker.subscriber("render.{kind}.{id}")
    @pages.publisher("{kind}/{id}.txt")
    async def render(text: str) -> str:
        return text.upper()

    async with in_memory(pages, broker=broker) as service:
        await broker.publish("hello", "render.letter.7")
        data = await (await service.store(pages)).get("letter/7.txt")

    assert data == b"HELLO"
    assert data.info.source is None


async def test_order_of_the_decorators_does_not_matter() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @results.publisher("{name}.out")
    @sources.on_put("{name}")
    async def handler(name: Annotated[str, Path()]) -> str:
        return name

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("a", b"")
        assert await (await service.store(results)).get("a.out") == b"a"


async def test_name_of_the_response_replaces_the_template() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("unused")
    async def handler(info: ObjectInfo) -> ObjectResponse:
        return ObjectResponse(b"", name=f"chosen/{info.name}")

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("a", b"")
        assert await names(await service.store(results)) == ["chosen/a"]


@pytest.mark.parametrize("given", [None, 0, 120, timedelta(hours=1)])
async def test_ttl_of_the_response_replaces_the_publisher_s(given: Any) -> None:
    sources = Bucket("sources")
    results = Bucket("results", object_ttl=True)

    @sources.on_put()
    @(publisher := results.publisher("result", ttl=60))
    async def handler() -> ObjectResponse:
        return ObjectResponse(b"", ttl=given)

    lives = {
        None: timedelta(minutes=1),
        0: None,
        120: timedelta(minutes=2),
        timedelta(hours=1): timedelta(hours=1),
    }
    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("a", b"")
        await publisher.publish(b"", "published", ttl=given)
        lived = {}
        for info in await (await service.store(results)).list():
            lived[info.name] = info.expires and info.mtime and info.expires - info.mtime
    assert lived == {"result": lives[given], "published": lives[given]}


async def test_nothing_is_stored_of_none() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result")
    async def handler() -> None: ...

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("a", b"")
        assert await names(await service.store(results)) == []


async def test_result_of_a_result_is_made_inline_in_order() -> None:
    first, second, third = Bucket("first"), Bucket("second"), Bucket("third")
    order: list[str] = []

    @first.on_put("{name}")
    @second.publisher("{name}")
    async def to_second(content: Annotated[str, FromObject(decode=True)]) -> str:
        order.append("second")
        return content + "2"

    @second.on_put("{name}")
    @third.publisher("{name}")
    async def to_third(content: Annotated[str, FromObject(decode=True)]) -> str:
        order.append("third")
        return content + "3"

    async with in_memory(first, second, third) as service:
        await (await service.store(first)).put("a.txt", "1")
        assert await (await service.store(third)).get("a.txt") == b"123"
        await (await service.store(first)).delete("a.txt")
        assert await names(await service.store(third)) == []

    assert order == ["second", "third"]


# Streams


async def test_pieces_that_a_handler_yields_are_stored() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)

    @broker.subscriber("render.{id}")
    @pages.publisher("{id}.pdf", content_type="application/pdf")
    async def render(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"%d," % number

    async with in_memory(pages, broker=broker) as service:
        await broker.publish(3, "render.x")
        assert await (await service.store(pages)).get("x.pdf") == b"0,1,2,"


async def test_sync_handler_yields_in_a_thread() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)
    threads = set()

    @broker.subscriber("render")
    @pages.publisher("page")
    def render(count: int) -> Iterator[bytes]:
        for number in range(count):
            threads.add(threading.current_thread() is threading.main_thread())
            yield b"%d," % number

    async with in_memory(pages, broker=broker) as service:
        await broker.publish(3, "render")
        assert await (await service.store(pages)).get("page") == b"0,1,2,"
    assert threads == {False}


async def test_sync_handler_runs_in_a_thread() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)
    main: list[bool] = []

    @broker.subscriber("render")
    @pages.publisher("page")
    def render(text: str) -> str:
        main.append(threading.current_thread() is threading.main_thread())
        return text

    async with in_memory(pages, broker=broker) as service:
        await broker.publish("text", "render")
        assert await (await service.store(pages)).get("page") == b"text"
    assert main == [False]


@pytest.mark.parametrize("yields", [True, False])
async def test_dependencies_stay_open_until_the_stream_is_stored(yields: bool) -> None:
    sources, results = Bucket("sources"), Bucket("results")
    is_open = False
    seen: list[bool] = []

    async def session() -> AsyncIterator[str]:
        nonlocal is_open
        is_open = True
        yield "session"
        is_open = False

    async def upper(source: ObjectReader) -> AsyncIterator[bytes]:
        async for chunk in source:
            seen.append(is_open)
            yield bytes(chunk).upper()

    async def yielding(
        source: Annotated[ObjectReader, OpenObject()], _: Annotated[str, Depends(session)]
    ) -> AsyncIterator[bytes]:
        async for chunk in upper(source):
            yield chunk

    async def returning(
        source: Annotated[ObjectReader, OpenObject()], _: Annotated[str, Depends(session)]
    ) -> AsyncIterator[bytes]:
        return upper(source)

    handler: Any = yielding if yields else returning
    sources.on_put("{name}")(results.publisher("{name}")(handler))
    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("a", b"abc", chunk_size=1)
        assert await (await service.store(results)).get("a") == b"ABC"

    assert seen == [True, True, True]
    assert not is_open


async def test_stream_that_fails_leaves_nothing_and_is_the_handlers_failure() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result")
    async def handler() -> AsyncIterator[bytes]:
        yield b"half"
        raise LookupError("no more")

    async with in_memory(sources, results) as service:
        with pytest.raises(LookupError, match="no more"):
            await (await service.store(sources)).put("a", b"")
        store = await service.store(results)
        assert await names(store, include_deleted=True) == []
        assert (await store.status()).size == 0


async def test_request_is_answered_with_the_info_of_a_stream() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)

    @broker.subscriber("render.{id}")
    @pages.publisher("{id}")
    async def render(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"page"

    async with in_memory(pages, broker=broker) as service:
        reply = await broker.request(3, "render.7")
        answer: Any = await reply.decode()
        info = await (await service.store(pages)).get_info("7")

    assert (answer["bucket"], answer["name"], answer["size"]) == ("pages", "7", 12)
    assert (answer["revision"], answer["digest"]) == (info.revision, info.digest)


async def test_request_is_answered_with_a_result_that_is_no_stream() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)

    @broker.subscriber("render.{id}")
    @pages.publisher("{id}")
    async def render(count: int) -> Report:
        return Report(words=count)

    async with in_memory(pages, broker=broker) as service:
        reply = await broker.request(3, "render.7")
        assert await reply.decode() == {"words": 3}
        assert await (await service.store(pages)).get("7") == b'{"words":3}'


# Several publishers


async def test_one_result_feeds_several_buckets_and_a_subject() -> None:
    sources, one, two = Bucket("sources"), Bucket("one"), Bucket("two")
    broker = NatsBroker(logger=None)
    told = broker.publisher("told")

    @sources.on_put("{name}")
    @one.publisher("{name}.1")
    @two.publisher("{name}.2")
    @told
    async def handler(content: Annotated[bytes, FromObject()]) -> bytes:
        return content

    async with in_memory(sources, one, two, broker=broker) as service:
        await (await service.store(sources)).put("a", b"x")
        assert await (await service.store(one)).get("a.1") == b"x"
        assert await (await service.store(two)).get("a.2") == b"x"
        told.mock.assert_called_once_with(b"x")


async def test_file_path_feeds_several_buckets(tmp_path: Any) -> None:
    sources, one, two = Bucket("sources"), Bucket("one"), Bucket("two")
    (tmp_path / "file").write_bytes(b"x")

    @sources.on_put()
    @one.publisher("1")
    @two.publisher("2")
    async def handler() -> Any:
        return tmp_path / "file"

    async with in_memory(sources, one, two) as service:
        await (await service.store(sources)).put("a", b"")
        assert await (await service.store(one)).get("1") == b"x"
        assert await (await service.store(two)).get("2") == b"x"


async def test_one_iterator_for_two_publishers_is_refused_before_it_is_read() -> None:
    sources, one, two = Bucket("sources"), Bucket("one"), Bucket("two")
    read: list[int] = []

    @sources.on_put()
    @one.publisher("1")
    @two.publisher("2")
    async def handler() -> AsyncIterator[bytes]:
        read.append(1)
        yield b""

    async with in_memory(sources, one, two) as service:
        with pytest.raises(UnsupportedDataError) as error:
            await (await service.store(sources)).put("a", b"")
        assert await names(await service.store(one)) == []
    assert read == []
    assert "has 2 publishers, and async_generator can be read once only" in str(error.value)


async def test_stream_for_a_bucket_and_a_subject_is_refused() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    broker = NatsBroker(logger=None)

    @sources.on_put()
    @results.publisher("1")
    @broker.publisher("told")
    async def handler() -> AsyncIterator[bytes]:
        yield b""

    async with in_memory(sources, results, broker=broker) as service:
        with pytest.raises(UnsupportedDataError, match="another publisher, 'told'"):
            await (await service.store(sources)).put("a", b"")


# FastStream's own


async def test_mock_gets_what_was_returned_once_for_each_store() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    reports = results.publisher("{name}.json")
    texts = results.publisher("{name}.txt")

    @sources.on_put("a{name}")
    @reports
    async def report(name: Annotated[str, Path()]) -> Report | None:
        return Report(words=len(name)) if name else None

    @sources.on_put("a{name}")
    @texts
    async def text(name: Annotated[str, Path()]) -> AsyncIterator[bytes]:
        yield b"text"

    async with in_memory(sources, results) as service:
        await (await service.store(sources)).put("abc", b"")

        reports.mock.assert_called_once_with(Report(words=2))
        texts.mock.assert_called_once()
        await reports.assert_called_once_with({"words": 2}, content_type="application/json")
        with pytest.raises(AssertionError, match=r"expected {'words': 3}, got {'words': 2}"):
            await reports.assert_called_once_with({"words": 3})

        await (await service.store(sources)).put("abcd", b"")
        assert [one.args for one in reports.mock.mock_calls] == [
            (Report(words=2),),
            (Report(words=3),),
        ]


async def test_mock_is_for_tests_only() -> None:
    publisher = Bucket("results").publisher("name")

    with pytest.raises(SetupError):
        publisher.mock  # noqa: B018


async def test_put_by_hand_does_not_count_as_published() -> None:
    results = Bucket("results")
    publisher = results.publisher("name")

    async with in_memory(results) as service:
        await (await service.store(results)).put("name", b"")
        publisher.mock.assert_not_called()


async def test_decorated_function_can_be_called_as_it_was_written() -> None:
    results = Bucket("results")

    @results.publisher("1")
    async def coroutine(number: int) -> int:
        return number + 1

    @results.publisher("2")
    def plain(number: int) -> int:
        return number + 1

    @results.publisher("3")
    async def generator(number: int) -> AsyncIterator[bytes]:
        yield b"%d" % number

    assert await coroutine(1) == 2
    assert plain(1) == 2
    called: Any = generator(1)
    assert [one async for one in called] == [b"1"]
    assert inspect.unwrap(coroutine._composed_call).__name__ == "coroutine"


async def test_publish_stores_under_a_name() -> None:
    results = Bucket("results")
    publisher = results.publisher("{user}/{stem}", metadata={"kept": "yes"})

    async with in_memory(results) as service:
        info = await publisher.publish(
            Report(words=1), name="ann/cat.json", metadata={"by": "hand"}, headers={"X": "1"}
        )
        data = await (await service.store(results)).get("ann/cat.json")
        publisher.mock.assert_called_once_with(Report(words=1))

    assert data == b'{"words":1}'
    assert data.info.revision == info.revision
    assert data.info.metadata == {"kept": "yes", "by": "hand"}
    assert data.info.headers is not None
    assert data.info.headers["X"] == ["1"]
    assert data.info.headers["Content-Type"] == ["application/json"]
    assert len(data.info.headers["correlation_id"]) == 1


async def test_publish_takes_streams_and_leaves_files_open() -> None:
    import io

    results = Bucket("results")
    publisher = results.publisher("one")
    file = io.BytesIO(b"file")

    async with in_memory(results) as service:
        await publisher.publish(file)
        store = await service.store(results)
        assert await store.get("one") == b"file"
        assert not file.closed
        await publisher.publish(iter([b"a", b"b"]), name="two")
        assert await store.get("two") == b"ab"


async def test_publish_needs_a_name_and_something_to_store() -> None:
    results = Bucket("results")
    publisher = results.publisher("{user}")

    async with in_memory(results):
        with pytest.raises(InvalidObjectNameError, match=r"pass name=\.\.\. to publish"):
            await publisher.publish(b"")
        with pytest.raises(UnsupportedDataError, match="None cannot be stored"):
            await publisher.publish(None, name="a")
        with pytest.raises(FeatureNotSupportedException, match="an object has no reply"):
            await publisher.request(b"")


@pytest.mark.parametrize(
    "options, error, said",
    [
        ({"name": 5}, InvalidObjectNameError, "name is a str, not int"),
        ({"source": "a"}, InvalidOptionError, "source must be the ObjectInfo of a version"),
        ({"headers": "abc"}, InvalidOptionError, "headers must be a mapping, got 'abc'"),
        ({"metadata": "abc"}, InvalidOptionError, "metadata must be a mapping, got 'abc'"),
    ],
)
async def test_publish_refuses_options_that_cannot_work(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    results = Bucket("results")
    publisher = results.publisher("fixed")

    async with in_memory(results) as service:
        with pytest.raises(error, match=said):
            await publisher.publish(b"", **options)
        assert await names(await service.store(results)) == []


async def test_publish_without_a_broker_says_what_to_do() -> None:
    with pytest.raises(NotConnectedError, match=r"pass it to Buckets\(...\)"):
        await Bucket("results").publisher("a").publish(b"")


async def test_middlewares_see_one_destination_of_a_bucket_and_may_change_the_body() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    seen: list[tuple[str, Any]] = []

    class Shout(BaseMiddleware):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            seen.append((cmd.destination, cmd.body))
            cmd.body = cmd.body.upper()
            cmd.headers["X-Shouted"] = "yes"
            return await call_next(cmd)

    @sources.on_put("{name}")
    @results.publisher("{name}.txt")
    async def handler(name: Annotated[str, Path()]) -> str:
        return name

    broker = NatsBroker(logger=None, middlewares=[Shout])
    async with in_memory(sources, results, broker=broker) as service:
        for name in ("a", "b"):
            await (await service.store(sources)).put(name, b"")
        data = await (await service.store(results)).get("a.txt")

    assert seen == [("$O.results", "a"), ("$O.results", "b")]
    assert data == b"A"
    assert data.info.headers is not None
    assert data.info.headers["X-Shouted"] == ["yes"]


async def test_failing_store_is_the_handlers_failure() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("result", metadata={"key": "x" * 2_000_000})
    async def handler() -> bytes:
        return b""

    async with in_memory(sources, results) as service:
        with pytest.raises(InvalidOptionError, match="a message holds"):
            await (await service.store(sources)).put("a", b"")


async def test_correlation_id_of_the_message_is_kept_with_the_result() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)

    @broker.subscriber("render.{id}")
    @pages.publisher("{id}")
    async def render(stream: bool) -> Any:
        return iter([b"x"]) if stream else b"x"

    async with in_memory(pages, broker=broker) as service:
        for name, stream in (("1", False), ("2", True)):
            await broker.publish(stream, f"render.{name}", correlation_id="mine")
            info = await (await service.store(pages)).get_info(name)
            assert info.headers is not None
            assert info.headers["correlation_id"] == ["mine"]


async def test_handler_of_one_broker_may_store_in_a_bucket_of_another() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put("{name}")
    @results.publisher("{name}")
    async def handler() -> bytes:
        return b"x"

    one, two = NatsBroker(logger=None), NatsBroker(logger=None)
    buckets, others = Buckets(one, sources), Buckets(two, results)
    async with TestNatsBroker(one, two):
        await (await buckets.open(sources)).put("a", b"")
        source = (await (await others.open(results)).get_info("a")).source
        assert source is not None
        assert (source.bucket, source.name) == ("sources", "a")


# AsyncAPI


def schema_of(broker: NatsBroker) -> Any:
    return AsyncAPI(broker).to_specification().to_jsonable()


async def test_asyncapi_shows_bucket_template_and_payload_of_each_publisher() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    broker = NatsBroker(logger=None)
    Buckets(broker, sources, results)

    @sources.on_put("{user}/{stem}")
    @results.publisher("{user}/{stem}.json", title="Reports", description="One a day.")
    async def report() -> Report:
        return Report(words=1)

    @sources.on_put("{user}/{stem}")
    @results.publisher("{user}/{stem}.bin")
    async def stream() -> AsyncIterator[bytes]:
        yield b""

    @sources.on_put("{user}/{stem}")
    @results.publisher("hidden", include_in_schema=False)
    async def hidden() -> None: ...

    schema = schema_of(broker)

    sending = {
        key: one for key, one in schema["operations"].items() if one["action"] == "send"
    }
    assert len(sending) == 2
    channels = schema["channels"]
    assert channels["Reports"]["address"] == "$O.results"
    assert channels["Reports"]["description"] == (
        "One a day.\n\nStored in the bucket `results` as `{user}/{stem}.json`. A result of an "
        "object goes when that object is deleted."
    )
    messages = schema["components"]["messages"]
    assert messages["Reports:Message"]["payload"] == {"$ref": "#/components/schemas/Report"}
    key = "results: {user}.{stem}.bin:Publisher"
    assert channels[key]["bindings"]["nats"]["subject"] == "$O.results"
    payload = messages[f"{key}:Message"]["payload"]
    schemas = schema["components"]["schemas"]
    while "$ref" in payload:
        payload = schemas[unquote(payload["$ref"].rpartition("/")[2])]
    assert (payload["type"], payload["format"]) == ("string", "binary")


async def test_handler_without_a_return_type_has_a_channel_too() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    broker = NatsBroker(logger=None)
    Buckets(broker, sources, results)

    @sources.on_put()
    @results.publisher("a")
    async def handler():  # type: ignore[no-untyped-def] # noqa: ANN202
        return b""

    @sources.on_put()
    @results.publisher("b")
    async def other() -> ObjectResponse:
        return ObjectResponse(b"")

    channels = schema_of(broker)["channels"]

    assert {"results: a:Publisher", "results: b:Publisher"} <= set(channels)


async def test_equal_publishers_have_channels_of_their_own() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    broker = NatsBroker(logger=None)
    Buckets(broker, sources, results)
    for pattern in ("a", "b"):

        @sources.on_put(pattern)
        @results.publisher("x")
        async def handler() -> bytes:
            return b""

    channels = schema_of(broker)["channels"]

    assert {"results: x:Publisher", "results: x:Publisher 2"} <= set(channels)


async def test_templates_that_asyncapi_spells_alike_have_a_channel_each() -> None:
    sources, results = Bucket("sources"), Bucket("results")
    broker = NatsBroker(logger=None)
    Buckets(broker, sources, results)

    @sources.on_put()
    @results.publisher("{user}/x")
    async def by_folder() -> bytes:
        return b""

    @sources.on_put()
    @results.publisher("{user}.x")
    async def by_extension() -> bytes:
        return b""

    channels = schema_of(broker)["channels"]

    # AsyncAPI turns `/` into `.` in keys.
    described = {key: one["description"] for key, one in channels.items() if "results" in key}
    assert described.keys() == {
        "results: {user}.x:Publisher",
        "results: {user}.x:Publisher 2",
    }
    assert "as `{user}/x`." in described["results: {user}.x:Publisher"]
    assert "as `{user}.x`." in described["results: {user}.x:Publisher 2"]


# Refused at start


async def test_name_that_asks_for_what_the_pattern_does_not_capture_is_refused() -> None:
    photos, thumbs = Bucket("photos"), Bucket("thumbs")

    @photos.on_put("{user}/*.png")
    @thumbs.publisher("{user}/{stem}.webp")
    async def thumbnail() -> None: ...

    with pytest.raises(InvalidPatternError) as error:
        async with in_memory(photos, thumbs):
            pass
    assert str(error.value) == (
        "Bucket 'thumbs', publisher('{user}/{stem}.webp') of thumbnail: the name asks for "
        "'stem', but the pattern of Bucket 'photos', on_put('{user}/*.png') captures 'user'. "
        "Write {stem} there, or leave it out of the name."
    )


async def test_name_that_asks_for_what_the_subject_does_not_capture_is_refused() -> None:
    pages = Bucket("pages")
    broker = NatsBroker(logger=None)
    router = NatsRouter(prefix="v1.{tenant}.")

    @router.subscriber("render.{id}")
    @pages.publisher("{tenant}/{id}/{page}")
    async def render() -> None: ...

    broker.include_router(router)
    with pytest.raises(InvalidPatternError) as error:
        async with in_memory(pages, broker=broker):
            pass
    assert "the name asks for 'page'" in str(error.value)
    assert "captures 'tenant', 'id'" in str(error.value)


@pytest.mark.parametrize("ttl", [0.5, timedelta(seconds=59)])
def test_a_ttl_below_the_buckets_least_is_refused_where_it_is_declared(ttl: Any) -> None:
    with pytest.raises(InvalidOptionError, match="is less than the object_ttl of 0:01:00"):
        Bucket("thumbs", object_ttl=True).publisher("x", ttl=ttl)

    Bucket("thumbs", object_ttl=True).publisher("x", ttl=60)
    # What it allows is known when it is bound.
    Bucket("thumbs", declare=False).publisher("x", ttl=ttl)


async def test_handler_that_its_own_results_would_fire_is_refused() -> None:
    photos = Bucket("photos")

    @photos.on_put("{user}/{name}")
    @photos.publisher("{user}/{name}.webp")
    async def thumbnail() -> None: ...

    with pytest.raises(InvalidPatternError, match="would fire the handler again, for ever"):
        async with in_memory(photos):
            pass


async def test_handler_that_its_own_results_would_fire_through_a_follower_is_refused() -> None:
    photos = Bucket("photos")
    first = Bucket("first", sources=[Mirror("photos"), Mirror("scans")])
    second = Bucket("second", mirror=Mirror("first"))

    @second.on_put()
    @photos.publisher("result")
    async def thumbnail() -> None: ...

    with pytest.raises(
        InvalidPatternError,
        match="bucket 'second', which follows 'photos', so each would fire",
    ):
        async with in_memory(photos, first, second):
            pass


async def test_results_may_go_into_a_bucket_with_the_name_of_an_origin_elsewhere() -> None:
    photos = Bucket("photos")
    mirror = Bucket("photos-hub", mirror=Mirror("photos", domain="hub"))

    @mirror.on_put("**")
    @photos.publisher("result.txt")
    async def thumbnail() -> None: ...

    async with in_memory(photos, mirror):
        pass


async def test_results_in_the_sources_bucket_are_fine_where_they_do_not_match() -> None:
    photos = Bucket("photos")

    @photos.on_put("{user}/{stem}.png")
    @photos.publisher("{user}/{stem}.webp")
    async def thumbnail() -> bytes:
        return b"x"

    async with in_memory(photos) as service:
        store = await service.store(photos)
        await store.put("ann/cat.png", b"")
        assert await names(store) == ["ann/cat.png", "ann/cat.webp"]
        await store.delete("ann/cat.png")
        assert await names(store) == []


async def test_two_publishers_of_one_name_on_a_handler_are_refused() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("a")
    @results.publisher("a")
    async def handler() -> None: ...

    with pytest.raises(InvalidOptionError, match="handler has 2 publishers of 'a'"):
        async with in_memory(sources, results):
            pass


async def test_start_is_refused_where_the_bucket_is_not_declared() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put()
    @results.publisher("a")
    async def handler() -> bytes:
        return b""

    with pytest.raises(BucketNotDeclaredError) as caught:
        async with in_memory(sources):
            pass
    assert caught.value.bucket == "results"
    assert str(caught.value) == (
        "handler: Bucket 'results', publisher('a'): the Bucket belongs to no Buckets; pass it "
        "to the Buckets(broker, ...) of this broker, or nothing can be stored in it."
    )


async def test_result_that_cannot_be_encoded_is_named_with_its_bucket_and_object() -> None:
    sources, results = Bucket("sources"), Bucket("results")

    @sources.on_put("{stem}.txt")
    @results.publisher("{stem}.json")
    async def handler() -> Any:
        return object()

    async with in_memory(sources, results) as service:
        with pytest.raises(UnsupportedDataError) as caught:
            await (await service.store(sources)).put("a.txt", b"")
        assert await names(await service.store(results)) == []
    assert (caught.value.bucket, caught.value.name) == ("results", "a.json")
    assert str(caught.value) == (
        "Bucket 'results', object 'a.json': the broker cannot encode a result of type object "
        "(Unable to serialize unknown type: <class 'object'>). Return bytes, str, a Path, a "
        "stream, or what it can encode, such as a dict or a pydantic model."
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"follow": 1}, "follow must be True or False, got 1"),
        ({"rebuild": 2}, "rebuild must be .*, got 2"),
        ({"rebuild": ""}, "rebuild must be .*, got ''"),
        ({"content_type": 5}, "content_type must be .*, got 5"),
        ({"metadata": {"a": 5}}, "metadata must be .*, got {'a': 5}\\."),
        ({"metadata": ["a"]}, "metadata must be .*, got \\['a'\\]"),
        ({"headers": {"a": 5}}, "headers must be .*, got {'a': 5}\\."),
        ({"chunk_size": 0}, "chunk_size must be .*, got 0"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        Bucket("results").publisher("name", **options)
    assert re.search(message, str(error.value))
    assert "Bucket 'results', publisher('name')" in str(error.value)


async def test_unused_publisher_harms_nobody() -> None:
    results = Bucket("results")
    results.publisher("{anything}")

    async with in_memory(results) as service:
        await (await service.store(results)).put("a", b"")
    await asyncio.sleep(0)
